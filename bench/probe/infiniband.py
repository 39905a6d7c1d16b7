"""InfiniBand and RoCE ports: ``/sys/class/infiniband``.

Formats: Linux, Documentation/ABI/stable/sysfs-class-infiniband and drivers/infiniband/core/sysfs.c.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from bench.model.facts import Gid, PciPath, Port
from bench.model.units import BITS, GIGA
from bench.probe import pci, sysfs

CLASS = sysfs.INFINIBAND
_STATE = re.compile(r"[0-9]{1,3}:\s*(\S.*)")
_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*Gb/sec\b")
_NO_GID = re.compile(r"[0:]*")


def ports(root: Path) -> tuple[Port, ...]:
    """Every port of every HCA with its counters, HCAs and ports in order of number."""
    return tuple(port for hca in sysfs.names(root / CLASS) for port in _ports(root, root / CLASS / hca))


def counters(root: Path) -> tuple[Port, ...]:
    """The ports with nothing but their counters and, of RoCE, their interface: what a snapshot needs, and quick."""
    return tuple(
        Port(
            hca,
            number,
            netdev=_roce_interface(folder),
            counters=sysfs.counts(folder / "counters"),
            hw_counters=sysfs.counts(folder / "hw_counters"),
        )
        for hca in sysfs.names(root / CLASS)
        for number, folder in _folders(root / CLASS / hca)
    )


def _folders(hca: Path) -> list[tuple[int, Path]]:
    numbers = {name: sysfs.parse_count(name) for name in sysfs.names(hca / "ports")}
    return [(number, hca / "ports" / name) for name, number in numbers.items() if number is not None]


def _ports(root: Path, hca: Path) -> list[Port]:
    path = pci.path(hca / "device")
    driver = sysfs.target(hca / "device" / "driver")
    can_open = _openable(root, hca)
    return [
        replace(_port(hca, number, folder, path, driver), openable=can_open)
        for number, folder in _folders(hca)
    ]


def _openable(root: Path, hca: Path) -> bool | None:
    """Whether the adapter's device file may be opened; None where the tree has no /dev, as a copy of /sys has not."""
    files = sysfs.names(hca / "device" / "infiniband_verbs")
    if not files or not (root / "dev").is_dir():
        return None
    return all(os.access(root / "dev" / "infiniband" / name, os.R_OK | os.W_OK) for name in files)


def _port(hca: Path, number: int, folder: Path, path: PciPath | None, driver: Path | None) -> Port:
    rate = sysfs.text(folder / "rate")
    return Port(
        hca=hca.name,
        number=number,
        state=sysfs.value(folder / "state", parse_state),
        phys_state=sysfs.value(folder / "phys_state", parse_state),
        rate=parse_rate(rate) if rate else None,
        rate_text=rate,
        link_layer=sysfs.text(folder / "link_layer"),
        lid=sysfs.value(folder / "lid", sysfs.parse_count),
        sm_lid=sysfs.value(folder / "sm_lid", sysfs.parse_count),
        gid=sysfs.value(folder / "gids" / "0", parse_gid),
        fw=sysfs.text(hca / "fw_ver"),
        board=sysfs.text(hca / "board_id"),
        hca_type=sysfs.text(hca / "hca_type"),
        node_guid=sysfs.text(hca / "node_guid"),
        system_guid=sysfs.text(hca / "sys_image_guid"),
        driver=driver.name if driver else None,
        netdev=_netdev(hca, number, folder),
        pkeys=_pkeys(folder / "pkeys"),
        gids=_gids(folder),
        pci=path,
        counters=sysfs.counts(folder / "counters"),
        hw_counters=sysfs.counts(folder / "hw_counters"),
    )


def _pkeys(folder: Path) -> tuple[int, ...] | None:
    """The table up to its last entry that is set; None where there is none, or an entry of it cannot be read."""
    keys = [sysfs.value(folder / name, sysfs.parse_count) for name in sysfs.names(folder)]
    if not keys or None in keys:
        return None
    last = max((index for index, key in enumerate(keys) if key), default=-1)
    return tuple(key for key in keys[: last + 1] if key is not None)


def _gids(folder: Path) -> tuple[Gid, ...] | None:
    """The entries that are set; the kernel refuses the type and interface of an empty one."""
    numbers = [
        number for name in sysfs.names(folder / "gids") if (number := sysfs.parse_count(name)) is not None
    ]
    set_ones = ((number, sysfs.value(folder / "gids" / str(number), parse_gid)) for number in numbers)
    kinds, interfaces = folder / "gid_attrs" / "types", folder / "gid_attrs" / "ndevs"
    found = (
        Gid(number, gid, sysfs.text(kinds / str(number)), sysfs.text(interfaces / str(number)))
        for number, gid in set_ones
        if gid
    )
    return tuple(found) if numbers else None


def _netdev(hca: Path, number: int, folder: Path) -> str | None:
    """RoCE ports name their interface with the first GID; IPoIB interfaces say which port they are on."""
    if named := _roce_interface(folder):
        return named
    below = hca / "device" / "net"
    for name in sysfs.names(below):
        # dev_port counts from 0
        if sysfs.value(below / name / "dev_port", sysfs.parse_count) == number - 1:
            return name
    return None


def _roce_interface(port: Path) -> str | None:
    return sysfs.text(port / "gid_attrs" / "ndevs" / "0")


def parse_state(text: str) -> str | None:
    """The state ``ACTIVE`` of the text ``4: ACTIVE``."""
    match = _STATE.fullmatch(text.strip())
    return match[1] if match else None


def parse_rate(text: str) -> float | None:
    """Bytes/s of ``400 Gb/sec (4X NDR)``. A kernel that does not know a speed calls it SDR: see the text."""
    match = _RATE.match(text.strip())
    return float(match[1]) * GIGA / BITS if match else None


def parse_gid(text: str) -> str | None:
    """The GID; None of an empty slot (all zeros)."""
    return None if _NO_GID.fullmatch(text.strip()) else text.strip()
