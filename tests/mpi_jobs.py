"""Starting real jobs for the tests: a fast profile, environments, and a clean-up of what a test leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench import launch
from bench.measure import forkserver

ROOT = Path(__file__).parent.parent
LIMIT = 150  # seconds; machines that build software are busy

FAST = """
format = 1
name = "fast"
title = "every collective once, briefly"
source = "a test"

[sweep]
collectives = [
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all",
    "broadcast", "reduce", "gather", "scatter",
]
begin = "1K"
end = "64K"
factor = 64
pairs = ["p2p", "p2p_bidirectional", "p2p_ring"]
pair_sizes = ["64K"]
budget = "50 ms"
"""

# few cases, each long enough to be caught in the act
SLOW = """
format = 1
name = "slow"
title = "a few cases that take their time"
source = "a test"

[sweep]
collectives = ["all_reduce", "all_gather", "broadcast"]
begin = "64K"
end = "64K"
pairs = ["p2p"]
pair_sizes = ["64K"]
budget = "2 s"
precision = "0.01 %"
"""


def profile(folder: Path, text: str = FAST) -> Path:
    path = folder / "fast.toml"
    path.write_text(text)
    return path


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without any trace of a launcher around the tests, and able to import bench."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMPI_", "PMI", "PRTE_", "SLURM_", "PYTEST_"))
    }
    path = os.pathsep.join([*(dict(more or {}).get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)]).strip(
        os.pathsep
    )
    return {**clean, "OMP_NUM_THREADS": "1", **(more or {}), "PYTHONPATH": path}


def railgauge(
    *arguments: str | Path,
    more: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: float = LIMIT,
):
    """Run the command line and wait; the completed process with its text."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(more),
        cwd=cwd or ROOT,
        timeout=limit,
        stdin=subprocess.DEVNULL,
    )


def mpirun(ranks: int, script: Path, *arguments: str | Path):
    """Run a Python script on ranks of this machine, as the command line would start itself."""
    found = launch.find_mpirun()
    kind = launch.flavour(launch.mpirun_version(found))
    *before, _, _, _, _ = launch.local_command(found, kind, ranks, ["x"])
    return subprocess.run(
        [*before, sys.executable, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=launch.mpi_environment(environment()),
        cwd=ROOT,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
    )


def start(*arguments: str | Path, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The command line in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(more),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def descendants(pid: int) -> dict[int, str]:
    """pid -> command line of every process below ``pid``."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: command(child) for child in below - {pid}}


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def workers(pid: int) -> list[int]:
    """The torch workers below ``pid``, in the order in which they were started; the nurseries are none."""
    return sorted(child for child in descendants(pid) if called(child) == forkserver.CHILD)


def supervisor(below: Iterable[int], rank: int) -> int:
    """Of these processes that which Open MPI or MPICH started as ``rank``."""
    marks = {f"{name}={rank}".encode() for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK")}
    return min(pid for pid in below if " bench accept" in command(pid) and marks & _environment(pid))


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def called(pid: int) -> str:
    """The name that a process bears; "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def wait_until(condition, what: str, limit: float = 90):
    """Poll for something that another process does; a limit, never a fixed sleep."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {limit} s")


def alive(pids: Sequence[int]) -> list[int]:
    """Those that still run (a zombie does not)."""
    running = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            running.append(pid)
    return running
