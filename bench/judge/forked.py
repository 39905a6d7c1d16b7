"""A part of the judging in a copy of this process, beside the rest."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def can_fork() -> bool:
    """Whether a copy of this process would run beside it, and no other thread holds what the copy would wait for."""
    return len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


def forked(make: Callable[[], Result]) -> Callable[[], Result]:
    """Begin to make something in a copy of this process; returns what waits for it.

    What the copy could not make, or could not hand back, is made here.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(read)
            with os.fdopen(write, "wb") as out:
                pickle.dump(make(), out)
            status = 0
        finally:
            os._exit(status)  # nothing that this process has opened is closed or written a second time
    os.close(write)

    def result() -> Result:
        with os.fdopen(read, "rb") as file:
            made = file.read()
        status = os.waitpid(pid, 0)[1]
        found: Result = make() if status else pickle.loads(made)  # by a copy of ourselves
        return found

    return result
