"""Counters of ports, interfaces and TCP: two snapshots, what grew between them, and what that means.

A counter that cannot be determined is never 0: it was not there (absent), it stands at its maximum (saturated) or
it is smaller than before (reset). What each of them is stands in ``counter_table``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from itertools import compress
from operator import ne
from typing import Annotated

from msgspec import Meta, Struct

from bench.model.facts import Interface, Port

from .counter_table import CPU as CPU
from .counter_table import ETHTOOL as ETHTOOL
from .counter_table import HW as HW
from .counter_table import LIFESPAN, TABLE, CounterRole
from .counter_table import NET as NET
from .counter_table import PMA as PMA
from .counter_table import TCP as TCP
from .counter_table import counter as counter
from .kernel_log import KERNEL
from .late_dataclass import dataclass
from .typed_json import Reading, Time

_FULL = {(row.group, row.name): ((1 << row.bits) - 1,) for row in TABLE if row.bits}
_TRAFFIC = frozenset(row.name for row in TABLE if row.role is CounterRole.TRAFFIC)
_MAXIMA = frozenset(most for maxima in _FULL.values() for most in maxima)
WORD = 4  # bytes of one step of port_xmit_data and port_rcv_data

Readings = Mapping[str, Mapping[str, Mapping[str, Reading]]]


class Certainty(str, Enum):
    """How far a growth can be believed."""

    EXACT = "exact"
    SATURATED = "saturated"
    RESET = "reset"
    ABSENT = "absent"


@dataclass(frozen=True)
class Snapshot:
    """All counters of one machine at one time.

    time, monotonic  seconds since 1970, and of the clock that is never set (one boot only)
    readings         subject (``mlx5_3/1``, ``eth3``, ``tcp``) → group (``counters``, ``hw_counters``,
                     ``ethtool``, ``statistics``, ``tcp``) → counter → value. ``kernel``: message → when, no counter
    """

    time: Time
    monotonic: Annotated[float, Meta(ge=0)]
    readings: Readings


def snapshot(
    time: float,
    monotonic: float,
    ports: Iterable[Port],
    interfaces: Iterable[Interface],
    tcp: Mapping[str, int],
    cpu: Mapping[str, int] | None = None,
    kernel_log: Mapping[str, int] | None = None,
    ethtool: Mapping[str, Mapping[str, int]] | None = None,
) -> Snapshot:
    """The counters in the facts. A subject that was seen stands here even if none of its counters was.

    ``ethtool``: by the name of a port that has such counters.
    """
    readings: dict[str, dict[str, dict[str, int]]] = {}
    for port in ports:
        readings[port.name] = {PMA: dict(port.counters), HW: dict(port.hw_counters)}
        if own := (ethtool or {}).get(port.name):
            readings[port.name][ETHTOOL] = dict(own)
    for interface in interfaces:
        readings[interface.name] = {NET: dict(interface.statistics)}
    readings[TCP] = {TCP: dict(tcp)}
    if cpu:
        readings[CPU] = {CPU: dict(cpu)}
    if kernel_log:
        readings[KERNEL] = {KERNEL: dict(kernel_log)}
    return Snapshot(time, monotonic, readings)


class Growth(Struct, frozen=True, gc=False):
    """One counter over a window. A Struct, since 1250 nodes have two million of them.

    ``growth`` is None where it cannot be determined. Saturated: the counter stands at its maximum; ``growth`` is
    then at least so much (it moved), or None (it stood there before). ``role``: None where no table holds the counter.
    """

    subject: str
    group: str
    counter: str
    before: int | None
    after: int | None
    growth: int | None
    how: Certainty
    role: CounterRole | None


@dataclass(frozen=True)
class Delta:
    """What grew between two snapshots of one machine, ``seconds`` apart (None: across a reboot).

    A row is made when it is asked for: of the two million counters of 1250 nodes nearly all stand still.
    """

    seconds: float | None
    before: Readings
    after: Readings

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Every port and interface that has a counter, in the order of the earlier snapshot."""
        seen = [each for readings in (self.before, self.after) for each in readings.items()]
        known = dict.fromkeys([subject for subject, groups in seen if any(groups.values())])
        known.pop(KERNEL, None)
        return tuple(known)

    @property
    def rows(self) -> tuple[Growth, ...]:
        """Every counter that either snapshot has, in the order of the earlier one; those that are new come last."""
        return _new_last(row for subject in self.subjects for row in self.of(subject))

    def of(self, subject: str) -> tuple[Growth, ...]:
        """Every counter of a port or interface that either snapshot has."""
        found = self.names(subject).items()
        rows = (self.find(subject, group, name) for group, names in found for name in names)
        return _new_last(row for row in rows if row is not None)

    def names(self, subject: str) -> dict[str, Mapping[str, int]]:
        """Group → counter → its value in a snapshot that has it, of a port or interface."""
        found = dict(self.before.get(subject, {}))
        for group, values in self.after.get(subject, {}).items():
            own = found.setdefault(group, values)
            if own is not values and not values.keys() <= own.keys():
                found[group] = {**own, **values}
        return found

    def find(self, subject: str, group: str, name: str) -> Growth | None:
        """The row; None where neither snapshot had this counter."""
        first = self.before.get(subject, {}).get(group, {}).get(name)
        last = self.after.get(subject, {}).get(group, {}).get(name)
        if (first is None and last is None) or name == LIFESPAN or subject == KERNEL:
            return None
        return _growth((subject, group, name), first, last)

    def exact(self, subject: str, group: str, name: str) -> int | None:
        """How much a counter grew; None where that cannot be determined."""
        first = self.before.get(subject, {}).get(group, {}).get(name)
        last = self.after.get(subject, {}).get(group, {}).get(name)
        if (known := _certain_growth(first, last)) is not None:
            return known  # nearly always
        row = self.find(subject, group, name)
        return row.growth if row and row.how is Certainty.EXACT else None

    @cached_property
    def changed(self) -> tuple[Growth, ...]:
        """The rows, but for those of traffic, that grew or of which it is not known whether they did."""
        return _new_last(row for row in self._moving() if row.growth != 0)

    def _moving(self) -> Iterator[Growth]:
        for subject in self.subjects:
            first, last = self.before.get(subject, {}), self.after.get(subject, {})
            for group in {**first, **last}:
                for name in _unlike(first.get(group, {}), last.get(group, {})):
                    if name not in _TRAFFIC and (row := self.find(subject, group, name)):
                        yield row

    def grown(self, role: CounterRole) -> tuple[Growth, ...]:
        """The rows of this role, other than traffic, that are known to have grown, saturated ones included."""
        return tuple(row for row in self.changed if row.growth and row.role is role)

    @cached_property
    def traffic(self) -> dict[str, Traffic]:
        """What ``bytes_moved`` has found."""
        return {}


