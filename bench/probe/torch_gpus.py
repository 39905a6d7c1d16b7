"""GPUs as torch sees them, where NVML shows none: in a process of its own, so that no other opens a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.model.facts import Gpu

SECONDS = 120.0  # importing torch from a network file system takes that long
BUILDS = "libtorch_cuda.so", "libtorch_hip.so"  # the second is of ROCm, whose GPUs torch calls cuda as well
_ASK = """
import sys
sys.path[:] = filter(None, sys.path)  # not the current folder
import json, torch
found = []
for index in range(torch.cuda.device_count()):
    seen, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    found.append([index, seen.name, str(getattr(seen, "uuid", "")), total, free])
print(json.dumps(found))
"""


def torch_gpus() -> tuple[Gpu, ...]:
    """Every GPU that torch sees, whatever CUDA_VISIBLE_DEVICES shows; none where torch is built without CUDA or ROCm.

    Raises OSError, ValueError or subprocess.SubprocessError where torch does not answer.
    """
    torch = importlib.util.find_spec("torch")
    if not torch or not torch.origin:
        return ()
    libraries = Path(torch.origin).parent / "lib"
    if not any((libraries / name).exists() for name in BUILDS):
        return ()
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK],
        env=environment, capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    return tuple(
        Gpu(
            index,
            name=name,
            uuid=f"GPU-{uuid.removeprefix('GPU-')}" if uuid else None,
            memory_total=total,
            memory_free=free,
        )
        for index, name, uuid, total, free in json.loads(done.stdout.splitlines()[-1])
    )
