"""RoCE: how long each rail was paused (PFC), and how often congestion was marked (ECN), against the other rails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import median

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check, no_rails
from bench.model.counter_table import PAUSE_STORM, PAUSED, WAS_PAUSED
from bench.model.counters import ETHTOOL, HW, Growth
from bench.model.late_dataclass import dataclass
from bench.model.rails import rails_of
from bench.model.units import show_share
from bench.plan.phase_names import phase_words

from .exclusion_bytes import nothing_begun

LEAST, TIMES, PHASES = 0.01, 10.0, 2  # of a phase; the median of all rails; phases in which both hold
IMPOSSIBLE = 1.05  # of the time that passed: nothing is paused for longer
FEW = 3  # rails: among fewer it is not known which is odd
MICROSECOND = 1e-6
STORM_STEP = (
    "look at its PCIe link (pcie.link), IOMMU and ACS: the host takes in less than arrives; then at PFC"
)
# a pause of either direction: its counters, and what to look at
WAYS: Mapping[str, tuple[Sequence[str], str]] = {
    "paused its switch": (PAUSED, STORM_STEP),
    "was paused by its switch": (
        WAS_PAUSED,
        "look at the rails that it sends to, then at buffers, PFC and cable of its switch port",
    ),
}
MARKS = (
    (HW, "np_cnp_sent"), (HW, "np_ecn_marked_roce_packets"), (HW, "rp_cnp_handled"), (ETHTOOL, "rx_ecn_mark"),
)  # fmt: skip
Place = tuple[str, int, str]  # node, number of the rail, its name
Rows = Mapping[str, Growth]  # of one rail and phase, by the counter's name

_of_counters = partial(
    check,
    source="the drivers' own counters before and after each phase (ethtool -S)",
    unless=(no_rails, nothing_begun),
    beside=True,
)


@dataclass(frozen=True)
class Pause:
    """The share of a phase for which a rail was paused in one direction; ``usual``: the median of the rails like it."""

    place: Place
    way: str
    phase: str
    share: float
    usual: float

    @property
    def odd(self) -> bool:
        return self.share >= LEAST and self.share >= TIMES * self.usual

    def __str__(self) -> str:
        text = f"{self.way} for {show_share(self.share)} of phase “{phase_words(self.phase)}”"
        return f"{text}, rails like it for {show_share(self.usual)}"


NOBODY_COUNTS = NotApplicable(
    "no rail counts pauses: there is no RoCE port, or its driver does not count them"
)


@_of_counters(
    "growth.pauses",
    wanted=f"no storm; less than {show_share(LEAST)}, or than {TIMES:.0f} times the other rails, in all phases but one",
    on_fail=STORM_STEP,
    on_inconclusive="compare PFC of these ports with the others (mlnx_qos -i, ethtool -S), then run again",
    every="no rail was paused for longer than the others",
    unit="rails",
)
def pauses(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No RoCE rail is paused (PFC) far longer than the others, or pauses its switch until its driver counts a storm."""
    rows: dict[Place, dict[str, Rows]] = {}
    found: dict[Place, list[Pause]] = {}
    by_phase: dict[str, list[CounterWindow]] = {}
    if not any(map(_counts_by_driver, evidence.windows)):
        yield NOBODY_COUNTS
        return
    for window in evidence.windows:
        by_phase.setdefault(window.phase, []).append(window)
    for phase, windows in by_phase.items():
        seconds = {window.node.name: window.seconds for window in windows}
        counted = _rows(evidence, windows)
        for place, own in counted.items():
            rows.setdefault(place, {})[phase] = own
        for pause in _compared(phase, counted, seconds):
            found.setdefault(pause.place, []).append(pause)
    if not any(own for phases in rows.values() for own in phases.values()):
        yield NOBODY_COUNTS
        return
    for place, phases in rows.items():
        yield _storm(place, phases) or _odd(place, found.get(place, [])) or _calm(place, phases)


def _rows(evidence: Evidence, windows: Sequence[CounterWindow]) -> dict[Place, Rows]:
    """What each rail's driver counts by itself; a rail without such counters has none."""
    return {
        (window.node.name, at, rail.name): _of_driver(window, rail.name)
        for window in windows
        for at, rail in enumerate(rails_of(window.node, evidence.rails))
    }


def _counts_by_driver(window: CounterWindow) -> bool:
    shots = (window.before, window.after)
    return any(ETHTOOL in groups for shot in shots for groups in shot.readings.values())


def _of_driver(window: CounterWindow, rail: str) -> Rows:
    return {row.counter: row for row in window.moved.of(rail) if row.group == ETHTOOL}


