"""A gloo group bound to one network interface, usually of two ranks.

``dist.new_group`` chooses the interface by an environment variable and names pairs so that a later
group of the same two ranks finds the addresses of the earlier one in the store. So the pair is built
from its parts, under a name of its own, and offers those functions of torch.distributed that a collective's
row and the timing loop call.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class Op:
    """One side of an exchange, as ``dist.P2POp``."""

    call: Any
    tensor: Any
    peer: int


@dataclass(frozen=True)
class OneRailDist:
    """Stands in for ``torch.distributed`` between the members; peers are ranks of the job."""

    gloo: Any
    members: tuple[int, ...]

    def irecv(self, tensor: Any, peer: int) -> Any:
        return self.gloo.recv([tensor], self.members.index(peer), 0)

    def isend(self, tensor: Any, peer: int) -> Any:
        return self.gloo.send([tensor], self.members.index(peer), 0)

    def gathered(self, mine: Any) -> list[Any]:
        """``mine`` of every member, in their order."""
        parts = [mine.new_empty(mine.shape) for _ in self.members]
        self.gloo.allgather([parts], [mine]).wait()
        return parts

    def P2POp(self, call: Any, tensor: Any, peer: int, group: Any = None) -> Op:
        return Op(call, tensor, peer)

    def batch_isend_irecv(self, ops: Sequence[Op]) -> list[Any]:
        return [op.call(op.tensor, op.peer) for op in ops]


def open_pair(
    store: Any, name: str, members: tuple[int, ...], place: int, interface: str, limit: float
) -> OneRailDist:
    """Connect the ``members`` over ``interface``; RuntimeError when that does not work within ``limit`` s."""
    options = dist.ProcessGroupGloo._Options()
    options._timeout = timedelta(seconds=limit)
    options._devices = [dist.ProcessGroupGloo.create_device(interface=interface)]
    own = dist.PrefixStore(f"{name}/{'-'.join(map(str, members))}", store)
    return OneRailDist(dist.ProcessGroupGloo(own, place, len(members), options), members)
