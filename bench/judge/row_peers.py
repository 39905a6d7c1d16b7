"""Rows beside their equals: the same case on other nodes, GPUs and pairs, and larger messages of the same sweep.

What is slow beside its equals is measured once more before it counts: the run plans ``again(phase)``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from statistics import median_low

from bench.model.collectives import collective as named
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case
from bench.model.units import show_rate, show_seconds, show_share, show_size
from bench.plan.phase_names import FIRST, INSIDE, INSTEAD, NODES, RERUN, phase_words
from bench.plan.single_node_phases import COPIES_PHASE
from bench.store.rows import Row

LEAST = 0.85  # of the median of its equals
# which socket's memory a process has is chance, and all GPUs copy at once
HOST_LEAST = 0.5
# of what copies the other way between GPU and host reach: 0.7 on GH200 (nvbandwidth), 1 by PCIe
ONE_WAY = 0.4
MOST = 20  # cases of a phase that are measured again
FEWEST = 3  # equals without which nothing is usual
# what a larger message takes: where NCCL changes its protocol or algorithm, a larger one may be somewhat faster
TIMES = 3.0
# bytes from which on the bandwidth of a series grows with the message, and from which on NCCL keeps its algorithm
WIDE, SETTLED = 64 << 20, 1 << 30
DIP = 0.6  # of what the other messages of its series lead to: where NCCL changes its algorithm a quarter is lost
SMALL = 1 << 20  # bytes, below which latency counts: two GPUs need no longer than all of them
PHASES = (NODES, INSIDE, COPIES_PHASE)  # whose groups are equals
SWEEPS = ("collectives", "ring", "pairs", "graphs", "registered", "run")
# collective → the phase that loads the same links, of whose busbw a healthy row reaches nearly all: all_to_all what one
# NIC does, or more (nccl-tests#267, #130); p2p_ring 47 to 48 GB/s of an NDR rail (ROCm/cvs); broadcast 87 % of
# all_reduce as Ring, by which NCCL makes it (Voltage Park, 4 nodes)
ACROSS = dict.fromkeys(("all_to_all", "p2p_ring", "p2p", "p2p_bidirectional"), FIRST)
ACROSS |= {"broadcast": "ring", "reduce": "ring"}
WITHIN = {"p2p": INSIDE, "p2p_bidirectional": INSIDE}


@dataclass(frozen=True)
class Comparison:
    """A row beside its equals. ``allowed``: seconds that it may take; ``usual``: what its equals do, in words.

    again   the same on the same ranks, measured once more; None where it was not
    """

    row: Row
    allowed: float
    usual: str
    again: Row | None = None

    @property
    def slow(self) -> bool:
        return not self.row.seconds <= self.allowed

    @property
    def confirmed(self) -> bool:
        """Whether the row was slow both times."""
        return self.slow and self.again is not None and not self.again.seconds <= self.allowed


def comparisons(rows: Sequence[Row]) -> list[Comparison]:
    """Every row with a time that has equals, once for each kind of them."""
    timed = [row for row in rows if math.isfinite(row.seconds)]
    again = {
        (row.case.phase.removeprefix(f"{RERUN}-"), _name(row.case), row.measurement.ranks): row
        for row in timed
        if row.case.phase.startswith(f"{RERUN}-")
    }
    found = [*_beside_equals(timed), *_beside_others(timed)]
    if not again:
        return found
    return [
        replace(
            each, again=again.get((each.row.case.phase, _name(each.row.case), each.row.measurement.ranks))
        )
        for each in found
    ]


def again(phase: str, found: Iterable[Comparison]) -> tuple[Case, ...]:
    """The cases of a phase that are slow and were not measured a second time, as they were, the slowest first."""
    slow = [each for each in found if each.slow and each.again is None and each.row.case.phase == phase]
    worst = sorted(slow, key=lambda each: each.allowed / each.row.seconds)
    cases = list(dict.fromkeys(each.row.case for each in worst))[:MOST]
    name = f"{RERUN}-{phase}"
    return tuple(replace(case, phase=name, id=f"{name}/{_name(case)}") for case in cases)


def _name(case: Case) -> str:
    return case.id.partition("/")[2]


def _beside_equals(rows: Sequence[Row]) -> Iterator[Comparison]:
    groups = defaultdict(list)
    for row in rows:
        if row.case.phase in PHASES:
            groups[row.case.phase, row.case.collective, row.case.size].append(row)
    for (_, collective, _), group in groups.items():
        if len(group) < FEWEST:
            continue
        share = HOST_LEAST if "host" in named(collective).sides else LEAST
        seconds = median_low(row.seconds for row in group)  # of two nodes one may be slow: the quicker counts
        usual = f"the median of {len(group)} equals is {show_seconds(seconds)}, at least {show_share(share)} as fast"
        yield from (Comparison(row, seconds / share, usual) for row in group)


def _beside_others(rows: Sequence[Row]) -> Iterator[Comparison]:
    """Each row held against the rows of its series with other message sizes."""
    series = defaultdict(list)
    for row in rows:
        case = row.case
        if case.phase in SWEEPS:
            series[case.phase, case.collective, case.placement, case.algorithm, row.measurement.ranks].append(
                row
            )
    for group in series.values():
        ordered = sorted(group, key=lambda row: row.case.size)
        yield from _beside_larger(ordered)
        yield from _beside_smaller([row for row in ordered if row.case.size >= WIDE])
        yield from _before_larger([row for row in ordered if row.case.size >= SETTLED])


def _beside_larger(ordered: Sequence[Row]) -> Iterator[Comparison]:
    quickest: Row | None = None
    for row in reversed(ordered):
        if quickest is not None:
            usual = f"{show_size(quickest.case.size)} take {show_seconds(quickest.seconds)}"
            yield Comparison(row, TIMES * quickest.seconds, usual)
        if quickest is None or row.seconds < quickest.seconds:
            quickest = row


def _beside_smaller(ordered: Sequence[Row]) -> Iterator[Comparison]:
    """A large message that is slow by itself: its equals of other sizes reach their bounds."""
    best: Row | None = None
    for row in ordered:
        if best is not None:
            usual = f"{show_size(best.case.size)} reach {show_rate(best.busbw)}, of which {show_share(DIP)} are wanted"
            yield Comparison(row, row.case.size / (DIP * best.algbw), usual)
        if best is None or row.algbw > best.algbw:
            best = row


def _before_larger(ordered: Sequence[Row]) -> Iterator[Comparison]:
    """Each large message held against the time that the two next larger ones predict: from both follow the seconds
    that a byte takes, and those that do not grow with the size.
    """
    for row, next_, last in zip(ordered, ordered[1:], ordered[2:], strict=False):
        byte = (last.seconds - next_.seconds) / max(1, last.case.size - next_.case.size)
        fixed = max(0.0, next_.seconds - byte * next_.case.size)
        due = fixed + (next_.seconds - fixed) * row.case.size / next_.case.size
        usual = f"by {show_size(next_.case.size)} and {show_size(last.case.size)} it should take {show_seconds(due)}"
        yield Comparison(row, due / DIP, usual)


def slow_talk(rows: Sequence[Row], ranks: int) -> Iterator[tuple[str, Row, str]]:
    """(phase, its median row, what all ranks need), where small messages between two GPUs take far longer than that.

    All pairs alike: one that is slow by itself has equals.
    """
    whole = [row for row in rows if _is_whole(row, ranks)]
    talks = defaultdict(list)
    for row in rows:
        case = row.case
        if case.phase == "pairs" and case.size < SMALL and math.isfinite(row.seconds):
            talks[case.phase, case.collective, case.size].append(row)
    for (phase, _, size), group in talks.items():
        larger = [row for row in whole if row.case.size >= size]
        usual = sorted(group, key=lambda row: row.seconds)[len(group) // 2]
        if larger and usual.seconds > TIMES * (quickest := min(larger, key=lambda row: row.seconds)).seconds:
            text = f"all_reduce of {show_size(quickest.case.size)} on all {ranks} ranks takes "
            yield phase, usual, text + show_seconds(quickest.seconds)


def contradictions(rows: Sequence[Row], node_of: Mapping[int, str]) -> Iterator[tuple[Row, str]]:
    """The largest message of each series that is far slower than the same links were in another phase, and how fast
    they were there; between GPUs of a node also one that is far faster than all its links were.
    """
    wide = [row for row in rows if row.case.size >= WIDE and math.isfinite(row.busbw)]
    rates, series = defaultdict(list), {}
    for row in sorted(wide, key=lambda row: row.case.size):
        case = row.case
        rates[INSTEAD.get(case.phase, case.phase)].append(row.busbw)
        if case.phase in ("collectives", "pairs"):
            series[case.phase, case.collective, case.placement] = row
    for row in series.values():
        phase = (ACROSS if _crosses(row, node_of) else WITHIN).get(row.case.collective, "")
        usual = median_low(rates.get(phase, [row.busbw]))
        if not row.busbw >= DIP * usual or (phase == INSIDE and not usual >= DIP * row.busbw):
            yield row, f"in phase “{phase_words(phase)}” the same links reached {show_rate(usual)}"


def one_way_slow(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """The median row of copies one way between GPU and host, where those the other way are far quicker: both take the
    same PCIe links.
    """
    largest: dict[str, list[Row]] = {}
    for row in (each for each in rows if each.case.phase == COPIES_PHASE and math.isfinite(each.busbw)):
        if "host" in named(row.case.collective).sides and row.case.size >= WIDE:
            largest.setdefault(row.case.collective, []).append(row)
    middle = [sorted(group, key=lambda row: row.busbw)[len(group) // 2] for group in largest.values()]
    for slow, quick in permutations(middle, 2):
        if slow.busbw < ONE_WAY * quick.busbw:
            yield slow, f"{quick.case.collective} reaches {show_rate(quick.busbw)} at the median"


def _crosses(row: Row, node_of: Mapping[int, str]) -> bool:
    """Whether a message of the row leaves its node; those of pairs go from every second rank to the next."""
    ranks = row.measurement.ranks
    pairs = zip(ranks[::2], ranks[1::2], strict=False)
    if row.case.collective.startswith("p2p") and row.case.collective != "p2p_ring":
        return any(node_of.get(a) != node_of.get(b) for a, b in pairs)
    return len({node_of.get(rank) for rank in ranks}) > 1


def _is_whole(row: Row, ranks: int) -> bool:
    """Whether the row is an all_reduce as NCCL chooses, over all ranks."""
    case = row.case
    same = (case.phase, case.collective) == ("collectives", "all_reduce") and row.ranks == ranks
    return same and math.isfinite(row.seconds)
