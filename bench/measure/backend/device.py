"""Finds the device of a rank, its identity, and what this torch build can do with it.

torch 2.3 to 2.13 differ; whether a thing is there is asked of torch itself, never of its version.
"""

from __future__ import annotations

import ctypes
import inspect
from typing import Any

import torch
import torch.distributed as dist


class Unsupported(RuntimeError):
    """This torch, or this device, cannot do what a case asks for; the message says which part is missing."""


def of_rank(backend: str, local_rank: int) -> torch.device:
    """The device of a local rank; where the launcher shows each rank one GPU only, that one.

    RuntimeError where there is no such GPU.
    """
    if backend != "nccl":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count != 1:
        raise RuntimeError(f"local rank {local_rank} has no GPU: torch sees {count}")
    return torch.device("cuda", local_rank if local_rank < count else 0)


def use(device: torch.device) -> None:
    """Make ``device`` torch's current device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def release_memory(device: torch.device) -> None:
    """Give back what torch keeps of freed buffers: NCCL allocates its own, and would find none left."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def identity(device: torch.device) -> dict[str, Any]:
    """The identity of a GPU: its index in this process; name, UUID and PCI bus where torch reports them."""
    if device.type != "cuda":
        return {}
    seen = torch.cuda.get_device_properties(device)
    bus = getattr(seen, "pci_bus_id", None)
    uuid = getattr(seen, "uuid", None)
    return {
        "index": device.index,
        "name": seen.name,
        "uuid": "" if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}",
        "pci": _bus_by_runtime(device)
        if bus is None
        else f"{getattr(seen, 'pci_domain_id', 0):04x}:{bus:02x}",
    }


def _bus_by_runtime(device: torch.device) -> str:
    """``0000:1b`` from the CUDA runtime that torch loaded: torch before 2.5 does not tell. "" without a runtime."""
    ask = getattr(ctypes.CDLL(None), "cudaDeviceGetPCIBusId", None)
    text = ctypes.create_string_buffer(32)
    failed = ask is None or ask(text, len(text), device.index)
    return "" if failed else text.value.decode().lower().rpartition(":")[0]


# no feature tells this one: collectives hang at random after an eager init (pytorch#153960, mended in 2.7.1)
HANGS_EAGER = "2.7.0"


def eager(device: torch.device) -> dict[str, Any]:
    """Arguments of ``init_process_group`` that make it connect at once, so that connecting is timed apart.

    Where there are none the first meeting connects, and is timed apart likewise.
    """
    if device.type != "cuda" or str(torch.__version__).startswith(HANGS_EAGER):
        return {}
    known = inspect.signature(dist.init_process_group).parameters
    return {"device_id": device} if "device_id" in known else {}


def versions() -> dict[str, str]:
    """Versions of torch, CUDA and the NCCL library that this process has loaded (not the one it was built with)."""
    found = {"torch": str(torch.__version__), "cuda": str(getattr(torch.version, "cuda", None) or "")}
    if torch.cuda.is_available():
        try:
            found["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version())
        except (AttributeError, RuntimeError) as error:
            found["nccl"] = f"not told: {error}"
    return found
