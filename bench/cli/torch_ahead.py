"""A process of its own imports torch while this one imports the rest, since workers wait for torch longest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.launch.context import TOKENS, launch_context
from bench.launch.table import LaunchError
from bench.supervise import shared_import
from bench.supervise.worker_process import ForkServer


@contextmanager
def torch_ahead(for_this_rank: bool) -> Iterator[ForkServer | None]:
    """Begin to import torch: for this rank where a launcher started it, else once for all ranks of this machine.

    Yields the fork server of this rank; its ranks find the shared import in the environment.
    """
    try:
        where = launch_context(os.environ)
    except LaunchError:  # the command itself will report it
        yield None
        return
    if where.launcher and not where.ranks:
        given = {name: value for name, value in os.environ.items() if name not in TOKENS}
        yield ForkServer(given) if for_this_rank else None
        return
    shared = shared_import.begin(os.environ)
    try:
        if shared:
            os.environ[shared_import.VARIABLE] = shared.address
        yield None
    finally:
        os.environ.pop(shared_import.VARIABLE, None)
        if shared:
            shared.close()
