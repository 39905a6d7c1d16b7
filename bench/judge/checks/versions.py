"""Whether the nodes are alike: firmware, driver, kernel and every other version, by majority.

What more than half have is taken to be right; the others are named. Where no value has a majority, all are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable, Outcome
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.rails import rails_of
from bench.model.stats import median
from bench.model.units import show_count, show_size, show_some

from .throttling_and_mtu import CORES

ENOUGH_MEMORY = 0.9  # of the median node's
Read = Callable[[Node], str | None]
Row = tuple[str, Read]


def _quota(node: Node) -> str | None:
    """The node's CPU quota, "none" without one; None where the node shows no CPUs."""
    if node.host.cpus is None:
        return None
    return "none" if node.host.cpu_quota is None else f"{node.host.cpu_quota:g} cores"


HOST: tuple[Row, ...] = (
    ("product", lambda node: node.host.product),
    ("cpu", lambda node: node.host.cpu),
    ("cpus", lambda node: _number(node.host.cpus)),
    ("NUMA nodes", lambda node: _number(node.host.numa_nodes)),
    ("kind", lambda node: _kind(node.host.virtual)),
)
QUOTA: tuple[Row, ...] = (("CPU quota", _quota),)
SYSTEM: tuple[Row, ...] = (
    ("kernel", lambda node: node.host.kernel),
    ("operating system", lambda node: node.host.os),
    ("OFED", lambda node: node.software.ofed),
)
DRIVER: tuple[Row, ...] = (
    ("driver", lambda node: node.software.driver),
    ("CUDA of the driver", lambda node: node.software.driver_cuda),
    ("kernel module", lambda node: node.host.nvidia_module),
    ("VBIOS", lambda node: _same([gpu.vbios for gpu in node.gpus])),
    ("GPU", lambda node: _same([gpu.name for gpu in node.gpus])),
)
SOFTWARE: tuple[Row, ...] = (
    ("Python", lambda node: node.software.python),
    ("torch", lambda node: node.software.torch),
    ("CUDA of torch", lambda node: node.software.torch_cuda),
    ("NCCL of torch", lambda node: node.software.torch_nccl),
    ("NCCL wheels", lambda node: _pairs(node.software.nccl_wheels)),
    ("NCCL libraries", lambda node: ", ".join(node.software.nccl_libraries) or None),
    ("net plugins", lambda node: ", ".join(node.software.net_plugins) or None),
    ("MPI", lambda node: _words(node.software.mpi, node.software.mpi_version)),
    ("UCX", lambda node: node.software.ucx),
    ("mpi4py", lambda node: node.software.mpi4py),
)


def _boards(evidence: Evidence) -> dict[str, dict[str, str | None]]:
    """Board → HCA → firmware."""
    boards: dict[str, dict[str, str | None]] = {}
    for node in evidence.nodes:
        for port in node.ports:
            board = boards.setdefault(port.board or port.hca_type or "an unknown board", {})
            board[f"{node.name} {port.hca}"] = port.fw
    return boards


@check(
    "versions.firmware",
    wanted="one firmware for one board",
    source="the majority",
    on_fail="bring it to the others' firmware: mlxfwmanager",
    on_inconclusive="read it by hand: cat /sys/class/infiniband/*/fw_ver",
    unit="HCAs",
    unless=(lambda evidence: "" if _boards(evidence) else "no node has an HCA",),
    facts_only=True,
)
def firmware(evidence: Evidence) -> Iterator[Finding]:
    """All HCAs of one board have the same firmware, over all nodes, and every node has rails of the same boards."""
    rails = {
        node.name: {
            f"{node.name} {role.port.hca}": role.port.board
            for role in rails_of(node, evidence.rails)
            if role.port
        }
        for node in evidence.nodes
    }
    for board, values in _boards(evidence).items():
        yield from _firmware(board, values, {name for hcas in rails.values() for name in hcas})
    yield from _other_boards(rails)


def _other_boards(rails: Mapping[str, Mapping[str, str | None]]) -> Iterator[Finding]:
    """One finding for each rail of a board that not every node has as often. ``rails``: node → HCA → board."""
    counts = {frozenset(Counter(hcas.values()).items()) for hcas in rails.values()}
    boards = {name: board for hcas in rails.values() for name, board in hcas.items() if board}
    for each in odd_ones(boards) if len(counts) > 1 else ():
        others = f"{each.peers} others are {each.usual}" if each.usual else "no board has a majority"
        yield Finding(
            each.name,
            False,
            f"is of board {each.value}, and {others}",
            wanted="the same boards on every node",
            step="have it replaced by a board like the others; mlxfwmanager --query shows the PSID",
        )


