"""The real worker's fork server, watched: its workers report what of CUDA and NVML it called before it forked."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from bench.measure import forkserver, worker

CALLED: list[str] = []
# what opens a driver, or counts devices through one: a process that did may not fork
FORBIDDEN = {
    "torch.cuda": (
        "_lazy_init", "is_available", "device_count", "_raw_device_count_nvml", "_device_count_nvml",
        "current_device", "get_device_properties",
    ),
    "torch._C": ("_cuda_init", "_cuda_getDeviceCount", "_cuda_setDevice"),
    "pynvml": ("nvmlInit", "nvmlInitWithFlags", "_LoadNvmlLibrary"),
}  # fmt: skip


def watch(module: str, name: str) -> None:
    """Have a call of ``module.name`` noted."""
    try:
        there = importlib.import_module(module)
    except ModuleNotFoundError:
        return
    if not hasattr(there, name):
        return
    call: Callable[..., Any] = getattr(there, name)

    def noted(*words: Any, **named: Any) -> Any:
        CALLED.append(f"{module}.{name}")
        return call(*words, **named)

    setattr(there, name, noted)


def warm() -> None:
    for module, names in FORBIDDEN.items():
        for name in names:
            watch(module, name)
    worker.warm()
    if "TOUCHES_CUDA" in os.environ:
        sys.modules["torch"].cuda.is_available()


def phase(channel: TextIO, asked: float) -> None:
    sys.stdin.readline()
    # the module may be there, for torch imports it; the library must not be
    library = getattr(sys.modules.get("pynvml"), "nvmlLib", None)
    told = {
        "kind": "seen", "called": CALLED, "initialised": sys.modules["torch"].cuda.is_initialized(),
        "nvml": library is not None,
        "warmed": [name for name in ("torch.distributed", "bench.measure.backend.group") if name in sys.modules],
    }  # fmt: skip
    channel.write(json.dumps(told) + "\n")
    channel.flush()


if __name__ == "__main__":
    forkserver.serve(int(sys.argv[1]), warm, phase)
