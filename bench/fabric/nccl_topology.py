"""NCCL's topology XML (``NCCL_TOPO_FILE``, ``NCCL_TOPO_DUMP_FILE``; also RCCL's): what is where."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from bench.fabric.lines import Refused, number

# PCI classes: NVIDIA's 3D controller, a display, AMD's accelerator; any network controller
_GPU_CLASSES = ("0x0302", "0x0300", "0x1200")
_NIC_CLASS = "0x02"
_DEEPEST = 64


@dataclass(frozen=True)
class Net:
    """A network device as NCCL named it; ``speed`` in Mb/s as NCCL counts, ``gdr``: it found GPUDirect."""

    name: str
    port: int | None
    speed: int | None
    guid: str | None
    gdr: bool | None


@dataclass(frozen=True)
class Gpu:
    """``path`` holds the bus ids of the bridges above it, outermost first.

    ``described``: it has a <gpu> element.
    """

    busid: str
    numa: str | None
    path: tuple[str, ...]
    link_speed: str | None
    link_width: str | None
    described: bool
    rank: int | None
    links: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Nic:
    """``busid`` None: a <nic> right under a CPU, as NCCL writes of devices without PCI."""

    busid: str | None
    numa: str | None
    path: tuple[str, ...]
    link_speed: str | None
    link_width: str | None
    nets: tuple[Net, ...]


@dataclass(frozen=True)
class Cpu:
    numa: str | None
    affinity: str | None
    arch: str | None
    vendor: str | None


@dataclass(frozen=True)
class Topology:
    """Everything in document order. ``unparsed`` names elements that are none of NCCL's."""

    version: str | None
    cpus: tuple[Cpu, ...]
    gpus: tuple[Gpu, ...]
    nics: tuple[Nic, ...]
    unparsed: tuple[str, ...]


def relation(gpu: Gpu, nic: Nic) -> str:
    """PIX under one bridge, PXB under bridges with a common one above, PHB on one CPU, SYS otherwise."""
    if nic.busid is not None and gpu.path and gpu.path == nic.path:
        return "PIX"
    if nic.busid is not None and gpu.path[:1] and gpu.path[:1] == nic.path[:1]:
        return "PXB"
    return "PHB" if gpu.numa is not None and gpu.numa == nic.numa else "SYS"


def under_one_bridge(topology: Topology, gpu: Gpu) -> tuple[Nic, ...]:
    """The NICs that hang on the same bridge as this GPU."""
    return tuple(nic for nic in topology.nics if relation(gpu, nic) == "PIX")


def parse(text: str) -> Topology:
    """Raises ``Refused`` for what is no XML, is cut, has a document type or another root than <system>."""
    root, end = re.search(r"<system[\s>]", text), text.rfind("</system>")
    if root is None:
        raise Refused(f"not an NCCL topology: no <system> element; it starts with {text.strip()[:60]!r}")
    start = root.start()
    if "<!" in text[:start]:
        raise Refused("not an NCCL topology: it has a document type, and NCCL writes none")
    try:
        tree = ET.fromstring(text[start : end + len("</system>")] if end >= 0 else text[start:])
    except ET.ParseError as error:
        raise Refused(f"NCCL topology is not whole XML: {error}") from None
    return _topology(tree)


_Place = tuple[ET.Element, str | None, tuple[str, ...]]


def _walk(root: ET.Element) -> Iterator[_Place]:
    """Every element in document order, with the NUMA id and the bridges above it."""
    stack: list[_Place] = [(root, None, ())]
    while stack:
        element, numa, path = stack.pop()
        yield element, numa, path
        if element.tag == "cpu":
            numa = element.get("numaid")
        if element.tag == "pci":
            path = (*path, element.get("busid", ""))
            if len(path) > _DEEPEST:
                raise Refused(f"not an NCCL topology: more than {_DEEPEST} PCI devices below one another")
        stack.extend((child, numa, path) for child in reversed(list(element)))


def _topology(root: ET.Element) -> Topology:
    cpus, gpus, nics, unparsed = [], [], [], []
    for element, numa, path in _walk(root):
        if element.tag == "cpu":
            cpus.append(
                Cpu(
                    element.get("numaid"), element.get("affinity"), element.get("arch"), element.get("vendor")
                )
            )
        elif element.tag == "pci" and _is_gpu(element):
            gpus.append(_gpu(element, numa, path))
        elif (element.tag == "pci" and _is_nic(element)) or (element.tag == "nic" and not path):
            nics.append(_nic(element, numa, path))
        elif element.tag not in _KNOWN:
            unparsed.append(f"<{element.tag}>")
    return Topology(
        root.get("version"), tuple(cpus), tuple(gpus), tuple(nics), tuple(dict.fromkeys(unparsed))
    )


_KNOWN = frozenset(
    (
        "system",
        "pci",
        "gpu",
        "nic",
        "net",
        "nvlink",
        "xgmi",
        "c2c",
        "pcilink",
        "coll",
        "nvswitch",
        "gin",
        "rasnet",
    )
)


def _is_gpu(element: ET.Element) -> bool:
    return element.find("gpu") is not None or element.get("class", "").startswith(_GPU_CLASSES)


def _is_nic(element: ET.Element) -> bool:
    return element.find("nic") is not None or element.get("class", "").startswith(_NIC_CLASS)


def _gpu(element: ET.Element, numa: str | None, path: tuple[str, ...]) -> Gpu:
    inner = element.find("gpu")
    links = [] if inner is None else [link for link in inner if link.tag in ("nvlink", "xgmi")]
    return Gpu(
        busid=element.get("busid", ""),
        numa=numa,
        path=path,
        link_speed=element.get("link_speed"),
        link_width=element.get("link_width"),
        described=inner is not None,
        rank=None if inner is None else number(inner.get("rank")),
        links=tuple((link.get("target", ""), number(link.get("count")) or 0) for link in links),
    )


def _nic(element: ET.Element, numa: str | None, path: tuple[str, ...]) -> Nic:
    return Nic(
        busid=element.get("busid") if element.tag == "pci" else None,
        numa=numa,
        path=path,
        link_speed=element.get("link_speed"),
        link_width=element.get("link_width"),
        nets=tuple(_net(net) for net in element.iter("net")),
    )


def _net(element: ET.Element) -> Net:
    return Net(
        name=element.get("name", ""),
        port=number(element.get("port")),
        speed=number(element.get("speed")),
        guid=element.get("guid"),
        gdr={"0": False, "1": True}.get(element.get("gdr", "")),
    )
