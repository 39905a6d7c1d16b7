"""The timing loop on a backend of paper that moves its own clock."""

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pytest

from bench.measure.loop import MOST_CALLS, TimingRules, measure


class Paper:
    """Ranks whose calls take what ``cost(rank, call)`` says; this process is rank 0 and plays them all."""

    def __init__(self, cost: Callable[[int, int], float], ranks: int = 2) -> None:
        self.cost, self.ranks = cost, ranks
        self.clocks = [0.0] * ranks
        self.calls = 0
        self.meetings = 0
        self._times: list[list[float]] = []

    def launch(self, i: int) -> None:
        for rank in range(self.ranks):
            self.clocks[rank] += self.cost(rank, self.calls)
        self.calls += 1

    def together(self) -> None:
        self.meetings += 1
        self.clocks = [max(self.clocks)] * self.ranks

    def mark(self) -> tuple[float, ...]:
        return tuple(self.clocks)

    def seconds(self, start: Sequence[float], end: Sequence[float]) -> "Seconds":
        return Seconds(e - s for s, e in zip(start, end, strict=True))

    def share(self, values: Sequence["Seconds"]) -> list[list[float]]:
        return [[value.of[rank] for value in values] for rank in range(self.ranks)]


class Seconds:
    """The seconds of all ranks at once; arithmetic is on each."""

    def __init__(self, values) -> None:
        self.of = list(values)

    def __truediv__(self, by: float) -> "Seconds":
        return Seconds(value / by for value in self.of)


class Meeting(Paper):
    """Ranks that leave a meeting ``late[rank]`` after the first, and a call when all have come."""

    def __init__(self, late: Sequence[float]) -> None:
        super().__init__(lambda rank, call: 1e-3, ranks=len(late))
        self.late = late

    def together(self) -> None:
        super().together()
        self.clocks = [clock + late for clock, late in zip(self.clocks, self.late, strict=True)]

    def launch(self, i: int) -> None:
        self.clocks = [max(self.clocks)] * self.ranks
        super().launch(i)


def test_an_iteration_lasts_as_long_as_its_slowest_rank():
    paper = Paper(lambda rank, call: 1e-3 * (1 + rank), ranks=3)
    times = measure(paper, paper.launch, TimingRules(iterations=8, warmup=1))
    assert times.isolated == pytest.approx([3e-3] * 8)
    assert (times.apart.long, times.apart.longest) == ((0, 0, 8), (0, 0, 8))
    assert times.apart.long_by == pytest.approx((0, 0, 1e-3))


def test_the_rank_that_comes_late_into_a_call_has_the_shortest_time_of_its_own():
    paper = Meeting((0.0, 0.6e-3, 0.3e-3))
    apart = measure(paper, paper.launch, TimingRules(iterations=8, warmup=1)).apart
    assert (apart.short, apart.shortest, apart.long) == ((0, 8, 0), (0, 8, 0), (8, 0, 0))
    assert apart.short_by == pytest.approx((0, 0.3e-3, 0))


def test_ranks_of_equal_times_stand_apart_from_nobody():
    paper = Meeting((0.0, 0.0, 0.0))
    apart = measure(paper, paper.launch, TimingRules(iterations=8, warmup=1)).apart
    assert apart.short == apart.long == apart.shortest == apart.longest == (0, 0, 0)


def test_of_two_ranks_nobody_can_stand_apart():
    paper = Meeting((0.0, 0.6e-3))
    assert measure(paper, paper.launch, TimingRules(iterations=8, warmup=1)).apart is None


def test_the_pipelined_time_is_one_interval_over_its_calls():
    paper = Paper(lambda rank, call: 2e-3)
    times = measure(paper, paper.launch, TimingRules(iterations=10, warmup=1))
    assert times.calls == 10
    assert times.pipelined == (pytest.approx((2e-3, 2e-3)),)


def test_exact_counts_are_obeyed():
    paper = Paper(lambda rank, call: 1e-3)
    times = measure(paper, paper.launch, TimingRules(iterations=7, warmup=4))
    assert (times.stop, times.warmup, len(times.isolated)) == ("count", 4, 7)
    assert paper.calls == 4 + 7 + 7


