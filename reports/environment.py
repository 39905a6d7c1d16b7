"""Facts of the nodes and variables of the ranks, and their differences.

Facts are JSON objects whose keys this module does not need to know: they are flattened to paths, and a
path whose value is not the same on every node is a difference. Identifiers (an address, a serial number)
always differ and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.model.facts import Node
from bench.model.typed_json import to_json
from bench.model.units import show_count, show_rate, show_size, show_some
from bench.store import Run

from .port_rates import MOST_NODES
from .tables import ReportTable, code

# identifiers and momentary readings: they differ between healthy nodes
IDENTIFIERS = frozenset((
    "uuid", "guid", "gid", "serial", "mac", "address", "addresses", "root", "peer", "lid", "sm_lid", "board",
    "node_guid", "system_guid", "port_guid", "boot_id", "nvidia_on_bus", "home", "withheld", "notes", "hca", "number",
    "index", "link", "counters", "hw_counters", "statistics", "tcp", "temperature", "power", "clock", "clock_sm",
    "clock_memory", "limits", "processes", "memory_free", "memory_available", "time", "uptime",
))  # fmt: skip
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Values:
    """One key and its values, each with the nodes or ranks that have it. ``of``: how many there are."""

    key: str
    values: tuple[tuple[str, tuple[str, ...]], ...]
    of: int

    @property
    def same(self) -> bool:
        return len(self.values) == 1 and len(self.values[0][1]) == self.of


def gather(tables: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[Values, ...]:
    """Per key, the values with their holders (most first); where the key is missing, the value is ``absent``.

    The tables are taken one by one: those of a thousand nodes are a million texts, nearly all the same.
    """
    everyone, keys = list[str](), dict[str, dict[str, list[str]]]()
    for who, table in tables:
        everyone.append(who)
        for key, value in table.items():
            keys.setdefault(key, {}).setdefault(value, []).append(who)
    found = []
    for key, holders in keys.items():
        if sum(map(len, holders.values())) < len(everyone):
            having = {who for names in holders.values() for who in names}
            holders["absent"] = [*holders.get("absent", ()), *(who for who in everyone if who not in having)]
        ranked = sorted(holders.items(), key=lambda item: (-len(item[1]), item[0]))
        found.append(Values(key, tuple((value, tuple(who)) for value, who in ranked), len(everyone)))
    return tuple(found)


def flat(value: Any, path: str = "") -> dict[str, str]:
    """``{"gpus": [{"name": "B200"}]}`` as ``{"gpus 0 name": "B200"}``; a list's items go by their own name."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[str, Any]] = ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        items = ((_label(item, index), item) for index, item in enumerate(value))
    else:
        return {path: shown(value, path)}
    found: dict[str, str] = {}
    for key, item in items:
        found.update(flat(item, f"{path} {key}".strip()))
    return found


