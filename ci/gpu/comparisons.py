"""The items of gpu-check that hold RailGauge's figures against those of others: a raw loop, and nccl-tests."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import gpu_jobs
import job
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

from bench.model.units import show_rate, show_size

ROOT = Path(__file__).parent.parent.parent
FIDELITY = 0.95  # of a raw CUDA-event loop, from 1 MiB


def fidelity(here: Here) -> Said:
    """RailGauge's loop and a raw one with CUDA events, turn by turn in one process a rank."""
    name = "all_reduce" if here.ranks > 1 else "all_gather"
    sizes = (1 << 20, 64 << 20)
    cases = ",".join(f"{name}:{size}" for size in sizes)
    command = [
        sys.executable,
        str(ROOT / "ci/speed/fidelity.py"),
        "--backend",
        here.backend,
        "--seconds",
        "4",
    ]
    command += ["--ranks", str(here.ranks), "--cases", cases]
    _, said = job.finish(command, here.out / "fidelity.log", max(5.0, min(gpu_jobs.RAW_SECONDS, here.left())))
    found = re.findall(r"^(\S+) +(\d+) +ratio ([0-9.]+)", said, re.MULTILINE)
    if len(found) != len(sizes):
        return failed(f"{len(found)} of {len(sizes)} sizes compared: {said.strip()[-300:]}")
    text = ", ".join(f"{show_size(int(size))}: {ratio}" for _, size, ratio in found)
    ok = all(float(ratio) >= FIDELITY for *_, ratio in found)
    said = f"busbw of RailGauge ÷ raw loop, {name}, {here.ranks} ranks: {text}"
    return Said(SEEN, said) if ok or here.rehearsal else failed(f"{said}, wanted {FIDELITY}")


def against_nccl_tests(here: Here) -> Said:
    program = shutil.which("all_reduce_perf", path=str(here.nccl_tests) if here.nccl_tests else None)
    if not program:
        return not_possible("nccl-tests is not built here: --nccl-tests DIR, or all_reduce_perf on the PATH")
    if here.gpus < 2:
        return not_possible("one GPU: busbw of one rank is 0 by its definition")
    size = 64 << 20
    command = [program, "-b", str(size), "-e", str(size), "-g", str(here.ranks), "-c", "0"]
    status, said = job.finish(command, here.out / "nccl-tests.log", max(5.0, min(60.0, here.left())))
    line = next((line.split() for line in said.splitlines() if line.split()[:1] == [str(size)]), None)
    ours = [
        row
        for row in gpu_jobs.all_gpus(here).rows
        if (row.case.collective, row.case.size) == ("all_reduce", size)
    ]
    plain = [row for row in ours if row.case.algorithm == "auto" and row.case.phase == "collectives"]
    if not line or not plain:
        return failed(f"nothing to compare: nccl-tests ended with {status}, we have {len(plain)} rows")
    theirs = float(line[7]) * 1e9  # the out-of-place busbw in GB/s
    return Said(
        SEEN, f"busbw at 64 MiB: RailGauge {show_rate(plain[0].busbw)}, nccl-tests {show_rate(theirs)}"
    )
