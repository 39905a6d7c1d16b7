"""Allocates buffers with ncclMemAlloc and registers them with a communicator: what nccl-tests measures by default.

torch's own allocator gives other memory, and NCCL can take faster ways (NVLS, copies less) with its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from bench.measure.backend.device import Unsupported


class Pool:
    """A pool of NCCL's own memory; it is registered once all buffers are allocated."""

    def __init__(self, backend: Any, pool: Any, device: torch.device) -> None:
        self._backend, self._pool, self._device, self._registered = backend, pool, device, False

    def allocating(self) -> Any:
        """A context in which tensors are allocated from the pool."""
        return torch.cuda.use_mem_pool(self._pool)

    def register(self) -> None:
        """Tell the communicator; every rank of the group does so at the same point."""
        try:
            self._backend.register_mem_pool(self._pool)
        except RuntimeError as error:
            torch.cuda.synchronize(self._device)  # raises what is wrong with the GPU itself
            raise Unsupported(f"NCCL did not register the buffers: {error}") from None
        self._registered = True

    def release(self) -> None:
        torch.cuda.synchronize(self._device)
        if self._registered:
            self._backend.deregister_mem_pool(self._pool)


@contextmanager
def registered(handle: Any, device: torch.device) -> Iterator[Pool]:
    """A pool to allocate buffers from; ``handle``: torch's process group, None for the whole job.

    The pool is told to the communicator by ``register`` and taken from it when the block ends.
    Unsupported where this torch has no such thing, or this NCCL refuses.
    """
    backend = _backend(handle, device)
    try:
        pool = torch.cuda.MemPool(_allocator(backend))
    except TypeError as error:
        raise Unsupported(f"torch {torch.__version__} makes no pool of NCCL's memory: {error}") from None
    holder = Pool(backend, pool, device)
    try:
        yield holder
    finally:
        holder.release()


def _backend(handle: Any, device: torch.device) -> Any:
    if device.type != "cuda":
        raise Unsupported("registered buffers need NCCL; this backend runs on the CPU")
    group = dist.group.WORLD if handle is None else handle
    backend = group._get_backend(device)
    for name in ("register_mem_pool", "deregister_mem_pool"):
        if not hasattr(backend, name):
            raise Unsupported(f"torch {torch.__version__} has no {name}")
    return backend


def _allocator(backend: Any) -> Any:
    if not hasattr(torch.cuda, "MemPool") or not hasattr(torch.cuda, "use_mem_pool"):
        raise Unsupported(f"torch {torch.__version__} has no torch.cuda.MemPool")
    try:
        found = getattr(backend, "mem_allocator", None)
    except RuntimeError as error:  # torch 2.7 where its NCCL or the driver gives none
        raise Unsupported(f"torch {torch.__version__} gives no pool of NCCL's memory: {error}") from None
    if found is None:
        raise Unsupported(f"torch {torch.__version__} does not give NCCL's allocator")
    return found
