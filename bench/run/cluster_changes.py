"""The facts whose change makes a resumed measurement invalid, compared between the run and the cluster now.

A row of the tables below is a fact whose change would make the second half of a run mean something else than the
first: what NCCL reads, what it may choose from, what carries the bytes and how fast that can be. What moves by itself
has no row: clocks, power, temperatures, free memory, processes, counters, LIDs, the GPUs' PCI speed (idle, it is less).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.model.facts import INWARD, Gpu, Interface, Node, PciPath, Port
from bench.model.units import show_rate, show_some

NAMED = 3  # nodes or devices of one change that are named
LISTED = 8  # of a list

NODE: tuple[tuple[str, Callable[[Node], Any]], ...] = (
    ("GPUs", lambda node: tuple(gpu.uuid or gpu.name for gpu in node.gpus)),
    ("HCAs", lambda node: tuple(port.name for port in node.ports)),
    ("interfaces", lambda node: tuple(sorted(face.name for face in _lasting(node)))),
    ("driver", lambda node: node.software.driver),
    ("torch", lambda node: node.software.torch),
    ("CUDA of torch", lambda node: node.software.torch_cuda),
    ("NCCL of torch", lambda node: node.software.torch_nccl),
    ("NCCL wheels", lambda node: tuple(f"{name} {at}" for name, at in sorted(node.software.nccl_wheels.items()))),
    ("NCCL libraries", lambda node: tuple(sorted(node.software.nccl_libraries))),
    ("NCCL plugins", lambda node: tuple(sorted(node.software.net_plugins))),
    ("OFED", lambda node: node.software.ofed),
    ("kernel", lambda node: node.host.kernel),
    ("kernel options about IOMMU and ACS", lambda node: node.host.iommu_options),
    ("nvidia_peermem", lambda node: node.host.peermem),
    ("peer-memory clients", lambda node: tuple(sorted(node.host.memory_peers))),
    ("NVIDIA kernel module", lambda node: node.host.nvidia_module),
    ("CPUs", lambda node: node.host.cpus),
    ("CPU quota", lambda node: node.host.cpu_quota),
)  # fmt: skip
PORT: tuple[tuple[str, Callable[[Port], Any]], ...] = (
    ("state", lambda port: port.state),
    ("link rate", lambda port: _rate(port.rate)),
    ("link layer", lambda port: port.link_layer),
    ("MTU", lambda port: port.mtu),
    ("HCA firmware", lambda port: port.fw),
    ("GUID", lambda port: port.node_guid),
    ("PCI address", lambda port: port.pci and port.pci.address),
    ("PCI link", lambda port: _pci_link(port.pci)),
    ("ACS on its way", lambda port: _acs(port.pci)),
)
INTERFACE: tuple[tuple[str, Callable[[Interface], Any]], ...] = (
    ("state", lambda face: _state(face)),
    ("speed", lambda face: _rate(face.speed)),
    ("MTU", lambda face: face.mtu),
    ("PCI address", lambda face: face.pci and face.pci.address),
)
GPU: tuple[tuple[str, Callable[[Gpu], Any]], ...] = (
    ("VBIOS", lambda gpu: gpu.vbios),
    ("MIG", lambda gpu: gpu.mig),
    ("ECC", lambda gpu: gpu.ecc.enabled),
    ("active NVLinks", lambda gpu: gpu.nvlinks and tuple(each.link for each in gpu.nvlinks if each.active)),
    ("PCI width", lambda gpu: gpu.pci.hops[0].width if gpu.pci and gpu.pci.hops else None),
    ("ACS on its way", lambda gpu: _acs(gpu.pci)),
)


def unlike(before: Mapping[str, Node], now: Sequence[Node]) -> Iterator[str]:
    """Each change once, with those that have it: ``n1 mlx5_3/1 and 7 more: state was ACTIVE, is DOWN``."""
    changed: dict[str, list[str]] = {}
    for node in now:
        if node.name in before:
            for device, text in _changes(before[node.name], node):
                changed.setdefault(text, []).append(f"{node.name} {device}".strip())
    for text, names in changed.items():
        yield f"{show_some(names, NAMED)}: {text}"


def _changes(was: Node, now: Node) -> Iterator[tuple[str, str]]:
    """Device ("" for the node itself) and what changed of it."""
    old, new = _facts(was), _facts(now)
    for key in old:
        if key in new and old[key] != new[key]:
            yield key[0], f"{key[1]} {_was(old[key], new[key])}"
    files = was.environment.files, now.environment.files
    for path in dict.fromkeys((*files[0], *files[1])):
        # NCCL reads nothing from a file that is not there, and nothing from an empty one
        old_lines, new_lines = (_lines(each.get(path) or "") for each in files)
        if old_lines != new_lines:
            yield "", f"lines of {path} {_was(old_lines, new_lines)}"


def _facts(node: Node) -> dict[tuple[str, str], Any]:
    """(device, fact) -> its value."""
    return {
        **{("", what): read(node) for what, read in NODE},
        **{(port.name, what): read(port) for port in node.ports for what, read in PORT},
        **{(face.name, what): read(face) for face in _lasting(node) for what, read in INTERFACE},
        **{(f"GPU {gpu.index}", what): read(gpu) for gpu in node.gpus for what, read in GPU},
    }


def _was(old: Any, new: Any) -> str:
    """``was 4096, is 2048``; for lists the entries that differ, or all where only their order changed."""
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        return f"was {_shown(old)}, is {_shown(new)}"
    gone, came = Counter(old) - Counter(new), Counter(new) - Counter(old)
    if not gone and not came:
        return f"were {_shown(old)}, are {_shown(new)}"
    return f"were {_shown(tuple(gone.elements()))}, are {_shown(tuple(came.elements()))}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return listed(tuple(str(each) for each in value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not known" if value is None else str(value)


def listed(names: Sequence[str]) -> str:
    """The first few of ``names``, or "none"."""
    return ", ".join(names[:LISTED]) + (" …" if len(names) > LISTED else "") if names else "none"


def _lines(text: str) -> tuple[str, ...]:
    """The lines that are not empty, between quotes: a blank or a carriage return at the end is part of a value."""
    return tuple(repr(line) for line in text.split("\n") if line)


def _lasting(node: Node) -> Iterator[Interface]:
    """The interfaces that outlast a boot; those of containers come and go."""
    for interface in node.interfaces:
        if not interface.name.startswith(INWARD):
            yield interface


def _state(interface: Interface) -> str | None:
    """``up``, ``down``; drivers that say ``unknown`` tell by the carrier."""
    off = interface.carrier is False and interface.operstate in ("up", "unknown")
    return f"{interface.operstate} without a carrier" if off else interface.operstate


def _rate(rate: float | None) -> str | None:
    return None if rate is None else show_rate(rate, "Gb/s")


def _pci_link(path: PciPath | None) -> str | None:
    """``32 GT/s x16``, of the device itself."""
    if path is None or not path.hops or path.hops[0].speed is None:
        return None
    return f"{path.hops[0].speed:g} GT/s x{path.hops[0].width}"


def _acs(path: PciPath | None) -> tuple[str, ...]:
    """``0000:10:01.0 SrcValid``: the controls that are on, bridge by bridge."""
    return tuple(f"{hop.address} {name}" for hop in (path.hops if path else ()) for name in hop.acs or ())
