"""The error file that torchrun shows for a process that failed.

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


def write_error_file(text: str, environment: Mapping[str, str]) -> None:
    """Write ``text`` to the file that torchrun shows, if there is one and nobody has written it yet."""
    name = environment.get(VARIABLE)
    if not name:
        return
    text = f"railgauge: {text}"
    record = {
        "message": {"message": text, "extraInfo": {"py_callstack": text, "timestamp": str(int(time.time()))}}
    }
    with contextlib.suppress(OSError), Path(name).open("x", encoding="utf-8") as file:
        json.dump(record, file)
