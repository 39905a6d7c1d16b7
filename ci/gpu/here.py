"""The machine at hand as gpu-check sees it: its GPUs, its torch, and the jobs that were run on it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import borrowed
import job

from bench.model.facts import Node
from bench.probe.node import probe

SEEN, NOT_POSSIBLE, FAILED = "seen working", "not possible here", "failed"
NEEDED = ("torch", "numpy")  # all else that is lacking costs the items that need it

_TORCH = """
import json, torch
count, why = torch.cuda.device_count() if torch.cuda.is_available() else 0, ""
try:
    torch.cuda.init()
except Exception as error:
    count, why = 0, " ".join(str(error).split())[:300]
print(json.dumps({
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "gpus": count,
    "why": why,
    "names": [torch.cuda.get_device_name(i) for i in range(count)],
    "nccl": ".".join(map(str, torch.cuda.nccl.version())) if count else "",
}))
"""


class NotPossible(Exception):
    """Why this machine cannot show something, found out in the middle of an item."""


@dataclass
class Here:
    """``ranks``: one a GPU, at most 8. ``deadline``: of time.monotonic. ``patience``: a factor of each job's limit."""

    out: Path
    deadline: float
    node: Node
    torch: dict[str, Any]
    rehearsal: bool
    nccl_tests: Path | None
    jobs: dict[str, job.Done] = field(default_factory=dict)
    only: str = ""  # items whose name contains this
    patience: float = 1.0

    @property
    def backend(self) -> str:
        return "gloo" if self.rehearsal else "nccl"

    @property
    def gpus(self) -> int:
        return int(self.torch["gpus"])

    @property
    def ranks(self) -> int:
        return min(8, max(1, self.gpus))

    @property
    def title(self) -> str:
        names = sorted(set(self.torch["names"])) or ["no GPU"]
        return (
            f"{self.gpus} × {', '.join(names)}, driver {self.node.software.driver or 'not known'}, "
            f"torch {self.torch['torch']}, NCCL {self.torch['nccl'] or 'none'}"
        )

    @property
    def no_nvml(self) -> str:
        """Why NVML shows no GPU at all here: no binding, no library, no driver; "" where it shows one."""
        if self.node.gpus and not any(note.startswith("nvml: shows no GPU") for note in self.node.notes):
            return ""
        if importlib.util.find_spec("pynvml") is None:
            return "no pynvml (nvidia-ml-py)"
        return next((note for note in self.node.notes if note.startswith("nvml: ")), "")

    @property
    def one_process_a_gpu(self) -> bool:
        """Whether the driver keeps a second process off a GPU (nvidia-smi -c)."""
        return any(gpu.compute_mode not in (None, "default") for gpu in self.node.gpus)

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def job(self, asked: job.Asked, seconds: float) -> job.Done:
        """The job called so, run once; several items read it. NotPossible where ranks may not share a GPU."""
        shown = {asked.each(rank).get("CUDA_VISIBLE_DEVICES", str(rank)) for rank in range(asked.ranks)}
        if self.one_process_a_gpu and len(shown) < asked.ranks and not self.rehearsal:
            raise NotPossible(
                f"compute mode of the GPU is {self.node.gpus[0].compute_mode}: one process each"
            )
        if asked.name not in self.jobs:
            self.jobs[asked.name] = job.run(
                asked, self.out, min(seconds * self.patience, max(5.0, self.left()))
            )
        return self.jobs[asked.name]


def look(
    out: Path,
    deadline: float,
    rehearse: bool,
    nccl_tests: Path | None,
    ask: Callable[[], dict[str, Any]] | None = None,
) -> tuple[Here, str]:
    """The machine, and why nothing can be shown on it: no torch, no GPU, a folder in use."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    lacking += [] if borrowed.tomli() else ["tomli"]
    if lacking:
        return _nothing(
            out, deadline
        ), f"{sys.executable} lacks {', '.join(lacking)}; nothing is installed by this"
    if out.exists() and any(out.iterdir()):
        return _nothing(out, deadline), f"{out} already holds something; give a new folder with --out"
    told = (ask or _ask_torch)()
    if "error" in told:
        return _nothing(out, deadline), f"torch does not start: {told['error']}"
    if not told["gpus"] and not rehearse:
        why = f" ({told['why']})" if told.get("why") else ""
        return _nothing(
            out, deadline
        ), f"no GPU here: torch {told['torch']} sees none{why}, so nothing was checked"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _nothing(
            out, deadline
        ), f"{out} cannot be made: {error.strerror}; give another folder with --out"
    return Here(out.resolve(), deadline, probe(), told, rehearse, nccl_tests), ""


def _nothing(out: Path, deadline: float) -> Here:
    return Here(out, deadline, Node("?"), {"gpus": 0, "names": [], "torch": "?", "nccl": ""}, False, None)


def _ask_torch() -> dict[str, Any]:
    """In a process of its own: this one must not open the GPU, or it would be there while others measure."""
    seconds = 180
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"after {seconds} s it had not said how many GPUs there are"}
    try:
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": f"ended with {done.returncode}: {done.stderr.strip()[-300:]}"}
    return told