def shown(value: Any, path: str = "") -> str:
    """A value as text in the unit of its key; None is ``unknown``. PCI speeds are GT/s and stay as they are."""
    key = path.rsplit(" ", 1)[-1]
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and key in ("rate", "speed") and " pci " not in path:
        return show_rate(value, "Gb/s")
    if isinstance(value, int) and key.startswith("memory"):
        return show_size(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _label(item: Any, index: int) -> str:
    """What an item of a list is called: ``mlx5_3/1``, a GPU's index, an interface's name, else its place."""
    if not isinstance(item, Mapping):
        return str(index)
    if item.get("hca"):
        return f"{item['hca']}/{item.get('number', 1)}"
    known = next((item[key] for key in ("index", "link", "name") if item.get(key) is not None), index)
    return str(known)


def named(nodes: Iterable[Node]) -> dict[str, Node]:
    """Facts by node name; a node without one is called by its place."""
    found: dict[str, Node] = {}
    for index, node in enumerate(nodes):
        name = node.name or f"node {index}"
        found[name if name not in found else f"{name} ({index})"] = node
    return found


def facts(nodes: Iterable[Node]) -> tuple[Values, ...]:
    """Every comparable fact, with its values over the nodes."""
    tables = (
        (
            name,
            flat({key: value for key, value in to_json(node).items() if key not in ("name", *IDENTIFIERS)}),
        )
        for name, node in named(nodes).items()
    )
    return tuple(row for row in gather(tables) if IDENTIFIERS.isdisjoint(row.key.split(" ")))


def differences(rows: Iterable[Values]) -> tuple[Values, ...]:
    """The rows that are not the same everywhere."""
    return tuple(row for row in rows if not row.same)


NODE_COLUMNS = ("node", "kernel", "system", "GPUs", "driver", "ports", "NCCL", "MPI", "notes")


@dataclass(frozen=True)
class Compared:
    """Values of all nodes or of all ranks.

    words    for the case that there is no difference
    same     how many values are the same everywhere: ``known``, and the keys that are ``unknown`` everywhere
    """

    who: str
    words: str
    differences: ReportTable
    same: int
    known: ReportTable
    unknown: tuple[str, ...]


def compared_nodes(run: Run) -> Compared:
    return compared("nodes", facts(run.facts), len(run.facts))


def compared_ranks(run: Run) -> Compared:
    environment = run.manifest.environment
    return compared(
        "ranks", gather((f"rank {rank}", values) for rank, values in environment.items()), len(environment)
    )


def compared(who: str, rows: tuple[Values, ...], count: int) -> Compared:
    lines = [
        (code(row.key), code(quoted(value)), f"{len(names)} of {row.of}", holders(names, row.of))
        for row in differences(rows)
        for value, names in row.values
    ]
    same = [row for row in rows if row.same]
    unknown = tuple(row.key for row in same if row.values[0][0] == UNKNOWN)
    known = [(code(row.key), code(row.values[0][0])) for row in same if row.key not in unknown]
    words = f"✔ none in {show_count(len(rows), 'recorded value')} over {count} {who}"
    if count < 2:
        words = f"only one of the {who} was recorded" if count else f"? nothing was recorded about the {who}"
    return Compared(
        who, words, ReportTable(f"Differences between {who}", ("what", "value", "on", who), lines),
        len(same), ReportTable("The same everywhere", ("what", "value"), known), unknown,
    )  # fmt: skip


def nodes_table(nodes: Iterable[Node]) -> ReportTable:
    return ReportTable("Nodes", NODE_COLUMNS, node_rows(nodes))


def node_rows(nodes: Iterable[Node]) -> tuple[tuple[str, ...], ...]:
    """NODE_COLUMNS of each node; of many nodes, those alike together. ``unknown`` where a probe has no answer."""
    rows = [_node_row(name, node) for name, node in named(nodes).items()]
    if len(rows) <= MOST_NODES:
        return tuple(rows)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, *rest in rows:
        alike.setdefault(tuple(rest), []).append(name)
    return tuple((show_some(names, 8, "nodes"), *rest) for rest, names in alike.items())


def _node_row(name: str, node: Node) -> tuple[str, ...]:
    gpus = counted(gpu.name or UNKNOWN for gpu in node.gpus)
    ports = counted(
        f"{show_rate(p.rate, 'Gb/s') if p.rate else 'unknown rate'} {p.state or 'unknown state'}"
        for p in node.ports
    )
    wheels = ", ".join(sorted(set(node.software.nccl_wheels.values()))) or node.software.torch_nccl
    return (
        name,
        node.host.kernel or UNKNOWN,
        node.host.os or UNKNOWN,
        gpus or "none found",
        node.software.driver or UNKNOWN,
        ports or "none found",
        wheels or UNKNOWN,
        " ".join(x for x in (node.software.mpi, node.software.mpi_version) if x) or UNKNOWN,
        "; ".join(node.notes),
    )


def counted(words: Iterable[str]) -> str:
    """``8 × NVIDIA B200, 1 × NVIDIA A100``."""
    return ", ".join(f"{count} × {word}" for word, count in Counter(words).most_common())


def quoted(value: str) -> str:
    """The value, in quotes if it begins or ends with blanks, which would be invisible."""
    return repr(value) if value != value.strip() else value


def holders(who: tuple[str, ...], of: int) -> str:
    """``all 16``, or the names."""
    return f"all {of}" if len(who) == of and of > 1 else show_some(who, 8)
