"""A lab's life: up, exec, fault, heal, stat, ps, down. Whatever happens, ``down`` leaves nothing.

All that a lab is lies under names that start with its own: namespaces in /run/netns, cgroups, and one
tmpfs with its state. ``down`` goes by these names, not by what an earlier command remembered, so it
cleans up after one that was killed at any moment. A lock keeps commands on the same lab apart; the
``ip`` and ``tc`` of a killed command hold it until they end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from netlab import cgroup, kernel
from netlab.faults import FAULTS, plant
from netlab.plan import SWITCH, Lab, LabError, Step, build, hosts, namespace, prefix, settle, slots

RUN = Path("/run/railgauge-lab")
MOUNTS = Path("/proc/self/mounts")
AGENT = Path(__file__).resolve().with_name("rsh")
_LOCK_LIMIT = 60.0  # s
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Live:
    """A lab that is up. ``powers`` has a Tree for each cgroup power, or the reason why there is none."""

    lab: Lab
    powers: dict[str, cgroup.Tree | str]

    def group(self, node: str) -> str:
        return namespace(self.lab, node)

    def power(self, power: str) -> cgroup.Tree:
        tree = self.powers[power]
        if isinstance(tree, str):
            kinds = ", ".join(fault.name for fault in FAULTS.values() if fault.needs == power)
            raise LabError(f"not possible on this machine: {kinds} ({tree})")
        return tree


def home(name: str) -> Path:
    """The lab's own tmpfs: state, /etc/hosts, a host file, each node's /dev/shm, MPI's session folders, the agent."""
    return RUN / name


@contextlib.contextmanager
def locked(name: str, how: int = fcntl.LOCK_EX) -> Iterator[int]:
    """The lab's lock, as an open file. With the lab gone the file goes too, so one that waited looks again."""
    path = RUN / f"{name}.lock"
    limit = time.monotonic() + _LOCK_LIMIT
    while True:
        RUN.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # another lab's last command has just removed the folder
            continue
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > limit:
                raise LabError(
                    f"lab {name!r} has been busy for {_LOCK_LIMIT:g} s with another command"
                ) from None
            time.sleep(0.02)
        os.close(lock)
    try:
        yield lock
    finally:
        if not home(name).exists():
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other labs live on in it
                RUN.rmdir()
        os.close(lock)


@contextlib.contextmanager
def signals_are_exceptions() -> Iterator[None]:
    """SIGTERM, Ctrl-C and a closed terminal end this process through its ``except`` and ``finally``."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Nobody's second Ctrl-C interrupts the cleaning."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# up and down


def up(lab: Lab) -> Live:
    """Builds it, after clearing away what a killed command may have left. All of it or nothing."""
    require_root()
    with signals_are_exceptions(), locked(lab.name) as lock:
        if _state(lab.name).exists():
            raise LabError(f"lab {lab.name!r} is up already; next: ci/lab/net --name {lab.name} down")
        _sweep(lab.name)
        try:
            return _build(lab, lock)
        except BaseException:
            _sweep(lab.name)
            raise


def down(name: str) -> None:
    """Ends every process of the lab and removes it; does nothing where there is nothing."""
    Lab(name=name)  # refuses a name that is none
    require_root()
    with locked(name):
        _sweep(name)


@contextlib.contextmanager
def of_its_own(lab: Lab) -> Iterator[Live]:
    """The lab for the time of a ``with``: what a killed run left of it is cleared away before, and all of it after."""
    with signals_are_exceptions():
        down(lab.name)
        here = up(lab)
        try:
            yield here
        finally:
            down(lab.name)


def _build(lab: Lab, lock: int) -> Live:
    folder = home(lab.name)
    folder.mkdir()
    kernel.mount("tmpfs", str(folder), "tmpfs", options="mode=755")
    (folder / "hosts").write_text(hosts(lab))
    (folder / "nodes").write_text(slots(lab))
    (folder / "mpi").mkdir()
    (folder / "rsh").symlink_to(AGENT)
    for node in lab.node_names:
        (folder / f"{node}.hostname").write_text(f"{node}\n")
        (folder / f"{node}.shm").mkdir()
        (folder / f"{node}.shm").chmod(0o1777)
    for where in (SWITCH, *lab.node_names):
        kernel.run(["ip", "netns", "add", namespace(lab, where)], keep=(lock,))
    live = Live(lab, _powers(lab))
    _apply(live, (*build(lab), *settle(lab)), lock)
    _write_state(live, ())
    return live


def _powers(lab: Lab) -> dict[str, cgroup.Tree | str]:
    """Every node's groups are made; which power could not be had is told, with the reason."""
    mounts = MOUNTS.read_text()
    powers = {power: cgroup.find(power, namespace(lab, lab.node_names[0]), mounts) for power in cgroup.POWERS}
    folders = {tree.folder for tree in powers.values() if isinstance(tree, cgroup.Tree)}
    for folder in folders:
        for node in lab.node_names:
            (folder / namespace(lab, node)).mkdir(exist_ok=True)
    return powers


