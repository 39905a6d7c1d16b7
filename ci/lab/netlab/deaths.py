"""Hangs and deaths in mid-run, one row each: what is done to the job, and who must be named. Edge: kills.

Each row is given the job as it runs, and plants its fault by signal, cgroup or cable.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from netlab import cgroup, kernel
from netlab import lab as labs
from netlab.columns import FORK_SERVER, Column
from netlab.plan import namespace

SLOW = 1.5  # s between a daemon's end and that of its ranks; mpirun kills all others a second after the first


@dataclass(frozen=True)
class Job:
    """A job as it runs: its lab, the launcher that started it, its terminal or -1."""

    here: labs.Live
    column: Column
    terminal: int = -1

    def processes(self, node: str, role: str) -> list[int]:
        """Processes of a role on a node, oldest first; wrappers of a shell are none."""
        space, pattern = namespace(self.here.lab, node), self.column.pattern(role)
        found = []
        for pid in sorted(kernel.processes([space])):
            line = kernel.command(pid).partition(" ")[2]
            if not re.search(pattern, line) or line.startswith(("sh ", "/bin/sh ")):
                continue
            if kernel.called(pid) == FORK_SERVER:
                continue
            below = re.search(pattern, kernel.command(kernel.parent(pid)).partition(" ")[2]) is not None
            if not self.column.fans_out or role == "worker" or below == (role == "supervisor"):
                found.append(pid)
        return found


@dataclass(frozen=True)
class Death:
    """One row. ``early``: planted before the start. ``wanted`` is a pattern of what must be said of whom; the
    names of other nodes must not stand in the culprit. ``needs`` is a cgroup power, ``quick`` the launchers under
    which ``--quick`` runs it. ``aside``: the culprit is set aside, and the others are measured. ``absent``: nothing is
    started on the culprit; ``only``: the launchers under which a row can be.
    """

    name: str
    does: str
    plant: Callable[[Job], None]
    culprit: str = ""
    wanted: str = ""
    early: bool = False
    needs: str = ""
    quick: tuple[str, ...] = ()
    hook: str = ""
    aside: bool = False
    absent: bool = False
    only: tuple[str, ...] = ()


def _signal(node: str, role: str, number: int) -> Callable[[Job], None]:
    def plant(job: Job) -> None:
        found = job.processes(node, role)
        if not found:
            raise labs.LabError(f"no {role} on {node} to send {signal.Signals(number).name}")
        # the first of Open MPI's two daemons on a node only waits for the other, as an ssh does
        os.kill(found[-1 if role == "daemon" else 0], number)

    return plant


def _whole_node(node: str, number: int) -> Callable[[Job], None]:
    """The signal to every process of a node, its launcher's own too."""

    def plant(job: Job) -> None:
        for pid in kernel.processes([namespace(job.here.lab, node)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    return plant


def _slowly(node: str) -> Callable[[Job], None]:
    """As ``_whole_node`` with SIGKILL on a busy machine: the launcher's daemon is gone before the ranks are.

    Frozen and not stopped: the kernel wakes a stopped process whose parent ends.
    """

    def plant(job: Job) -> None:
        daemons, freezer = job.processes(node, "daemon"), job.here.powers["freeze"]
        assert isinstance(freezer, cgroup.Tree)
        for pid in daemons:
            cgroup.leave(freezer, pid)
        _fault("frozen", node)(job)
        for pid in daemons:
            os.kill(pid, signal.SIGKILL)
        time.sleep(SLOW)
        _whole_node(node, signal.SIGKILL)(job)
        labs.heal(job.here.lab.name)

    return plant


def _fault(*words: str) -> Callable[[Job], None]:
    return lambda job: labs.fault(job.here.lab.name, words[0], list(words[1:]))


def _hang_up(job: Job) -> None:
    """The terminal is closed: the kernel sends SIGHUP to its session."""
    os.close(job.terminal)


def _nothing(job: Job) -> None:
    return


# on the second rank of n2, in its fourth all-reduce: what a bug in user code, or a bad GPU, looks like
RAISE = """
import os, sys
if "bench.measure.worker" in " ".join(sys.orig_argv) and os.uname().nodename == "n2":
    import importlib.abc, importlib.machinery
    class Hook(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name != "bench.measure.backend.cases":
                return None
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            load = spec.loader.exec_module
            def exec_module(module):
                load(module)
                inner = module.measure_case
                def measure_case(case, group, *rest):
                    if case.phase == "collectives" and group.members[group.place] % 2:
                        raise ValueError("planted: the answer is not 42")
                    return inner(case, group, *rest)
                module.measure_case = measure_case
            spec.loader.exec_module = exec_module
            return spec
    sys.meta_path.insert(0, Hook())
"""
# on the second rank of n2: more memory than the node may have
EAT = RAISE.replace(
    'raise ValueError("planted: the answer is not 42")',
    "hoard = [bytearray(os.urandom(1 << 20) * 16) for _ in range(256)]",
)

DEATHS = (
    Death(
        "worker killed",
        "SIGKILL to a worker",
        _signal("n2", "worker", signal.SIGKILL),
        "n2",
        r"n2 \(rank \d\).*killed by SIGKILL",
        quick=("mpirun",),
    ),
    Death(
        "worker stopped",
        "SIGSTOP to a worker",
        _signal("n2", "worker", signal.SIGSTOP),
        "n2",
        r"n2 \(rank \d\).*last heartbeat [\d.]+ s ago; its process is stopped",
    ),
    Death(
        "exception",
        "one rank raises in a collective",
        _nothing,
        "n2",
        r"n2 \(rank \d\).*ValueError: planted",
        early=True,
        hook=RAISE,
    ),
    Death(
        "out of memory",
        "memory.max on the node, and a rank that wants more",
        # in mid-run: a bench that finds so little from the start leaves out every case, and says so
        _fault("little-memory", "n2", "1600"),
        "n2",
        r"n2 \(rank \d\).*(killed by SIGKILL|MemoryError)",
        needs="memory",
        hook=EAT,
    ),
    Death(
        "node frozen",
        "cgroup.freeze of all its processes",
        _fault("frozen", "n2"),
        "n2",
        r"n2 \(ranks [\d-]+\).*last heartbeat [\d.]+ s ago",
        needs="freeze",
        aside=True,
    ),
    Death(
        "node stopped",
        "SIGSTOP to all its processes",
        _whole_node("n2", signal.SIGSTOP),
        "n2",
        r"n2 \(ranks [\d-]+\).*last heartbeat [\d.]+ s ago",
        quick=("torchrun", "launch"),
        aside=True,
    ),
    Death(
        "node killed",
        "SIGKILL to all its processes",
        _whole_node("n2", signal.SIGKILL),
        "n2",
        r"n2 \(ranks? [\d-]+\): (its supervisor|the launcher's process above its supervisor) is gone",
        quick=("torchrun",),
        aside=True,
    ),
    Death(
        "node slowly killed",
        "the same, its daemon first and its ranks seconds later",
        _slowly("n2"),
        "n2",
        r"n2 \(ranks? [\d-]+\): (its supervisor|the launcher's process above its supervisor) is gone",
        needs="freeze",
        quick=("launch",),
        aside=True,
        only=("mpirun", "launch"),
    ),
    Death(
        "node dead",
        "all its processes frozen, all its cables pulled",
        _fault("dead", "n2"),
        "n2",
        r"n2 \(ranks [\d-]+\).*last heartbeat [\d.]+ s ago",
        needs="freeze",
        aside=True,
    ),
    Death("rail pulled", "a cable pulled in mid-run", _fault("rail-down", "n2", "1"), "n2", r"n2.*eth1"),
    Death(
        "rail down before",
        "a cable pulled before the start",
        _fault("rail-down", "n2", "1"),
        "n2",
        r"n2 eth1",
        early=True,
    ),
    Death(
        "black hole",
        "full packets vanish on a rail, in mid-run",
        _fault("black-hole", "n2", "1"),
        "n2",
        r"n2.*eth1",
    ),
    Death(
        "supervisor killed",
        "SIGKILL to a supervisor",
        _signal("n2", "supervisor", signal.SIGKILL),
        "n2",
        r"n2 \(rank \d\): its supervisor is gone|PID \d+ RUNNING AT n2",
        quick=("mpirun", "torchrun", "launch"),
        aside=True,
    ),
    Death(
        "node absent",
        "nothing is ever started on it",
        _nothing,
        "n2",
        r"n2 did not come: .*rank 4, 5 of n2",
        early=True,
        aside=True,
        absent=True,
        only=("shell",),
    ),
    Death(
        "rank 0 killed",
        "SIGKILL to the coordinator",
        _signal("n0", "supervisor", signal.SIGKILL),
        "",
        r"no completion record",
    ),
    Death(
        "launcher killed",
        "SIGKILL to mpirun, or to whatever a person started on the first node",
        _signal("n0", "launcher", signal.SIGKILL),
        "",
        r"\(process \d+\) is gone|no completion record",
        quick=("mpirun", "torchrun"),
    ),
    Death(
        "daemon killed",
        "SIGKILL to mpirun's daemon on a node, or to what stands there in its place",
        _signal("n2", "daemon", signal.SIGKILL),
        "n2",
        r"n2 \(ranks [\d-]+\): the launcher's process above its supervisor is gone",
        quick=("mpirun", "torchrun", "launch"),
        aside=True,
    ),
    Death(
        "terminal closed",
        "SIGHUP, a real terminal is closed",
        _hang_up,
        "",
        r"told to end by \w+|no completion record",
    ),
)
