"""A worker of paper for the fork server's tests: no torch; it does what its order says and tells what it sees."""

import ctypes
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from bench.measure import forkserver

WARMED = []


def warm() -> None:
    if "CRASH_WHEN_WARM" in os.environ:
        print("planted: the library is broken", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if "SAY_WHEN_WARM" in os.environ:
        print("planted: a warning", flush=True)
    while "HANG_WHEN_WARM" in os.environ:
        time.sleep(1)
    while "HANG_UNTIL" in os.environ and not Path(os.environ["HANG_UNTIL"]).exists():
        time.sleep(0.02)
    WARMED.append(os.getpid())


def phase(channel: TextIO, asked: float) -> None:
    order = json.loads(sys.stdin.readline())
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    seen = {
        "kind": "seen",
        "warmed": WARMED,
        "waited": time.perf_counter() - asked,
        "session": os.getsid(0),
        "collects": gc.isenabled(),
        "python": dict(os.environ),
        "libc": {name: (getenv(name.encode()) or b"").decode() for name in order.get("ask", [])},
        "length": len(order.get("long", "")),
    }
    channel.write(json.dumps(seen) + "\n")
    channel.flush()
    print("printed by the worker")
    if order.get("fail"):
        raise ValueError("planted")
    while order.get("stay"):
        time.sleep(1)


if __name__ == "__main__":
    forkserver.serve(int(sys.argv[1]), warm, phase)