def _sweep(name: str) -> None:
    with undisturbed():
        start = prefix(name)
        groups = list(cgroup.groups(MOUNTS.read_text(), start))
        for tree, group in groups:
            cgroup.thaw(tree, group)
        if os.getpid() in _ours(start):
            raise LabError(f"this command runs on a node of lab {name!r}, which it would end; run it outside")
        kernel.end(lambda: _ours(start))
        for known in kernel.namespaces(start):
            kernel.run(["ip", "netns", "del", known])
        left = [str(group) for _, group in groups if not cgroup.remove(group)]
        kernel.unmount(home(name))
        shutil.rmtree(home(name), ignore_errors=True)
        left += [
            str(path)
            for path in (home(name), *map(kernel.NETNS.joinpath, kernel.namespaces(start)))
            if path.exists()
        ]
        if left:
            raise LabError(f"lab {name!r} left {', '.join(left)}; next: the same command again")
        _leave_netns_as_found()


def _ours(start: str) -> set[int]:
    """Processes in the lab's namespaces, and those that started there and moved on: in its cgroups."""
    groups = cgroup.groups(MOUNTS.read_text(), start)
    return set(kernel.processes(kernel.namespaces(start))) | {
        pid for _, group in groups for pid in cgroup.members(group)
    }


def _leave_netns_as_found() -> None:
    """``ip netns add`` makes and mounts /run/netns; when nobody has a namespace in it, it goes too."""
    with contextlib.suppress(OSError, LabError):
        if kernel.NETNS.is_dir() and not any(kernel.NETNS.iterdir()):
            kernel.unmount(kernel.NETNS)
            kernel.NETNS.rmdir()


def require_root() -> None:
    if os.geteuid():
        raise LabError("network namespaces need root; next: sudo ci/lab/net …")
    missing = [tool for tool in ("ip", "tc", "nft") if shutil.which(tool) is None]
    if missing:
        raise LabError(f"{', '.join(missing)} not found; next: apt-get install iproute2 nftables")


# state


def _state(name: str) -> Path:
    return home(name) / "lab.json"


def _write_state(live: Live, planted: Sequence[str]) -> None:
    """Written last and at once: a lab with this file is whole."""
    powers = {
        power: tree if isinstance(tree, str) else [str(tree.folder), tree.unified]
        for power, tree in live.powers.items()
    }
    new = _state(live.lab.name).with_suffix(".new")
    new.write_text(json.dumps({"lab": asdict(live.lab), "powers": powers, "planted": list(planted)}))
    new.rename(_state(live.lab.name))


def live(name: str) -> Live:
    """The lab called ``name``; LabError when it is not up."""
    row = _read_state(name)
    powers = {
        power: tree if isinstance(tree, str) else cgroup.Tree(Path(tree[0]), tree[1])
        for power, tree in row["powers"].items()
    }
    return Live(Lab(**row["lab"]), powers)


