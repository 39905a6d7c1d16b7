"""The counters of every node around every phase, from ``counters.jsonl``.

Not a check: growth and the bytes of excluded ports are both read from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.model.counters import Delta, Snapshot, grown_between
from bench.model.facts import Node
from bench.model.lines import CounterLine
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
    """The phases in which something was measured, or was to be: those the journal says were begun."""
    return tuple(dict.fromkeys(mark.name for mark in run.phases if mark.state == "begin"))


def windows(run: Run) -> tuple[tuple[CounterWindow, ...], tuple[Gap, ...]]:
    """Every begun phase × node. A phase that was begun again is one window, from its first to its last."""
    found: list[CounterWindow] = []
    gaps: list[Gap] = []
    for phase in begun(run):
        lines = [line for line in run.counters if line.phase == phase]
        before = [line.snapshots for line in lines if line.when == "before"]
        after = [line.snapshots for line in lines if line.when == "after"]
        if not before or not after:
            which = " and ".join(name for name, rows in (("before", before), ("after", after)) if not rows)
            gaps.append(Gap(phase, "all nodes", f"no counters were recorded {which} phase {phase}"))
            continue
        _pair(run, phase, before[0], after[-1], found, gaps)
    return tuple(found), tuple(gaps)


def whole_run(run: Run) -> tuple[CounterWindow, ...]:
    """Each node from the first reading to the last: what happened between two phases is in no other window.

    () of a run that was resumed: nobody looked after its nodes in between.
    """
    return () if run.manifest.settings.resumed else _between(run, WHOLE, run.counters)[0]


def quiet(run: Run) -> dict[str, CounterWindow]:
    """Node → its counters over the seconds before the first phase, in which nothing was measured."""
    lines = [line for line in run.counters if line.phase == QUIET]
    return {window.node.name: window for window in _between(run, QUIET, lines)[0]}


def _between(
    run: Run, name: str, lines: Sequence[CounterLine]
) -> tuple[tuple[CounterWindow, ...], tuple[Gap, ...]]:
    found: list[CounterWindow] = []
    gaps: list[Gap] = []
    if len(lines) > 1:
        _pair(run, name, lines[0].snapshots, lines[-1].snapshots, found, gaps)
    return tuple(found), tuple(gaps)


def _pair(
    run: Run,
    phase: str,
    before: Sequence[Snapshot],
    after: Sequence[Snapshot],
    found: list[CounterWindow],
    gaps: list[Gap],
) -> None:
    names = run.manifest.nodes
    facts = {node.name: node for node in run.nodes}
    if {len(before), len(after)} != {len(names)}:
        told = f"counters of {len(before)} nodes before and {len(after)} after phase {phase}, of {len(names)}"
        gaps.append(Gap(phase, "all nodes", told))
        return
    for name, first, last in zip(names, before, after, strict=True):
        moved = grown_between(first, last)
        if moved.seconds is None:
            gaps.append(Gap(phase, name, f"was started anew during phase {phase}: its counters began again"))
        else:
            found.append(CounterWindow(phase, facts.get(name, Node(name)), first, last, moved))