def _firmware(board: str, values: Mapping[str, str | None], needed: set[str]) -> Iterator[Finding]:
    """One finding for each HCA with the usual firmware or none shown; one for each node whose HCAs differ."""
    known = {name: fw for name, fw in values.items() if fw is not None}
    odd = {each.name: each for each in odd_ones(known)}
    for name in values:
        if name not in known and name in needed:
            yield Finding(name, None, f"its firmware ({board}) is not known")
        elif name in known and name not in odd:
            yield Finding(name, True, known[name])
    by_node: dict[tuple[str, str], list[str]] = {}
    for name, each in odd.items():
        by_node.setdefault((name.split(" ")[0], each.value), []).append(name.split(" ")[1])
    for (node, value), hcas in by_node.items():
        one = next(each for each in odd.values() if each.value == value)
        others = f"{one.peers} others {one.usual}" if one.usual else "no version has a majority"
        text = f"differs in firmware of {show_some(hcas, 8, 'HCAs')} ({board}): {value}, {others}"
        yield Finding(node, False, text)


def _alike(rows: Sequence[Row], needed: bool, evidence: Evidence) -> Iterator[Outcome]:
    """``needed``: the first row must be known where there are GPUs. Else what no node has is no difference."""
    if len(evidence.nodes) < 2:
        shown = [
            f"{name}: {value}" for node in evidence.nodes for name, read in rows if (value := read(node))
        ]
        yield NotApplicable("one node has no other to differ from", evidence=tuple(shown))
        return
    needed = needed and evidence.profile.gpus > 0
    found = [
        finding
        for at, (label, read) in enumerate(rows)
        for finding in _row(label, {node.name: read(node) for node in evidence.nodes}, needed and at == 0)
    ]
    yield from found
    if not found and not needed:
        yield NotApplicable("no node has any of it")


def _row(label: str, values: Mapping[str, str | None], needed: bool) -> Iterator[Finding]:
    known = {name: value for name, value in values.items() if value is not None}
    silent = [name for name in values if name not in known]
    if silent and (known or needed):
        text = f"{label} is not known, that of {show_count(len(known), 'other')} is"
        yield Finding(show_some(silent, of="nodes"), None, text)
    odd = odd_ones(known)
    for each in odd:
        others = f"{each.peers} others {each.usual}" if each.usual else "no value has a majority"
        yield Finding(each.name, False, f"differs in {label}: {each.value}, {others}")
    if not silent and not odd:
        value = next(iter(known.values()))
        yield Finding(label, True, value, note=value)


_everywhere = partial(
    check, wanted="the same on every node", source="the majority", unit="versions", facts_only=True
)
INSTALL = "install what the others have"


@_everywhere(
    "versions.host",
    on_fail="ask the provider for a node like the others",
)
def host(evidence: Evidence) -> Iterator[Outcome]:
    """All nodes are the same kind of machine."""
    yield from _alike(HOST, True, evidence)
    yield from _less_memory(evidence)


def _less_memory(evidence: Evidence) -> Iterator[Finding]:
    """Nodes with less memory than the others: kernels of one kind keep some for themselves, never a tenth."""
    known = {node.name: total for node in evidence.nodes if (total := node.host.memory_total)}
    usual = median([*known.values()]) if known else 0
    for name, total in known.items():
        if total < ENOUGH_MEMORY * usual:
            text = f"differs in memory: {show_size(total)}; median of all nodes {show_size(round(usual))}"
            yield Finding(
                name, False, text, float(total), step="see dmidecode -t memory for the DIMMs that it has"
            )


@_everywhere("versions.quota", on_fail=CORES, beside=False)
def quota(evidence: Evidence) -> Iterator[Outcome]:
    """All nodes give the job the same number of cores (cgroup quota)."""
    return _alike(QUOTA, False, evidence)


@_everywhere("versions.system", on_fail=INSTALL)
def system(evidence: Evidence) -> Iterator[Outcome]:
    """All nodes have the same kernel, operating system and OFED."""
    return _alike(SYSTEM, True, evidence)


@_everywhere("versions.driver", on_fail=INSTALL)
def driver(evidence: Evidence) -> Iterator[Outcome]:
    """All nodes have the same NVIDIA driver, VBIOS and GPU."""
    return _alike(DRIVER, True, evidence)


@_everywhere("versions.software", on_fail=INSTALL, beside=False)
def software(evidence: Evidence) -> Iterator[Outcome]:
    """All nodes have the same torch, CUDA, NCCL, MPI and UCX."""
    return _alike(SOFTWARE, True, evidence)


def _same(values: Sequence[str | None]) -> str | None:
    """What all GPUs of a node have, or all that they have; None where one of them does not say."""
    if not values or None in values:
        return None
    return ", ".join(sorted({value for value in values if value is not None}))


def _pairs(values: Mapping[str, str]) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items())) or None


def _words(*words: str | None) -> str | None:
    return " ".join(word for word in words if word) or None


def _kind(virtual: bool | None) -> str | None:
    return {True: "virtual machine", False: "bare metal", None: None}[virtual]


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)
