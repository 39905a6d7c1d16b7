"""Captures calls in CUDA graphs and replays them: small messages without the launch cost of Python and torch.

A call through torch costs the host tens of µs; a graph is launched in a few. One graph for each rotated
buffer, so that a replay is one call, as in a training step that was captured.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.measure.backend.device import Unsupported
from bench.measure.loop import Launch


@contextmanager
def replayed(launch: Launch, buffers: int, device: torch.device) -> Iterator[Launch]:
    """Capture ``launch`` once for each of ``buffers``; yield the function that replays it.

    Every rank of the group captures the same calls in the same order. The graphs are gone when the block
    ends: NCCL does not destroy a communicator while a graph still holds it. Unsupported where a graph would be empty.
    """
    if device.type != "cuda":
        raise Unsupported("CUDA graphs need a GPU; the calls of this backend run on the CPU")
    _warm(launch, buffers, device)
    graphs = [torch.cuda.CUDAGraph() for _ in range(buffers)]
    for number, graph in enumerate(graphs):
        # NCCL's watchdog asks CUDA things meanwhile: only what this thread does may spoil the capture
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                launch(number)
        # torch's words (CUDAGraph.cpp) where a call puts nothing on the device, as in place on one rank
        if any("CUDA Graph is empty" in str(each.message) for each in said):
            raise Unsupported("the captured call does nothing on the GPU: there is nothing to replay")
    torch.cuda.synchronize(device)
    try:
        yield lambda number: graphs[number % buffers].replay()
    finally:
        torch.cuda.synchronize(device)
        for graph in graphs:
            graph.reset()


def _warm(launch: Launch, buffers: int, device: torch.device) -> None:
    """Run each call once on a side stream, as torch requires before a capture: nothing may be set up inside one."""
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for number in range(buffers):
            launch(number)
    torch.cuda.current_stream(device).wait_stream(side)
    torch.cuda.synchronize(device)
