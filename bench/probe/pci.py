"""The way of a device over PCI to its root: links, their speed and width, and ACS on the bridges.

Sources: Linux Documentation/ABI/testing/sysfs-bus-pci; PCI Express Base Specification 5.0, 7.7.8 (ACS).
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.model.facts import PciLink, PciPath
from bench.probe import sysfs

DEVICES = "sys/bus/pci/devices"
_ROOT = re.compile(r"pci[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}")
_ADDRESS = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_SPEED = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) GT/s\b")
_WIDTHS = (1, 2, 4, 8, 12, 16, 32)  # 0 and 255 stand for "unknown"

ACS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")
_ACS_CAPABILITY = 0x000D
_EXTENDED = 0x100  # config space beyond it needs root, and memory-mapped config space

_NVIDIA = 0x10DE
_GPU_CLASSES = (0x0300, 0x0302)  # VGA and 3D controller


def path(device: Path) -> PciPath | None:
    """The PCI path of a device folder or a link to one (``/sys/class/net/eth0/device``); None without PCI."""
    folder = sysfs.target(device)
    if folder is None:
        return None
    root, addresses = parse_path(folder.as_posix())
    if not addresses:
        return None
    above = {parent.name: parent for parent in (folder, *folder.parents)}
    return PciPath(
        addresses[0],
        root,
        numa=sysfs.value(above[addresses[0]] / "numa_node", sysfs.parse_count),
        hops=tuple(_link(above[address], address) for address in addresses),
    )


def parse_path(text: str) -> tuple[str, tuple[str, ...]]:
    """The host bridge and the addresses from the device to the root port, of a resolved sysfs path.

    ``…/pci0000:40/0000:40:03.0/0000:43:00.0`` → ``pci0000:40``, (``0000:43:00.0``, ``0000:40:03.0``)
    """
    root, addresses = "", list[str]()
    for part in text.split("/"):
        if _ROOT.fullmatch(part):
            root, addresses = part, []
        elif root and _ADDRESS.fullmatch(part):
            addresses.insert(0, part)
    return root, tuple(addresses)


def _link(folder: Path, address: str) -> PciLink:
    bridge = sysfs.value(folder / "class", sysfs.parse_count)
    return PciLink(
        address,
        speed=sysfs.value(folder / "current_link_speed", parse_speed),
        max_speed=sysfs.value(folder / "max_link_speed", parse_speed),
        width=sysfs.value(folder / "current_link_width", parse_width),
        max_width=sysfs.value(folder / "max_link_width", parse_width),
        acs=parse_acs(sysfs.data(folder / "config") or b"") if bridge and bridge >> 8 == 0x0604 else None,
    )


def parse_speed(text: str) -> float | None:
    """GT/s per lane of ``32.0 GT/s PCIe``; None of ``Unknown``."""
    match = _SPEED.match(text.strip())
    return float(match[1]) if match else None


def parse_width(text: str) -> int | None:
    """Lanes; None of 0 and 255, which stand for a link that does not exist."""
    width = sysfs.parse_count(text)
    return width if width in _WIDTHS else None


def parse_acs(config: bytes) -> tuple[str, ...] | None:
    """The ACS controls that are on in a bridge's config space; () without the capability.

    None where the extended part is not there (not root, or no memory-mapped config space) or not sound.
    """
    if len(config) < _EXTENDED + 4 or config[:4] == b"\xff\xff\xff\xff":
        return None
    at, seen = _EXTENDED, set[int]()
    while at:
        header = int.from_bytes(config[at : at + 4], "little")
        if at in seen or at + 8 > len(config) or header == 0xFFFFFFFF:
            return None
        if header & 0xFFFF == _ACS_CAPABILITY:
            control = int.from_bytes(config[at + 6 : at + 8], "little")
            return tuple(name for bit, name in enumerate(ACS) if control >> bit & 1)
        seen.add(at)
        at = header >> 20 & 0xFFC
    return ()


def parse_bus_id(text: str) -> str | None:
    """``0000:18:00.0``, as sysfs writes it, of NVML's ``00000000:18:00.0``."""
    found = text.strip().lower()
    if not _ADDRESS.fullmatch(found):
        return None
    domain, rest = found.split(":", 1)
    return f"{int(domain, 16):04x}:{rest}"


def nvidia_gpus(root: Path) -> tuple[str, ...] | None:
    """PCI addresses of NVIDIA's GPUs, by bus order; None where there is no PCI bus in sysfs."""
    if not (root / DEVICES).is_dir():
        return None
    return tuple(name for name in sysfs.names(root / DEVICES) if _is_nvidia_gpu(root / DEVICES / name))


def _is_nvidia_gpu(folder: Path) -> bool:
    if sysfs.value(folder / "vendor", sysfs.parse_count) != _NVIDIA:
        return False
    kind = sysfs.value(folder / "class", sysfs.parse_count)
    return kind is not None and kind >> 8 in _GPU_CLASSES
