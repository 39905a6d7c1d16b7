"""Slurm: a faulty node is drained with the sentence of its verdict; one that is only suspected is reserved."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping, Sequence

from bench.judge.actions import NodeAction
from bench.model.late_dataclass import dataclass

from .drain_commands import OURS, Run, SchedulerStep, ask

GATE = "railgauge gate:"  # how the reason begins with which ci/jobs/slurm/healthcheck drains
LONGEST = 900  # characters of a reason: Slurm takes more, but squeue and sinfo show a line
RESERVATION = re.compile(r"ReservationName=(railgauge-\S+) .*?\bNodes=(\S+)")


@dataclass(frozen=True)
class SlurmNodes:
    """What Slurm says of its nodes.

    drained       node → the reason, whoever drained it
    reservations  name → nodes, of those that RailGauge made
    """

    nodes: frozenset[str]
    drained: Mapping[str, str]
    reservations: Mapping[str, tuple[str, ...]]

    @property
    def ours(self) -> frozenset[str]:
        """The nodes that RailGauge keeps out of work, also by its gate."""
        drained = {node for node, reason in self.drained.items() if reason.startswith((OURS, GATE))}
        return frozenset(drained).union(*self.reservations.values())

    def settled(self, each: NodeAction) -> str:
        """Why nothing more is to be done about a node; "" where something is."""
        reason = self.drained.get(each.node)
        if reason is None:
            reserved = any(each.node in nodes for nodes in self.reservations.values())
            return "is reserved already" if reserved and not each.drain else ""
        if reason.startswith(GATE) and each.drain:
            return ""  # the gate would resume it although what the run has measured is not mended
        return (
            "is drained already" if reason.startswith((OURS, GATE)) else f"was drained by another ({reason})"
        )

    def steps(self, found: Sequence[NodeAction], run_id: str) -> tuple[SchedulerStep, ...]:
        """A drain for each faulty node, a reservation for each suspect."""
        return tuple(_drained(each) if each.drain else _reserved(each, run_id) for each in found)


def cluster(run: Run = ask) -> SlurmNodes:
    """The nodes of this Slurm. Raises CannotAct."""
    listed = run(("sinfo", "--noheader", "--Node", "--format=%N|%T|%E")).splitlines()
    rows = [(*line.split("|", 2), "", "")[:3] for line in listed if line.strip()]
    shown = run(("scontrol", "--oneliner", "show", "reservation"))
    return SlurmNodes(
        frozenset(name.strip() for name, _, _ in rows),
        {name.strip(): reason for name, state, reason in rows if "drain" in state.lower()},
        {
            name: tuple(run(("scontrol", "show", "hostnames", nodes)).split())
            for name, nodes in RESERVATION.findall(shown)
        },
    )


def moot(steps: Sequence[SchedulerStep], run: Run = ask) -> tuple[SchedulerStep, ...]:
    """The steps that need no undoing: Slurm shows nothing of them, or somebody else or another run changed the node."""
    slurm = [step for step in steps if step.undo[0][0] == "scontrol"]
    if not slurm:
        return ()
    now = cluster(run)
    kept = {_drain(node, why) for node, why in now.drained.items() if why.startswith(OURS)}
    kept |= {_delete(name) for name in now.reservations}
    return tuple(step for step in slurm if kept.isdisjoint((step.commands[0], step.undo[0])))


def _update(node: str, *words: str) -> tuple[str, ...]:
    return ("scontrol", "update", f"NodeName={node}", *words)


def _drain(node: str, reason: str) -> tuple[str, ...]:
    return _update(node, "State=DRAIN", f"Reason={reason}")


def _delete(reservation: str) -> tuple[str, ...]:
    return ("scontrol", "delete", f"ReservationName={reservation}")


def _drained(each: NodeAction) -> SchedulerStep:
    reason = f"{OURS} {each.reason}"[:LONGEST].rstrip()
    return SchedulerStep(
        each.node,
        f"drain {each.node}: {each.reason}",
        (_drain(each.node, reason),),
        (_update(each.node, "State=RESUME"),),
    )


def _reserved(each: NodeAction, run_id: str) -> SchedulerStep:
    name = f"railgauge-{run_id}"[:60] + f"-{each.node}"
    make = (
        "scontrol", "create", "reservation", f"ReservationName={name}", "StartTime=now", "Duration=UNLIMITED",
        f"Users={getpass.getuser()}", f"Nodes={each.node}", "Flags=MAINT,IGNORE_JOBS",
    )  # fmt: skip
    words = f"reserve {each.node} for maintenance, which may be at fault: {each.reason}"
    return SchedulerStep(each.node, words, (make,), (_delete(name),))
