"""A soak: did the load stay as fast, as right and as small as it was at its beginning?

All of it is judged by the windows that the journal holds, so a soak that was cut short is judged by what there is, and
soak.duration shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, pairwise
from statistics import median

from msgspec.structs import replace

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.collectives import busbw, collective
from bench.model.measurement import Case, Window
from bench.model.rails import rails_of
from bench.model.run_folder_lines import HealthLine
from bench.model.stats import deviation
from bench.model.units import show_both, show_count, show_seconds, show_share, show_size, show_some

from .correctness import window_compared

PHASE = "soak"
LEAST = 12  # windows from which on a third of them is enough
DROP = 0.05  # of an earlier third's bandwidth
NOISE = 4.0  # times the scatter, of the windows or from one to the next: a drop within it may be another load
FALL = 0.3  # a drop beyond this passes nowhere, whatever the noise, and though the profile gates no speed
DIPS = 0.1  # share of windows that stand out below the others; one of LEAST is less
ENOUGH = 0.95  # of the time that was asked for
EVERY = 30.0  # s from one reading of the counters to the next
PAUSE = 0.1  # of the time that was asked for: a machine that others use may stand still for a while
LATE = 3.0  # times the usual time from one window to the next, beyond its slowest call: windows are missing
GROWTH, GROWTH_SHARE = 64 << 20, 0.05  # bytes, and share, that a process may grow by

Group = tuple[Case, tuple[int, ...], list[Window]]


def planned(evidence: Evidence) -> tuple[Case, ...]:
    """The cases of a soak; () where none was asked for."""
    return tuple(case for case in evidence.run.plan.cases if case.phase == PHASE)


def is_soak(evidence: Evidence) -> bool:
    return bool(planned(evidence))


_of_soak = partial(check, only=is_soak)


def groups(evidence: Evidence) -> list[Group]:
    """(case, ranks, windows in order) of every group that was to be loaded; the windows may be none."""
    found: list[Group] = []
    for case in planned(evidence):
        for ranks in case.groups:
            mine = [each for each in evidence.run.windows if each.case == case.id and each.ranks == ranks]
            found.append((case, ranks, mine))
    return found


def bandwidth(case: Case, window: Window) -> float:
    """Bytes per second on the bus in one window; algbw on one rank, whose busbw is 0. NaN of no time."""
    seconds = max(window.seconds, default=math.nan)
    row, n = collective(case.collective), len(window.ranks)
    if not seconds > 0:
        return math.nan
    return busbw(row, case.size, seconds, n) if row.factor(n) else case.size / seconds


def _duration(evidence: Evidence) -> float:
    return evidence.manifest.settings.budget or 0.0


@_of_soak(
    "soak.duration",
    wanted=lambda evidence: f"{show_seconds(_duration(evidence))} of load",
    source="the command line",
    on_inconclusive="see the losses and notes for what ended it, then: railgauge soak --minutes N",
    bound=_duration,
)
def duration(evidence: Evidence) -> Iterator[Finding]:
    """The load lasted as long as was asked for."""
    for case, ranks, windows in groups(evidence):
        lasted, asked = windows[-1].ended if windows else 0.0, _duration(evidence)
        gap = _gap(windows, PAUSE * asked)
        text = f"{show_seconds(lasted)} in {show_count(len(windows), 'window')}{gap}"
        enough = asked > 0 and lasted >= ENOUGH * asked and not gap
        yield Finding(_name(case, ranks), enough or None, text, lasted, case=case.id)


def _gap(windows: Sequence[Window], pause: float) -> str:
    """Says where windows are missing or out of order. ``pause``: seconds without one that show nothing."""
    begun = [0.0, *(each.ended for each in windows)]
    usual = median([later - before for before, later in pairwise(begun)] or [0.0])
    for window, (before, later) in zip(windows, pairwise(begun), strict=True):
        if later <= before:
            return f"; the window that ended at {show_seconds(later)} stands after that of {show_seconds(before)}"
        if later - before > max(pause, LATE * usual) + window.calls * window.slowest:
            return f"; no window from {show_seconds(before)} to {show_seconds(later)}"
    return ""


@_of_soak(
    "soak.steady",
    wanted=f"a drop of less than {show_share(DROP)}",
    source="RailGauge: windows of the soak",
    on_fail="see gpus.throttled, soak.errors and the chart of the soak for when it began",
    on_inconclusive="see what else runs on these nodes, then soak longer: railgauge soak --minutes N",
    bound=-DROP,
)
def steady(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No third of the load is slower than an earlier third, and few windows are slower than the others."""
    for case, ranks, windows in groups(evidence):
        rates = [bandwidth(case, each) for each in windows]
        found = replace(_steady(_name(case, ranks), rates), case=case.id)
        yield from _bounded(case, ranks, windows, evidence)
        fell = found.value is None or found.value <= -FALL
        if evidence.profile.limits or found.ok:
            yield found
        elif fell:
            yield replace(found, ok=None)
        else:
            text = f"the profile sets no floor for speed; {found.measured}"
            yield NotApplicable(text, found.subject, case=case.id)


