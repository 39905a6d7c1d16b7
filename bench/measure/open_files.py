"""Raises the limit of open files: each rank takes a connection of rank 0, and several of its launcher."""

from __future__ import annotations

import contextlib
import resource

HOW_TO_RAISE = (
    "raise its hard limit (ulimit -Hn; nofile in /etc/security/limits.conf, LimitNOFILE of a systemd unit)"
)


def raise_limit() -> float:
    """Raise the limit as far as this user may, for this process and those that it starts; what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # refused where the hard limit is above the kernel's own: then the limit stays as it is
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if limit == resource.RLIM_INFINITY else limit
