"""Three independent readings of what a node's rails carry, side by side against the target.

counters   bytes that left each rail during one phase, against the bytes that the phase's calls must have sent
           by their algorithm; the ratio is put on the rate of its largest message. The bytes are independent
           of every clock; the seconds are those of the calls, and must fit into the host's own clock
ring       all_reduce and all_gather forced to Ring, largest message (with gloo: its own ring, where one rail is
           all there is: a call of gloo goes over one interface)
rails      all rails point-to-point at once, both directions, summed over a node

They are read per node and direction, and the slowest node stands for the fabric.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from bench.judge.evidence import Evidence, derived
from bench.model.late_dataclass import dataclass
from bench.model.packets import HEALTHY, efficiency
from bench.model.units import show_both, show_rate, show_seconds, show_share, show_size
from bench.model.verdict import Bound, Status
from bench.plan.phase_names import UNEVEN_PHASES, phase_words

from .counters import MTU, Carried, Undetermined, carried
from .group_shape import node_names
from .row_reading import of_row

TOLERANCE = 0.10  # healthy readings differ less: forced Ring 365 GB/s, eight rails of 48.5 are 388 (6 %)
TOLERANCE_SOURCE = "published healthy Ring and rail figures differ by 6 %"
RAILS = "rails"  # the phase that measures all pairs of nodes on all rails at once
COUNTED = ("ring", RAILS)  # phases whose counters are compared, in order of preference
RINGS = ("all_reduce", "all_gather")


@dataclass(frozen=True)
class TargetReading:
    """One reading. ``kind``: counters, ring or rails; ``rate`` in bytes/s a node and direction, NaN where there
    is none and ``text`` says why; ``share`` is of the target.
    """

    kind: str
    name: str
    rate: float
    share: float
    text: str
    evidence: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        return math.isfinite(self.rate)


@dataclass(frozen=True)
class TargetReadings:
    """All readings and what they say together.

    status   NOT APPLICABLE there is nothing to read; INCONCLUSIVE fewer than two, or they disagree; FAIL they agree
             on too little; PASS they agree on enough
    odd      the reading that disagrees with the others; "" where none does, or which cannot be determined
    """

    target: Bound | None
    readings: tuple[TargetReading, ...]
    status: Status
    odd: str
    text: str
    wanted: str = ""
    source: str = ""
    next_step: str = ""


@derived
def of_target(evidence: Evidence) -> TargetReadings:
    """The readings of a run."""
    rails, profile = evidence.rails, evidence.profile
    if evidence.node_count < 2:
        return TargetReadings(
            rails.target, (), Status.NOT_APPLICABLE, "", "one node: nothing crosses the rails"
        )
    if rails.open:
        step = f"railgauge profiles {profile.name} > mine.toml, fill it in, then: --profile ./mine.toml"
        text = f"the profile leaves open: {rails.open}"
        return TargetReadings(None, (), Status.INCONCLUSIVE, "", text, "a target", profile.name, step)
    if rails.target is None or not rails.count:
        return TargetReadings(
            None, (), Status.NOT_APPLICABLE, "", f"the profile {profile.name} names no target"
        )
    target = rails.target
    found = (
        _counters(evidence, target),
        *_rings(evidence, target),
        _rails(evidence, target),
    )
    return _together(found, target, _floor(evidence), _needed(evidence))


def _needed(evidence: Evidence) -> dict[str, str]:
    """Kinds that must be read, and why another need not be: by kind, "" where it must."""
    left = evidence.skipped
    why = {"counters": "", "ring": left.get("ring", ""), "rails": left.get(RAILS, "")}
    if evidence.backend == "gloo":
        why["ring"] = "a call of gloo uses one interface" if _one_rail(evidence) else ""
    return why


def _reading(
    kind: str, name: str, rate: float, target: Bound, text: str, evidence: Iterable[str] = ()
) -> TargetReading:
    return TargetReading(kind, name, rate, rate / target.value, text, tuple(evidence))


def _none(kind: str, name: str, why: str) -> TargetReading:
    return TargetReading(kind, name, math.nan, math.nan, why)


def _counters(evidence: Evidence, target: Bound) -> TargetReading:
    name = "port counters"
    reasons = []
    planned = [phase.name for phase in evidence.run.plan.phases]
    # phases of single rails, and of rings of nodes, load no node's rails as a job does
    others = [name for name in planned if name not in COUNTED and not name.startswith(UNEVEN_PHASES)]
    for phase in (RAILS,) if _one_rail(evidence) else (*COUNTED, *others):
        if phase not in planned:
            continue
        try:
            nodes = carried(phase, evidence)
            largest = largest_rate(phase, evidence)
        except Undetermined as reason:
            reasons.append(str(reason))
            continue
        low = min(nodes, key=lambda each: each.ratio)
        text = (
            f"phase “{phase_words(phase)}”: {show_share(low.ratio)} of the bytes that its calls must send left "
            f"{low.node}, put on "
            f"the rate of the largest message; {show_rate(low.rate, 'Gb/s')} over {show_seconds(low.busy)} of calls, "
            f"{show_rate(low.payload / low.wall, 'Gb/s')} over {show_seconds(low.wall)} of measuring"
        )
        return _reading("counters", name, low.ratio * largest, target, text, map(_evidence, nodes))
    return _none("counters", name, reasons[0] if reasons else "no phase was measured")


def _evidence(each: Carried) -> str:
    listed = ", ".join(f"{rail} {sent} B" for rail, sent in each.counted.items())
    return f"{each.node}: {listed}; expected {each.expected:.0f} B without headers"


def largest_rate(phase: str, evidence: Evidence) -> float:
    """Bytes/s a node and direction at the phase's largest message, by its calls."""
    if phase == RAILS:
        return min(_sums(evidence).values(), default=math.nan)
    here = [row for row in evidence.rows if row.case.phase == phase]
    largest = max((row.case.size for row in here), default=0)
    read = [of_row(row, evidence) for row in here if row.case.size == largest]
    rates = [reading.readings[0].wire for reading in read if reading and reading.used.known]
    if not rates:
        raise Undetermined(f"phase “{phase_words(phase)}” has no rate of its largest message")
    return max(rates)


