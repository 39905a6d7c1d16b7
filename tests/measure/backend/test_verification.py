"""Results are verified before, during and after timing: a fault that begins later than the first calls is seen."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402

from bench.measure.backend import cases  # noqa: E402
from bench.measure.backend.correctness import POISON, Data  # noqa: E402
from bench.measure.backend.group import Group, HostClock  # noqa: E402
from bench.measure.loop import TimingRules  # noqa: E402
from bench.measure.work_order import Progress, WorkOrder  # noqa: E402
from bench.model.collectives import COLLECTIVES, COPIES  # noqa: E402
from bench.model.elements import PERIOD  # noqa: E402
from bench.plan import Request, sweep_cases  # noqa: E402

TABLES = {"all_reduce": COLLECTIVES, "reduce_scatter": COLLECTIVES, "copy_device": COPIES}
CALLS_BEFORE_TIMING = 2


@pytest.fixture
def alone():
    """A job of one rank."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group((0,), 0, None, torch.device("cpu"), HostClock())
    dist.destroy_process_group()


def measured(case, group, rules=None):
    rules = rules or TimingRules(budget=0.6)
    order = WorkOrder("x", (case,), 0, 1, 0, "gloo", "", 30.0, rules, CALLS_BEFORE_TIMING, {case.id: 2})
    return cases.measure_case(case, group, cases.CaseContext(order, Progress(), lambda kind, **fields: None))


def case_of(name, placement="", algorithm="auto"):
    placements = {**COLLECTIVES, **COPIES}[name].placements
    request = Request(name, 4096, 4096, algorithm=algorithm, placements=placements)
    found = sweep_cases("run", request, ((0,),))
    return next((case for case in found if placement in ("", case.placement)), None)


def plant(monkeypatch, name, fault):
    """Let ``fault(number, send, recv)`` change the result of call ``number``, counted from 0."""
    table, calls = TABLES[name], []
    honest = table[name].call

    def call(c, send, recv):
        honest(c, send, recv)
        fault(len(calls), send, recv)
        calls.append(None)

    monkeypatch.setitem(table, name, replace(table[name], call=call))
    return calls


def zeros_from_the_third(number, send, recv):
    if number >= 2:
        recv.zero_()


def last_element_in_timed_calls(number, send, recv):
    if number >= CALLS_BEFORE_TIMING:
        recv[-1] += 1


def every_fiftieth(number, send, recv):
    if number % 50 == 49:
        recv[7] += 1


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("fault", [zeros_from_the_third, last_element_in_timed_calls, every_fiftieth])
def test_a_fault_that_begins_after_the_first_calls_is_seen(alone, monkeypatch, name, fault):
    plant(monkeypatch, name, fault)
    row = measured(case_of(name), alone)
    assert row.wrong[0] > 0
    (first,) = row.mismatches
    assert first.repetition >= CALLS_BEFORE_TIMING
    if fault is last_element_in_timed_calls:
        assert first.index == row.checked // row.verified - 1
    if fault is every_fiftieth:
        assert first.index == 7


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("placement", ["in", "out"])
def test_a_healthy_case_has_no_wrong_element_in_many_verified_calls(alone, name, placement):
    case = case_of(name, placement)
    if case is None:
        return
    row = measured(case, alone)
    assert row.wrong == (0,)
    assert 10 < row.verified <= row.made


# a block of one call, and one of five over two buffers: the last into each is seen, be it the fourth or the fifth
@pytest.mark.parametrize(("calls", "wrong"), [(1, 2), (5, 5), (5, 6)])
def test_a_fault_of_one_timed_call_names_that_call(alone, monkeypatch, calls, wrong):
    plant(monkeypatch, "copy_device", lambda number, send, recv: number == wrong and recv[5:6].add_(1))
    row = measured(case_of("copy_device"), alone, TimingRules(iterations=calls, warmup=0))
    (first,) = row.mismatches
    assert (first.repetition, first.index) == (wrong, 5)


def replaying(launches):
    """A capture that replays only the first ``launches`` calls of the timing, then does nothing."""

    @contextmanager
    def replayed(launch, buffers, device):
        done = []

        def replay(number):
            if len(done) < launches:
                launch(number)
            done.append(number)

        yield replay

    return replayed


@pytest.mark.parametrize("launches", [0, 3])
def test_a_replay_that_does_nothing_is_wrong(alone, monkeypatch, launches):
    monkeypatch.setattr(cases, "replayed", replaying(launches))
    row = measured(case_of("copy_device", algorithm="graph"), alone)
    assert row.wrong[0] > 0
    monkeypatch.setattr(cases, "replayed", replaying(1 << 30))
    assert measured(case_of("copy_device", algorithm="graph"), alone).wrong == (0,)


# of all calls only these few are left out by verifying before and after timing
def test_each_of_few_calls_that_are_timed_alone_is_spot_checked(alone, monkeypatch):
    rules = TimingRules(iterations=3, warmup=0)
    for wrong in range(CALLS_BEFORE_TIMING + 3, CALLS_BEFORE_TIMING + 6):
        monkeypatch.undo()
        plant(monkeypatch, "copy_device", lambda number, send, recv, n=wrong: number == n and recv.zero_())
        (first,) = measured(case_of("copy_device"), alone, rules).mismatches
        assert first.repetition == wrong


def test_a_stale_buffer_is_wrong(alone, monkeypatch):
    kept = {}

    def stale(number, send, recv):
        recv.copy_(kept.setdefault("first", recv.clone()) if number > 2 else recv)

    plant(monkeypatch, "copy_device", stale)
    assert measured(case_of("copy_device"), alone).wrong[0] > 0


def test_nothing_is_verified_where_nobody_asked_for_it(alone):
    case = case_of("all_reduce")
    order = WorkOrder("x", (case,), 0, 1, 0, "gloo", "", 30.0, TimingRules(iterations=3), 0, {case.id: 2})
    row = cases.measure_case(case, alone, cases.CaseContext(order, Progress(), lambda kind, **fields: None))
    assert (row.checked, row.verified, row.wrong) == (0, 0, (None,))
    assert row.made > 0


@pytest.mark.parametrize("name", TABLES)
def test_a_comparison_that_finds_nothing_wrong_has_compared_nothing(alone, monkeypatch, name):
    plant(monkeypatch, name, zeros_from_the_third)
    monkeypatch.setattr(Data, "differ", lambda self, got, wanted: got != got)
    row = measured(case_of(name), alone)
    assert (row.wrong, row.checked, row.verified) == ((None,), 0, 0)


def test_what_happens_to_be_one_poison_is_compared_all_the_same(alone, monkeypatch):
    monkeypatch.setattr(
        Data, "_period", lambda self, like, *_, **__: torch.full((PERIOD,), POISON, dtype=like.dtype)
    )
    assert measured(case_of("copy_device"), alone).wrong == (0,)
