"""What a supervisor samples beside its worker while cases run: its GPU, both processes' memory, error counters.

Nothing here is in the timed path: the worker is another process. What is kept is bounded, whatever the
length of the run: a row a case for the GPU, a thinned series for memory, changes alone for counters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.model.counter_table import CounterRole
from bench.model.counters import Snapshot, delta
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, WorkerGpu
from bench.model.typed_json import load
from bench.probe.gpu_load import GpuSampler, Load

GPU_SECONDS = 0.25  # between two samples of the GPU
MEMORY_SECONDS = 1.0  # at first; longer when the series is thinned
COUNTER_SECONDS = 30.0
REPORT_SECONDS = 15.0  # of a soak, which may be interrupted after hours
MOST_POINTS = 480  # of the memory series
MOST_CHANGES = 50  # of a case's reasons, and of the counters


def sample(case: GpuDuringCase, load: Load, now: float) -> None:
    """Add one look at the GPU."""
    case.samples += 1
    for name in ("clock_sm", "clock_memory", "temperature", "power"):
        value, extremes = getattr(load, name), getattr(case, name)
        if value is not None:
            extremes[:] = [min([value, *extremes]), max([value, *extremes])]
    if load.limits is None:
        case.silent += 1
        return
    for reason in load.limits:
        case.reasons[reason] = case.reasons.get(reason, 0) + 1
    held = sorted(load.limits)
    if len(case.changes) < MOST_CHANGES and (not case.changes or case.changes[-1][1] != held):
        case.changes.append((round(now - case.begun, 3), held))


@dataclass
class ThinnedSeries:
    """(seconds, value …) at equal steps; when it is full every second point goes and the step doubles."""

    step: float
    points: list[tuple[float, ...]] = field(default_factory=list)
    _next: float = 0.0

    def due(self, now: float) -> bool:
        return now >= self._next

    def add(self, now: float, *values: float) -> None:
        self.points.append((round(now, 3), *values))
        if len(self.points) >= MOST_POINTS:
            self.points = self.points[::2]
            self.step *= 2
        self._next = now + self.step


class Monitor:
    """One worker's life as its supervisor samples it."""

    def __init__(
        self,
        soaking: bool,
        counters: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        resident: Callable[[int], int] | None = None,
    ) -> None:
        """``soaking``: memory and counters are followed too. ``counters`` only on a node's first rank."""
        self._soaking, self._clock = soaking, clock
        self._resident = resident or resident_bytes
        self._counters = counters if soaking else None
        self._begun = clock()
        self._gauge: GpuSampler | None = None
        self._line = HealthLine()
        self._sampled = self._counted = -1e9
        self._reported = self._begun
        self._memory = ThinnedSeries(MEMORY_SECONDS)
        self._first: Snapshot | None = None
        self._grown: dict[str, int] = {}

    def use_gpu(self, gpu: WorkerGpu | None, gauge: Callable[[WorkerGpu], GpuSampler]) -> None:
        """The worker has reported which GPU it uses; None: none."""
        self._line.gpu = gpu
        if gpu is None:
            return
        try:
            self._gauge = gauge(gpu)
            self._line.gpu = replace(gpu, clock_sm_max=self._gauge.clock_sm_max)
        except LookupError as error:
            self._line.note = str(error)

    def poll(self, case: str, pid: int) -> None:
        """Samples when it is time, or when another case has begun. ``pid``: of the worker, 0 before it is born."""
        now = self._clock()
        cases = self._line.cases
        another = bool(case) and (not cases or cases[-1].case != case)
        if self._gauge is not None and case and (another or now - self._sampled >= GPU_SECONDS):
            self._sampled = now
            if another:
                cases.append(GpuDuringCase(case, now))
            sample(cases[-1], self._gauge.read(), now)
        if self._soaking and pid and self._memory.due(now - self._begun):
            self._memory.add(now - self._begun, self._resident(pid), self._resident(os.getpid()))
        if self._counters is not None and now - self._counted >= COUNTER_SECONDS:
            self._counted = now
            self._count(now)

    def _count(self, now: float) -> None:
        assert self._counters is not None
        snapshot = load(Snapshot, self._counters())
        self._line.looks += 1
        self._line.errors = errors = self._line.errors or []
        if self._first is None:
            self._first = snapshot
            return
        moved = delta(self._first, snapshot)
        for row in moved.rows:
            if row.role is CounterRole.ERROR:
                unknown = self._line.followed.setdefault(row.subject, [])
                if row.growth is None and row.counter not in unknown:
                    unknown.append(row.counter)
        for row in moved.grown(CounterRole.ERROR):
            name = f"{row.subject} {row.counter}"
            if row.growth != self._grown.get(name) and len(errors) < MOST_CHANGES:
                self._grown[name] = row.growth or 0
                errors.append((round(now - self._begun, 1), name, row.growth or 0))

    def interim(self) -> HealthLine | None:
        """What a soak has sampled so far, every REPORT_SECONDS; None in between, and of anything shorter."""
        if not self._soaking or self._clock() - self._reported < REPORT_SECONDS:
            return None
        self._reported = self._clock()
        self._line.memory = self._memory.points
        return self._line

    def result(self) -> HealthLine | None:
        """All that was sampled, for the run folder; None where there was nothing to sample."""
        if self._counters is not None:
            self._count(self._clock())
        self._line.memory = self._memory.points
        return self._line if self._soaking or self._line.gpu else None


def resident_bytes(pid: int) -> int:
    """Bytes of physical memory of a process, without what it shares with files; 0 where it is gone."""
    try:
        _, total, shared, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(total) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