def _rings(evidence: Evidence, target: Bound) -> Iterable[TargetReading]:
    wanted = "gloo" if evidence.backend == "gloo" else "ring"
    everyone = len(evidence.ranks)
    for collective in RINGS:
        name = f"{'gloo' if wanted == 'gloo' else 'Ring'} {collective}"
        if _one_rail(evidence):
            why = f"a call of gloo uses one interface: it cannot load {evidence.rails.count} rails"
            yield _none("ring", name, why)
            continue
        read = [
            (row, reading)
            for row in evidence.rows
            if row.case.collective == collective and row.ranks == everyone
            if (reading := of_row(row, evidence)) and reading.used.algorithm == wanted
        ]
        if not read:
            yield _none("ring", name, "not measured")
            continue
        largest = max(row.case.size for row, _ in read)
        row, reading = min(
            ((row, each) for row, each in read if row.case.size == largest),
            key=lambda pair: _low(pair[0].busbw),
        )
        text = f"busbw {show_both(row.busbw)} at {show_size(largest)}, {reading.used.how}"
        text += f", {reading.protocol_text}" if reading.protocol_text else ""
        yield _reading("ring", name, reading.readings[0].wire, target, text)


def _one_rail(evidence: Evidence) -> bool:
    """Whether a call uses one of several rails, so that a collective is no reading of them all."""
    return evidence.backend == "gloo" and evidence.rails.count > 1


def _low(value: float) -> float:
    """The value for sorting: a missing one comes first, so that it is not hidden behind a good one."""
    return value if math.isfinite(value) else -1.0


def _rails(evidence: Evidence, target: Bound) -> TargetReading:
    name = "rails point-to-point"
    loaded = _loaded(evidence)
    if loaded:
        return _none("rails", name, loaded)
    sums = _sums(evidence)
    if not sums:
        return _none("rails", name, "not measured: no phase had all rails of two nodes at work at once")
    missing = [node for node in evidence.manifest.nodes if node not in sums]
    if missing:
        return _none("rails", name, f"not measured on {', '.join(missing[:8])}")
    slowest = min(sums, key=lambda node: sums[node])
    text = f"the slowest of {len(sums)} nodes is {slowest}: {show_both(sums[slowest])} each way, all rails at once"
    return _reading(
        "rails", name, sums[slowest], target, text, (f"{n}: {show_both(r)}" for n, r in sums.items())
    )


def _loaded(evidence: Evidence) -> str:
    """Why the ranks of a node cannot have loaded all of its rails; "" when they can.

    With NCCL a GPU uses the rails next to it, so all GPUs are wanted; with gloo a rank uses one rail.
    """
    least, count = min(evidence.run.ranks_on.values()), evidence.rails.count
    wanted = evidence.profile.gpus if evidence.backend != "gloo" and evidence.profile.gpus else count
    return f"{least} ranks a node cannot load all {count} rails" if least < wanted else ""


