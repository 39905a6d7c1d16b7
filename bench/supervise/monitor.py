"""What a supervisor sees beside its worker while cases run: its GPU, its own processes, error counters.

Nothing here is in the timed path: the worker is another process. What is kept is bounded, whatever the
length of the run: a row a case for the GPU, a thinned series for memory, changes alone for counters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.model.counters import Role, Snapshot, delta

GPU_SECONDS = 0.25  # between two looks at the GPU
MEMORY_SECONDS = 1.0  # at first; longer when the series is thinned
COUNTER_SECONDS = 30.0
MOST_POINTS = 480  # of the memory series
MOST_CHANGES = 50  # of a case's reasons, and of the counters


class Load(Protocol):
    """One look at a GPU: Hz, Hz, °C, W, reasons; None where it refuses."""

    @property
    def clock_sm(self) -> float | None: ...

    @property
    def clock_memory(self) -> float | None: ...

    @property
    def temperature(self) -> float | None: ...

    @property
    def power(self) -> float | None: ...

    @property
    def limits(self) -> tuple[str, ...] | None: ...


class Gauge(Protocol):
    """The GPU as it can be looked at; tests put one of paper in its place."""

    @property
    def clock_sm_max(self) -> float | None: ...

    def read(self) -> Load: ...


@dataclass
class Spell:
    """A GPU during one case. Hz, °C, W; [lowest, highest] where two stand.

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
        """``silent``: samples of which NVML did not tell the reasons."""
        self.samples += 1
        for name in ("clock_sm", "clock_memory", "temperature", "power"):
            value, seen = getattr(load, name), getattr(self, name)
            if value is not None:
                seen[:] = [min([value, *seen]), max([value, *seen])]
        if load.limits is None:
            self.silent += 1
            return
        for reason in load.limits:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        now_held = sorted(load.limits)
        if len(self.changes) < MOST_CHANGES and (not self.changes or self.changes[-1][1] != now_held):
            self.changes.append((round(now - self.begun, 3), now_held))


@dataclass
class Series:
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


class Health:
    """One worker's life as its supervisor sees it."""

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
        self._spells: list[Spell] = []
        self._looked = -1e9
        self._memory = Series(MEMORY_SECONDS)
        self._first: Snapshot | None = None
        self._grown: dict[str, int] = {}
        self._changes: list[tuple[float, str, int]] = []
        self._looks = 0
        self._followed: dict[str, list[str]] = {}
        self._counted = -1e9

    def meet(self, gpu: dict[str, Any], gauge: Callable[[dict[str, Any]], Gauge]) -> None:
        """The worker has told which GPU it uses; {}: none."""
        self._gpu = gpu
        if not gpu:
            return
        try:
            self._gauge = gauge(gpu)
        except LookupError as error:
            self._note = str(error)

    def look(self, case: str, pid: int) -> None:
        """Called often; does something only when it is time, or when another case has begun. ``pid``: 0 is not born."""
        now = self._clock()
        another = bool(case) and (not self._spells or self._spells[-1].case != case)
        if self._gauge is not None and case and (another or now - self._looked >= GPU_SECONDS):
            self._looked = now
            if another:
                self._spells.append(Spell(case, now))
            self._spells[-1].add(self._gauge.read(), now)
        if self._soaking and pid and self._memory.due(now - self._begun):
            self._memory.add(now - self._begun, self._resident(pid), self._resident(os.getpid()))
        if self._counters is not None and now - self._counted >= COUNTER_SECONDS:
            self._counted = now
            self._count(now)

    def _count(self, now: float) -> None:
        assert self._counters is not None
        shot = Snapshot.from_json(self._counters())
        self._looks += 1
        if self._first is None:
            self._first = shot
            return
        moved = delta(self._first, shot)
        for row in moved.rows:
            if row.role is Role.ERROR:
                untold = self._followed.setdefault(row.subject, [])
                if row.growth is None and row.counter not in untold:
                    untold.append(row.counter)
        for row in moved.grown(Role.ERROR):
            name = f"{row.subject} {row.counter}"
            if row.growth != self._grown.get(name) and len(self._changes) < MOST_CHANGES:
                self._grown[name] = row.growth or 0
                self._changes.append((round(now - self._begun, 1), name, row.growth or 0))

    def end(self) -> dict[str, Any]:
        """What was seen, for the run folder; {} where there was nothing to see."""
        if self._counters is not None:
            self._count(self._clock())
        seen: dict[str, Any] = {}
        if self._gpu:
            seen["gpu"] = {**self._gpu, "clock_sm_max": self._gauge.clock_sm_max if self._gauge else None}
            seen["cases"] = [asdict(spell) for spell in self._spells]
            seen["note"] = self._note
        if self._soaking:
            seen["memory"] = self._memory.points
            if self._counters is not None:
                seen["errors"], seen["looks"] = self._changes, self._looks
                # device -> its error counters of which it cannot be determined whether they grew
                seen["followed"] = self._followed
        return seen


def resident_bytes(pid: int) -> int:
    """Bytes of physical memory of a process, without what it shares with files; 0 where it is gone."""
    try:
        _, total, shared, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(total) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
