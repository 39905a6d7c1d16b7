"""Profiles: what a platform should be, as TOML files with a source for every bound.

An unknown key, unit or name is an error that lists the known ones. Values that are compared with
measurements are tables ``{ value = "400 Gb/s", source = "…", date = "…", confidence = "…" }``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.model.errors import EXIT_USAGE, RailGaugeError

from .collectives import OF_ALL_RANKS, collective
from .elements import UnknownName, element
from .measurement import Case
from .printable import A_NAME, is_name
from .units import UnitError, parse_rate, parse_seconds, parse_share, parse_size
from .verdict import Bound

FORMAT = 1
FOLDER = Path(__file__).parents[1] / "profiles"
CONFIDENCES = ("measured", "published", "derived", "stated")
QUANTITIES: dict[str, Callable[[str], float]] = {
    "busbw": parse_rate,  # of one row, at least
    "wire_share": parse_share,  # of the target that the rails carry, at least
    "rail_rate": parse_rate,  # point-to-point on one rail, one direction, at least
    "p50": parse_seconds,  # isolated median, at most
}
# A profile is data that people send each other, so it may tune NCCL and torch, and nothing else. No setting that names
# a file, a library or an address: NCCL_NET_PLUGIN and NCCL_IBVERBS_LIB load code, NCCL_DEBUG_FILE writes where it says,
# NCCL_COMM_ID connects (NCCL's user guide and source, 2.31). Who needs one of those exports it.
SETTINGS = ("NCCL_", "TORCH_NCCL_", "GLOO_", "CUDA_DEVICE_")
FORBIDDEN = re.compile(
    "_(PLUGINS?|FILES?|PATH|DIR|DUMP|LIB|SO|CONF(IG)?|MODULES?|PKEY|CERT|COMM_ID|RAS_ADDR)(_|$)|LIBIBVERBS"
)
# characters of a profile and of its longest line: the time to read a key of many parts grows with their square
LONGEST, LONGEST_LINE = 1 << 18, 1 << 12
LEAST_SHARE = (
    0.2  # of what a healthy part reaches; a floor below is a slip of the unit, which is a factor of 8 or 10
)
MOST_BUSBW = (
    2.2  # times a node's rails: two nodes that reduce inside first read up to 1.75 times what the wires carry
)
LARGE = 256 << 20  # bytes from which on bandwidth counts, and no longer latency
WHOLE_NODE = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "reduce",
)  # all rails of a node carry one message
A_PATH = re.compile(r"/(?!\d+$)")  # but not the width of a network: 10.0.0.0/8


class ProfileError(RailGaugeError, ValueError):
    """A profile that cannot be used; the message names the file, the key and what is known."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class Limit:
    """A bound and the rows that it applies to: collective, nodes (least, most), bytes (least, most)."""

    collective: str
    quantity: str
    bound: Bound
    nodes: tuple[int, int] = (1, 1 << 30)
    size: tuple[int, int] = (0, 1 << 62)
    algorithm: str = ""

    def covers(self, case: Case) -> bool:
        """Whether it speaks of this case's collective, size and algorithm ("": as NCCL chose)."""
        return (
            case.collective == self.collective
            and self.size[0] <= case.size <= self.size[1]
            and case.algorithm == (self.algorithm or "auto")
        )