@derived
def _sums(evidence: Evidence) -> dict[str, float]:
    """node -> bytes/s each way over all of its rails at once: the median over its partners, largest message.

    A pair that was tried and has no figure carried nothing.
    """
    pairs = [
        row for row in evidence.rows if row.case.phase == RAILS and row.case.collective == "p2p_bidirectional"
    ]
    largest = max((row.case.size for row in pairs), default=0)
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in pairs:
        # in their order: from a set they would come in another one each time
        ends = tuple(dict.fromkeys(node_names(row.measurement.ranks, evidence)))
        if row.case.size == largest and len(ends) == 2 and row.ranks == 2:
            for node in ends:
                sums[node, row.case.id] += row.algbw if math.isfinite(row.algbw) else 0.0
    rounds: dict[str, list[float]] = defaultdict(list)
    for (node, _), rate in sums.items():
        rounds[node].append(rate)
    return {node: median(rates) for node, rates in rounds.items()}


def _floor(evidence: Evidence) -> Bound:
    """The least share of the target: the profile's for a forced Ring, else what published healthy runs carry."""
    found = [limit.bound for limit in evidence.limits("wire_share") if limit.algorithm == "ring"]
    if found:
        return max(found, key=lambda bound: bound.value)
    if evidence.rails.kind == "socket":
        share = HEALTHY * efficiency("tcp", MTU["socket"])
        return Bound(
            share, show_share(share), f"{show_share(HEALTHY)} of what TCP at 1500 bytes leaves of a line"
        )
    return Bound(HEALTHY, show_share(HEALTHY), "published healthy runs carry 87 to 97 % of their rails")


def _together(
    found: tuple[TargetReading, ...], target: Bound, floor: Bound, needed: dict[str, str]
) -> TargetReadings:
    told = [reading for reading in found if reading.told]
    listed = "; ".join(f"{r.name} {show_rate(r.rate, 'Gb/s')} ({show_share(r.share)})" for r in told)
    if len({reading.kind for reading in told}) < 2:
        missing = "; ".join(f"{r.name}: {r.text}" for r in found if not r.told)
        have = f"one kind of reading: {listed}" if told else "no reading"
        step = "railgauge accept measures all three: forced Ring, rails at once, port counters"
        text = f"{have}; {missing}"
        return TargetReadings(
            target, found, Status.INCONCLUSIVE, "", text, "three readings", "RailGauge", step
        )
    if not _agree(told):
        odd = _odd(told)
        said = f"{odd} is the odd one" if odd else "which of them is wrong cannot be determined"
        wanted = f"agreement within {show_share(TOLERANCE)}"
        step = "see how each was taken; then the rails and pairs: a slow rail holds a ring back more than their sum"
        return TargetReadings(
            target, found, Status.INCONCLUSIVE, odd, f"{listed}: {said}", wanted, TOLERANCE_SOURCE, step
        )
    low = min(told, key=lambda reading: reading.share)
    good = low.share >= floor.value
    kinds = {reading.kind for reading in told}
    lacking = [r for r in found if r.kind not in kinds and not needed[r.kind]]
    if good and lacking:
        text = f"{listed}: they agree, but {'; '.join(f'{r.name}: {r.text}' for r in lacking)}"
        step = "see why it could not be read; two readings alone do not say which of them is wrong"
        return TargetReadings(
            target, found, Status.INCONCLUSIVE, "", text, "three readings", "RailGauge", step
        )
    return TargetReadings(
        target,
        found,
        Status.PASS if good else Status.FAIL,
        "",
        f"{listed}: they agree within {show_share(TOLERANCE)}",
        f"at least {floor.text} of {target.text}",
        floor.source,
        "" if good else "see the rails and pairs for the node, rail or port that holds it back",
    )


def _agree(told: Sequence[TargetReading]) -> bool:
    rates = [reading.rate for reading in told]
    return max(rates) <= min(rates) * (1 + TOLERANCE)


def _odd(told: Sequence[TargetReading]) -> str:
    """The one reading without which the others agree, when there is exactly one."""
    if len(told) < 3:
        return ""
    odd = [each for each in told if _agree([other for other in told if other is not each])]
    return odd[0].name if len(odd) == 1 else ""
