"""Which commands would keep a run's sick nodes out of work, how many are allowed, and what was done."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bench.judge.actions import NodeAction
from bench.model.errors import RailGaugeError
from bench.model.late_dataclass import dataclass, replace
from bench.model.typed_json import decode, encode
from bench.model.units import show_some
from bench.store import RunError, read_file, write_file
from bench.store.files import exists
from bench.store.owner_seal import mark
from bench.store.sums import ACTIONS as FILE

OURS = "railgauge:"  # how every reason of ours begins, so that nobody else's is touched
SECONDS = 60.0  # of one command of a scheduler
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


class CannotAct(RailGaugeError):
    """A scheduler that does not answer, or a name that must not reach it."""


@dataclass(frozen=True)
class SchedulerStep:
    """One thing to do about one node: commands without a shell, and in ``undo`` the opposite of each, last first."""

    node: str
    words: str
    commands: tuple[tuple[str, ...], ...]
    undo: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Actions:
    """``actions.json`` in a run folder: what was done, in order.

    seal  by the key of the user who did it: its commands are run again to take it back
    """

    time: float
    steps: tuple[SchedulerStep, ...] = ()
    format: int = 1
    seal: str = ""


Run = Callable[[Sequence[str]], str]


def ask(words: Sequence[str]) -> str:
    """What a command of a scheduler prints. Raises CannotAct."""
    try:
        done = subprocess.run(
            list(words),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            errors="backslashreplace",
            check=False,
        )
    except FileNotFoundError:
        raise CannotAct(f"there is no {words[0]} here: run this where the scheduler's commands are") from None
    except subprocess.TimeoutExpired:
        raise CannotAct(f"{words[0]} did not answer within {SECONDS:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        raise CannotAct(f"{' '.join(words[:3])} failed: {said}")
    return done.stdout


def checked(found: Sequence[NodeAction]) -> tuple[NodeAction, ...]:
    """``found``, if each name can only be one node's: Slurm reads ``n[1-99]`` and ``ALL`` as many. Raises CannotAct."""
    for each in found:
        if not NODE.fullmatch(each.node) or each.node.upper() == "ALL":
            raise CannotAct(f"{each.node!r} is not the name of one node, so no scheduler is told anything")
    return tuple(found)


def require_known(found: Sequence[NodeAction], nodes: Collection[str], scheduler: str) -> None:
    """Raises CannotAct for a node that the scheduler does not know, before it is told anything."""
    unknown = [each.node for each in found if each.node not in nodes]
    if unknown:
        raise CannotAct(
            f"{scheduler} knows no node {show_some(unknown)}, only {show_some(sorted(nodes))}: nothing was done. Where "
            "its names are not the hostnames, set RAILGAUGE_NODE on each node before a run"
        )


def allowed(at_most: float, nodes: int, before: int) -> int:
    """How many more nodes may be kept out of work: a share of all ``nodes``, at least one, less those ``before``."""
    return max(max(1, int(at_most * nodes + 1e-9)) - before, 0)


def perform(steps: Sequence[SchedulerStep], folder: Path, run: Run = ask) -> None:
    """Run the commands of each step, which is first saved: a step that cannot be saved is not done, and one that is cut
    off can be undone. Of a step that fails, the commands that were run stay saved. Raises CannotAct, RunError.
    """
    done = list(_saved(folder))
    for step in steps:
        count = 0
        _save(folder, [*done, step])
        try:
            for words in step.commands:
                run(words)
                count += 1
        finally:
            if count:
                done.append(replace(step, commands=step.commands[:count], undo=step.undo[-count:]))
            if count < len(step.commands):
                _save(folder, done)


def undo(
    folder: Path, steps: Sequence[SchedulerStep], run: Run = ask, moot: Collection[SchedulerStep] = ()
) -> None:
    """Take back each of these, and keep what is left, also where one fails; ``moot`` ones are only forgotten.

    What was done twice is taken back once: a scheduler refuses the second time. Raises CannotAct, RunError.
    """
    left, taken = list(_saved(folder)), set[tuple[str, ...]]()
    for step in steps:
        for words in () if step in moot or step.undo[-1] in taken else step.undo:
            run(words)
        taken.add(step.undo[-1])
        left.remove(step)
        _save(folder, left)


def to_undo(folder: Path, only: str = "") -> tuple[SchedulerStep, ...]:
    """What can be taken back of one node or of all, last first. Raises RunError, also where nothing was ever done."""
    if not exists(folder, FILE):
        raise RunError(f"{folder} has no {FILE}: nothing was done about this run")
    return tuple(step for step in reversed(_saved(folder)) if only in ("", step.node))


def _saved(folder: Path) -> tuple[SchedulerStep, ...]:
    """What this user did about a run and did not take back. Raises RunError, also for what somebody else wrote."""
    if not exists(folder, FILE):
        return ()
    try:
        found = decode(Actions, read_file(folder, FILE))
    except ValueError as error:
        raise RunError(f"{folder / FILE} is damaged: {error}") from None
    wanted = mark(folder, encode(replace(found, seal="")))
    if found.seal != wanted or not wanted:
        raise RunError(
            f"{folder / FILE} was changed, or written by another account; move it away, and take back with scontrol or "
            "kubectl what it lists"
        )
    return found.steps


def _save(folder: Path, steps: Sequence[SchedulerStep]) -> None:
    found = Actions(time.time(), tuple(steps))
    write_file(folder, FILE, encode(replace(found, seal=mark(folder, encode(found), make=True))) + b"\n")
