"""Allocates the buffers of a case; calls rotate through several, so that caches and stale results do not flatter."""

from __future__ import annotations

from typing import Any

import torch

from bench.model.collectives import Collective
from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class Buffers:
    """[rotation] send and receive buffers; "in place" they share memory as the row says."""

    send: tuple[Any, ...]
    recv: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.send)


def allocate(
    row: Collective,
    count: int,
    dtype: torch.dtype,
    placement: str,
    place: tuple[int, int, int],
    rotation: int,
    device: torch.device,
) -> Buffers:
    """Buffers for ``place`` = (rank, ranks, root). A rank without a side gets an empty tensor there."""
    rank, n, root = place
    sent, received = row.sent(rank, n, root) * count, row.received(rank, n, root) * count
    together = row.together if placement == "in" else ""
    send, recv = [], []
    for _ in range(rotation):
        if together == "same":
            both = torch.zeros(count, dtype=dtype, device=device)
            send.append(both)
            recv.append(both)
        elif together == "slice-of-recv":
            whole = torch.zeros(received, dtype=dtype, device=device)
            send.append(whole[rank * count : (rank + 1) * count])
            recv.append(whole)
        elif together == "slice-of-send":
            whole = torch.zeros(sent, dtype=dtype, device=device)
            send.append(whole)
            recv.append(whole[rank * count : (rank + 1) * count])
        else:
            send.append(_zeros(sent, dtype, row.sides[0], device))
            recv.append(_zeros(received, dtype, row.sides[1], device))
    return Buffers(tuple(send), tuple(recv))


def _zeros(count: int, dtype: torch.dtype, side: str, device: torch.device) -> torch.Tensor:
    if side == "host" and device.type == "cuda":
        # a GPU copies from and to pageable memory through a bounce buffer of the driver's: half the speed
        return torch.zeros(count, dtype=dtype, pin_memory=True)
    return torch.zeros(count, dtype=dtype, device=device)
