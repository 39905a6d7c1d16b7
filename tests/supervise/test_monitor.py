"""What a supervisor samples beside its worker: a GPU of paper, a clock of paper."""

import itertools
from dataclasses import dataclass

import pytest

from bench.model.run_folder_lines import WorkerGpu
from bench.supervise.monitor import (
    COUNTER_SECONDS,
    MOST_CHANGES,
    MOST_POINTS,
    REPORT_SECONDS,
    Monitor,
    ThinnedSeries,
    resident_bytes,
)


@dataclass
class Reading:
    clock_sm: float | None = 1.98e9
    clock_memory: float | None = 2.6e9
    temperature: float | None = 40.0
    power: float | None = 300.0
    limits: tuple[str, ...] | None = ()


class Gpu:
    """A GPU whose readings a test scripts; the last one stays."""

    clock_sm_max = 1.98e9

    def __init__(self, *readings: Reading) -> None:
        self.readings = list(readings) or [Reading()]
        self.asked = 0

    def read(self) -> Reading:
        self.asked += 1
        return self.readings[min(self.asked, len(self.readings)) - 1]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watched(gpu: Gpu | None = None, **more):
    clock = Clock()
    monitor = Monitor(more.pop("soaking", False), clock=clock, resident=lambda pid: 1000 * pid, **more)
    if gpu:
        monitor.use_gpu(WorkerGpu(0, "GPU of paper"), lambda identity: gpu)
    return monitor, clock


def test_a_gpu_is_looked_at_when_a_case_begins_and_while_it_lasts():
    gpu = Gpu()
    monitor, clock = watched(gpu)
    for _ in range(100):
        monitor.poll("a", 1)
        clock.now += 0.01
    monitor.poll("b", 1)
    seen = monitor.result()
    assert [(case.case, case.samples) for case in seen.cases] == [("a", 4), ("b", 1)]
    assert gpu.asked == 5


def test_the_lowest_and_highest_readings_are_kept():
    monitor, clock = watched(Gpu(Reading(clock_sm=1.9e9, power=100.0), Reading(clock_sm=1.2e9, power=700.0)))
    for _ in range(3):
        monitor.poll("a", 1)
        clock.now += 1
    case = monitor.result().cases[0]
    assert (case.clock_sm, case.power) == ([1.2e9, 1.9e9], [100.0, 700.0])


def test_reasons_are_counted_and_their_changes_have_a_time():
    monitor, clock = watched(Gpu(Reading(), Reading(limits=("hw_thermal",)), Reading(limits=("hw_thermal",))))
    for _ in range(3):
        monitor.poll("a", 1)
        clock.now += 1
    case = monitor.result().cases[0]
    assert case.reasons == {"hw_thermal": 2}
    assert case.changes == [(0.0, []), (1.0, ["hw_thermal"])]


def test_what_nvml_refuses_is_absent_and_not_zero():
    monitor, _ = watched(Gpu(Reading(None, None, None, None, None)))
    monitor.poll("a", 1)
    case = monitor.result().cases[0]
    assert (case.clock_sm, case.temperature, case.silent, case.reasons) == ([], [], 1, {})


def test_a_gpu_that_nvml_does_not_know_leaves_a_note():
    def unknown(identity):
        raise LookupError("nvml knows no GPU 7")

    monitor, _ = watched()
    monitor.use_gpu(WorkerGpu(7), unknown)
    monitor.poll("a", 1)
    assert monitor.result().note == "nvml knows no GPU 7"


def test_without_a_gpu_and_without_a_soak_there_is_nothing_to_tell():
    monitor, _ = watched()
    monitor.use_gpu(None, lambda identity: pytest.fail("asked for a GPU"))
    monitor.poll("a", 1)
    assert monitor.result() is None


def test_changes_are_bounded():
    flapping = [Reading(limits=("hw_thermal",) if i % 2 else ()) for i in range(500)]
    monitor, clock = watched(Gpu(*flapping))
    for _ in range(500):
        monitor.poll("a", 1)
        clock.now += 1
    assert len(monitor.result().cases[0].changes) == MOST_CHANGES


def test_memory_of_a_long_soak_is_thinned_and_covers_all_of_it():
    series = ThinnedSeries(1.0)
    for second in range(100_000):
        if series.due(second):
            series.add(second, 5.0)
    times = [point[0] for point in series.points]
    assert len(times) < MOST_POINTS
    assert times[0] == 0 and times[-1] > 99_000
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) <= 2 * min(gaps)


def test_memory_is_followed_in_a_soak_only():
    monitor, clock = watched(soaking=True)
    for _ in range(5):
        monitor.poll("a", 1)
        clock.now += 1
    assert [point[1] for point in monitor.result().memory] == [1000] * 5


def shot(errors: int) -> dict:
    readings = {"mlx5_1/1": {"counters": {"symbol_error": errors, "port_xmit_data": 5 * errors}}}
    return {"time": 1.0, "monotonic": 1.0, "readings": readings}


def test_errors_that_grow_during_a_soak_have_a_time():
    counts = iter([3, 3, 9, 9])
    monitor, clock = watched(soaking=True, counters=lambda: shot(next(counts)))
    for _ in range(3):
        monitor.poll("a", 1)
        clock.now += COUNTER_SECONDS
    assert monitor.result().errors == [(2 * COUNTER_SECONDS, "mlx5_1/1 symbol_error", 6)]


def test_what_cannot_be_told_of_the_counters_is_kept_with_the_number_of_looks():
    gone = {**shot(3), "readings": {"mlx5_2/1": {"counters": {"symbol_error": 0}}}}
    shots = iter([{**shot(3), "readings": {**shot(3)["readings"], **gone["readings"]}}, gone])
    monitor, clock = watched(soaking=True, counters=lambda: next(shots))
    monitor.poll("a", 1)
    clock.now += 1
    seen = monitor.result()
    assert seen.looks == 2 and seen.errors == []
    assert seen.followed == {"mlx5_1/1": ["symbol_error"], "mlx5_2/1": []}


def test_our_own_memory_can_be_read():
    import os

    assert resident_bytes(os.getpid()) > 1 << 20
    assert resident_bytes(2**22 + 1) == 0


def test_a_soak_tells_what_it_sampled_so_far_now_and_then():
    clock = Clock()
    followed = Monitor(True, clock=lambda: clock.now, resident=lambda pid: 7)
    followed.poll("a", 1)
    assert followed.interim() is None
    clock.now += REPORT_SECONDS
    found = followed.interim()
    assert found is not None and len(found.memory) == 1
    assert followed.interim() is None
    assert Monitor(False, clock=lambda: clock.now + 99).interim() is None
