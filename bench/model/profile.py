"""Profiles: what a platform should be, as TOML files with a source for every bound.

An unknown key, unit or name is an error that lists the known ones. Values that are compared with
measurements are tables ``{ value = "400 Gb/s", source = "…", date = "…", confidence = "…" }``.
"""

from __future__ import annotations

import re
import sys
from functools import cached_property
from pathlib import Path

from .collectives import OF_ALL_RANKS, collective
from .elements import UnknownName, element
from .late_dataclass import dataclass, field
from .printable import A_NAME, is_name
from .profile_limits import LARGE as LARGE
from .profile_limits import MOST_BUSBW, WHOLE_NODE, gap_of, limit_of, line_of, slip_of
from .profile_limits import Limit as Limit
from .profile_table import ProfileError as ProfileError
from .profile_table import ProfileTable, one_of, whole
from .titles import Titles
from .units import UnitError, parse_power, parse_rate, parse_seconds, parse_share, parse_size
from .verdict import Bound

FORMAT = 1
FOLDER = Path(__file__).parents[1] / "profiles"
# A profile is data that people send each other, so it may tune NCCL and torch, and nothing else. No setting that names
# a file, a library or an address: NCCL_NET_PLUGIN and NCCL_IBVERBS_LIB load code, NCCL_DEBUG_FILE writes where it says,
# NCCL_COMM_ID connects (NCCL's user guide and source, 2.31). Who needs one of those exports it.
SETTINGS = ("NCCL_", "TORCH_NCCL_", "GLOO_", "CUDA_DEVICE_")
FORBIDDEN = re.compile(
    "_(PLUGINS?|FILES?|PATH|DIR|DUMP|LIB|SO|CONF(IG)?|MODULES?|PKEY|CERT|COMM_ID|RAS_ADDR)(_|$)|LIBIBVERBS"
)
# characters of a profile and of its longest line: the time to read a key of many parts grows with their square
LONGEST, LONGEST_LINE = 1 << 18, 1 << 12
A_PATH = re.compile(r"/(?!\d+$)")  # but not the width of a network: 10.0.0.0/8


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
    found       the profile names no devices: they are found on the nodes (``discovered_rails``)
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
    found: bool = False
    open: str = ""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # asked for with every look at a node's rails
        return hash(tuple(getattr(self, name) for name in self.__dataclass_fields__))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The rails that sockets can be bound to; ports of HCAs are none, whatever their names."""
        return self.devices if self.kind == "socket" else ()

    @property
    def unreached(self) -> tuple[str, ...]:
        """Excluded interfaces over which no message goes either."""
        return () if self.management or self.kind != "socket" else self.excluded


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
    ``size`` of a message in bytes: published runs gain less than 1 % above 512 KiB; ``latency``: seconds one way of
    ib_write_lat at most.
    """

    mode: str = "auto"
    at_least: Bound | None = None
    size: int = 512 << 10
    latency: Bound | None = None


