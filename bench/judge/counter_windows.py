"""The counters of every node around every phase, from ``counters.jsonl``: the one place where they are paired."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bench.model.counters import Delta, Snapshot, delta
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import CounterLine
from bench.plan.phase_names import phase_words
from bench.store import Run

WHOLE, QUIET = "the whole run", "quiet"  # names of windows that are no phase's


@dataclass(frozen=True)
class CounterWindow:
    """One phase on one node: what its counters were before and after, and what grew between."""

    phase: str
    node: Node
    before: Snapshot
    after: Snapshot
    moved: Delta

    @property
    def seconds(self) -> float:
        return self.moved.seconds or 0.0


@dataclass(frozen=True)
class Gap:
    """A phase, or a node in it, whose counters cannot be compared, and why."""

    phase: str
    subject: str
    reason: str


def begun(run: Run) -> tuple[str, ...]:
    """Returns the phases that were begun or measured, by the journal; nothing where the journal names no phase."""
    found = dict.fromkeys(mark.name for mark in run.phases if mark.state == "begin")
    if found:
        phase = {case.id: case.phase for case in run.plan.cases}
        found |= dict.fromkeys(phase[each.case] for each in run.measurements if each.case in phase)
    return tuple(found)


def of_phase(run: Run, phase: str, resumed: bool = False) -> tuple[list[CounterWindow], list[Gap]]:
    """A window for each node over one phase, from the first reading before it to the last after it.

    ``resumed``: from the last reading before it, where the run was resumed: the part after that alone.
    """
    lines = [line for line in run.counters if line.phase == phase]
    before = [line.snapshots for line in lines if line.when == "before"]
    after = [line.snapshots for line in lines if line.when == "after"]
    if not before or not after:
        which = " and ".join(name for name, rows in (("before", before), ("after", after)) if not rows)
        return [], [
            Gap(phase, "all nodes", f"no counters were recorded {which} phase “{phase_words(phase)}”")
        ]
    if _came_back(run, lines):
        return _of_all(run, phase, lines, resumed)
    return _paired(run, phase, before[-1 if resumed and run.earlier else 0], after[-1])


def _came_back(run: Run, lines: Sequence[CounterLine]) -> bool:
    """Whether some of the readings lack a node that is back, which all the others have."""
    whole = {set(run.manifest.nodes) == set(line.nodes) for line in lines if line.nodes}
    return whole == {True, False}


def _of_all(
    run: Run, phase: str, lines: Sequence[CounterLine], together: bool
) -> tuple[list[CounterWindow], list[Gap]]:
    """Each node from its own first reading before the phase to its own last after it.

    ``together``, or where a node was started anew meanwhile: from the last before it of all nodes to the last after it.
    """
    names, first, last = run.manifest.nodes, dict[str, Snapshot](), dict[str, Snapshot]()
    whole: dict[str, Sequence[Snapshot]] = {"before": (), "after": ()}
    for line in lines:
        read = dict(zip(line.nodes, line.snapshots, strict=False))
        if {*read} == {*names}:
            whole[line.when] = tuple(read[name] for name in names)
        if line.when == "before":
            first = {**read, **first}
        else:
            last.update(read)
    if not together and {*first} == {*last} == {*names}:
        found, gaps = _paired(run, phase, [first[name] for name in names], [last[name] for name in names])
        if not gaps:
            return found, []
    return _paired(run, phase, whole["before"], whole["after"])


def over_the_run(run: Run) -> tuple[CounterWindow, ...]:
    """Each node from the first reading to the last: what happened between two phases is in no other window."""
    return tuple(_between(run, WHOLE, run.counters))


def whole_run(run: Run) -> tuple[CounterWindow, ...]:
    """The windows ``over_the_run``; for a resumed run the windows between phases, except the time it stood still."""
    if not run.manifest.settings.resumed:
        return over_the_run(run)
    return tuple(
        window
        for earlier, later in pairwise(run.counters)
        if (earlier.when, later.when) == ("after", "before") and not _stood_still(run, earlier, later)
        for window in _between(run, WHOLE, (earlier, later))
    )


def _stood_still(run: Run, earlier: CounterLine, later: CounterLine) -> bool:
    first, last = (line.snapshots[0].time if line.snapshots else 0.0 for line in (earlier, later))
    return any(first <= time <= last for time in run.resumed_at)


def started_anew(run: Run) -> list[Gap]:
    """The nodes whose clock went back from one reading to the next, though nobody resumed the run in between."""
    found = []
    for earlier, later in pairwise(() if run.manifest.settings.resumed else run.counters):
        between = f"between {_reading(earlier)} and {_reading(later)}"
        for name, first, last in zip(run.manifest.nodes, earlier.snapshots, later.snapshots, strict=False):
            if earlier.phase != later.phase and not last.monotonic >= first.monotonic:
                clock = f"its clock went back from {first.monotonic:.0f} s to {last.monotonic:.0f} s"
                text = f"was started anew {between}: {clock}"
                found.append(Gap(WHOLE, name, text))
    return found


def _reading(line: CounterLine) -> str:
    return f"the reading {line.when} phase “{phase_words(line.phase)}”"


def quiet(run: Run) -> dict[str, CounterWindow]:
    """Node → its counters over the seconds before the first phase, in which nothing was measured."""
    lines = [line for line in run.counters if line.phase == QUIET]
    return {window.node.name: window for window in _between(run, QUIET, lines)}


def _between(run: Run, name: str, lines: Sequence[CounterLine]) -> list[CounterWindow]:
    read = [line.snapshots for line in lines if line.snapshots]
    return _paired(run, name, read[0], read[-1])[0] if len(read) > 1 else []


def _paired(
    run: Run, phase: str, before: Sequence[Snapshot], after: Sequence[Snapshot]
) -> tuple[list[CounterWindow], list[Gap]]:
    names = run.manifest.nodes
    facts = {node.name: node for node in run.nodes}
    if {len(before), len(after)} != {len(names)}:
        where = f"{len(after)} after phase “{phase_words(phase)}”"
        counts = f"counters of {len(before)} nodes before and {where}, of {len(names)}"
        return [], [Gap(phase, "all nodes", counts)]
    found, gaps = [], []
    for name, first, last in zip(names, before, after, strict=True):
        moved = delta(first, last)
        if moved.seconds is None:
            text = f"was started anew during phase “{phase_words(phase)}”: its counters began again"
            gaps.append(Gap(phase, name, text))
        else:
            found.append(CounterWindow(phase, facts.get(name, Node(name)), first, last, moved))
    return found, gaps
