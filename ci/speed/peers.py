"""Time to a verdict: the wall time of RailGauge for a sweep, beside that of the peers that are here.

All measure all_reduce of float32 on 2 ranks, RailGauge beside each peer the sizes that this peer measures. What is
asked for is fixed, so that the figures of two commits are of the same work: of RailGauge PRECISION for each size, of a
peer CALLS calls, since none takes a precision. One more run of RailGauge, of CALLS calls as well, shows how well a
peer's figures are known; where that is better than PRECISION, RailGauge was asked for less than the peer. Its time
holds what none of them does: every result checked, every call timed alone as well, and a verdict. Two times are told
of it: until its verdict is printed, which is where a peer has printed its last row and ends, and until the report is
drawn as well, which none of them does.

Both run turn by turn, and who is first alternates. A ratio is the median of those of the turns.

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
PRECISION = (
    0.10  # of the median, as in adaptive.py; sizes that do not reach it within their budget are counted
)
BEGIN, END, FACTOR = 1 << 10, 16 << 20, 4
TURNS = 6  # the fewest whose smallest and largest ratio bound the median with 95 % confidence
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
        "--device", "cpu", "--data-type", "float32", "--nw-stack", "pytorch-dist", "--collective", "all_reduce",
        "--b", str(BEGIN), "--e", str(END), "--f", str(FACTOR), "--n", str(CALLS), "--w", str(WARMUP), "--z", "1",
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
    return None if not program else [
        program, "-m", f"{BEGIN}:{END}", "-i", str(CALLS), "-x", str(WARMUP), "-T", "mpi_float",
    ]  # fmt: skip


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
    from bench.model.stats import median_interval

    counted = _ours(place / "counted", before, [*peer.sizes, "-n", str(CALLS), "-w", str(WARMUP)])
    ours, theirs = list[Ours](), list[float]()
    for turn in range(TURNS):
        asked = [*peer.sizes, "--precision", f"{100 * PRECISION:g} %"]
        if turn % 2 == 0:
            ours.append(_ours(place / f"ours-{turn}", before, asked))
        said = _wall(command, {"PYTHONPATH": str(folder)})
        if said.trouble:
            return [Figure("verdict", peer.name, float("nan"), verdict="inconclusive", note=said.trouble)]
        theirs.append(said.wall)
        if turn % 2 == 1:
            ours.append(_ours(place / f"ours-{turn}", before, asked))
    ratios = [mine.verdict / wall for mine, wall in zip(ours, theirs, strict=True)]
    low, high = median_interval(ratios)
    note = "; ".join(filter(None, (_work(peer, ours), _walls(ours, theirs), _counted(counted), peer.note)))
    what = f"railgauge ÷ {peer.name}"
    return [at_most("verdict", what, median(ratios), 1.0, low=low, high=high, note=note)]


def _work(peer: Peer, ours: list[Ours]) -> str:
    """What each was asked for, and in how many sizes RailGauge's budget was over before its precision was reached."""
    missed = sum(not width <= PRECISION for each in ours for width in each.widths)
    sizes = sum(len(each.widths) for each in ours)
    reached = f"reached {sizes - missed} of {sizes} times" if missed else "always reached"
    work = f"ours to {PRECISION:.0%}, {reached}; theirs {CALLS} calls"
    return f"all_reduce of float32, {RANKS} ranks, {peer.cases}: {work}"


def _walls(ours: list[Ours], theirs: list[float]) -> str:
    drawn = median(mine.report / wall for mine, wall in zip(ours, theirs, strict=True))
    verdicts = _range([each.verdict for each in ours])
    return f"to a verdict {verdicts}, theirs {_range(theirs)}; with the report {drawn:.2f}"


def _counted(counted: Ours) -> str:
    return (
        f"with {CALLS} calls as well ours takes {counted.verdict:.1f} s, and its worst size is known "
        f"to {max(counted.widths):.1%}"
    )


def _range(walls: list[float]) -> str:
    return f"{median(walls):.1f} s ({min(walls):.1f} to {max(walls):.1f})"


@dataclass(frozen=True)
class Ours:
    """A run of RailGauge: seconds to its verdict and to its end; the relative width to which each size is known."""

    verdict: float
    report: float
    widths: tuple[float, ...]


def _ours(out: Path, before: list[str], words: list[str]) -> Ours:
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
    widths = tuple(relative_width(row.measurement.isolated) for row in rows(load(out)))
    return Ours(said.at, said.wall, widths)


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
