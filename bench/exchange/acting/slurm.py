"""Slurm: a faulty node is drained with the sentence of its verdict; those that are only suspected are reserved."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from bench.judge.actions import NodeAction

from .plan import OURS, Run, SchedulerStep, ask

LONGEST = 900  # characters of a reason: Slurm takes more, but squeue and sinfo show a line


def cluster(run: Run = ask) -> tuple[int, tuple[str, ...]]:
    """How many nodes Slurm has, and which of them are drained by us. Raises CannotAct."""
    rows = [
        line.partition("|") for line in run(("sinfo", "--noheader", "--Node", "--format=%N|%E")).splitlines()
    ]
    nodes = {name.strip(): reason for name, _, reason in rows if name.strip()}
    return len(nodes), tuple(name for name, reason in nodes.items() if reason.startswith(OURS))


def steps(found: Sequence[NodeAction], run_id: str) -> tuple[SchedulerStep, ...]:
    """A drain for each faulty node, then one reservation for all suspects."""
    drains = tuple(
        SchedulerStep(
            each.node,
            f"drain {each.node}: {each.reason}",
            (_update(each.node, "State=DRAIN", f"Reason={OURS} {each.reason}"[:LONGEST]),),
            (_update(each.node, "State=RESUME"),),
        )
        for each in found
        if each.drain
    )
    return (*drains, *_reserved([each.node for each in found if not each.drain], run_id))


def _update(node: str, *words: str) -> tuple[str, ...]:
    return ("scontrol", "update", f"NodeName={node}", *words)


def _reserved(nodes: Sequence[str], run_id: str) -> tuple[SchedulerStep, ...]:
    if not nodes:
        return ()
    name = f"railgauge-{run_id}"[:60]
    make = (
        "scontrol", "create", "reservation", f"ReservationName={name}", "StartTime=now", "Duration=UNLIMITED",
        f"Users={getpass.getuser()}", f"Nodes={','.join(nodes)}", "Flags=MAINT,IGNORE_JOBS",
    )  # fmt: skip
    words = f"reserve {', '.join(nodes)} for maintenance: one of them is at fault, and it is not known which"
    return (SchedulerStep("", words, (make,), (("scontrol", "delete", f"ReservationName={name}"),)),)
