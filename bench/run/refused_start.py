"""A job that ends before it measures: rank 0 tells the others its reason and its exit status."""

from __future__ import annotations

import contextlib
import socket

from bench.launch import LaunchContext
from bench.model.errors import exit_status
from bench.model.printable import plain
from bench.supervise.control.connect import connect
from bench.supervise.control.rendezvous import NotMet
from bench.supervise.control.token import NoToken
from bench.supervise.departures import dismiss
from bench.supervise.limits import Limits

SECONDS = 30.0  # for the other ranks to come and hear that nothing begins


def refusal(error: Exception) -> tuple[int, str]:
    """Exit status and reason of a job that ends before it measures, for the nodes that cannot see the first."""
    text = " ".join(plain(str(error)).split()) or type(error).__name__
    return exit_status(error), f"rank 0 on {plain(socket.gethostname())}: {text}"


def refuse(where: LaunchContext, error: Exception) -> None:
    """Tell the ranks of a job without MPI, which wait for rank 0, why nothing begins. MPI's launcher ends them."""
    if where.mpi or where.meet is None:
        return
    with contextlib.suppress(NotMet, NoToken):
        control = connect(where, limit=SECONDS)
        dismiss(control, Limits.quit, *refusal(error))
        control.close()
