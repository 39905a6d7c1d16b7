"""Messages between supervisors: a star with rank 0 in the middle.

What is exchanged grows with the number of ranks: everybody talks to rank 0 and nobody else. Nothing
blocks: ``receive`` yields what has arrived, and callers sleep between looks, so that an idle
supervisor takes no share of a core from the workers (an MPI wait would spin).

    star      the protocol, and a star of one
    mpi       over mpi4py, where the launcher brings MPI
    sure      over a star that may lose a message, as MPI once did
    lifeline  beside MPI: who is gone, at once
    tcp       over authenticated TCP, where it does not: torchrun, fabric, DeepSpeed, plain shell
    frames    what TCP carries: sealed frames, the handshake's proofs
    door      rank 0 lets the others in; ``knock`` is their side of it
    token     the secret of a job: where it comes from
    connect   the right one of these for a place
"""

from .connect import connect
from .mpi import Mpi
from .protocol import Alone, Control, Message

__all__ = ["Alone", "Control", "Message", "Mpi", "connect"]
