"""A job of a user's, as a watch finds one: all_reduce over each rail by gloo, again and again, without RailGauge.

mpirun RANKS python job.py ADDRESS RAILS SECONDS      one rank for each rail of each node
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

PORT = 29555
FLOATS = 1 << 18


def main() -> None:
    address, rails, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    from mpi4py import MPI

    rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    rail = rank % rails
    os.environ["GLOO_SOCKET_IFNAME"] = f"eth{rail + 1}"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.TCPStore(address, PORT, size, rank == 0, timedelta(seconds=60))
    own = dist.PrefixStore(f"rail {rail + 1}", store)
    dist.init_process_group("gloo", store=own, rank=rank // rails, world_size=size // rails)
    data, until = torch.ones(FLOATS), time.monotonic() + seconds
    on = torch.ones(1)
    while on.item() > 0:  # rank 0 of the rail says when it is over, so that no rank is left in a call
        dist.all_reduce(data)
        data.fill_(1.0)
        on.fill_(float(time.monotonic() < until))
        dist.all_reduce(on, op=dist.ReduceOp.MIN)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