def _compared(phase: str, rows: Mapping[Place, Rows], seconds: Mapping[str, float]) -> Iterator[Pause]:
    """Each rail beside all rails and, from three nodes on, beside the same rail of the other nodes: where all send to
    one root, they do so over one rail.
    """
    for way, (names, _) in WAYS.items():
        paused = {place: _longest(own, names) for place, own in rows.items() if seconds[place[0]] > 0}
        shares = {
            place: longest * MICROSECOND / seconds[place[0]]
            for place, longest in paused.items()
            if longest is not None
        }
        if len(shares) < FEW:
            continue
        of_all, same = median(shares.values()), dict[int, list[float]]()
        for (_, at, _), share in shares.items():
            same.setdefault(at, []).append(share)
        of_same = {at: median(each) for at, each in same.items() if len(each) >= FEW}
        for place, share in shares.items():
            yield Pause(place, way, phase, share, max(of_all, of_same.get(place[1], 0.0)))


def _longest(rows: Rows, names: Sequence[str]) -> int | None:
    """The µs of the priority that was paused longest. Several pause at once, so their sum would mean nothing."""
    known = (rows[name].growth for name in names if name in rows)
    return max((growth for growth in known if growth is not None), default=None)


def _subject(place: Place) -> str:
    return f"{place[0]} {place[2]}"


def _storm(place: Place, phases: Mapping[str, Rows]) -> Finding | None:
    for phase, rows in phases.items():
        row = rows.get(PAUSE_STORM)
        if row and row.growth:
            text = f"{PAUSE_STORM} grew by {row.growth} in phase “{phase_words(phase)}”"
            why = "it had its switch pause for so long that it gave up"
            return Finding(_subject(place), False, f"{text}: {why}", float(row.growth))
    return None


def _odd(place: Place, found: Sequence[Pause]) -> Finding | None:
    """A finding on a rail that was paused far longer than the others in several phases, or longer than can be."""
    worst = max(found, key=lambda pause: pause.share, default=None)
    if worst and worst.share > IMPOSSIBLE:
        text = f"counts {show_share(worst.share)} of phase “{phase_words(worst.phase)}” as paused, which cannot be"
        return Finding(_subject(place), None, text, step="ask for another driver or firmware of its adapter")
    for way, (_, step) in WAYS.items():
        odd = [pause for pause in found if pause.way == way and pause.odd]
        if len(odd) >= PHASES:
            most = max(odd, key=lambda pause: pause.share)
            text = f"{most}; so in {len(odd)} phases"
            said = tuple(map(str, odd))
            return Finding(_subject(place), False, text, most.share, step=step, bound=LEAST, evidence=said)
    return None


def _calm(place: Place, phases: Mapping[str, Rows]) -> Finding:
    """A rail that is not odd, unless it is not known how long it was paused."""
    names = [name for name in (*WAS_PAUSED, *PAUSED) if any(name in rows for rows in phases.values())]
    if not names:
        text = "does not count how long it was paused, as other rails do: PFC may be off, or its interface is hidden"
        return Finding(_subject(place), None, text)
    for phase, rows in phases.items():
        lost = [name for name in names if name not in rows or rows[name].growth is None]
        if lost:
            text = f"{lost[0]} was reset or not read in phase “{phase_words(phase)}”"
            return Finding(_subject(place), None, text)
    return Finding(_subject(place), True, "was not paused for longer than the others")


@_of_counters("growth.marks")
def marks(evidence: Evidence) -> Iterator[NotApplicable]:
    """Marks of congestion (ECN, CNP) are compared between the rails and not judged: that is how RoCE holds its rate."""
    total: dict[str, dict[str, int]] = {}
    for window in evidence.windows:
        for rail in rails_of(window.node, evidence.rails):
            for group, name in MARKS:
                row = window.moved.find(rail.name, group, name)
                if row and row.growth is not None:
                    of = total.setdefault(name, {})
                    place = f"{window.node.name} {rail.name}"
                    of[place] = of.get(place, 0) + row.growth
    found = [_most(name, of) for name, of in total.items() if any(of.values())]
    without = "no congestion was marked on a rail" if total else "no rail counts marks of congestion"
    yield NotApplicable(found[0] if found else without, evidence=tuple(found))


def _most(name: str, of: Mapping[str, int]) -> str:
    place = max(of, key=lambda each: of[each])
    return f"{name} grew most on {place}, by {of[place]}; the median of {len(of)} rails is {median(of.values()):.0f}"
