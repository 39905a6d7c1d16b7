"""Whether the nodes are alike: firmware, driver, kernel and every other version, by majority.

What more than half have is taken to be right; the others are named. Where no value has a majority, all are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.majority import odd_ones, shared_by
from bench.model.rails import rails_of
from bench.model.verdict import Verdict

from .throttling_and_mtu import CORES

Read = Callable[[Node], str | None]
Row = tuple[str, Read]


def _quota(node: Node) -> str | None:
    """A node without a quota differs from one that has one; of a node that did not tell its CPUs nothing is known."""
    if node.host.cpus is None:
        return None
    return "none" if node.host.cpu_quota is None else f"{node.host.cpu_quota:g} cores"


HOST: tuple[Row, ...] = (
    ("product", lambda node: node.host.product),
    ("cpu", lambda node: node.host.cpu),
    ("cpus", lambda node: _number(node.host.cpus)),
    ("NUMA nodes", lambda node: _number(node.host.numa_nodes)),
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


@check("versions.firmware", early=True)
def firmware(evidence: Evidence) -> Iterator[Verdict]:
    """All HCAs of one board have the same firmware, over all nodes."""
    ask = Question(
        "versions.firmware",
        "one firmware for one board",
        "the majority",
        "bring it to the others' firmware: mlxfwmanager",
        "read it by hand: cat /sys/class/infiniband/*/fw_ver",
    )
    boards: dict[str, dict[str, str | None]] = {}
    for node in evidence.nodes:
        for port in node.ports:
            boards.setdefault(port.board or port.hca_type or "an unknown board", {})[
                f"{node.name} {port.hca}"
            ] = port.fw
    if not boards:
        yield ask.skip("all nodes", "no HCA on any node")
        return
    needed = {
        f"{node.name} {role.port.hca}"
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
        if role.port
    }
    found = [finding for board, values in boards.items() for finding in _firmware(board, values, needed)]
    yield from ask.verdicts(found, "HCAs have the firmware of their board")


def _firmware(board: str, values: Mapping[str, str | None], needed: set[str]) -> Iterator[Finding]:
    """One finding a HCA that is alike or not told, one a node for those that are not."""
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
        told = next(each for each in odd.values() if each.value == value)
        others = f"{told.peers} others {told.usual}" if told.usual else "no version has a majority"
        yield Finding(
            node, False, f"differs in firmware of {shared_by(hcas, 'HCAs', 8)} ({board}): {value}, {others}"
        )


@check("versions.host", early=True)
def host(evidence: Evidence) -> Iterator[Verdict]:
    """All nodes are the same kind of machine."""
    yield from _alike(
        "versions.host",
        HOST,
        evidence,
        "ask the provider for a node like the others",
        evidence.profile.gpus > 0,
    )


@check("versions.quota", early=True)
def quota(evidence: Evidence) -> Iterator[Verdict]:
    """All nodes let the job use as many of their cores."""
    yield from _alike("versions.quota", QUOTA, evidence, CORES, False)


@check("versions.system", early=True)
def system(evidence: Evidence) -> Iterator[Verdict]:
    """All nodes have the same kernel, operating system and OFED."""
    yield from _alike(
        "versions.system", SYSTEM, evidence, "install what the others have", evidence.profile.gpus > 0
    )


@check("versions.driver", early=True)
def driver(evidence: Evidence) -> Iterator[Verdict]:
    """All nodes have the same NVIDIA driver, VBIOS and GPU."""
    yield from _alike(
        "versions.driver", DRIVER, evidence, "install what the others have", evidence.profile.gpus > 0
    )


@check("versions.software", early=True)
def software(evidence: Evidence) -> Iterator[Verdict]:
    """All nodes have the same torch, CUDA, NCCL, MPI and UCX."""
    yield from _alike(
        "versions.software", SOFTWARE, evidence, "install what the others have", evidence.profile.gpus > 0
    )


def _alike(
    name: str, rows: Sequence[Row], evidence: Evidence, repair: str, needed: bool
) -> Iterator[Verdict]:
    """``needed``: the first row must be known. Otherwise what no node has is no difference."""
    ask = Question(name, "the same on every node", "the majority", repair)
    if len(evidence.nodes) < 2:
        told = [
            f"{label}: {value}" for node in evidence.nodes for label, read in rows if (value := read(node))
        ]
        yield ask.skip("all nodes", "one node has no other to differ from", *told)
        return
    found = []
    for at, (label, read) in enumerate(rows):
        found += list(_row(label, {node.name: read(node) for node in evidence.nodes}, needed and at == 0))
    if not found and not needed:
        yield ask.skip("all nodes", "no node has any of it")
        return
    yield from ask.verdicts(found, "versions are the same on every node")


def _row(label: str, values: Mapping[str, str | None], needed: bool) -> Iterator[Finding]:
    known = {name: value for name, value in values.items() if value is not None}
    silent = [name for name in values if name not in known]
    if silent and (known or needed):
        yield Finding(
            shared_by(silent, "nodes"), None, f"{label} is not known, {len(known)} others tell theirs"
        )
    odd = odd_ones(known)
    for each in odd:
        others = f"{each.peers} others {each.usual}" if each.usual else "no value has a majority"
        yield Finding(each.name, False, f"differs in {label}: {each.value}, {others}")
    if known and not silent and not odd:
        value = next(iter(known.values()))
        yield Finding(label, True, value, note=value)


def _same(values: Sequence[str | None]) -> str | None:
    """What all GPUs of a node have, or all that they have; None where one of them does not say."""
    if not values or None in values:
        return None
    return ", ".join(sorted({value for value in values if value is not None}))


def _pairs(values: Mapping[str, str]) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items())) or None


def _words(*words: str | None) -> str | None:
    return " ".join(word for word in words if word) or None


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)
