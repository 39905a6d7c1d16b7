"""Network interfaces (``/sys/class/net``, ``/proc/net/dev``) and TCP's counters (``/proc/net/snmp``).

/sys shows the network namespace in which it was mounted, /proc/net that of the process: a container may be given the
host's /sys. Then only names, addresses and counters of its own interfaces are known.
Source: Linux, Documentation/ABI/testing/sysfs-class-net, Documentation/networking/statistics.rst, RFC 4022.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bench.model.facts import Interface
from bench.model.units import BITS, MEGA
from bench.probe import pci, sysfs

CLASS = sysfs.NET
SNMP = "proc/net/snmp"
TABLE = "proc/net/dev"
# in the order of its columns
_COLUMNS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo_errors", "rx_frame_errors", "rx_compressed",
    "multicast", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo_errors", "collisions",
    "tx_carrier_errors", "tx_compressed",
)  # fmt: skip
_TCP = ("InSegs", "OutSegs", "RetransSegs", "InErrs", "OutRsts")
_CARRIER = ("carrier_changes", "carrier_up_count", "carrier_down_count")
LOOKS, PAUSE = 5, 0.25  # times, and seconds between two
Own = Callable[[], Sequence[tuple[int, str]]]  # as socket.if_nameindex: index and name of each
_NO_SPEED = (0, 0xFFFFFFFF, 0xFFFF)  # besides −1: what old kernels and drivers say for "unknown"


def interfaces(
    root: Path, addresses: Mapping[str, tuple[str, ...]] | None = None, own: Own | None = None
) -> tuple[Interface, ...]:
    """Every interface, with ``addresses`` by name (None: not asked). ``own``: those of this process's namespace."""
    if own is None or not foreign(root, own):
        return tuple(_interface(root / CLASS / name, addresses) for name in _devices(root))
    return tuple(
        replace(each, addresses=None if addresses is None else addresses.get(each.name, ()))
        for each in _in_table(root, own)
    )


def statistics(root: Path, own: Own | None = None) -> tuple[Interface, ...]:
    """The interfaces with nothing but their counters: what a snapshot needs, and quick."""
    if own is not None and foreign(root, own):
        return _in_table(root, own)
    return tuple(Interface(name, statistics=_statistics(root / CLASS / name)) for name in _devices(root))


def foreign(root: Path, own: Own) -> bool:
    """Whether /sys shows another namespace's interfaces. Looked at again, as one may come or go between two looks."""
    return not any(set(own()) == _in_sys(root) for _ in range(LOOKS))


def _in_sys(root: Path) -> set[tuple[int | None, str]]:
    return {
        (sysfs.value(root / CLASS / name / "ifindex", sysfs.parse_count), name) for name in _devices(root)
    }


def _in_table(root: Path, own: Own) -> tuple[Interface, ...]:
    table = parse_table(sysfs.text(root / TABLE) or "")
    return tuple(Interface(name, statistics=table.get(name, {})) for _, name in own())


def parse_table(text: str) -> dict[str, dict[str, int]]:
    """The counters of ``/proc/net/dev`` by interface, named as in /sys; a line that is cut is left out."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.rpartition(":")
        counts = [sysfs.parse_count(word) for word in rest.split()]
        if len(counts) == len(_COLUMNS):
            found[name.strip()] = {
                column: count for column, count in zip(_COLUMNS, counts, strict=True) if count is not None
            }
    return found


def _devices(root: Path) -> tuple[str, ...]:
    # bonding_masters is a file
    return tuple(name for name in sysfs.names(root / CLASS) if (root / CLASS / name).is_dir())


def settled(look: Callable[[], tuple[str | None, bool | None]]) -> tuple[str | None, bool | None]:
    """State and carrier of an interface, read again while they contradict each other.

    The kernel changes the state up to a second after the carrier (Documentation/networking/operstates.rst).
    """
    for _ in range(LOOKS):
        state, carrier = look()
        if (state, carrier) not in (("down", True), ("up", False)):
            break
        time.sleep(PAUSE)
    return state, carrier


def _state(folder: Path) -> tuple[str | None, bool | None]:
    return sysfs.text(folder / "operstate"), sysfs.value(folder / "carrier", parse_carrier)


def _interface(folder: Path, addresses: Mapping[str, tuple[str, ...]] | None) -> Interface:
    operstate, carrier = settled(lambda: _state(folder))
    driver = sysfs.target(folder / "device" / "driver")
    return Interface(
        name=folder.name,
        operstate=operstate,
        carrier=carrier,
        speed=sysfs.value(folder / "speed", parse_speed),
        mtu=sysfs.value(folder / "mtu", sysfs.parse_count),
        mac=sysfs.text(folder / "address"),
        addresses=None if addresses is None else addresses.get(folder.name, ()),
        driver=driver.name if driver else None,
        virtual=not (folder / "device").exists(),
        pci=pci.path(folder / "device"),
        statistics=_statistics(folder),
    )


def _statistics(folder: Path) -> dict[str, int]:
    found = sysfs.counts(folder / "statistics")
    for name in _CARRIER:
        count = sysfs.value(folder / name, sysfs.parse_count)
        if count is not None:
            found[name] = count
    return found


def parse_carrier(text: str) -> bool | None:
    """True of 1, False of 0."""
    return {"0": False, "1": True}.get(text.strip())


def parse_speed(text: str) -> float | None:
    """Bytes/s of Mb/s; None of −1 and the other ways to say "unknown"."""
    speed = sysfs.parse_count(text)
    return None if speed is None or speed in _NO_SPEED else speed * MEGA / BITS


def tcp(root: Path) -> dict[str, int]:
    """TCP's counters of this network namespace."""
    return parse_snmp(sysfs.text(root / SNMP) or "")


def parse_snmp(text: str) -> dict[str, int]:
    """The TCP counters of a table in which a line of values follows a line of names."""
    rows = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    for names, values in pairwise(rows):
        if "RetransSegs" in names and len(names) == len(values):
            found = {name: sysfs.parse_count(value) for name, value in zip(names, values, strict=True)}
            return {name: count for name in _TCP if (count := found.get(name)) is not None}
    return {}
