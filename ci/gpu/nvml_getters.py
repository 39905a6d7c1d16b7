"""Prints what NVML's getters say of the first GPU, a line of JSON each: [getter, {"answer" or "error", "seconds"}].

A line is printed when its getter is done: the last one says which getter hung, or ended this process.

With --gauge it reads the clocks of that GPU for ever, as a run's monitor does.
"""

from __future__ import annotations

import inspect
import json
import sys
import time

import pynvml

LONGEST = 300  # characters of an answer


# what a getter wants beside the GPU: those that a run asks for, and what a link counts
MORE: dict[str, tuple[tuple[int, ...], ...]] = {
    "nvmlDeviceGetClockInfo": tuple((clock,) for clock in range(4)),
    "nvmlDeviceGetMaxClockInfo": tuple((clock,) for clock in range(4)),
    "nvmlDeviceGetTemperature": ((0,),),
    "nvmlDeviceGetTemperatureThreshold": tuple((threshold,) for threshold in range(5)),
    "nvmlDeviceGetTotalEccErrors": tuple((kind, since) for kind in range(2) for since in range(2)),
    "nvmlDeviceGetPcieThroughput": ((0,), (1,)),
    "nvmlDeviceGetViolationStatus": tuple((policy,) for policy in range(7)),
    "nvmlDeviceGetNvLinkState": tuple((link,) for link in range(18)),
    "nvmlDeviceGetNvLinkVersion": ((0,),),
    "nvmlDeviceGetNvLinkRemotePciInfo": ((0,),),
    "nvmlDeviceGetNvLinkErrorCounter": tuple((0, counter) for counter in range(4)),
}


def ask(name: str, *words: object) -> dict[str, str]:
    try:
        answer = getattr(pynvml, name)(*words)
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


def timed(name: str, *words: object) -> dict[str, str]:
    begun = time.perf_counter()
    return {**ask(name, *words), "seconds": f"{time.perf_counter() - begun:.6f}"}


def gauge() -> None:
    from bench.model.run_folder_lines import WorkerGpu
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
for name in getters:
    print(json.dumps([name, timed(name, device)]), flush=True)
for name, wanted in MORE.items():
    for words in wanted if hasattr(pynvml, name) else ():
        print(json.dumps([f"{name} {' '.join(map(str, words))}", timed(name, device, *words)]), flush=True)
