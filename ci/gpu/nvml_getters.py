"""Prints what NVML's getters say of the first GPU, as JSON: {getter: {"answer" or "error": text, "seconds": text}}.

With --gauge it reads the clocks of that GPU for ever, as a run's monitor does.
"""

from __future__ import annotations

import inspect
import json
import sys
import time

import pynvml

LONGEST = 300  # characters of an answer


def ask(name: str, handle: object) -> dict[str, str]:
    try:
        answer = getattr(pynvml, name)(handle)
    except pynvml.NVMLError as error:
        return {"error": f"{error.value}: {error}"}
    except Exception as error:  # a binding that is newer than the library raises whatever it likes
        return {"error": f"{type(error).__name__}: {error}"[:LONGEST]}
    fields = getattr(answer, "_fields_", None)
    text = {field[0]: str(getattr(answer, field[0])) for field in fields} if fields else answer
    return {"answer": str(text)[:LONGEST]}


def one_argument(name: str) -> bool:
    wanted = inspect.signature(getattr(pynvml, name)).parameters.values()
    return sum(each.default is each.empty for each in wanted) == 1


def timed(name: str, handle: object) -> dict[str, str]:
    begun = time.perf_counter()
    return {**ask(name, handle), "seconds": f"{time.perf_counter() - begun:.6f}"}


def gauge() -> None:
    from bench.model.lines import WorkerGpu
    from bench.probe.gpu_load import GpuSampler
    from bench.supervise.monitor import GPU_SECONDS

    one = GpuSampler(WorkerGpu(index=0))
    while True:
        one.read()
        time.sleep(GPU_SECONDS)


if "--gauge" in sys.argv:
    gauge()
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
getters = [
    name
    for name in dir(pynvml)
    if name.startswith("nvmlDeviceGet") and "HandleBy" not in name and one_argument(name)
]
print(json.dumps({name: timed(name, device) for name in getters}, indent=1))
