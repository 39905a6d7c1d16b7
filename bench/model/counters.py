"""Counters of ports, interfaces and TCP: two snapshots, what grew between them, and what that means.

A counter that cannot be determined is never 0: it was not there (absent), it stands at its maximum (saturated) or
it is smaller than before (reset). What each of them is stands in ``counter_table``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
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
from .typed_json import Reading, Time

_FULL = {(row.group, row.name): ((1 << row.bits) - 1,) for row in TABLE if row.bits}
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
    """What grew between two snapshots of one machine, ``seconds`` apart (None: across a reboot)."""

    seconds: float | None
    rows: tuple[Growth, ...]

    @property
    def subjects(self) -> Iterable[str]:
        """Every port and interface that has a counter, in the order of the counters."""
        return self._by_subject.keys()

    def of(self, subject: str) -> tuple[Growth, ...]:
        return tuple(self._by_subject.get(subject, ()))

    def find(self, subject: str, group: str, name: str) -> Growth | None:
        """The row; None where neither snapshot had this counter."""
        for row in self._by_subject.get(subject, ()):
            if row.counter == name and row.group == group:
                return row
        return None

    @cached_property
    def _by_subject(self) -> dict[str, list[Growth]]:
        found: dict[str, list[Growth]] = {}
        for row in self.rows:
            found.setdefault(row.subject, []).append(row)
        return found

    def grown(self, role: CounterRole) -> tuple[Growth, ...]:
        """The rows of this role that are known to have grown, saturated ones included."""
        return tuple(row for row in self.rows if row.growth and row.role is role)


def delta(before: Snapshot, after: Snapshot) -> Delta:
    """Every counter that either snapshot has, in the order of the earlier one."""
    rows = list[Growth]()
    for subject, groups in before.readings.items():
        if subject == KERNEL:
            continue
        for group, values in groups.items():
            later = after.readings.get(subject, {}).get(group, {})
            rows += [
                _unchanged(subject, group, name, value)
                if (now := later.get(name)) == value
                else _growth((subject, group, name), value, now)
                for name, value in values.items()
                if name != LIFESPAN
            ]
    for subject, groups in after.readings.items():
        if subject == KERNEL:
            continue
        for group, values in groups.items():
            earlier = before.readings.get(subject, {}).get(group, {})
            if not values.keys() <= earlier.keys():
                new = [name for name in values if name not in earlier and name != LIFESPAN]
                rows += [_growth((subject, group, name), None, values[name]) for name in new]
    seconds = after.monotonic - before.monotonic
    return Delta(seconds if seconds >= 0 else None, tuple(rows))


def saturated(subjects: Snapshot) -> tuple[tuple[str, str, str, int], ...]:
    """Counters already at their maximum: (subject, group, counter, value). They hide what comes."""
    return tuple(
        (*key, value) for key in _keys(subjects, subjects) if (value := _value(subjects, key)) in _maxima(key)
    )


@dataclass(frozen=True)
class Traffic:
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
    for group, sent, received, step in _BYTES:
        rows = moved.find(subject, group, sent), moved.find(subject, group, received)
        if rows != (None, None):
            values = [None if row is None or row.how is not Certainty.EXACT else row.growth for row in rows]
            out, back = (None if value is None else value * step for value in values)
            return Traffic(out, back, _why(rows))
    return Traffic(None, None, f"{subject} has no byte counter")


def _why(rows: tuple[Growth | None, ...]) -> str:
    odd = [f"{row.counter} is {row.how.value}" for row in rows if row and row.how is not Certainty.EXACT]
    if None in rows:
        odd.append("one direction is absent")
    return ", ".join(odd) or Certainty.EXACT.value


_Key = tuple[str, str, str]


def _keys(*snapshots: Snapshot) -> list[_Key]:
    """Each once, in order of appearance."""
    return list(
        dict.fromkeys(
            (subject, group, name)
            for each in snapshots
            for subject, groups in each.readings.items()
            for group, values in groups.items()
            for name in values
            if name != LIFESPAN
        )
    )


def _value(of: Snapshot, key: _Key) -> int | None:
    subject, group, name = key
    return of.readings.get(subject, {}).get(group, {}).get(name)


def _maxima(key: _Key) -> tuple[int, ...]:
    """The values at which this counter stops: none if it is not one that does.

    A counter listed with 32 bits or less and read above its maximum is a wider one: it has not stopped.
    """
    return _FULL.get(key[1:], ())


@lru_cache(maxsize=1 << 14)
def _unchanged(subject: str, group: str, name: str, value: int) -> Growth:
    """A counter that did not move: nearly all of a cluster's, and most of them stand at 0 on every node."""
    full = value in _maxima((subject, group, name))
    how = Certainty.SATURATED if full else Certainty.EXACT
    return Growth(subject, group, name, value, value, None if full else 0, how, _role(group, name))


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