def planted(name: str) -> list[str]:
    """The faults planted since the last ``heal``, as they were written on the command line."""
    return list(_read_state(name)["planted"])


def _read_state(name: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(_state(name).read_text())
    except FileNotFoundError:
        raise LabError(f"lab {name!r} is not up; next: ci/lab/net --name {name} up") from None
    return row


# faults


def fault_line(name: str, line: str) -> None:
    """Plants one more fault, as the command line names it: ``slow-rail n2 1``."""
    kind, *words = line.split()
    fault(name, kind, words)


def fault(name: str, kind: str, words: list[str]) -> None:
    """Plants one more fault."""
    with locked(name) as lock:
        here = live(name)
        steps = plant(here.lab, kind, words)
        if FAULTS[kind].needs:
            here.power(FAULTS[kind].needs)
        _write_state(here, [*planted(name), " ".join([kind, *words])])
        _apply(here, steps, lock)


def heal(name: str) -> None:
    """Undoes every fault, whether it was planted through this tool or by hand."""
    with locked(name) as lock:
        here = live(name)
        kernel.end(lambda: set(kernel.processes([namespace(here.lab, SWITCH)])))  # what goes on planting
        for node in here.lab.node_names:
            for power, tree in here.powers.items():
                if isinstance(tree, cgroup.Tree):
                    _set_power(here, Step(power, node, ""))
        _apply(here, settle(here.lab), lock)
        _write_state(here, ())


def settle_down(name: str) -> None:
    """Heals, and ends what is still running on the nodes: a launcher may hang over a dead one."""
    heal(name)
    with undisturbed():
        kernel.end(lambda: _ours(prefix(name)))


def _apply(here: Live, steps: Sequence[Step], lock: int) -> None:
    for tool, where, text in steps:
        space = namespace(here.lab, where)
        if tool == "mend":
            with contextlib.suppress(LabError):
                kernel.run(["ip", "-n", space, "-force", "-batch", "-"], text + "\n", keep=(lock,))
        elif tool in ("ip", "tc"):
            kernel.run([tool, "-n", space, "-batch", "-"], text + "\n", keep=(lock,))
        elif tool == "nft":
            kernel.run(["ip", "netns", "exec", space, "nft", "-f", "-"], text + "\n", keep=(lock,))
        elif tool == "sysctl":
            kernel.sysctl(space, text)
        elif tool == "sh":
            kernel.leave_running(["ip", "netns", "exec", space, "sh", "-c", text])
        else:
            _set_power(here, Step(tool, where, text))


def _set_power(here: Live, step: Step) -> None:
    """A node's freezer, cores or memory; an empty text is the healthy state."""
    tree, group = here.power(step.tool), here.group(step.where)
    if step.tool == "freeze":
        cgroup.freeze(tree, group, frozen=bool(step.text))
    elif step.tool == "memory":
        cgroup.limit_memory(tree, group, int(step.text) if step.text else None)
    else:
        cgroup.limit_cpu(tree, group, float(step.text) if step.text else None)


# on a node


def enter(name: str, node: str) -> None:
    """This process onto a node, for good. On a frozen node it stops here, as an ssh to one would."""
    require_root()
    folder = home(name)
    with locked(name, fcntl.LOCK_SH):  # not held while we freeze: down must come through
        here = live(name)
        here.lab.node(node)
        trees = {tree.folder for tree in here.powers.values() if isinstance(tree, cgroup.Tree)}
        doors = [os.open(tree / here.group(node) / "cgroup.procs", os.O_WRONLY) for tree in sorted(trees)]
        binds = {
            "/etc/hosts": str(folder / "hosts"),
            "/etc/hostname": str(folder / f"{node}.hostname"),
            "/dev/shm": str(folder / f"{node}.shm"),
        }
        kernel.enter(namespace(here.lab, node), node, binds)
    for door in doors:
        os.write(door, b"0")
        os.close(door)
