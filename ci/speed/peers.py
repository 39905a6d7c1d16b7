"""Time to a verdict: the wall time of RailGauge for a sweep, beside that of the peers that are here.

All measure all_reduce of float32 on 2 ranks, RailGauge beside each peer the sizes that this peer measures. A
peer makes a fixed number of calls, whatever comes of it; RailGauge measures until its median is as well known as
theirs after that many: their precision is taken from RailGauge's own first run of these sizes with as many calls.
Its time holds what none of them does: every result checked, every call timed alone as well, and a verdict. Two
times are told of it: until its verdict is printed, which is where a peer has printed its last row and ends, and
until the report is drawn as well, which none of them does.

A peer that needs CUDA runs here through ``shim.py``. What is not in --peers is named and left out.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rows import Figure, at_most

from bench.model.units import show_size

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).resolve().with_name("shim.py")
CALLS, WARMUP, RANKS = 100, 5, 2
BEGIN, END, FACTOR = 1 << 10, 16 << 20, 4
REPEATS = 5
LIMIT = 240.0
VERDICT = re.compile(r"(PASS|FAIL|INCONCLUSIVE): ")


@dataclass(frozen=True)
class Peer:
    """``words``: what mpirun starts, of the folder with the peers; None where it is not there.

    It measures ``begin`` bytes and on to END, times ``factor``.
    """

    name: str
    words: Callable[[Path], list[str] | None]
    begin: int = BEGIN
    factor: int = FACTOR
    note: str = ""

    @property
    def sizes(self) -> tuple[str, ...]:
        return "-b", str(self.begin), "-e", str(END), "-f", str(self.factor)

    @property
    def cases(self) -> str:
        count = sum(1 for power in range(60) if self.begin * self.factor**power <= END)
        return "16 MiB alone" if count == 1 else f"{count} sizes from {show_size(self.begin)}"


def _param(folder: Path) -> list[str] | None:
    script = folder / "param_bench/train/comms/pt/comms.py"
    return None if not script.exists() else [
        sys.executable, str(script), "--master-ip", "127.0.0.1", "--master-port", str(_port()), "--backend", "gloo",
        "--device", "cpu", "--nw-stack", "pytorch-dist", "--collective", "all_reduce", "--b", str(BEGIN),
        "--e", str(END), "--f", str(FACTOR), "--n", str(CALLS), "--w", str(WARMUP), "--z", "1",
    ]  # fmt: skip


def _cookbook(folder: Path) -> list[str] | None:
    script = folder / "cookbook/benchmarks/communication/all_reduce.py"
    return None if not script.exists() else [
        sys.executable, str(SHIM), str(script), "--scan", "--dist", "torch", "--dtype", "float32", "--maxsize", "22",
        "--trials", str(CALLS), "--warmups", str(WARMUP),
    ]  # fmt: skip


def _stas00(folder: Path) -> list[str] | None:
    script = folder / "ml-engineering/network/benchmarks/all_reduce_bench.py"
    return None if not script.exists() else [
        sys.executable, str(SHIM), str(script), "--num_iterations", str(CALLS),
        "--num_warmup_iterations", str(WARMUP), "--payload_size_in_gib", str(END / 2**30),
    ]  # fmt: skip


def _osu(folder: Path) -> list[str] | None:
    found = next((path for path in folder.rglob("osu_allreduce") if os.access(path, os.X_OK)), None)
    program = str(found) if found else shutil.which("osu_allreduce")
    return None if not program else [program, "-m", f"{BEGIN}:{END}", "-i", str(CALLS), "-x", str(WARMUP)]


PEERS = (
    Peer("PARAM comms", _param),
    Peer("EleutherAI cookbook (DeepSpeed's)", _cookbook, begin=16, factor=2),
    Peer("stas00 all_reduce_bench", _stas00, begin=END, note="its sweep would end at 16 GiB"),
    Peer("OSU osu_allreduce (C, MPI)", _osu, factor=2, note="no torch to start, MPI's own shared memory"),
)


def figures(folder: Path | None, realtime: bool) -> list[Figure]:
    present = [(peer, peer.words(folder)) for peer in PEERS] if folder else []
    absent = [peer.name for peer in PEERS if peer.name not in {p.name for p, words in present if words}]
    found = [Figure("verdict", f"{name}: not here", float("nan"), note="--peers DIR") for name in absent]
    running = [(peer, words) for peer, words in present if words]
    before = ["chrt", "-r", "10"] if realtime else []
    for peer, words in running:
        with tempfile.TemporaryDirectory() as place:
            found += _beside(peer, [*before, *_mpirun(), *words], Path(place), before, folder)
    return found


def _beside(
    peer: Peer, command: list[str], place: Path, before: list[str], folder: Path | None
) -> list[Figure]:
    """Ours and theirs in turn, so that a load that comes and goes meets both."""
    calls = ["-n", str(CALLS), "-w", str(WARMUP)]
    precision, _, _ = _ours(place / "first", before, [*peer.sizes, *calls])
    verdicts, reports, theirs = list[float](), list[float](), list[float]()
    for turn in range(REPEATS):
        words = [*peer.sizes, "--precision", f"{100 * precision:.3g} %"]
        _, verdict, report = _ours(place / f"ours-{turn}", before, words)
        verdicts.append(verdict)
        reports.append(report)
        said = _wall(command, {"PYTHONPATH": str(folder)})
        theirs.append(said.wall)
        if said.trouble:
            return [Figure("verdict", peer.name, float("nan"), verdict="inconclusive", note=said.trouble)]
    ours, drawn = median(verdicts), median(reports)
    what = f"{peer.cases}, each to {precision:.1%}"
    note = f"ours {_range(verdicts)}, theirs {_range(theirs)}; {what}; with the report {drawn / median(theirs):.2f}"
    note = "; ".join(filter(None, (note, peer.note)))
    return [at_most("verdict", f"railgauge ÷ {peer.name}", ours / median(theirs), 1.0, note=note)]


def _range(walls: list[float]) -> str:
    return f"{median(walls):.1f} s ({min(walls):.1f} to {max(walls):.1f})"


def _ours(out: Path, before: list[str], words: list[str]) -> tuple[float, float, float]:
    """(the relative width that the worst size was known to, seconds to the verdict, to the report)."""
    from bench.model.stats import relative_width
    from bench.store import load
    from bench.store.rows import rows

    command = [
        sys.executable, "-m", "bench", "run", "all_reduce", "--ranks", str(RANKS), "--out", str(out), *words,
    ]  # fmt: skip
    said = _wall([*before, *command], {}, VERDICT)
    if said.trouble and not (out / "verdicts.json").exists():
        raise RuntimeError(f"railgauge run: {said.trouble}")
    if said.at is None:
        raise RuntimeError("railgauge run printed no verdict")
    widths = [relative_width(row.measurement.isolated) for row in rows(load(out))]
    return max(widths), said.at, said.wall


@dataclass(frozen=True)
class Said:
    """Seconds until it ended, its last words where it failed, seconds until it printed what was waited for."""

    wall: float
    trouble: str
    at: float | None = None


def _wall(words: list[str], more: Mapping[str, str], line: re.Pattern[str] | None = None) -> Said:
    from bench.launch import mpi_environment

    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": path,
    }
    environment = {**mpi_environment(os.environ), **place, "GLOO_SOCKET_IFNAME": "lo", **more}
    if "bench" in words:  # ours finds its own place
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    begun, at, last = time.perf_counter(), None, ""
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        limit = threading.Timer(LIMIT, process.kill)
        limit.start()
        assert process.stdout is not None
        for text in process.stdout:
            last = text.strip() or last
            if at is None and line and line.match(text):
                at = time.perf_counter() - begun
        process.wait()
        limit.cancel()
    wall = time.perf_counter() - begun
    if wall >= LIMIT:
        return Said(LIMIT, f"not done within {LIMIT:.0f} s", at)
    return Said(wall, "" if process.returncode == 0 else f"ended with {process.returncode}: {last}", at)


def _mpirun() -> list[str]:
    from bench.launch import find_mpirun, flavour, local_command, mpirun_version

    mpirun = find_mpirun()
    *before, _, _, _, _ = local_command(mpirun, flavour(mpirun_version(mpirun)), RANKS, ["x"])
    return before


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