@dataclass(frozen=True)
class Rails:
    """What carries the traffic between nodes.

    kind        infiniband, roce, socket or none (one node)
    count       rails of a node
    devices     their names in order, when the platform fixes them: rail k is devices[k]. In the order of the GPUs they
                are dealt out in equal shares, which ``rails.names`` holds against the PCI tree
    excluded    adapters that must carry nothing
    management  interface for everything that is not measured
    rate        nominal, of one rail; target: of a node's rails together, each way
    in_network  whether the switches may reduce (SHARP), which moves the ceilings
    mtu         bytes, of every rail: its packets' on InfiniBand, else its interface's; 0: only that all have the same
    open        what of the above a person must still fill in; while it stands here nothing is concluded
    """

    kind: str = "none"
    count: int = 0
    devices: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    management: str = ""
    rate: Bound | None = None
    target: Bound | None = None
    in_network: bool = False
    mtu: int = 0
    open: str = ""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The rails that sockets can be bound to; ports of HCAs are none, whatever their names."""
        return self.devices if self.kind == "socket" else ()


@dataclass(frozen=True)
class Sweep:
    """What an acceptance run measures, before memory and ranks are known. Sizes in bytes.

    graphs      messages up to so many bytes also replayed from CUDA graphs; 0: none
    registered  the largest message also in buffers registered with NCCL
    """

    collectives: tuple[str, ...] = OF_ALL_RANKS
    begin: int = 8
    end: int = 1 << 20
    factor: int = 4
    dtype: str = "float32"
    pairs: tuple[str, ...] = ()
    pair_sizes: tuple[int, ...] = ()
    budget: float = 2.0
    precision: float = 0.01
    graphs: int = 0
    registered: bool = False


@dataclass(frozen=True)
class Verbs:
    """ib_write_bw beside NCCL. ``mode``: auto (where it is installed), on (it must be), off; ``at_least`` bytes/s
    of one rail and direction, where the platform's figure is another than the packets leave of the link;
    ``size`` of a message in bytes: published runs gain less than 1 % above 512 KiB.
    """

    mode: str = "auto"
    at_least: Bound | None = None
    size: int = 512 << 10


@dataclass(frozen=True)
class Profile:
    """A platform. ``text`` is the TOML as read: it goes into the run folder.

    nvlink   of one GPU, each way
    nvlink_nodes  nodes that one NVLink domain may span: 18 of an NVL72, 1 where NVLink ends at the node
    gpus     of a node; 0: none, or one of ``gpu_counts``, which a list in the file names
    alone    busbw of all_reduce on one healthy node alone: tells a limit inside the node from one outside
    share_of_ceiling  what the largest message of a collective that no bound speaks of reaches of its ceiling at least
    host_copies       bytes/s of each GPU from and to its host at least, all GPUs of a node at once
    gpu_memory        bytes/s that the memory of one GPU reads and writes, both together
    """

    name: str
    title: str
    source: str
    text: str
    backend: str = "auto"
    nodes: tuple[int, int] = (1, 1 << 30)
    gpus: int = 0
    gpu_counts: tuple[int, ...] = ()
    gpu_name: str = ""
    nvlink: Bound | None = None
    nvlink_nodes: int = 1
    alone: Bound | None = None
    share_of_ceiling: Bound | None = None
    host_copies: Bound | None = None
    gpu_memory: Bound | None = None
    rails: Rails = field(default_factory=Rails)
    environment: dict[str, str] = field(default_factory=dict)
    sweep: Sweep = field(default_factory=Sweep)
    verbs: Verbs = field(default_factory=Verbs)
    limits: tuple[Limit, ...] = ()


def names() -> tuple[str, ...]:
    """The profiles that ship with RailGauge."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(wanted: str) -> Profile:
    """The profile called ``wanted``, or in the file ``wanted`` when that holds a / or ends in .toml."""
    is_file = "/" in wanted or wanted.endswith(".toml")
    if not is_file and wanted not in names():
        raise ProfileError(
            f"no profile {wanted!r}; known: {', '.join(names())}; or give a path to a .toml file"
        )
    path = Path(wanted) if is_file else FOLDER / f"{wanted}.toml"
    try:
        if path.exists() and not path.is_file():
            raise ProfileError(f"cannot read the profile {path}: it is not a regular file")
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise ProfileError(f"cannot read the profile {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path} is not TOML: it is not UTF-8 text") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Profile:
    """A profile from its TOML text; ``where`` names it in messages."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(text) > LONGEST or any(len(line) > LONGEST_LINE for line in text.splitlines()):
        raise ProfileError(
            f"{where} is longer than {LONGEST >> 10} KiB, or has a line of more than {LONGEST_LINE} characters: no "
            "profile needs that"
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where} is not TOML: {error}") from None
    except RecursionError:
        raise ProfileError(f"{where} is not a profile: it is nested too deeply") from None
    try:
        return _profile(_Table(data, where), text)
    except (UnitError, UnknownName) as error:
        raise ProfileError(f"{where}: {error}") from None


class _Table:
    """One TOML table that knows which of its keys were asked for; the others are errors."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self._data, self.where, self._known = data, where, set[str]()

    def take(
        self, key: str, kind: type | tuple[type, ...], default: Any = None, required: bool = False
    ) -> Any:
        self._known.add(key)
        if key not in self._data:
            if required:
                raise ProfileError(f"{self.where}: {key} is missing")
            return default
        value = self._data[key]
        if not isinstance(value, kind) or (kind in (int, (int, list)) and isinstance(value, bool)):
            raise ProfileError(f"{self.where}: {key} must be {_KINDS[kind]}, not {value!r}")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        values = self.take(key, list, list(default))
        if not all(isinstance(value, str) for value in values):
            raise ProfileError(f"{self.where}: {key} must be a list of texts")
        return tuple(values)

    def pair(self, key: str, default: tuple[int, int], read: Callable[[Any], int]) -> tuple[int, int]:
        values = self.take(key, list, None)
        if values is None:
            return default
        if len(values) != 2:
            raise ProfileError(f"{self.where}: {key} must be [least, most]")
        least, most = read(values[0]), read(values[1])
        if least > most:
            raise ProfileError(f"{self.where}: {key} has its least above its most")
        return least, most

    def table(self, key: str) -> _Table:
        return _Table(self.take(key, dict, {}), f"{self.where} [{key}]")

    def tables(self, key: str) -> list[_Table]:
        rows = self.take(key, list, [])
        if not all(isinstance(row, dict) for row in rows):
            raise ProfileError(f"{self.where}: [[{key}]] must be tables")
        return [_Table(row, f"{self.where} [[{key}]] {i}") for i, row in enumerate(rows, 1)]

    def bound(self, key: str, read: Callable[[str], float]) -> Bound | None:
        if key not in self._data:
            self._known.add(key)
            return None
        return _bound(self.table(key), read)

    def done(self) -> None:
        unknown = sorted(set(self._data) - self._known)
        if unknown:
            raise ProfileError(
                f"{self.where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(self._known))}"
            )


