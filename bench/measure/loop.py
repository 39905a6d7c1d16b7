"""The timing loop: one, for every collective and every backend, with the clock in plain sight.

Two numbers are taken of each case, turn by turn, so that both see the same minutes of the machine:

* pipelined: ``calls`` calls back to back, one interval, divided by ``calls``: what nccl-tests prints;
* isolated: every call follows a barrier and is timed alone, by each rank's own clock from when it has left the
  barrier; an iteration lasts as long as the longest of these. On a GPU it contains the launch by the host, since
  nothing is in flight before it.

All ranks see the same shared times and so take the same decisions: when warm, how many calls make a
block, when to stop. No rank ever leaves the loop alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bench.model.late_dataclass import dataclass
from bench.model.measurement import RankSkew
from bench.model.stats import median, relative_width

from .skew import SkewCounter

BLOCK_SECONDS = 0.02  # a pipelined block and an isolated batch last at most about this long
EASY = 0.05  # a wanted width from which on blocks are shorter: a rough answer needs few calls, but six blocks at least
SHORTEST = 0.1  # of a block's length, for the roughest
MOST_CALLS = 500  # in one block
WARM = 1.1  # warm when a batch is no more than this much faster than the one before
WARM_SHARE = 0.2  # of the budget may go into warming up
FEW = 16  # iterations that were asked for: each is spot-checked
SLOW = 1e-3  # seconds of a call from which on a spot check costs next to nothing
SPARSE = 4  # of a batch of isolated calls this part is made in a turn once those before it are precise enough
MOST_ITERATIONS = 5_000  # isolated; bounds memory and journal, never reached by slow calls


class Backend(Protocol):
    """The device and the group as the loop sees them; tests use a simulated one."""

    def together(self) -> None:
        """Return on every rank of the group at about the same moment, with nothing in flight."""

    def mark(self) -> Any:
        """A point on the time line of the device that runs the calls."""

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks; waits until both have happened."""

    def share(self, values: Sequence[float]) -> list[list[float]]:
        """[rank][value] of all ranks of the group; every rank gives equally many."""


@dataclass(frozen=True)
class TimingRules:
    """When to stop.

    precision    wanted relative width of the confidence interval of the medians
    budget       seconds for one case, warm-up included
    iterations   exactly so many (nccl-tests' -n); None: until precise or the budget is spent
    warmup       exactly so many calls (nccl-tests' -w); None: until stable
    window       seconds; above 0 the budget is spent under steady load, whose rate is recorded for each window
    """

    precision: float = 0.01
    budget: float = 3.0
    iterations: int | None = None
    warmup: int | None = None
    window: float = 0.0


@dataclass(frozen=True)
class Timings:
    """What one loop measured; the fields are those of ``model.Measurement``."""

    pipelined: tuple[tuple[float, ...], ...]
    calls: int
    isolated: tuple[float, ...]
    stop: str
    width: float
    warmup: int
    apart: RankSkew | None


Launch = Callable[[int], None]  # launch call number i; the number chooses the buffer


class Verify:
    """What is compared while no clock runs; this one compares nothing."""

    def lay(self, first: int, calls: int) -> None:
        """Before so many calls, from call ``first`` on: lay a few elements that each of them must change."""

    def spot(self, first: int, calls: int) -> None:
        """After these calls: compare the results of those elements."""

    def after_block(self, calls: int) -> None:
        """Compare what a block of so many calls left in their buffers."""


TRUST = Verify()


