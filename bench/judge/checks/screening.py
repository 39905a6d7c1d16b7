"""Rings of nodes instead of all pairs: who was found, what stayed open, what could not have been found."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.blame.transfers import screened
from bench.judge.blame.wording import slower
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check, unplanned
from bench.model.units import show_count, show_seconds
from bench.plan.phase_names import BUDGET, GIVEN_UP, SCREEN
from bench.plan.screening import MOST_IN_PAIRS, ScreenedFault

NEXT = {
    "node": "compare its PCIe links, CPU governor, firmware and driver with a good node, then drain it",
    "port": "reseat or swap its cable and transceiver, then the adapter",
    "path": "its two ends are good with others: look at the links between their switches and at the routing",
    "rail": "look at the rail's leaf switch and its uplinks",
    "leaf": "look at this leaf switch: power, firmware, uplinks",
    "fabric": "check the nominal rate, the transport chosen, MTU and clocks; if right, the fabric is slow",
}


def is_screened(evidence: Evidence) -> bool:
    """Whether rings of nodes were planned in the place of all pairs."""
    return any(phase.name.startswith(SCREEN) for phase in evidence.run.plan.phases)


_not_screened = unplanned(SCREEN, is_screened, "no nodes were screened in this run")


@check(
    "blame.screening",
    subject="rails",
    source="RailGauge",
    on_inconclusive="give more time with --budget, or measure all pairs: railgauge accept --all-pairs",
    bound=0.0,
    unless=(_not_screened,),
)
def screening(evidence: Evidence) -> Iterator[Finding]:
    """No ring of nodes is slow; who slows one is traced by halves and confirmed with other good nodes."""
    last = screened(evidence)
    for found in last.findings:
        yield Finding(
            subject_of(found),
            False,
            slower(found.lost),
            found.lost,
            wanted="its peers' rate",
            source="RailGauge, confirmed with other good nodes",
            step=NEXT[found.kind],
            evidence=found.evidence,
        )
    left = "; ".join(" ".join(ring) for ring in last.probes[:4])
    unfinished = (
        [f"{show_count(len(last.probes), 'probe')} still to be measured: {left}"] if last.probes else []
    )
    for text in (*last.open, *last.unknown, *unfinished):
        yield Finding("rails", None, text, wanted="a name, or a clear ring")
    if not (last.findings or last.open or last.unknown or last.probes):
        ports, of = float(last.coverage.ports), float(last.coverage.ports_of)
        text = f"no ring is slow; covered {last.coverage.text}"
        yield Finding("rails", True, text, ports, wanted="no slow ring", bound=of)


def subject_of(found: ScreenedFault) -> str:
    """The subject in the words of blame: ``n1 rail eth2``, ``path n1 - n2 on rail eth2``."""
    return {
        "node": f"node {found.node}",
        "port": f"{found.node} rail {found.rail}",
        "path": f"path {found.node} - {found.peer} on rail {found.rail}",
        "rail": f"rail {found.rail}, all nodes",
        "leaf": f"leaf {found.name} of rail {found.rail}",
        "fabric": "all rails of all nodes",
    }[found.kind]


def _left_out(evidence: Evidence, *names: str) -> list[str]:
    return [text for phase, text in evidence.run.plan.skipped if phase in names]


@check(
    "coverage.budget",
    subject="run",
    wanted="all",
    source="--budget",
    on_inconclusive="give more time: what was not tested is not known to be good",
    unless=(lambda evidence: "" if _left_out(evidence, BUDGET, GIVEN_UP) else "the run had no time limit",),
)
def budget(evidence: Evidence) -> Iterator[Finding]:
    """Nothing was left out for want of time; what was left out is named as untested."""
    given_up = _left_out(evidence, GIVEN_UP)
    yield from (Finding("run", None, f"given up for want of time: {text}") for text in given_up)
    yield from (Finding("run", None, text) for text in evidence.run.given_up)
    if is_screened(evidence) and len(evidence.run.whole.manifest.nodes) <= MOST_IN_PAIRS:
        # what a bad link between two good nodes had to be on to be found
        last = screened(evidence).coverage
        whole = last.paths == last.paths_of and last.ports == last.ports_of
        text, paths, of = f"measured {last.text}", float(last.paths), last.paths_of
        yield Finding(
            "paths", True if whole else None, text, paths, wanted=f"all {of} paths", bound=float(of)
        )
    if not given_up:
        took = evidence.run.lasted
        lasted = f"; it took {show_seconds(took)}" if took is not None else ""
        yield Finding("run", True, f"all fits: {_left_out(evidence, BUDGET)[0]}{lasted}")
