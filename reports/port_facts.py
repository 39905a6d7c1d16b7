"""What identifies the port of a problem to whoever mends it: GPU, GUID, firmware, switch port, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.problems import Place, Problem, places_in
from bench.model.counter_table import CounterRole
from bench.model.facts import Port
from bench.model.verdict import Status

MOST_COUNTERS = 3


def port_facts(judged: Evidence, problem: Problem) -> str:
    """``GPU 3 · GUID … · firmware … · on leaf-04 port 17``; "" where it is no single port, or nothing is known."""
    run = judged.run
    found = places_in(run)(problem.verdict.subject)
    ports = [port for node in run.nodes for port in node.ports if (node.name, port.name) in found]
    if len(found) != 1 or not ports:
        return ""
    (place,) = found
    return " · ".join(
        [*_gpu(judged, place), *_identity(ports[0]), *_switch(judged, place), *_errors(judged, place)]
    )


def _identity(port: Port) -> Iterator[str]:
    known = {"GUID": port.guid or port.node_guid, "firmware": port.fw}
    return (f"{name} {value}" for name, value in known.items() if value)


def _gpu(judged: Evidence, place: Place) -> Iterator[str]:
    """The GPU whose rank uses the port as its own rail."""
    node, rail = place
    for rank in judged.ranks:
        own = judged.rail_names[rank.local_rank : rank.local_rank + 1]
        gpu = judged.gpu_of_rank.get(rank.rank)
        if rank.node == node and own == (rail,) and gpu is not None:
            yield f"rail of GPU {gpu}"


def _switch(judged: Evidence, place: Place) -> Iterator[str]:
    """The switch port at the other end of its cable, as the fabric's tools said."""
    for each in judged.run.verdicts:
        if each.check == "fabric.port" and each.status is Status.PASS and each.subject == " ".join(place):
            yield f"cable {each.measured}"


def _errors(judged: Evidence, place: Place) -> Iterator[str]:
    """Error counters of the port that increased while something was measured."""
    node, rail = place
    grown: Counter[str] = Counter()
    for window in judged.windows:
        if window.node.name == node:
            for row in window.moved.grown(CounterRole.ERROR):
                grown[row.counter] += (row.growth or 0) if row.subject == rail else 0
    return (f"{name} +{count:,} during the run" for name, count in grown.most_common(MOST_COUNTERS) if count)