def _unlike(before: Mapping[str, int], after: Mapping[str, int]) -> Iterable[str]:
    """The counters that changed, and those that stand at a value at which some counter ends."""
    if _MAXIMA.isdisjoint(before.values()):
        if before is after or before == after:
            return ()
        if before.keys() == after.keys():
            return compress(before, map(ne, before.values(), map(after.__getitem__, before)))
    names = {**before, **after}
    return (name for name in names if before.get(name) != after.get(name) or before.get(name) in _MAXIMA)


def _new_last(rows: Iterable[Growth]) -> tuple[Growth, ...]:
    return tuple(sorted(rows, key=lambda row: row.before is None))


def delta(before: Snapshot, after: Snapshot) -> Delta:
    """What grew between two snapshots of one machine."""
    seconds = after.monotonic - before.monotonic
    return Delta(seconds if seconds >= 0 else None, before.readings, after.readings)


def saturated(subjects: Snapshot) -> tuple[tuple[str, str, str, int], ...]:
    """Counters already at their maximum: (subject, group, counter, value). They hide what comes."""
    return tuple(
        (subject, group, name, value)
        for subject, groups in subjects.readings.items()
        for group, values in groups.items()
        if not _MAXIMA.isdisjoint(values.values())
        for name, value in values.items()
        if value in _maxima((subject, group, name))
    )


class Traffic(Struct, frozen=True, gc=False):
    """Bytes that left and came in over a window; None where it cannot be determined, and ``how`` says why."""

    sent: int | None
    received: int | None
    how: str


# where the bytes of a subject stand: group, sent, received, bytes a step
_BYTES = ((PMA, "port_xmit_data", "port_rcv_data", WORD), (NET, "tx_bytes", "rx_bytes", 1))


def bytes_moved(moved: Delta, subject: str) -> Traffic:
    """Bytes over a port (``mlx5_3/1``) or an interface (``eth3``).

    Port counters include InfiniBand's headers, interface counters Ethernet's. A port without data counters
    (soft-RoCE) cannot be determined: its interface, if any, is another subject.
    """
    if subject not in moved.traffic:
        moved.traffic[subject] = _traffic(moved, subject)
    return moved.traffic[subject]


def _traffic(moved: Delta, subject: str) -> Traffic:
    first, last = moved.before.get(subject, {}), moved.after.get(subject, {})
    for group, sent, received, step in _BYTES if first or last else ():
        values, later = first.get(group, {}), last.get(group, {})
        if not values and not later:
            continue
        out = _certain_growth(values.get(sent), later.get(sent))
        back = _certain_growth(values.get(received), later.get(received))
        if out is not None and back is not None:
            return Traffic(out * step, back * step, Certainty.EXACT.value)
        rows = moved.find(subject, group, sent), moved.find(subject, group, received)
        if rows != (None, None):
            found = [None if row is None or row.how is not Certainty.EXACT else row.growth for row in rows]
            out, back = (None if value is None else value * step for value in found)
            return Traffic(out, back, _why(rows))
    return Traffic(None, None, f"{subject} has no byte counter")


def _certain_growth(before: int | None, after: int | None) -> int | None:
    """How much a counter grew; None where it fell, is absent, or stands where some counter ends: look closer there."""
    if before is None or after is None or after < before or after in _MAXIMA:
        return None
    return after - before


def _why(rows: tuple[Growth | None, ...]) -> str:
    odd = [f"{row.counter} is {row.how.value}" for row in rows if row and row.how is not Certainty.EXACT]
    if None in rows:
        odd.append("one direction is absent")
    return ", ".join(odd) or Certainty.EXACT.value


_Key = tuple[str, str, str]


def _maxima(key: _Key) -> tuple[int, ...]:
    """The values at which this counter stops: none if it is not one that does.

    A counter listed with 32 bits or less and read above its maximum is a wider one: it has not stopped.
    """
    return _FULL.get(key[1:], ())


def _growth(key: _Key, before: int | None, after: int | None) -> Growth:
    role = _role(*key[1:])
    if before is None or after is None:
        return Growth(*key, before, after, None, Certainty.ABSENT, role)
    if after < before:
        return Growth(*key, before, after, None, Certainty.RESET, role)
    if after in _maxima(key):
        return Growth(*key, before, after, after - before or None, Certainty.SATURATED, role)
    return Growth(*key, before, after, after - before, Certainty.EXACT, role)


def _role(group: str, name: str) -> CounterRole | None:
    row = counter(group, name)
    return row.role if row else None