_KINDS: dict[type | tuple[type, ...], str] = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
    float: "a number",
    (int, list): "a whole number or a list of them",
}


def _bound(table: _Table, read: Callable[[str], float]) -> Bound:
    bound = _sourced(table, "value", read)
    table.done()
    if not bound.value > 0:
        raise ProfileError(f"{table.where}: value {bound.text!r} must be above 0")
    return bound


def _sourced(table: _Table, key: str, read: Callable[[str], float]) -> Bound:
    """The limit that stands under ``key``, with its source."""
    text = table.take(key, str, required=True)
    return Bound(
        value=read(text),
        text=text,
        source=table.take("source", str, required=True),
        date=table.take("date", str, ""),
        confidence=_one_of(table, "confidence", CONFIDENCES, "stated"),
    )


def _one_of(table: _Table, key: str, known: tuple[str, ...], default: str) -> str:
    value: str = table.take(key, str, default)
    if value not in known:
        raise ProfileError(f"{table.where}: {key} {value!r} is unknown; known: {', '.join(known)}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProfileError(f"{value!r} is not a whole number")
    return value


def _name(top: _Table) -> str:
    name: str = top.take("name", str, required=True)
    if not is_name(name):
        raise ProfileError(f"{top.where}: name {name!r} must be {A_NAME}")
    return name


def _environment(top: _Table) -> dict[str, str]:
    """What the workers get, of the settings that a profile may make."""
    values: dict[str, str] = top.take("environment", dict, {})
    where = f"{top.where} [environment]"
    if not all(isinstance(value, str) for value in values.values()):
        raise ProfileError(f"{where}: values must be texts")
    for name, value in values.items():
        if not name.startswith(SETTINGS) or FORBIDDEN.search(name) or A_PATH.search(value):
            raise ProfileError(
                f"{where}: a profile may not set {name}={value}: it sets {', '.join(SETTINGS)}… and neither files, "
                "libraries nor addresses; export the variable where you start the run instead"
            )
    return values


def _gpu_counts(cluster: _Table) -> tuple[int, ...]:
    """``gpus_per_node = 8``, or a list of the numbers that can be ordered; 0 and () are none."""
    given = cluster.take("gpus_per_node", (int, list), 0)
    counts = tuple(map(_whole, given if isinstance(given, list) else [given] if given else []))
    if 0 in counts or len(set(counts)) != len(counts):
        raise ProfileError(f"{cluster.where}: gpus_per_node {given!r} must name each number above 0 once")
    return tuple(sorted(counts))


def _profile(top: _Table, text: str) -> Profile:
    version = top.take("format", int, required=True)
    if version > FORMAT:
        raise ProfileError(f"{top.where} has format {version}; this RailGauge reads up to {FORMAT}: upgrade")
    cluster = top.table("cluster")
    counts = _gpu_counts(cluster)
    profile = Profile(
        name=_name(top),
        title=top.take("title", str, required=True),
        source=top.take("source", str, required=True),
        text=text,
        backend=_one_of(cluster, "backend", ("auto", "nccl", "gloo"), "auto"),
        nodes=cluster.pair("nodes", (1, 1 << 30), _whole),
        gpus=counts[0] if len(counts) == 1 else 0,
        gpu_counts=counts,
        gpu_name=cluster.take("gpu_name", str, ""),
        nvlink=cluster.bound("nvlink", parse_rate),
        nvlink_nodes=cluster.take("nvlink_nodes", int, 1),
        alone=cluster.bound("alone", parse_rate),
        share_of_ceiling=cluster.bound("share_of_ceiling", parse_share),
        host_copies=cluster.bound("host_copies", parse_rate),
        gpu_memory=cluster.bound("gpu_memory", parse_rate),
        rails=_rails(top.table("rails")),
        environment=_environment(top),
        sweep=_sweep(top.table("sweep")),
        verbs=_verbs(top.table("verbs")),
        limits=tuple(_limit(table) for table in top.tables("bounds")),
    )
    cluster.done()
    top.done()
    for number, limit in enumerate(profile.limits, 1):
        _check_limit(limit, profile, f"{top.where} {_line_of(text, number)}")
    _check_node_counts(profile, top.where)
    return profile


def _line_of(text: str, number: int) -> str:
    """``line 120, [[bounds]] 3``: where the floor or ceiling of a bound stands."""
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines, 1) if line.strip().startswith("[[bounds]]")]
    own = range(heads[number - 1], len(lines)) if number <= len(heads) else ()
    found = (at + 1 for at in own if lines[at].strip().startswith(("at_least", "at_most")))
    at = next(found, 0)
    return f"line {at}, [[bounds]] {number}" if at else f"[[bounds]] {number}"


