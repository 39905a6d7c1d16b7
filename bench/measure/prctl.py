"""What libc is asked for a process of ours: to end with its parent, to bear a name. Edge: prctl(2), fflush(3)."""

from __future__ import annotations

import ctypes

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


def end_with_parent(number: int) -> None:
    """Have the kernel send us this signal when our parent is gone. A fork does not inherit it.

    A parent that went before we could ask is not noticed: the caller knows its parent's pid and looks.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)


def call_me(name: str) -> None:
    """The name that ``ps`` and ``top`` show, 15 bytes at most; the command line stays."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NAME, name.encode())


def flush() -> None:
    """Write what C libraries hold back of their output; ``os._exit`` does not."""
    ctypes.CDLL(None).fflush(None)
