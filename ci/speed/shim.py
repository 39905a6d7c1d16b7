"""Runs a peer's script that expects CUDA on a machine without it: its clock becomes the host's, its NCCL gloo.

    python shim.py SCRIPT ARGUMENTS …

Only what these scripts ask of torch.cuda is replaced; their loops, sizes, counts and sums are their own.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist


class Event:
    """A reading of the host's clock: gloo's calls are done when they return."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        return

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


def main() -> None:
    join = dist.init_process_group

    def by_gloo(backend: str | None = None, **more: Any) -> None:
        more.pop("device_id", None)
        join("gloo", **more)

    dist.init_process_group = by_gloo
    torch.distributed.init_process_group = by_gloo
    torch.cuda.Event = Event
    torch.cuda.set_device = torch.cuda.synchronize = lambda *_: None
    torch.cuda.nccl = SimpleNamespace(version=lambda: "none (gloo)")
    torch.cuda.get_device_properties = lambda *_: SimpleNamespace(total_memory=1 << 30)
    torch.Tensor.cuda = lambda self, *_: self
    for ours, theirs in (("RANK", "OMPI_COMM_WORLD_RANK"), ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")):
        os.environ.setdefault(ours, os.environ.get(theirs, "0"))
    os.environ.setdefault("LOCAL_RANK", os.environ.get("OMPI_COMM_WORLD_LOCAL_RANK", "0"))
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
