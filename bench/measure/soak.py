"""Measures a steady load, one row for each window of time: the soak.

The same marks, meetings and shared decisions as ``measure``; but the load hardly ever stops, and what is
kept is bounded: a window of any length is one row. At the end of a window one call is timed alone and one
call's result is checked, so that a fault of the second hour is seen in the second hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bench.model.measurement import Window
from bench.model.stats import median

from .loop import Backend, Launch, TimingRules, Timings, warm
from .skew import SkewCounter

BLOCK_SECONDS = 0.2  # between two looks at the clock
MOST_CALLS = 10_000  # in one block
LEAST_WINDOWS, MOST_WINDOWS = 30, 720  # rows of one soak


def window_seconds(total: float, wanted: float) -> float:
    """The length of a window: as wanted, but a soak has at least LEAST_WINDOWS rows and at most MOST_WINDOWS."""
    return max(min(wanted, total / LEAST_WINDOWS), total / MOST_WINDOWS)


Check = Callable[[int], Sequence[float]]  # check call number i: [wrong, checked] of this rank


def steady(
    backend: Backend, launch: Launch, check: Check, rules: TimingRules, tell: Callable[[Window], None]
) -> Timings:
    """Load until the budget is spent; every window goes to ``tell`` as it ends. All ranks return the same.

    ValueError where the rules ask for no window.
    """
    if not rules.window > 0:
        raise ValueError(f"a window of {rules.window} s is no window")
    begin = backend.mark()
    warmup, estimate = warm(backend, launch, rules)
    fitting = math.ceil(BLOCK_SECONDS / estimate) if estimate > 0 else MOST_CALLS
    calls = rules.iterations or max(1, min(MOST_CALLS, fitting))
    windows: list[Window] = []
    tally = SkewCounter()
    while not windows or windows[-1].ended < rules.budget:
        end = min((len(windows) + 1) * rules.window, rules.budget)
        windows.append(_window(backend, launch, check, calls, begin, end, tally, len(windows)))
        tell(windows[-1])
    return Timings(
        pipelined=tuple(window.seconds for window in windows),
        calls=calls,
        isolated=tuple(window.isolated for window in windows),
        stop="budget",
        width=math.inf,
        warmup=warmup,
        apart=tally.apart(),
    )


def _window(
    backend: Backend,
    launch: Launch,
    check: Check,
    calls: int,
    begin: Any,
    end: float,
    tally: SkewCounter,
    number: int,
) -> Window:
    """Blocks until ``end`` seconds after ``begin`` (one at least), one call alone, one call checked."""
    blocks: list[list[float]] = []
    while True:
        backend.together()
        start = backend.mark()
        for i in range(calls):
            launch(i)
        shared = backend.share(
            [backend.seconds(start, backend.mark()) / calls, backend.seconds(begin, backend.mark())]
        )
        blocks.append([row[0] for row in shared])
        if max(row[1] for row in shared) >= end:
            break
    backend.together()
    start = backend.mark()
    launch(0)
    alone = backend.seconds(start, backend.mark())
    last = backend.share([alone, *check(number), backend.seconds(begin, backend.mark())])
    times = [row[0] for row in last]
    tally.add(times)
    return Window(
        ended=max(row[3] for row in last),
        seconds=tuple(median(column) for column in zip(*blocks, strict=True)),
        slowest=max(max(block) for block in blocks),
        isolated=max(times),
        calls=calls * len(blocks),
        wrong=tuple(int(row[1]) if row[2] else None for row in last),
        checked=int(sum(row[2] for row in last)),
    )
