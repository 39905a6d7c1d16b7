"""Runs torch's operations on "cuda" tensors of the paper runtime: their memory is the host's, as that of CPU tensors.

Collectives, copies, allocations, views and graphs stay torch's own and reach the paper runtime; arithmetic, fills and
comparisons are computed here, in the order of the stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# these give another look at memory, or memory without contents: torch's own code does them on paper as well
VIEWS = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "chunk", "detach", "expand", "lift_fresh", "narrow",
    "permute", "reshape", "select", "slice", "split", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view",
    "view_as_real",
}  # fmt: skip
UNFILLED = {
    "_pin_memory", "empty", "empty_like", "empty_strided", "is_pinned", "new_empty", "new_empty_strided",
    "record_stream", "resize_", "set_",
}  # fmt: skip


def on_gpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "cuda"


def on_cpu(value: Any) -> Any:
    """A CPU tensor on the memory of one of a GPU; other values as they are."""
    if not on_gpu(value):
        return value
    whole = value.untyped_storage().nbytes()
    if not whole or not value.numel():
        return torch.empty(value.shape, dtype=value.dtype)
    memory = (ctypes.c_char * whole).from_address(value.untyped_storage().data_ptr())
    usable = whole // value.element_size() * value.element_size()
    flat = torch.frombuffer(memory, dtype=torch.uint8)[:usable].view(value.dtype)
    return flat.as_strided(value.size(), value.stride(), value.storage_offset())


def each(call: Callable[[Any], Any], value: Any) -> Any:
    """The value with ``call`` applied to everything in its lists, tuples and dicts."""
    if type(value) in (list, tuple):
        return type(value)(each(call, inner) for inner in value)
    if isinstance(value, dict):
        return {key: each(call, inner) for key, inner in value.items()}
    return call(value)


def gpu_tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from gpu_tensors(inner)
    elif isinstance(value, dict):
        yield from gpu_tensors(list(value.values()))
    elif on_gpu(value):
        yield value


def _is_plain_copy(name: str, args: Any) -> bool:
    """A copy between contiguous tensors of one type that a GPU would do without a kernel."""
    if name != "copy_":
        return False
    to, source = args[0], args[1]
    alike = to.is_contiguous() and source.is_contiguous() and to.dtype == source.dtype
    return alike and all(on_gpu(tensor) or tensor.is_pinned() for tensor in (to, source))


class PaperGpu(TorchDispatchMode):
    """Takes each operation that a kernel of a GPU would do."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, wanted = func._schema.name.split("::")[1], kwargs.get("device")
        found = [*gpu_tensors(args), *gpu_tensors(kwargs)]
        made_on_gpu = wanted is not None and torch.device(wanted).type == "cuda"
        if func.namespace != "aten" or not (found or made_on_gpu) or name in VIEWS or name in UNFILLED:
            return func(*args, **kwargs)
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError(f"{name} would be captured, and the paper GPU has no kernel for it")
        if _is_plain_copy(name, args):
            return func(*args, **kwargs)
        torch.cuda.current_stream().synchronize()
        return self._compute(func, name, args, kwargs, found)

    def _compute(self, func: Any, name: str, args: Any, kwargs: Any, found: list[torch.Tensor]) -> Any:
        here = torch.device("cuda", torch.cuda.current_device())
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else found[0].device
        given = {key: value for key, value in each(on_cpu, kwargs).items() if key != "pin_memory"}
        if given.get("device") is not None:
            given["device"] = torch.device("cpu")
        result = func(*each(on_cpu, args), **given)
        if name == "_local_scalar_dense" or device.type != "cuda":
            return result
        if func._schema.is_mutable:
            return None if name.startswith("_foreach") else args[0]
        target = device if device.index is not None else here

        def back(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            made = torch.empty(value.shape, dtype=value.dtype, device=target)
            if value.numel():
                on_cpu(made).copy_(value)
            return made

        return each(back, result)


def on() -> None:
    """For the rest of the process, and in every thread that it starts from this one."""
    PaperGpu().__enter__()