def _bounded(
    case: Case, ranks: tuple[int, ...], windows: Sequence[Window], evidence: Evidence
) -> Iterator[Finding]:
    """The finding on a load that is slow from the start, where the profile has a bound for it."""
    rates = [bandwidth(case, each) for each in windows]
    for limit in evidence.limits("busbw"):
        if rates and limit.covers(case) and len(ranks) == len(evidence.ranks):
            usual = median(rates)
            text = f"{show_both(usual)} at the median of its windows"
            wanted = f"at least {limit.bound.text}"
            if not limit.bound.reached(usual):
                yield Finding(
                    _name(case, ranks), False, text, usual, wanted=wanted, source=limit.bound.source,
                    bound=limit.bound.value, case=case.id,
                )  # fmt: skip


def _steady(name: str, rates: Sequence[float]) -> Finding:
    """FAIL for a drop beyond DROP and noise; one within the noise, or many slow windows, leave it open."""
    if len(rates) < LEAST or not all(map(math.isfinite, rates)):
        timed = sum(map(math.isfinite, rates))
        text = f"{timed} of its {len(rates)} windows are timed; {LEAST} are wanted, without a gap"
        return Finding(name, None, f"{text}: soak longer, or with a smaller --size")
    thirds = _thirds(rates)
    # in the order of time: what grew faster has not dropped
    change, before, after = min(
        (median(later) / median(earlier) - 1, which, then)
        for (which, earlier), (then, later) in combinations(thirds, 2)
    )
    scatter = (deviation(part) / median(part) for which, part in thirds if which in (before, after))
    noise = NOISE * max(*scatter, _wander(rates))
    middle = median(rates)
    slow = _below(rates, DROP)
    dips = _below(rates, max(DROP, NOISE * deviation(rates) / middle))
    text = ", ".join(f"{show_both(median(part))} in the {which} third" for which, part in thirds)
    text += (
        f": the {after} is {100 * change:+.1f} % from the {before} (noise {show_share(noise)}); "
        f"{slow} of {len(rates)} windows ({show_share(slow / len(rates))}) are more than {show_share(DROP)} "
        f"below the median; slowest window {show_both(min(rates))}"
    )
    if change <= -max(DROP, noise):
        return Finding(name, False, text, change)
    if change <= -DROP:
        return Finding(name, None, f"{text}; too noisy to decide on a drop", change)
    if dips > DIPS * len(rates):
        return Finding(name, None, f"{text}; {dips} of them stand out from the noise", change)
    return Finding(name, True, text, change)


