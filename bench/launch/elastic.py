"""The error file of torchrun: what it shows of a process that failed.

Without it every failure, a verdict of FAIL too, is shown as "To enable traceback see: https://...". The form is that of
torch.distributed.elastic.multiprocessing.errors.ErrorHandler (torch 2.3 to 2.13).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TORCHELASTIC_ERROR_FILE"


def tell(text: str, environment: Mapping[str, str]) -> None:
    """Leave ``text`` where torchrun looks for it; the first one stands, and without torchrun there is none."""
    name = environment.get(VARIABLE)
    if not name:
        return
    text = f"railgauge: {text}"
    told = {
        "message": {"message": text, "extraInfo": {"py_callstack": text, "timestamp": str(int(time.time()))}}
    }
    with contextlib.suppress(OSError), Path(name).open("x", encoding="utf-8") as file:
        json.dump(told, file)