def _check_limit(limit: Limit, profile: Profile, where: str) -> None:
    """Raise ProfileError for a bound that no run of the profile could meet, or that every sick one would."""
    value, text = limit.bound.value, limit.bound.text
    if not value > 0:
        raise ProfileError(f"{where}: {text!r} must be above 0")
    least, most = (max(limit.nodes[0], profile.nodes[0]), min(limit.nodes[1], profile.nodes[1]))
    if least > most:
        raise ProfileError(
            f"{where}: nodes {list(limit.nodes)} holds no number of nodes of this profile, {list(profile.nodes)}"
        )
    full, most_share, what = _healthy(limit, profile)
    if full and not LEAST_SHARE <= value / full <= most_share * (1 + 1e-9):
        read = QUANTITIES[limit.quantity]
        meant = [other for other in _slips(text) if LEAST_SHARE <= read(other) / full <= most_share]
        hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
        raise ProfileError(f"{where}: {text!r} is {100 * value / full:.1f} % of {what}{hint}")


def _healthy(limit: Limit, profile: Profile) -> tuple[float | None, float, str]:
    """What a healthy part reaches, how many times that a floor may be, and its name; None where nothing tells."""
    rails = profile.rails
    if limit.quantity == "wire_share":
        return 1.0, 1.0, "the target"
    if limit.quantity == "rail_rate" and rails.rate:
        return rails.rate.value, 1.0, f"a rail's {rails.rate.text}"
    if limit.quantity != "busbw" or limit.size[0] < LARGE:
        return None, 1.0, ""
    if limit.nodes[1] <= profile.nvlink_nodes and profile.nvlink:
        return profile.nvlink.value, 1.5, f"NVLink's {profile.nvlink.text}"
    bound = rails.target if limit.collective in WHOLE_NODE else rails.rate
    if limit.nodes[0] > 1 and bound:
        return bound.value, MOST_BUSBW, f"the rails' {bound.text}"
    return None, 1.0, ""


def _slips(text: str) -> list[str]:
    """The same figure in the other unit, or with the point elsewhere."""
    number, unit = re.split(r"\s*(?=[A-Za-z%])", text.strip(), maxsplit=1)
    units = [unit.replace("b/s", "B/s"), unit.replace("B/s", "b/s")]
    tens = [f"{float(number) * factor:g} {unit}" for factor in (10, 100, 0.1, 0.01)]
    return [f"{number} {other}" for other in units if other != unit] + tens


