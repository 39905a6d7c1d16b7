"""Facts of the nodes and variables of the ranks, and their differences.

Facts are JSON objects whose keys this module does not need to know: they are flattened to paths, and a
path whose value is not the same on every node is a difference. Identifiers (an address, a serial number)
always differ and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, compress
from typing import Any

from bench.judge.evidence import Evidence, derived
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, fields, is_dataclass
from bench.model.units import show_count, show_rate, show_size, show_some

from .many_nodes import MOST_NODES
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


def gather(trees: Iterable[tuple[str, Any]], left_out: frozenset[str] = frozenset()) -> tuple[Values, ...]:
    """Per path, the values with their holders (most first); where the path is missing, the value is ``absent``.

    A tree is what one holder has: the path of ``{"gpus": [{"name": "B200"}]}`` is ``gpus B200 name``; a list's items go
    by their own name. ``left_out``: words of paths that are not compared. The trees of a thousand nodes have a million
    values, nearly all the same: they are walked side by side, and what is the same in all becomes text once.
    """
    everyone, whole = list[str](), list[Any]()
    for name, tree in trees:
        everyone.append(name)
        whole.append(tree)
    found: dict[str, dict[str, list[int]]] = {}
    for path, who, values in _columns("", range(len(whole)), whole, left_out):
        texts = _texts(path, who, values)
        if path in found:  # two keys that read the same: the last of a tree counts
            again = {at for places in texts.values() for at in places}
            kept = {text: [at for at in places if at not in again] for text, places in found[path].items()}
            texts = {text: [*kept.get(text, ()), *texts.get(text, ())] for text in {**kept, **texts}}
        found[path] = {text: places for text, places in texts.items() if places}
    rows = []
    for path, texts in sorted(found.items(), key=lambda item: min(places[0] for places in item[1].values())):
        if sum(map(len, texts.values())) < len(everyone):
            having = {at for places in texts.values() for at in places}
            missing = [at for at in range(len(everyone)) if at not in having]
            texts["absent"] = [*texts.get("absent", ()), *missing]
        ranked = sorted(texts.items(), key=lambda item: (-len(item[1]), item[0]))
        named = ((text, tuple(everyone[at] for at in places)) for text, places in ranked)
        rows.append(Values(path, tuple(named), len(everyone)))
    return tuple(rows)


Column = tuple[str, Sequence[int], list[Any]]


def _columns(path: str, who: Sequence[int], values: list[Any], left_out: frozenset[str]) -> Iterator[Column]:
    """(path, which trees have it, its values) of everything that has no parts, depth first.

    The values are those of each of these trees, or one that is the same in all of them.
    """
    first, last = values[:1], values[-1:]  # to count those that are not alike takes as long as all else here
    if len(values) > 1 and first == last and values.count(values[0]) == len(values):
        values = values[:1]
    parted = [_has_parts(kind) for kind in map(type, values)]
    if not all(parted):
        yield path, *_where(who, values, [not has for has in parted])
        who, values = _where(who, values, parted)
    trees = [_parts(value) for value in values]
    for key in dict.fromkeys(chain.from_iterable(trees)):
        if left_out.isdisjoint(key.split(" ")):
            below, having = f"{path} {key}".strip(), [key in parts for parts in trees]
            yield from _columns(below, *_where(who, [parts.get(key) for parts in trees], having), left_out)


def _where(who: Sequence[int], values: list[Any], wanted: list[bool]) -> tuple[Sequence[int], list[Any]]:
    if all(wanted):
        return who, values
    return list(compress(who, wanted)) if any(wanted) else [], list(compress(values, wanted))


@cache
def _has_parts(kind: Any) -> bool:
    return is_dataclass(kind) or issubclass(kind, (Mapping, list, tuple))


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, (list, tuple)):
        return {_label(item, index): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _texts(path: str, who: Sequence[int], values: list[Any]) -> dict[str, list[int]]:
    if len(values) == 1:
        return {shown(values[0], path): [*who]}
    texts: dict[str, list[int]] = {}
    for at, value in zip(who, values, strict=True):
        texts.setdefault(shown(value, path), []).append(at)
    return texts


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
    if isinstance(item, (str, int, float, list, tuple)) or item is None:
        return str(index)
    part = item.get if isinstance(item, Mapping) else partial(getattr, item)
    if part("hca", None):
        return f"{part('hca', None)}/{part('number', 1)}"
    known = (part(key, None) for key in ("index", "link", "name"))
    return str(next((each for each in known if each is not None), index))


def named(nodes: Iterable[Node]) -> dict[str, Node]:
    """Facts by node name; a node without one is called by its place."""
    found: dict[str, Node] = {}
    for index, node in enumerate(nodes):
        name = node.name or f"node {index}"
        found[name if name not in found else f"{name} ({index})"] = node
    return found


def facts(nodes: Iterable[Node]) -> tuple[Values, ...]:
    """Every comparable fact, with its values over the nodes."""
    trees = (
        (name, {field.name: getattr(node, field.name) for field in fields(node) if field.name != "name"})
        for name, node in named(nodes).items()
    )
    return gather(trees, IDENTIFIERS)


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


@derived
def compared_nodes(evidence: Evidence) -> Compared:
    return compared("nodes", facts(evidence.run.facts), len(evidence.run.facts))


@derived
def compared_ranks(evidence: Evidence) -> Compared:
    environment = evidence.manifest.environment
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
