"""A soak: did the load stay as fast, as right and as small as it was at its beginning?

All of it is judged by the windows that the journal holds, so a soak that was ended early is judged by what
there is, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from statistics import median

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.collectives import busbw, collective
from bench.model.lines import HealthLine
from bench.model.measurement import Case, Window
from bench.model.rails import rails_of
from bench.model.stats import deviation
from bench.model.units import show_both, show_count, show_seconds, show_share, show_size
from bench.model.verdict import Verdict

PHASE = "soak"
LEAST = 12  # windows from which on a third of them says something
DROP = 0.05  # of an earlier third's bandwidth
NOISE = (
    4.0  # times the scatter, of the windows or of what follows what: a drop within it may be what else runs
)
FALL = 0.3  # a drop beyond this passes nowhere, whatever the noise, and though the profile gates no speed
DIPS = 0.1  # share of windows that stand out below the others; one of LEAST is less
ENOUGH = 0.95  # of the time that was asked for
GROWTH, GROWTH_SHARE = 64 << 20, 0.05  # bytes, and share, that a process may grow by
TOLD = "RailGauge: windows of the soak"

Group = tuple[Case, tuple[int, ...], list[Window]]


def planned(evidence: Evidence) -> tuple[Case, ...]:
    """The cases of a soak; () where none was asked for."""
    return tuple(case for case in evidence.run.plan.cases if case.phase == PHASE)


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


@check("soak.duration")
def duration(evidence: Evidence) -> Iterator[Verdict]:
    """The load lasted as long as was asked for."""
    asked = evidence.manifest.settings.budget or 0.0
    ask = Question(
        "soak.duration",
        f"{show_seconds(asked)} of load",
        "the command line",
        "",
        "see the losses and notes for what ended it, then: railgauge soak",
        asked,
    )
    for case, ranks, windows in groups(evidence):
        lasted = windows[-1].ended if windows else 0.0
        ok = True if asked > 0 and lasted >= ENOUGH * asked else None
        told = f"{show_seconds(lasted)} in {len(windows)} windows"
        yield ask.verdict(Finding(_name(case, ranks), ok, told, lasted))


@check("soak.steady")
def steady(evidence: Evidence) -> Iterator[Verdict]:
    """No third of the load is slower than one before it, and hardly a window than the others."""
    ask = Question(
        "soak.steady",
        f"a drop of less than {show_share(DROP)}",
        TOLD,
        "see gpus.throttled, soak.errors and the chart of the soak for when it began",
        "see what else runs on these nodes, then soak longer: railgauge soak --minutes",
        -DROP,
    )
    for case, ranks, windows in groups(evidence):
        found = _steady(_name(case, ranks), [bandwidth(case, each) for each in windows])
        fell = found.value is None or found.value <= -FALL
        if evidence.profile.limits or found.ok:
            yield ask.verdict(found)
        elif fell:
            yield ask.verdict(replace(found, ok=None))
        else:
            yield ask.skip(found.subject, f"the profile gates no speed; {found.measured}")


def _steady(name: str, rates: Sequence[float]) -> Finding:
    """FAIL for a drop beyond DROP and noise; one within the noise, or many slow windows, leave it open."""
    if len(rates) < LEAST or not all(map(math.isfinite, rates)):
        timed = sum(map(math.isfinite, rates))
        told = f"{timed} of its {len(rates)} windows are timed; {LEAST} are wanted, without a gap"
        return Finding(name, None, f"{told}: soak longer, or with a smaller --size")
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
    told = ", ".join(f"{show_both(median(part))} in the {which} third" for which, part in thirds)
    told += (
        f": the {after} is {100 * change:+.1f} % from the {before} (noise {show_share(noise)}); "
        f"{slow} of {len(rates)} windows ({show_share(slow / len(rates))}) are more than {show_share(DROP)} "
        f"below the median; slowest window {show_both(min(rates))}"
    )
    if change <= -max(DROP, noise):
        return Finding(name, False, told, change)
    if change <= -DROP:
        return Finding(name, None, f"{told}; too noisy to tell a drop", change)
    if dips > DIPS * len(rates):
        return Finding(name, None, f"{told}; {dips} of them stand out from the noise", change)
    return Finding(name, True, told, change)


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


@check("soak.right")
def right(evidence: Evidence) -> Iterator[Verdict]:
    """A call of every window was checked, and no element was wrong."""
    ask = Question(
        "soak.right", "0 wrong in every window", "RailGauge", "test this node's GPUs and rails by themselves"
    )
    for case, ranks, windows in groups(evidence):
        bad = [each for each in windows if any(each.wrong)]
        unchecked = [each for each in windows if not each.checked]
        told = f"{sum(each.checked for each in windows)} elements in {len(windows)} windows, 0 wrong"
        ok: bool | None = True
        if bad:
            wrong = show_count(sum(count or 0 for each in bad for count in each.wrong), "wrong element")
            told = f"{wrong} in {show_count(len(bad), 'window')}, the first at {show_seconds(bad[0].ended)}"
            ok = False
        elif unchecked or not windows:
            told, ok = f"{len(unchecked)} of {len(windows)} windows were not checked", None
        yield ask.verdict(Finding(_name(case, ranks), ok, told))


@check("soak.memory")
def memory(evidence: Evidence) -> Iterator[Verdict]:
    """The memory of our own processes is flat."""
    ask = Question(
        "soak.memory",
        f"growth of less than {show_size(GROWTH)}, or {show_share(GROWTH_SHARE)}",
        "RailGauge: /proc/<pid>/statm, second to last third",
        "please report this with the run folder",
        "soak longer: railgauge soak --minutes",
    )
    if not planned(evidence):
        return
    lines = {line.rank: line for line in evidence.run.health if line.phase == PHASE}
    found = []
    for rank in evidence.ranks:
        points = lines[rank.rank].memory if rank.rank in lines else []
        for column, process in ((1, "worker"), (2, "supervisor")):
            found.append(_flat(f"{rank.node} rank {rank.rank} {process}", [row[column] for row in points]))
    yield from ask.verdicts(found, "of our processes did not grow")


def _flat(name: str, sizes: Sequence[float]) -> Finding:
    sizes = [size for size in sizes if size > 0]
    if len(sizes) < LEAST:
        return Finding(name, None, f"its memory was seen {len(sizes)} times, {LEAST} are wanted")
    third = len(sizes) // 3
    # the first third holds the start: imports, buffers, connections
    before, after = median(sizes[third : 2 * third]), median(sizes[-third:])
    ok = after - before < max(GROWTH, GROWTH_SHARE * before)
    told = f"{show_size(int(before))}, then {show_size(int(after))}"
    return Finding(name, ok, told, after - before, note=told)


@check("soak.errors")
def errors(evidence: Evidence) -> Iterator[Verdict]:
    """No error counter of a rail grew during the load; what grew is told with its time."""
    ask = Question(
        "soak.errors",
        "0",
        "counters, every 30 s of the soak",
        "reseat or change the cable, then run again",
        "see the notes of this node in: railgauge probe",
    )
    if not planned(evidence):
        return
    lines = {line.rank: line for line in evidence.run.health if line.phase == PHASE}
    if evidence.rails.kind == "none":
        told = [text for line in lines.values() for text in _grown(line)]
        looked = any(line.looks > 1 for line in lines.values())
        none = "no error counter grew" if looked else "no counter was looked at"
        measured = f"the profile speaks of no rails; {told[0] if told else none}"
        yield ask.skip("all nodes", measured, *told[:20])
        return
    found = []
    for node in evidence.nodes:
        first = next((rank.rank for rank in evidence.ranks if rank.node == node.name), -1)
        rails = {role.name for role in rails_of(node, evidence.rails)}
        found.append(_errors(node.name, lines.get(first), rails))
    yield from ask.verdicts(found, "nodes show no error grown on a rail")


def _errors(node: str, line: HealthLine | None, rails: set[str]) -> Finding:
    if line is None or line.errors is None or not rails:
        return Finding(node, None, "its counters were not followed")
    bad = [text for text in _grown(line) if text.split(" ", 1)[0] in rails]
    if bad:
        return Finding(node, False, "; ".join(bad[:4]), float(len(bad)))
    if line.looks < 2:
        return Finding(
            node,
            None,
            f"its counters were looked at {show_count(line.looks, 'time')}, 2 at least are wanted",
        )
    untold = [
        f"{rail} {name}" for rail in sorted(rails) for name in line.followed.get(rail, ["error counters"])
    ]
    if untold:
        more = f" and {len(untold) - 4} more" if len(untold) > 4 else ""
        return Finding(node, None, f"it cannot be determined whether {', '.join(untold[:4])}{more} grew")
    return Finding(node, True, "no error grew", 0.0)


def _grown(line: HealthLine) -> list[str]:
    """``mlx5_3/1 symbol_error grew by 12 until 90 s``."""
    return [f"{name} grew by {growth} until {show_seconds(at)}" for at, name, growth in line.errors or []]


def _name(case: Case, ranks: tuple[int, ...]) -> str:
    return f"{case.collective} {show_size(case.size)}, {len(ranks)} ranks" + (
        f" ({ranks[0]})" if len(case.groups) > 1 else ""
    )
