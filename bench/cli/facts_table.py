"""What ``railgauge probe`` prints: one node in full, or several in short with their differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.model.facts import Gpu, Interface, Node, PciPath, Port
from bench.model.majority import odd_ones
from bench.model.printable import grid
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, joined, nearest, own_rails, rails_of, roles
from bench.model.units import show_rate, show_size, show_some
from bench.model.verdict import Status

UNKNOWN = "?"
Row = tuple[str, ...]


def table(nodes: Sequence[Node], rails: Rails | None = None) -> tuple[str, Status]:
    """The table, and PASS; INCONCLUSIVE where there is no node. ``rails``: of the profile, to mark the rails."""
    if not nodes:
        return "no node was probed", Status.INCONCLUSIVE
    wanted = rails or Rails()
    text = one_node(nodes[0], wanted) if len(nodes) == 1 else many_nodes(nodes, wanted)
    return text, Status.PASS


def one_node(node: Node, rails: Rails) -> str:
    """All that matters of one node: host, software, GPUs, ports, interfaces, and what could not be read."""
    parts = [
        f"{node.name}: {_or(node.host.product)}, {_or(node.host.os)}, kernel {_or(node.host.kernel)}",
        grid([(f"  {label}", value) for label, value in _host(node)]),
        _section("GPU", _gpu_rows(node, rails), "no GPU"),
        _section("port", _port_rows(node, rails), "no RDMA device"),
        _section("interface", _interface_rows(node), "no interface"),
    ]
    parts += ["could not be read:\n" + "\n".join(f"  {note}" for note in node.notes)] if node.notes else []
    return "\n\n".join(parts)


def many_nodes(nodes: Sequence[Node], rails: Rails) -> str:
    """A table with one row for each node, then the facts that differ from the majority."""
    head: Row = ("node", "GPUs", "rails", "ports", "driver", "kernel", "memory", "notes")
    rows = [head, *(_short(node, rails) for node in nodes)]
    differing = list(differences(nodes))
    listed = "\n".join(f"  {text}" for text in differing) or "  none"
    return f"{grid(rows)}\n\ndifferences between {len(nodes)} nodes:\n{listed}"


def differences(nodes: Sequence[Node]) -> Iterator[str]:
    """``node7 differs in firmware of mlx5_1: 28.39.1002, 31 others 28.41.1000``; absent counts as a value."""
    facts = {node.name: dict(_comparable(node)) for node in nodes}
    for label in dict.fromkeys(label for own in facts.values() for label in own):
        groups: dict[str, list[str]] = {}
        odd = odd_ones({name: own.get(label, "absent") for name, own in facts.items()})
        for each in odd:
            groups.setdefault(each.value, []).append(each.name)
        if odd and odd[0].usual is None:
            parts = (f"{show_some(names, of='nodes')} {value}" for value, names in groups.items())
            yield f"no majority in {label}: {'; '.join(parts)}"
            continue
        for value, names in groups.items():
            verb = "differs" if len(names) == 1 else "differ"
            yield f"{show_some(names, of='nodes')} {verb} in {label}: {value}, {odd[0].peers} others {odd[0].usual}"


def _comparable(node: Node) -> Iterator[tuple[str, str]]:
    """What should be the same on every node: no address, LID or counter."""
    host, software = node.host, node.software
    for label, value in (
        ("product", host.product), ("cpu", host.cpu), ("kernel", host.kernel), ("os", host.os),
        ("driver", software.driver), ("CUDA of the driver", software.driver_cuda), ("torch", software.torch),
        ("NCCL of torch", software.torch_nccl), ("MPI", _mpi(node)), ("UCX", software.ucx), ("OFED", software.ofed),
        ("nvidia_peermem", host.peermem), ("locked memory", _memlock(node)),
    ):  # fmt: skip
        yield label, value or UNKNOWN
    yield "GPUs", _gpus(node)
    for port in node.ports:
        yield f"firmware of {port.hca}", _or(port.fw)
        yield f"board of {port.hca}", _or(port.board)
        yield f"link of {port.name}", f"{_or(port.state)}, {_or(port.rate_text)}, {_or(port.link_layer)}"
        yield f"PCIe of {port.hca}", _pcie(port.pci)
    for name, value in node.environment.variables.items():
        yield f"variable {name}", repr(value)
    for path, text in node.environment.files.items():
        if text is not None:
            yield f"file {path}", repr(text[:200])


def _host(node: Node) -> Iterator[Row]:
    host, software = node.host, node.software
    memory = UNKNOWN if host.memory_total is None else show_size(host.memory_total)
    yield (
        "machine",
        f"{_or(host.cpus)} × {_or(host.cpu)}, {memory}, {_or(host.numa_nodes)} NUMA nodes{_guest(node)}",
    )
    yield "GPUDirect", f"nvidia_peermem {host.peermem or 'not loaded'}, NVIDIA module {_module(node)}"
    groups = UNKNOWN
    if host.iommu_groups is not None:
        groups = ", ".join(
            f"{count} {kind or 'of unknown kind'}" for kind, count in host.iommu_groups.items()
        )
    yield "IOMMU", f"{groups or 'no groups'}; locked memory {_memlock(node)}"
    yield "driver", f"{_or(software.driver)}, CUDA {_or(software.driver_cuda)}"
    wheels = (f"{name} {version}" for name, version in software.nccl_wheels.items())
    nccl = ", ".join((*wheels, *software.nccl_libraries)) or "none found"
    yield "software", f"Python {_or(software.python)}, torch {_or(software.torch)}, NCCL {nccl}"
    yield (
        "MPI",
        f"{_mpi(node) or 'none found'}, UCX {software.ucx or 'none found'}, {software.ofed or 'no OFED found'}",
    )
    settings = ", ".join(
        f"{name}={value}" for name, value in node.environment.variables.items() if "NCCL" in name
    )
    files = ", ".join(path for path, text in node.environment.files.items() if text is not None)
    yield "NCCL settings", f"{settings or 'no variable'}; {files or 'no conf file'}"


def _guest(node: Node) -> str:
    kind = {True: ", virtual machine", False: ", bare metal", None: ""}[node.host.virtual]
    return kind + (f", in {node.host.container}" if node.host.container else "")


def _module(node: Node) -> str:
    kind = {True: " (open)", False: " (closed)", None: ""}[node.host.nvidia_open]
    return f"{node.host.nvidia_module}{kind}" if node.host.nvidia_module else "not loaded"


def _memlock(node: Node) -> str:
    if node.host.memlock_unlimited:
        return "unlimited"
    return UNKNOWN if node.host.memlock is None else show_size(node.host.memlock)


def _mpi(node: Node) -> str:
    return " ".join(word for word in (node.software.mpi, node.software.mpi_version) if word)


def _gpu_rows(node: Node, rails: Rails) -> list[Row]:
    hcas = list(dict.fromkeys(port.hca for port in node.ports))
    own = own_rails(node, rails) if rails_of(node, rails) else nearest(node, hcas)
    head: Row = (
        "GPU", "model", "PCI", "PCIe", "NUMA", "memory", "ECC", "NVLinks", "clocks limited by", "nearest rail",
    )  # fmt: skip
    rows = (
        [_gpu_row(gpu, joined(each) or None) for gpu, each in zip(node.gpus, own, strict=True)]
        if node.gpus
        else []
    )
    return [head, *rows] if rows else []


def _gpu_row(gpu: Gpu, near: str | None) -> Row:
    up = UNKNOWN if gpu.nvlinks is None else f"{sum(link.active for link in gpu.nvlinks)}/{len(gpu.nvlinks)}"
    ecc = {True: "on", False: "off", None: UNKNOWN}[gpu.ecc.enabled]
    wrong = gpu.ecc.volatile_uncorrected
    return (
        str(gpu.index), _or(gpu.name), gpu.pci.address if gpu.pci else UNKNOWN, _pcie(gpu.pci), _numa(gpu.pci),
        UNKNOWN if gpu.memory_total is None else show_size(gpu.memory_total),
        f"{ecc}, {wrong} wrong" if wrong else ecc, up,
        UNKNOWN if gpu.limits is None else ", ".join(gpu.limits) or "nothing", near or UNKNOWN,
    )  # fmt: skip


def _port_rows(node: Node, rails: Rails) -> list[Row]:
    uses = {role.name: role.use for role in roles(node, rails)}
    head: Row = (
        "port", "use", "state", "rate", "link layer", "LID", "firmware", "board", "PCI", "PCIe", "NUMA", "interface",
    )  # fmt: skip
    rows = [_port_row(port, uses.get(port.name) if rails.kind != "none" else None) for port in node.ports]
    return [head, *rows] if rows else []


def _port_row(port: Port, use: DeviceUse | None) -> Row:
    return (
        port.name, use.value if use else "", _or(port.state), _or(port.rate_text), _or(port.link_layer),
        _or(port.lid), _or(port.fw), _or(port.board), port.pci.address if port.pci else UNKNOWN, _pcie(port.pci),
        _numa(port.pci), port.netdev or "",
    )  # fmt: skip


def _interface_rows(node: Node) -> list[Row]:
    rows = [_interface_row(each) for each in node.interfaces if not _dull(each)]
    return [("interface", "state", "speed", "MTU", "addresses", "driver"), *rows] if rows else []


def _interface_row(each: Interface) -> Row:
    speed = "" if each.speed is None else show_rate(each.speed, "Gb/s")
    addresses = (
        UNKNOWN
        if each.addresses is None
        else ", ".join(a for a in each.addresses if not a.startswith("fe80"))
    )
    return each.name, _or(each.operstate), speed, _or(each.mtu), addresses, each.driver or ""


def _dull(each: Interface) -> bool:
    """Virtual and without an address: of no use to anybody."""
    return bool(each.virtual) and not each.addresses


def _short(node: Node, rails: Rails) -> Row:
    active = sum(bool(port.active) for port in node.ports)
    memory = UNKNOWN if node.host.memory_total is None else show_size(node.host.memory_total)
    found = str(len(rails_of(node, rails))) if rails.kind != "none" else "-"
    return (
        node.name, _gpus(node), found, f"{active}/{len(node.ports)} active", _or(node.software.driver),
        _or(node.host.kernel), memory, str(len(node.notes)),
    )  # fmt: skip


def _gpus(node: Node) -> str:
    names = sorted({gpu.name or UNKNOWN for gpu in node.gpus})
    return f"{len(node.gpus)} × {', '.join(names)}" if node.gpus else "none"


def _pcie(path: PciPath | None) -> str:
    """The device's own link, and where on the way a narrower one is."""
    if path is None or not path.hops:
        return UNKNOWN
    known = [
        (hop.speed * hop.width, hop) for hop in path.hops if hop.speed is not None and hop.width is not None
    ]
    if not known:
        return UNKNOWN
    _, worst = min(known, key=lambda pair: pair[0])
    text = f"{worst.speed:g} GT/s x{worst.width}"
    return (
        text
        if worst.address == path.address
        else f"{text} at {worst.address}"
        if worst != path.hops[0]
        else text
    )


def _numa(path: PciPath | None) -> str:
    return UNKNOWN if path is None or path.numa is None else str(path.numa)


def _section(name: str, rows: Sequence[Row], none: str) -> str:
    return grid(rows) if rows else f"{name}: {none}"


def _or(value: object) -> str:
    return UNKNOWN if value is None else str(value)