def _check_node_counts(profile: Profile, where: str) -> None:
    """Raise ProfileError where some numbers of nodes have bounds and others, which the profile allows, have none."""
    least, most = max(2, profile.nodes[0]), profile.nodes[1]
    for low, high in sorted(limit.nodes for limit in profile.limits if limit.nodes[1] > 1):
        if low > least:
            break
        least = max(least, high + 1)
    if any(limit.nodes[1] > 1 for limit in profile.limits) and least <= most:
        raise ProfileError(
            f"{where}: [[bounds]] none speaks of {least} nodes, which [cluster] nodes = {list(profile.nodes)} allows: "
            "widen the nodes of a bound, or allow fewer"
        )


def _rails(table: _Table) -> Rails:
    rails = Rails(
        kind=_one_of(table, "kind", ("infiniband", "roce", "socket", "none"), "none"),
        count=table.take("count", int, 0),
        devices=table.texts("devices"),
        excluded=table.texts("excluded"),
        management=table.take("management", str, ""),
        rate=table.bound("rate", parse_rate),
        target=table.bound("target", parse_rate),
        in_network=table.take("in_network", bool, False),
        mtu=table.take("mtu", int, 0),
        open=table.take("open", str, ""),
    )
    if rails.devices and rails.count != len(rails.devices):
        raise ProfileError(f"{table.where}: count is {rails.count}, but devices names {len(rails.devices)}")
    if rails.mtu < 0 or (rails.mtu and rails.kind == "none"):
        raise ProfileError(f"{table.where}: mtu {rails.mtu} must be above 0, and of rails of some kind")
    if set(rails.devices) & set(rails.excluded):
        raise ProfileError(f"{table.where}: a device cannot be a rail and excluded")
    if rails.rate and rails.target and rails.target.value > rails.count * rails.rate.value * (1 + 1e-9):
        carried = f"{rails.count} rails of {rails.rate.text}"
        raise ProfileError(f"{table.where}: target {rails.target.text} is more than {carried} carry")
    if rails.rate and rails.target and rails.target.value < rails.count * rails.rate.value / 2:
        carried = f"{rails.count} rails of {rails.rate.text}"
        raise ProfileError(
            f"{table.where}: target {rails.target.text} is less than half of what {carried} carry"
        )
    table.done()
    return rails


def _sweep(table: _Table) -> Sweep:
    plain = Sweep()
    sweep = Sweep(
        collectives=tuple(collective(name).name for name in table.texts("collectives", plain.collectives)),
        begin=parse_size(table.take("begin", str, str(plain.begin))),
        end=parse_size(table.take("end", str, str(plain.end))),
        factor=table.take("factor", int, plain.factor),
        dtype=element(table.take("dtype", str, plain.dtype)).name,
        pairs=tuple(collective(name).name for name in table.texts("pairs")),
        pair_sizes=tuple(parse_size(size) for size in table.texts("pair_sizes")),
        budget=parse_seconds(table.take("budget", str, f"{plain.budget:g} s")),
        graphs=parse_size(table.take("graphs", str, "0")),
        registered=table.take("registered", bool, False),
        precision=parse_share(table.take("precision", str, f"{100 * plain.precision:g} %")),
    )
    table.done()
    if not 1 <= sweep.begin <= sweep.end or sweep.factor < 2:
        raise ProfileError(
            f"{table.where}: begin must be 1 or more and begin must not exceed end; factor is 2 or more"
        )
    if not sweep.budget > 0:
        raise ProfileError(f"{table.where}: budget must be above 0: it is the time for one case")
    return sweep


def _verbs(table: _Table) -> Verbs:
    mode = _one_of(table, "mode", ("auto", "on", "off"), Verbs.mode)
    size = parse_size(table.take("size", str, str(Verbs.size)))
    verbs = Verbs(mode, table.bound("at_least", parse_rate), size)
    table.done()
    return verbs


def _limit(table: _Table) -> Limit:
    quantity = _one_of(table, "quantity", tuple(QUANTITIES), "busbw")
    direction = "at_most" if quantity == "p50" else "at_least"
    limit = Limit(
        collective=collective(table.take("collective", str, required=True)).name,
        quantity=quantity,
        bound=_sourced(table, direction, QUANTITIES[quantity]),
        nodes=table.pair("nodes", (1, 1 << 30), _whole),
        size=table.pair("size", (0, 1 << 62), lambda value: parse_size(str(value))),
        algorithm=_one_of(table, "algorithm", ("", "auto", "ring"), ""),
    )
    table.done()
    return limit
