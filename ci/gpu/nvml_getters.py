"""Prints what NVML's getters say of the first GPU, as JSON: {getter: {"answer": text} or {"error": text}}."""

from __future__ import annotations

import inspect
import json

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


pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
getters = [
    name
    for name in dir(pynvml)
    if name.startswith("nvmlDeviceGet") and "HandleBy" not in name and one_argument(name)
]
print(json.dumps({name: ask(name, device) for name in getters}, indent=1))
