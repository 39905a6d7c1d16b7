"""prctl(2) and fflush(3): die with the parent process, set the process name, flush C output."""

from __future__ import annotations

import ctypes
from signal import SIGTERM

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


def end_with_parent(number: int = SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent dies. A fork does not inherit the setting.

    A parent that went before we could ask is not noticed: the caller knows its parent's pid and looks.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)


def set_process_name(name: str) -> None:
    """Set the name that ``ps`` and ``top`` show, 15 bytes at most; the command line stays."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NAME, name.encode())


def flush() -> None:
    """Flush the output buffers of C libraries; ``os._exit`` does not."""
    ctypes.CDLL(None).fflush(None)
