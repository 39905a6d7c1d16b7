"""What rank 0 asks supervisors: for each question its word, the class of its details and that of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

from msgspec import Meta

from bench.measure.perftest import processes
from bench.measure.perftest.processes import PortNumber, ProcessSaid, ToolSaid
from bench.model.activity import NodeActivity
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import HeardBroadcasts
from bench.probe.fabric.run_tools import ToolAnswer
from bench.probe.reachability import Target, Try

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Hello:
    """``host``: without characters that a terminal obeys."""

    host: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,255}$")]
    machine: str
    torch: bool
    python: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Opened:
    ports: Mapping[str, PortNumber]


@dataclass(frozen=True)
class ReachTries:
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class SubnetSaid:
    answers: tuple[ToolAnswer, ToolAnswer, ToolAnswer]


@dataclass(frozen=True)
class ListenAt:
    """``ports``: the first and the last at which the node may listen, or none."""

    addresses: tuple[str, ...]
    greeting: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reach:
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class HearBroadcasts:
    """``job``: a word that the nodes of this job alone know."""

    rails: tuple[str, ...]
    job: str


@dataclass(frozen=True)
class LookOn:
    """``inspector``: the folder of NCCL's Inspector; ``ras``: whether this node asks NCCL's RAS too."""

    inspector: str
    ras: bool


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """What rank 0 asks a supervisor: the word for it, and the class of the answer."""

    word: str
    answer: type[Answer]


HELLO = Question("hello", Hello)
PROBE = Question("probe", Node)
COUNTERS = Question("counters", Snapshot)
SUBNET = Question("fabric", SubnetSaid)
WIRING = Question("wiring", HeardBroadcasts)
ACTIVITY = Question("activity", NodeActivity)
LISTEN = Question("listen", Opened)
REACH = Question("reach", ReachTries)
TOOL = Question(processes.TOOL, ToolSaid)
SERVE = Question(processes.SERVE, dict[str, ProcessSaid])
CONNECT = Question(processes.CONNECT, dict[str, ProcessSaid])
END = Question(processes.END, dict[str, ProcessSaid])
MACHINE = tuple(
    each.word for each in (HELLO, PROBE, COUNTERS, SUBNET)
)  # what is known without trying anything
