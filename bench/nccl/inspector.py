"""What NCCL's Inspector writes of a job: one JSON object a line for each collective that a rank has finished.

Source: NCCL, plugins/profiler/inspector (README.md, inspector_json.cc), output format v4.0: ``coll_msg_size_bytes``,
``coll_busbw_gbs`` in 10^9 bytes/s. With NCCL_INSPECTOR_DUMP_THREAD_INTERVAL_MICROSECONDS at its default nothing is
written before a communicator ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from statistics import median

from bench.model.activity import InspectedCalls
from bench.model.typed_json import MOST
from bench.model.units import GIGA

_LONGEST = 64  # characters of a collective's name

Key = tuple[str, int, int, int]  # collective, bytes, ranks, nodes


def inspected(lines: Iterable[str]) -> tuple[InspectedCalls, ...]:
    """The calls in these lines by collective, size and communicator size. What is not understood is left out."""
    rates: dict[Key, list[float]] = {}
    for line in lines:
        for key, rate in _call(line):
            rates.setdefault(key, []).append(rate)
    return tuple(
        InspectedCalls(*key, len(found), median(found), min(found)) for key, found in sorted(rates.items())
    )


def _call(line: str) -> Iterator[tuple[Key, float]]:
    try:
        row = json.loads(line)
        head, call = row["header"], row["coll_perf"]
        rate = float(call["coll_busbw_gbs"]) * GIGA
        size, ranks, nodes = (
            int(call["coll_msg_size_bytes"]),
            int(head["n_ranks"]),
            int(head.get("nnodes", 0)),
        )
        name = str(call["coll"])[:_LONGEST]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return
    if math.isfinite(rate) and rate >= 0 and all(0 <= number <= MOST for number in (size, ranks, nodes)):
        yield (name, size, ranks, nodes), rate
