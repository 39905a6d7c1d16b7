"""Freezing a node and limiting its cores and its memory, by cgroup version 1 or 2, whichever the machine has.

The two powers are looked for one by one: a machine may have the freezer in version 1 and nothing for
the cpu, or (a container) a version 2 tree in which the cpu controller cannot be handed down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netlab.plan import LabError

PERIOD = 100_000  # µs in which a node's processes may use their share of the cores
POWERS = ("freeze", "cpu", "memory")
_V1 = {"freeze": "freezer", "cpu": "cpu", "memory": "memory"}
_RMDIR_LIMIT = 5.0  # s until the last process of a cgroup is gone


@dataclass(frozen=True)
class Tree:
    """A mounted hierarchy that gives a power: its folder and whether it is version 2."""

    folder: Path
    unified: bool


def mounted(mounts: str, power: str) -> list[Tree]:
    """The hierarchies that could give ``power``, version 1 first (it then owns the controller).

    ``mounts`` is the text of /proc/self/mounts.
    """
    trees: list[Tree] = []
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        if fields[2] == "cgroup" and _V1[power] in fields[3].split(","):
            trees.insert(0, Tree(Path(fields[1]), False))
        elif fields[2] == "cgroup2":
            trees.append(Tree(Path(fields[1]), True))
    return trees


def find(power: str, name: str, mounts: str) -> Tree | str:
    """The tree in which a group called ``name`` can be made and given ``power``, or why there is none."""
    reasons = [f"no cgroup {_V1[power]} is mounted"]
    for tree in mounted(mounts, power):
        try:
            if power != "freeze" and tree.unified:
                _hand_down(tree.folder, power)
            group = tree.folder / name
            group.mkdir(exist_ok=True)
            if (group / _switch(power, tree)[0]).exists():
                return tree
            group.rmdir()
            reasons.append(f"{tree.folder} has no {_switch(power, tree)[0]}")
        except OSError as error:
            reasons.append(f"{tree.folder} does not give {power}: {error.strerror}")
    return "; ".join(reasons[1:] or reasons)


def _hand_down(folder: Path, controller: str) -> None:
    control = folder / "cgroup.subtree_control"
    if controller not in control.read_text().split():
        control.write_text(f"+{controller}")


def _switch(power: str, tree: Tree) -> tuple[str, str, str]:
    """File, and what to write for a frozen and for a running node (limits: their texts are made elsewhere)."""
    if power == "freeze":
        return ("cgroup.freeze", "1", "0") if tree.unified else ("freezer.state", "FROZEN", "THAWED")
    if power == "memory":
        return ("memory.max", "", "") if tree.unified else ("memory.limit_in_bytes", "", "")
    return ("cpu.max", "", "") if tree.unified else ("cpu.cfs_quota_us", "", "")


def cpu_text(tree: Tree, cores: float | None) -> str:
    """What limits a group to ``cores``; None for no limit."""
    if tree.unified:
        return f"{'max' if cores is None else int(cores * PERIOD)} {PERIOD}"
    return "-1" if cores is None else str(int(cores * PERIOD))


def freeze(tree: Tree, name: str, frozen: bool) -> None:
    file, on, off = _switch("freeze", tree)
    _write(tree.folder / name / file, on if frozen else off)


def limit_cpu(tree: Tree, name: str, cores: float | None) -> None:
    _write(tree.folder / name / _switch("cpu", tree)[0], cpu_text(tree, cores))


def limit_memory(tree: Tree, name: str, size: int | None) -> None:
    """``size`` in bytes; None for no limit."""
    none = "max" if tree.unified else "-1"
    _write(tree.folder / name / _switch("memory", tree)[0], none if size is None else str(size))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise LabError(f"{file}: {text!r} was not taken: {error.strerror}") from error


def groups(mounts: str, start: str) -> Iterator[tuple[Tree, Path]]:
    """Every group whose name starts with ``start``, in every hierarchy of any kind we use."""
    trees = {tree.folder: tree for power in POWERS for tree in mounted(mounts, power)}
    for tree in trees.values():
        if tree.folder.is_dir():
            yield from ((tree, group) for group in sorted(tree.folder.glob(f"{start}*")) if group.is_dir())


def members(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def leave(tree: Tree, pid: int) -> None:
    """Take a process out of its group."""
    _write(tree.folder / "cgroup.procs", str(pid))


def thaw(tree: Tree, group: Path) -> None:
    """A frozen process of version 1 cannot even be killed."""
    file = group / _switch("freeze", tree)[0]
    if file.exists():
        file.write_text(_switch("freeze", tree)[2])


def remove(group: Path) -> bool:
    """Whether the group is gone: the last process leaves it a moment after its end."""
    limit = time.monotonic() + _RMDIR_LIMIT
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > limit:
                return False
            time.sleep(0.02)
    return True
