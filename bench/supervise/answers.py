"""What every supervisor answers about its machine when rank 0 asks."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from bench.model.typed_json import to_json

from .control.message_frames import Message


def answer(what: str) -> Message:
    """``hello``, ``probe``, ``counters`` or ``fabric``."""
    from bench.probe.fabric.ask_all import look
    from bench.probe.node import probe, snapshot

    if what == "hello":
        return hello()
    if what == "fabric":
        return {"answers": to_json(look().answers)}
    return dict(to_json(probe() if what == "probe" else snapshot()))


def hello() -> Message:
    """Host, process, allowed environment and torch of this rank, without importing torch."""
    from bench.probe.environment import allowed
    from bench.probe.host import machine, node_name

    return {
        "host": node_name(),
        "machine": machine(Path("/")),
        "pid": os.getpid(),
        "torch": bool(importlib.util.find_spec("torch")),
        "python": sys.executable,
        "environment": allowed(os.environ)[0],
    }
