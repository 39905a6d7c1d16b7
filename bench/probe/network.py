"""Network interfaces (``/sys/class/net``) and TCP's counters (``/proc/net/snmp``).

Source of the formats: Linux, Documentation/ABI/testing/sysfs-class-net, RFC 4022.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from bench.model.facts import Interface
from bench.model.units import BITS, MEGA
from bench.probe import pci, sysfs

CLASS = "sys/class/net"
SNMP = "proc/net/snmp"
_TCP = ("InSegs", "OutSegs", "RetransSegs", "InErrs", "OutRsts")
_CARRIER = ("carrier_changes", "carrier_up_count", "carrier_down_count")
LOOKS, PAUSE = 5, 0.25  # times, and seconds between two
_NO_SPEED = (0, 0xFFFFFFFF, 0xFFFF)  # besides −1: what old kernels and drivers say for "unknown"


def interfaces(root: Path, addresses: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Interface, ...]:
    """Every interface, with ``addresses`` by name (None: not asked)."""
    return tuple(_interface(root / CLASS / name, addresses) for name in _devices(root))


def statistics(root: Path) -> tuple[Interface, ...]:
    """The interfaces with nothing but their counters: what a snapshot needs, and quick."""
    return tuple(Interface(name, statistics=_statistics(root / CLASS / name)) for name in _devices(root))


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


def strangers(shown: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """A note where the interfaces ``shown`` in /sys are not the process's ``own``: /sys was then mounted in
    another network namespace, and its counters are not those of this process's traffic.
    """
    if set(shown) == set(own):
        return ()
    listed = ", ".join(shown) or "none", ", ".join(own) or "none"
    return (f"network: /sys shows {listed[0]}, but this process has {listed[1]}: it is another namespace's",)


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
