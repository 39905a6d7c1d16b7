"""What a supervisor samples beside its worker while cases run: its GPU, both processes' memory, error counters.

Nothing here is in the timed path: the worker is another process. What is kept is bounded, whatever the
length of the run: a row a case for the GPU, a thinned series for memory, changes alone for counters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.model.counter_table import CounterRole
from bench.model.counters import Snapshot, delta
from bench.probe.gpu_load import Gauge, Load

GPU_SECONDS = 0.25  # between two samples of the GPU
MEMORY_SECONDS = 1.0  # at first; longer when the series is thinned
COUNTER_SECONDS = 30.0
MOST_POINTS = 480  # of the memory series
MOST_CHANGES = 50  # of a case's reasons, and of the counters


@dataclass
class GpuDuringCase:
    """A GPU during one case. Hz, °C, W: [] or [lowest, highest].

    silent   samples in which NVML did not give the reasons
    reasons  NVML's reason → in how many of the samples it stood
    changes  [seconds since the case began, reasons] whenever they became others
    """

    case: str
    begun: float
    samples: int = 0
    silent: int = 0
    clock_sm: list[float] = field(default_factory=list)
    clock_memory: list[float] = field(default_factory=list)
    temperature: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[float, list[str]]] = field(default_factory=list)

    def add(self, load: Load, now: float) -> None:
        self.samples += 1
        for name in ("clock_sm", "clock_memory", "temperature", "power"):
            value, extremes = getattr(load, name), getattr(self, name)
            if value is not None:
                extremes[:] = [min([value, *extremes]), max([value, *extremes])]
        if load.limits is None:
            self.silent += 1
            return
        for reason in load.limits:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        held = sorted(load.limits)
        if len(self.changes) < MOST_CHANGES and (not self.changes or self.changes[-1][1] != held):
            self.changes.append((round(now - self.begun, 3), held))


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
        self._gauge: Gauge | None = None
        self._gpu: dict[str, Any] = {}
        self._note = ""
        self._cases: list[GpuDuringCase] = []
        self._sampled = self._counted = -1e9
        self._memory = ThinnedSeries(MEMORY_SECONDS)
        self._first: Snapshot | None = None
        self._grown: dict[str, int] = {}
        self._changes: list[tuple[float, str, int]] = []
        self._looks = 0
        self._followed: dict[str, list[str]] = {}

    def use_gpu(self, gpu: dict[str, Any], gauge: Callable[[dict[str, Any]], Gauge]) -> None:
        """The worker has reported which GPU it uses; {}: none."""
        self._gpu = gpu
        if not gpu:
            return
        try:
            self._gauge = gauge(gpu)
        except LookupError as error:
            self._note = str(error)

    def poll(self, case: str, pid: int) -> None:
        """Samples when it is time, or when another case has begun. ``pid``: of the worker, 0 before it is born."""
        now = self._clock()
        another = bool(case) and (not self._cases or self._cases[-1].case != case)
        if self._gauge is not None and case and (another or now - self._sampled >= GPU_SECONDS):
            self._sampled = now
            if another:
                self._cases.append(GpuDuringCase(case, now))
            self._cases[-1].add(self._gauge.read(), now)
        if self._soaking and pid and self._memory.due(now - self._begun):
            self._memory.add(now - self._begun, self._resident(pid), self._resident(os.getpid()))
        if self._counters is not None and now - self._counted >= COUNTER_SECONDS:
            self._counted = now
            self._count(now)

    def _count(self, now: float) -> None:
        assert self._counters is not None
        snapshot = Snapshot.from_json(self._counters())
        self._looks += 1
        if self._first is None:
            self._first = snapshot
            return
        moved = delta(self._first, snapshot)
        for row in moved.rows:
            if row.role is CounterRole.ERROR:
                unknown = self._followed.setdefault(row.subject, [])
                if row.growth is None and row.counter not in unknown:
                    unknown.append(row.counter)
        for row in moved.grown(CounterRole.ERROR):
            name = f"{row.subject} {row.counter}"
            if row.growth != self._grown.get(name) and len(self._changes) < MOST_CHANGES:
                self._grown[name] = row.growth or 0
                self._changes.append((round(now - self._begun, 1), name, row.growth or 0))

    def result(self) -> dict[str, Any]:
        """All that was sampled, for the run folder; {} where there was nothing to sample."""
        if self._counters is not None:
            self._count(self._clock())
        found: dict[str, Any] = {}
        if self._gpu:
            found["gpu"] = {**self._gpu, "clock_sm_max": self._gauge.clock_sm_max if self._gauge else None}
            found["cases"] = [asdict(case) for case in self._cases]
            found["note"] = self._note
        if self._soaking:
            found["memory"] = self._memory.points
            if self._counters is not None:
                found["errors"], found["looks"] = self._changes, self._looks
                # device -> its error counters of which it is not known whether they grew
                found["followed"] = self._followed
        return found


def resident_bytes(pid: int) -> int:
    """Bytes of physical memory of a process, without what it shares with files; 0 where it is gone."""
    try:
        _, total, shared, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(total) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