@dataclass(frozen=True)
class Profile:
    """A platform. ``text`` is the TOML as read: it goes into the run folder.

    nvlink   of one GPU, each way
    nvlinks  of one GPU; 0: as many as its peers have
    nvlink_nodes  nodes that one NVLink domain may span: 18 of an NVL72, 1 where NVLink ends at the node
    gpus     of a node; 0: none, or one of ``gpu_counts``, which a list in the file names
    alone    busbw of all_reduce on one healthy node alone: tells a limit inside the node from one outside
    share_of_ceiling  what the largest message of a collective that no bound speaks of reaches of its ceiling at least
    host_copies       bytes/s of each GPU from and to its host at least, all GPUs of a node at once
    gpu_memory        bytes/s that the memory of one GPU reads and writes, both together
    power_limit       W that each GPU is meant to draw at most, where that is less than its board may
    report            what stands on a report where the command line names neither cluster nor site
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
    nvlinks: int = 0
    nvlink_nodes: int = 1
    alone: Bound | None = None
    share_of_ceiling: Bound | None = None
    host_copies: Bound | None = None
    gpu_memory: Bound | None = None
    power_limit: Bound | None = None
    rails: Rails = field(default_factory=Rails)
    environment: dict[str, str] = field(default_factory=dict)
    sweep: Sweep = field(default_factory=Sweep)
    verbs: Verbs = field(default_factory=Verbs)
    limits: tuple[Limit, ...] = ()
    report: Titles = field(default_factory=Titles)


# least and most that a figure of one node can be: of the ceiling, the others of NVLink's rate. NVLS reaches 1.07 times
# NVLink, PCI Express 5.0 a ninth of the slowest that is sold and memory 5 to 10 times as much
OF_A_NODE = {
    "share_of_ceiling": (0.05, 1.0),
    "alone": (0.25, 2.0),
    "host_copies": (0.005, 1.0),
    "gpu_memory": (2.0, 40.0),
}

OF_A_GPU = (50.0, 5000.0)  # W that a GPU of a data centre may draw at most


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
        return _profile(ProfileTable(data, where), text)
    except (UnitError, UnknownName) as error:
        raise ProfileError(f"{where}: {error}") from None


def _name(top: ProfileTable) -> str:
    name: str = top.take("name", str, required=True)
    if not is_name(name):
        raise ProfileError(f"{top.where}: name {name!r} must be {A_NAME}")
    return name


def _environment(top: ProfileTable) -> dict[str, str]:
    """What the workers get, of the settings that a profile may make."""
    values: dict[str, str] = top.take("environment", dict, {})
    where = f"{top.where} [environment]"
    if not all(isinstance(value, str) for value in values.values()):
        raise ProfileError(f"{where}: values must be texts")
    for name, value in values.items():
        if not tunes(name, value):
            raise ProfileError(
                f"{where}: a profile may not set {name}={value}: it sets {', '.join(SETTINGS)}… and neither files, "
                "libraries nor addresses; export the variable where you start the run instead"
            )
    return values


def tunes(name: str, value: str) -> bool:
    """Whether a setting does no more than tune NCCL, torch or gloo."""
    return name.startswith(SETTINGS) and not FORBIDDEN.search(name) and not A_PATH.search(value)


def _gpu_counts(cluster: ProfileTable) -> tuple[int, ...]:
    """``gpus_per_node = 8``, or a list of the numbers that can be ordered; 0 and () are none."""
    given = cluster.take("gpus_per_node", (int, list), 0)
    counts = tuple(map(whole, given if isinstance(given, list) else [given] if given else []))
    if 0 in counts or len(set(counts)) != len(counts):
        raise ProfileError(f"{cluster.where}: gpus_per_node {given!r} must name each number above 0 once")
    return tuple(sorted(counts))


def _profile(top: ProfileTable, text: str) -> Profile:
    version = top.take("format", int, required=True)
    if version > FORMAT:
        raise ProfileError(f"{top.where} has format {version}; this RailGauge reads up to {FORMAT}: upgrade")
    cluster, report = top.table("cluster"), top.table("report")
    counts = _gpu_counts(cluster)
    profile = Profile(
        name=_name(top),
        title=top.take("title", str, required=True),
        source=top.take("source", str, required=True),
        text=text,
        backend=one_of(cluster, "backend", ("auto", "nccl", "gloo"), "auto"),
        nodes=cluster.pair("nodes", (1, 1 << 30), whole),
        gpus=counts[0] if len(counts) == 1 else 0,
        gpu_counts=counts,
        gpu_name=cluster.take("gpu_name", str, ""),
        nvlink=cluster.bound("nvlink", parse_rate),
        nvlinks=cluster.take("nvlinks", int, 0),
        nvlink_nodes=cluster.take("nvlink_nodes", int, 1),
        alone=cluster.bound("alone", parse_rate),
        share_of_ceiling=cluster.bound("share_of_ceiling", parse_share),
        host_copies=cluster.bound("host_copies", parse_rate),
        gpu_memory=cluster.bound("gpu_memory", parse_rate),
        power_limit=cluster.bound("power_limit", parse_power),
        rails=_rails(top.table("rails")),
        environment=_environment(top),
        sweep=_sweep(top.table("sweep")),
        verbs=_verbs(top.table("verbs")),
        limits=tuple(limit_of(table) for table in top.tables("bounds")),
        report=Titles(report.take("title", str, ""), report.take("site", str, "")),
    )
    cluster.done()
    report.done()
    top.done()
    for number, limit in enumerate(profile.limits, 1):
        if slip := slip_of(limit, profile.nodes, *_healthy(limit, profile)):
            raise ProfileError(f"{top.where} {line_of(text, number)}: {slip}")
    if slip := _slip_of_a_node(profile):
        raise ProfileError(f"{top.where} [cluster]: {slip}")
    if gap := gap_of(profile.limits, profile.nodes):
        raise ProfileError(f"{top.where}: {gap}")
    return profile


def _slip_of_a_node(profile: Profile) -> str:
    """Which figure of one node cannot be meant, as with a slipped unit; "" where all can."""
    nvlink = profile.nvlink
    rows = [("share_of_ceiling", profile.share_of_ceiling, 1.0, "the ceiling")]
    if nvlink:
        of = f"NVLink's {nvlink.text}"
        rows += [
            (name, getattr(profile, name), nvlink.value, of)
            for name in ("alone", "host_copies", "gpu_memory")
        ]
    for name, bound, whole_, what in rows:
        least, most = OF_A_NODE[name]
        if bound and not least <= bound.value / whole_ <= most:
            share = f"{100 * bound.value / whole_:.2g} % of {what}"
            return f"{name} {bound.text!r} is {share}, and {100 * least:g} to {100 * most:g} % can be meant"
    power = profile.power_limit
    if power and not OF_A_GPU[0] <= power.value <= OF_A_GPU[1]:
        return f"power_limit {power.text!r} is no GPU's: {OF_A_GPU[0]:g} to {OF_A_GPU[1]:g} W can be meant"
    return ""


def _healthy(limit: Limit, profile: Profile) -> tuple[float | None, float, str]:
    """What a healthy part reaches, how many times that a floor may be, and the part's name; None where nothing says
    it.
    """
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


def _rails(table: ProfileTable) -> Rails:
    rails = Rails(
        kind=one_of(table, "kind", ("infiniband", "roce", "socket", "none"), "none"),
        count=table.take("count", int, 0),
        devices=table.texts("devices"),
        excluded=table.texts("excluded"),
        management=table.take("management", str, ""),
        rate=table.bound("rate", parse_rate),
        target=table.bound("target", parse_rate),
        in_network=table.take("in_network", bool, False),
        mtu=table.take("mtu", int, 0),
        found=table.take("found", bool, False),
        open=table.take("open", str, ""),
    )
    if rails.devices and rails.count != len(rails.devices):
        raise ProfileError(f"{table.where}: count is {rails.count}, but devices names {len(rails.devices)}")
    if rails.found and (rails.devices or rails.kind != "socket"):
        raise ProfileError(f'{table.where}: found = true is for kind = "socket" without devices')
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


def _sweep(table: ProfileTable) -> Sweep:
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
            f"{table.where}: begin {sweep.begin} B, end {sweep.end} B, factor {sweep.factor}: begin must be 1 or "
            "more, begin must not exceed end, factor must be 2 or more"
        )
    if not sweep.budget > 0:
        raise ProfileError(f"{table.where}: budget must be above 0: it is the time for one case")
    return sweep


def _verbs(table: ProfileTable) -> Verbs:
    mode = one_of(table, "mode", ("auto", "on", "off"), Verbs.mode)
    size = parse_size(table.take("size", str, str(Verbs.size)))
    verbs = Verbs(
        mode, table.bound("at_least", parse_rate), size, table.bound("latency_at_most", parse_seconds)
    )
    table.done()
    return verbs
