"""A run without the nodes that were set aside: their ranks, facts, counters and every row that they took part in."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from bench.model.measurement import Measurement
from bench.model.run_folder_lines import CounterLine, Loss, PerftestSkipped, PerftestTool, PerftestTransfer

from .run import Run


def without_set_aside(whole: Run) -> Run:
    """The run without the nodes set aside, by the plan made for the others; all but its facts is judged so.

    What was measured before with the others is left out where the plan measures it again without them.
    """
    manifest = whole.manifest
    gone = {each.node for each in manifest.set_aside}
    if not gone:
        return whole
    ranks = tuple(rank for rank in manifest.ranks if rank.node not in gone)
    numbers = {rank.rank for rank in ranks}
    voided = [loss for loss in whole.losses if _is_of(loss, gone)]
    return replace(
        whole,
        manifest=replace(
            manifest,
            ranks=ranks,
            environment={
                rank: own
                for rank, own in manifest.environment.items()
                if rank.isdigit() and int(rank) in numbers
            },
        ),
        facts=tuple(node for node in whole.facts if node.name not in gone),
        measurements=_planned(whole),
        losses=tuple(loss for loss in whole.losses if loss not in voided),
        counters=tuple(_without(line, manifest.nodes, gone) for line in whole.counters),
        perftest=tuple(row for row in whole.perftest if not _names(row) & gone),
        windows=tuple(row for row in whole.windows if numbers.issuperset(row.ranks)),
        activity=tuple(row for row in whole.activity if row.node not in gone),
        health=tuple(row for row in whole.health if row.rank in numbers),
        notes=(*whole.notes, *(loss.reason for loss in voided)),
        everyone=whole,
    )


def with_all_back(whole: Run) -> Run:
    """The run without what was measured while a node was set aside that is back, and that is not planned with it."""
    names = set(whole.manifest.nodes)
    back = not whole.manifest.set_aside and any(
        set(line.nodes) < names for line in whole.counters if line.nodes
    )
    return replace(whole, measurements=_planned(whole)) if back else whole


def _planned(whole: Run) -> tuple[Measurement, ...]:
    """Of each case and group in the plan the last measurement."""
    planned = {(case.id, group) for case in whole.plan.cases for group in case.groups}
    found = {(row.case, row.ranks): row for row in whole.measurements if (row.case, row.ranks) in planned}
    return tuple(_in_order(whole.measurements, found.values()))


def who_came(whole: Run) -> Run:
    """The run without the set-aside nodes of which nothing is known, since they never came."""
    known = {node.name for node in whole.facts}
    never = tuple(each for each in whole.manifest.set_aside if each.node not in known)
    return without_set_aside(replace(whole, manifest=replace(whole.manifest, set_aside=never)))


def _is_of(loss: Loss, gone: Collection[str]) -> bool:
    """Whether all nodes blamed for a loss were set aside: then the others measure its cases again."""
    return bool(loss.nodes) and set(loss.nodes) <= set(gone)


def _in_order(rows: Iterable[Measurement], kept: Iterable[Measurement]) -> Iterable[Measurement]:
    chosen = {id(row) for row in kept}
    return (row for row in rows if id(row) in chosen)


def _without(line: CounterLine, names: tuple[str, ...], gone: Collection[str]) -> CounterLine:
    names = line.nodes or names
    if len(names) != len(line.snapshots):
        return line
    kept = [(name, each) for name, each in zip(names, line.snapshots, strict=True) if name not in gone]
    return replace(line, nodes=tuple(name for name, _ in kept), snapshots=tuple(each for _, each in kept))


def _names(row: PerftestTool | PerftestTransfer | PerftestSkipped) -> set[str]:
    if isinstance(row, PerftestTransfer):
        return {row.sender.node, row.receiver.node}
    return {row.node} if isinstance(row, PerftestTool) else set()
