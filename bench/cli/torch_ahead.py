"""torch is imported beside our own imports: whatever a command that measures does first, its workers wait for torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.launch.context import TOKENS, launch_context
from bench.launch.table import LaunchError
from bench.supervise import shared_import
from bench.supervise.worker_process import ForkServer

from .invocation import Invocation


@contextmanager
def torch_ahead(typed: Invocation) -> Iterator[Invocation]:
    """Begin to import torch: for this rank where a launcher started it, else once for all ranks of this machine.

    The command finds its rank's fork server in the invocation, and its ranks the shared import in the environment.
    """
    try:
        where = launch_context(os.environ)
    except LaunchError:  # the command itself will report it
        yield typed
        return
    if where.launcher and not where.ranks:
        given = {name: value for name, value in os.environ.items() if name not in TOKENS}
        # resume does not use the server of a rank before it has read the run folder
        yield replace(typed, fork_server=ForkServer(given)) if typed.command != "resume" else typed
        return
    shared = shared_import.begin(os.environ)
    try:
        if shared:
            os.environ[shared_import.VARIABLE] = shared.address
        yield typed
    finally:
        os.environ.pop(shared_import.VARIABLE, None)
        if shared:
            shared.close()