def test_a_quiet_machine_stops_by_precision_long_before_the_budget():
    paper = Paper(lambda rank, call: 1e-3)
    times = measure(paper, paper.launch, TimingRules(budget=100.0))
    assert times.stop == "precision"
    assert times.width <= 0.01
    assert paper.clocks[0] < 5


def test_a_noisy_machine_stops_by_the_budget_and_says_how_wide_it_is():
    rng = random.Random(1)
    paper = Paper(lambda rank, call: 1e-3 * rng.lognormvariate(0, 2))
    times = measure(paper, paper.launch, TimingRules(budget=2.0, precision=0.001))
    assert times.stop == "budget"
    assert times.width > 0.001
    assert paper.clocks[0] < 5


def test_more_precision_takes_more_iterations():
    counts = []
    for precision in (0.1, 0.02):
        rng = random.Random(2)
        paper = Paper(lambda rank, call, rng=rng: 1e-3 * (1 + rng.random()))
        counts.append(
            len(measure(paper, paper.launch, TimingRules(budget=60.0, precision=precision)).isolated)
        )
    assert counts[1] > 2 * counts[0]


class NoisyBlocks(Paper):
    """Ranks whose first call after a meeting always takes the same, and any further one whatever it likes."""

    def __init__(self) -> None:
        super().__init__(lambda rank, call: 1e-3 * self.noise.lognormvariate(0, 1) if self.since else 1e-3)
        self.noise, self.since = random.Random(3), 0

    def together(self) -> None:
        super().together()
        self.since = 0

    def launch(self, i: int) -> None:
        super().launch(i)
        self.since += 1


def test_isolated_calls_that_are_precise_leave_the_time_to_the_blocks():
    paper = NoisyBlocks()
    times = measure(paper, paper.launch, TimingRules(budget=60.0, precision=0.05))
    turns = len(times.pipelined)
    assert times.stop == "precision" and turns > 10
    assert (times.calls, len(times.isolated)) == (20, 20 + (turns - 1) * 5)


@pytest.mark.parametrize(("precision", "calls"), [(0.01, 20), (0.05, 20), (0.1, 5), (0.5, 2)])
def test_a_rough_answer_is_made_of_short_blocks(precision, calls):
    """Six of them are needed for any interval, so that their length is what the shortest case lasts."""
    paper = Paper(lambda rank, call: 1e-3)
    assert measure(paper, paper.launch, TimingRules(budget=60.0, precision=precision)).calls == calls


def test_a_call_longer_than_the_budget_is_measured_once_and_no_more():
    paper = Paper(lambda rank, call: 10.0)
    times = measure(paper, paper.launch, TimingRules(budget=1.0))
    assert (times.stop, times.calls, len(times.isolated)) == ("budget", 1, 1)


def test_warming_up_waits_for_calls_that_get_faster():
    costs = itertools.chain([0.5, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01], itertools.repeat(1e-3))
    paper = Paper(lambda rank, call: cost[call])
    cost = [next(costs) for _ in range(4000)]
    times = measure(paper, paper.launch, TimingRules(budget=60.0))
    assert max(times.isolated) == pytest.approx(1e-3)
    assert times.warmup >= 10


def test_warming_up_ends_even_when_calls_never_settle():
    paper = Paper(lambda rank, call: 0.9**call)
    times = measure(paper, paper.launch, TimingRules(budget=5.0))
    assert times.warmup < 40


def test_calls_too_fast_for_the_clock_do_not_loop_for_ever():
    paper = Paper(lambda rank, call: 0.0)
    times = measure(paper, paper.launch, TimingRules(budget=1.0))
    assert times.calls == MOST_CALLS
    assert times.stop == "budget"
    assert math.isinf(times.width)


def test_every_isolated_call_and_every_block_starts_together():
    paper = Paper(lambda rank, call: 1e-3)
    measure(paper, paper.launch, TimingRules(iterations=5, warmup=2))
    assert paper.meetings == 2 + 1 + 5
