"""Which nodes of a resumed run are present: those left out on purpose are set aside, those back take part again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Rank
from bench.store import Manifest, Run, SetAside
from bench.store.set_aside import without_set_aside


@dataclass(frozen=True)
class Rejoined:
    """``numbers``: the numbers that the ranks present have in the run; ``changed``: whether other nodes take part."""

    run: Run
    numbers: tuple[int, ...]
    changed: bool


def rejoin(run: Run, ranks: Sequence[Rank], without: Collection[str]) -> Rejoined | None:
    """The run with the nodes present; None where others than ``without`` are missing, or it never had one of them."""
    whole = run.whole
    manifest, here = whole.manifest, list(dict.fromkeys(rank.node for rank in ranks))
    known = {(rank.node, rank.local_rank): rank.rank for rank in manifest.ranks}
    left = [node for node in manifest.nodes if node not in here]
    aside = {each.node: each for each in manifest.set_aside}
    numbers = tuple(known.get((rank.node, rank.local_rank), -1) for rank in ranks)
    if -1 in numbers or list(numbers) != sorted(numbers) or not {*left} <= {*without, *aside}:
        return None
    if {number for (node, _), number in known.items() if node in here} != {*numbers}:
        return None
    set_aside = tuple(aside.get(node) or _left_out(whole, node) for node in left)
    again = replace(whole, manifest=replace(manifest, set_aside=set_aside))
    return Rejoined(without_set_aside(again), numbers, set_aside != manifest.set_aside)


def _left_out(run: Run, node: str) -> SetAside:
    """Why a node is not here: how it was lost and in which phase, where the run says so."""
    lost = [loss for loss in run.losses if loss.nodes == (node,)]
    if not lost:
        return SetAside(node, node, "left out by --without when the run went on")
    phases = (phase.name for phase in run.plan.phases if lost[-1].case in {case.id for case in phase.cases})
    return SetAside(node, node, lost[-1].reason, phase=next(phases, ""))


def as_they_are_now(
    before: Run,
    run: Run,
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    environment: Mapping[str, Mapping[str, str]],
) -> Run:
    """The run with what those nodes are now that are back: set aside in ``before``, and mended since.

    A node that took part in a measurement must still be what it was then, so its facts stay.
    """
    whole = run.whole
    measured = {number for row in whole.measurements for number in row.ranks}
    used = {rank.node for rank in whole.manifest.ranks if rank.rank in measured}
    back = {each.node for each in before.manifest.set_aside} & {rank.node for rank in ranks} - used
    if not back:
        return run
    now = {rank.rank: rank for rank in ranks if rank.node in back}
    facts = {node.name: node for node in (*whole.facts, *(node for node in nodes if node.name in back))}
    manifest = replace(
        whole.manifest,
        ranks=tuple(now.get(rank.rank, rank) for rank in whole.manifest.ranks),
        environment={
            **whole.manifest.environment,
            **{str(rank): dict(environment[str(rank)]) for rank in now},
        },
    )
    ordered = tuple(facts[name] for name in manifest.nodes if name in facts)
    return without_set_aside(replace(whole, manifest=manifest, facts=ordered))


def lost_nodes(run: Run) -> tuple[str, ...]:
    """The nodes that an interrupted run lost, in its order: without them it can go on."""
    died = {node for loss in run.whole.losses if loss.died for node in loss.nodes}
    aside = {each.node for each in run.manifest.set_aside}
    return tuple(node for node in run.whole.manifest.nodes if node in died | aside)


def command_without(manifest: Manifest, lost: Collection[str], folder: Path) -> str:
    """The command that goes on without the nodes that were ``lost``, as a person starts it with mpirun."""
    slots = {node: 0 for node in manifest.nodes if node not in lost}
    for rank in manifest.ranks:
        if rank.node in slots:
            slots[rank.node] += 1
    option = "-hosts" if manifest.launcher == "mpich" else "--host"
    hosts = ",".join(f"{node}:{count}" for node, count in slots.items())
    words = f"railgauge resume {folder} --without {','.join(lost)}"
    return f"mpirun -n {sum(slots.values())} {option} {hosts} {words}"