def _wander(rates: Sequence[float]) -> float:
    """How far the bandwidth moves from one twelfth of the load to the next, as a share, beyond a steady trend.

    A machine that others use wanders for minutes, which the scatter within a third does not show.
    """
    edges = [len(rates) * i // LEAST for i in range(LEAST + 1)]
    levels = [median(rates[start:end]) for start, end in pairwise(edges)]
    return deviation([math.log(later / earlier) for earlier, later in pairwise(levels)])


def _thirds(rates: Sequence[float]) -> list[tuple[str, Sequence[float]]]:
    third = len(rates) // 3
    return [("first", rates[:third]), ("middle", rates[third:-third]), ("last", rates[-third:])]


def _below(rates: Sequence[float], drop: float) -> int:
    least = (1 - drop) * median(rates)
    return sum(rate < least for rate in rates)


@_of_soak(
    "soak.right",
    wanted="0 wrong in every window",
    source="RailGauge",
    on_fail="test this node's GPUs and rails by themselves",
)
def right(evidence: Evidence) -> Iterator[Finding]:
    """A call of every window was verified, and no element was wrong."""
    for case, ranks, windows in groups(evidence):
        bad = [each for each in windows if any(each.wrong)]
        unverified = [each for each in windows if not window_compared(case, each)]
        ok: bool | None = not bad
        text = f"{sum(each.checked for each in windows)} elements in {len(windows)} windows, 0 wrong"
        if bad:
            wrong = show_count(sum(count or 0 for each in bad for count in each.wrong), "wrong element")
            text = f"{wrong} in {show_count(len(bad), 'window')}, the first at {show_seconds(bad[0].ended)}"
        elif unverified or not windows:
            text, ok = f"{len(unverified)} of {len(windows)} windows were not verified", None
        yield Finding(_name(case, ranks), ok, text, case=case.id)


def _lines(evidence: Evidence) -> dict[int, HealthLine]:
    """Rank → what its supervisor recorded beside the load."""
    return {line.rank: line for line in evidence.run.health if line.phase == PHASE}


@_of_soak(
    "soak.memory",
    wanted=f"growth of less than {show_size(GROWTH)}, or {show_share(GROWTH_SHARE)}",
    source="RailGauge: /proc/<pid>/statm, second to last third",
    on_fail="please report this with the run folder",
    on_inconclusive="soak longer: railgauge soak --minutes N",
    unit="processes",
)
def memory(evidence: Evidence) -> Iterator[Finding]:
    """The memory of RailGauge's own processes is flat."""
    lines = _lines(evidence)
    for rank in evidence.ranks:
        points = lines[rank.rank].memory if rank.rank in lines else []
        if points and points[-1][0] < _duration(evidence) / 2:
            text = f"its memory was read until {show_seconds(points[-1][0])} and no longer"
            yield Finding(f"{rank.node} rank {rank.rank}", None, text)
            continue
        for column, process in ((1, "worker"), (2, "supervisor")):
            yield _flat(f"{rank.node} rank {rank.rank} {process}", [row[column] for row in points])


def _flat(name: str, sizes: Sequence[float]) -> Finding:
    wanted = max(LEAST, len(sizes) // 2)
    sizes = [size for size in sizes if size > 0]
    if len(sizes) < wanted:
        return Finding(name, None, f"its memory was read {len(sizes)} times, {wanted} are wanted")
    third = len(sizes) // 3
    # the first third holds the start: imports, buffers, connections
    before, after = median(sizes[third : 2 * third]), median(sizes[-third:])
    ok = after - before < max(GROWTH, GROWTH_SHARE * before)
    text = f"{show_size(int(before))}, then {show_size(int(after))}"
    return Finding(name, ok, text, after - before, note=text)


@_of_soak(
    "soak.errors",
    wanted="0",
    source="counters, every 30 s of the soak",
    on_fail="reseat or change the cable, then run again",
    on_inconclusive="see the notes of this node in: railgauge probe",
    unit="nodes",
)
def errors(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No error counter of a rail increased during the load; one that did is named with its time."""
    lines = _lines(evidence)
    if evidence.rails.kind == "none":
        grown = [text for line in lines.values() for text in _grown(line)]
        read = any(line.looks > 1 for line in lines.values())
        none = "no error counter increased" if read else "no counter was read"
        text = f"the profile has no rails; {grown[0] if grown else none}"
        yield NotApplicable(text, evidence=tuple(grown[:20]))
        return
    for node in evidence.nodes:
        first = next((rank.rank for rank in evidence.ranks if rank.node == node.name), -1)
        rails = {role.name for role in rails_of(node, evidence.rails)}
        yield _errors(node.name, lines.get(first), rails, max(2, int(_duration(evidence) / EVERY / 2)))


def _errors(node: str, line: HealthLine | None, rails: set[str], least: int) -> Finding:
    """``least``: how often its counters were to be read."""
    if not rails:
        return Finding(node, None, "no rail of the profile is on it")
    if line is None or line.errors is None:
        return Finding(node, None, "its counters were not followed")
    bad = [text for text in _grown(line) if text.split(" ", 1)[0] in rails]
    if bad:
        return Finding(node, False, "; ".join(bad[:4]), float(len(bad)))
    if line.looks < least:
        times = show_count(line.looks, "time")
        return Finding(node, None, f"its counters were read {times}, at least {least} are wanted")
    unknown = [
        f"{rail} {name}" for rail in sorted(rails) for name in line.followed.get(rail, ["error counters"])
    ]
    if unknown:
        return Finding(node, None, f"growth of {show_some(unknown, of='counters')} is not known")
    return Finding(node, True, "no error counter increased", 0.0)


def _grown(line: HealthLine) -> list[str]:
    """``mlx5_3/1 symbol_error grew by 12 until 90 s``."""
    return [f"{name} grew by {growth} until {show_seconds(at)}" for at, name, growth in line.errors or []]


def _name(case: Case, ranks: tuple[int, ...]) -> str:
    first = f" ({ranks[0]})" if len(case.groups) > 1 else ""
    return f"{case.collective} {show_size(case.size)}, {show_count(len(ranks), 'rank')}{first}"