def measure(backend: Backend, launch: Launch, rules: TimingRules, verify: Verify = TRUST) -> Timings:
    """Time ``launch`` on every rank of the group until ``rules`` are met; all ranks return the same.

    Each block is spot-checked, and of few calls or slow ones each that is timed by itself. Once the isolated calls are
    precise enough, fewer are made beside each block: blocks are fewer, and nearly always the last to become so.
    """
    begin = backend.mark()
    warmup, estimate = warm(backend, launch, rules)
    calls, batch = _shape(estimate, rules)
    few = rules.iterations is not None and rules.iterations <= FEW
    step = 1 if few or estimate >= SLOW else batch
    pipelined: list[tuple[float, ...]] = []
    isolated: list[float] = []
    tally = SkewCounter()
    width_alone = math.inf
    while True:
        verify.lay(0, calls)
        block = _pipelined(backend, launch, calls)
        verify.spot(0, calls)
        verify.after_block(calls)
        count = batch if width_alone > rules.precision else math.ceil(batch / SPARSE)
        alone = _spotted(backend, launch, count, min(step, count), verify)
        verify.after_block(count)
        shared = backend.share([block, *alone, backend.seconds(begin, backend.mark())])
        pipelined.append(tuple(row[0] for row in shared))
        for i in range(1, count + 1):
            column = [row[i] for row in shared]
            isolated.append(max(column))
            tally.add(column)
        spent = max(row[-1] for row in shared)
        width_alone = relative_width(isolated)
        width = max(relative_width([max(row) for row in pipelined]), width_alone)
        stop = _stop(rules, width, spent, len(isolated), spent / len(pipelined))
        if stop:
            return Timings(tuple(pipelined), calls, tuple(isolated), stop, width, warmup, tally.apart())


def _pipelined(backend: Backend, launch: Launch, calls: int) -> float:
    backend.together()
    start = backend.mark()
    for i in range(calls):
        launch(i)
    return backend.seconds(start, backend.mark()) / calls


def _spotted(backend: Backend, launch: Launch, batch: int, step: int, verify: Verify) -> list[float]:
    """Isolated calls, of which ``step`` at a time are spot-checked."""
    times = []
    for first in range(0, batch, step):
        verify.lay(first, step)
        times += _isolated(backend, launch, step, first)
        verify.spot(first, step)
    return times


def _isolated(backend: Backend, launch: Launch, batch: int, first: int = 0) -> list[float]:
    times = []
    for i in range(first, first + batch):
        backend.together()
        start = backend.mark()
        launch(i)
        times.append(backend.seconds(start, backend.mark()))
    return times


def warm(backend: Backend, launch: Launch, rules: TimingRules) -> tuple[int, float]:
    """Calls made and the seconds of one, once the calls have stopped getting faster."""
    done, before, spent = 0, math.inf, 0.0
    while True:
        batch = rules.warmup if rules.warmup is not None else 3 if done else 1
        times = _isolated(backend, launch, batch)
        # the first call may set up connections: it is in no estimate unless it is the only one
        seconds = (
            median([max(column) for column in zip(*backend.share(times), strict=True)]) if times else 0.0
        )
        done += batch
        spent += seconds * batch
        stable = done > 1 and before <= seconds * WARM
        if rules.warmup is not None or stable or spent > WARM_SHARE * rules.budget:
            return done, seconds
        before = seconds


def _shape(estimate: float, rules: TimingRules) -> tuple[int, int]:
    """Calls of a pipelined block, and of an isolated batch."""
    if rules.iterations is not None:
        return rules.iterations, rules.iterations
    # short enough for some twelve turns within the budget: fewer than six blocks give no interval
    block = min(BLOCK_SECONDS * _share(rules.precision), rules.budget / 24)
    fitting = math.ceil(block / estimate) if estimate > 0 else MOST_CALLS
    calls = max(1, min(MOST_CALLS, fitting))
    return calls, max(1, min(calls, MOST_CALLS // 5))


def _share(precision: float) -> float:
    """How much of a whole block's length is enough for this precision."""
    return 1.0 if precision <= EASY else max(SHORTEST, (EASY / precision) ** 2)


def _stop(rules: TimingRules, width: float, spent: float, iterations: int, turn: float) -> str:
    if rules.iterations is not None:
        return "count"
    if width <= rules.precision:
        return "precision"
    # another turn that would overrun the budget is not begun
    if not spent + turn <= rules.budget or iterations >= MOST_ITERATIONS:
        return "budget"
    return ""
