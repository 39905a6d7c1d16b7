"""The lines of a run folder that are no measurement: each class is the one definition of its line, written and read.

A line of ``journal.jsonl`` or ``verbs.jsonl`` begins with its ``kind``; one of the journal has a ``time`` as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from .counters import Snapshot
from .late_dataclass import dataclass, field
from .typed_json import Count, Name, Time

Seconds = Annotated[float, Meta(ge=0, description="seconds")]


@dataclass(frozen=True)
class Loss:
    """A case that was begun and could not be measured: why, and which rank is to blame.

    ``died``: its processes were ended from outside (killed, or a supervisor gone), so a resumed run measures it again.
    ``nodes``: those that ``culprit`` names.
    """

    case: str
    reason: str
    culprit: str = ""
    died: bool = False
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhaseMark:
    """A phase begins with so many planned ``cases``, or ends with so many ``measured``."""

    name: Name
    state: Literal["begin", "end"]
    cases: Count = 0
    measured: Count = 0


@dataclass(frozen=True)
class WorkerGpu:
    """The GPU of a worker, as torch names it. ``pci``: domain and bus, ``0000:3b``; ``clock_sm_max`` in Hz, by NVML."""

    index: int | None = None
    name: str = ""
    uuid: str = ""
    pci: str = ""
    clock_sm_max: float | None = None


@dataclass(frozen=True)
class Joined:
    """The workers of a phase are ready: the slowest rank's seconds of each step of their start, every version among
    them by library, and the GPU of each rank, where it is another than in the phase before (None in old runs).
    """

    phase: Name
    ranks: Count = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gpus: Mapping[str, WorkerGpu] | None = None


@dataclass(frozen=True)
class Note:
    """A sentence for whoever reads the run. ``given_up``: whether it says what was left out for want of time."""

    text: str
    time: Time = 0.0
    given_up: bool = False


@dataclass(frozen=True)
class Torn:
    """A line that a crash cut short, noted when the run was resumed."""

    file: str
    number: Count


@dataclass(frozen=True)
class LastSeen:
    """Where a rank was when its phase broke. ``heartbeat``: its age in seconds; ``state``: of the process, as /proc has
    it; ``links``: rail → seconds without traffic, and whether it is up.
    """

    rank: Count
    stage: str
    order: int
    calls: Count
    heartbeat: float | None
    state: str
    links: Mapping[str, tuple[float, bool | None]]


@dataclass(frozen=True)
class Hang:
    """A phase broke: why, by whose fault, and where every rank was."""

    phase: Name
    reason: str
    culprits: str
    seen: tuple[LastSeen, ...]


@dataclass(frozen=True)
class RecordedCall:
    """One collective of a rank, or messages that it started together: whether it is over.

    number  among its group's collectives, or among the rank's own messages there; 0: not known
    peers   ranks that the messages go to or come from; none: a collective
    """

    group: str
    number: int
    name: str
    done: bool
    peers: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """``all_reduce 6``; ``recv 0<-1, send 0->1``."""
        return self.name if self.peers or not self.number else f"{self.name} {self.number}"


@dataclass(frozen=True)
class FlightRecord:
    """What torch's flight recorder held on a rank when its phase broke: the last entry of each group, and the first
    that was not over.
    """

    phase: Name
    rank: Count
    last: tuple[RecordedCall, ...]
    open: tuple[RecordedCall, ...]


@dataclass(frozen=True)
class RasReport:
    """What NCCL's RAS service said when a phase broke; ``error``: why it said nothing, or not all."""

    phase: Name
    text: str
    error: str = ""


@dataclass(frozen=True)
class RunEnd:
    """The run came to its end: without this line no exit status of a launcher is believed."""

    time: Time = 0.0


@dataclass(frozen=True)
class CounterLine:
    """The counters of every node, in the order of the nodes' first ranks, before or after a phase; ``nodes``: whose
    they are (none in old runs: all nodes').
    """

    phase: Name
    when: Literal["before", "after"]
    snapshots: tuple[Snapshot, ...]
    nodes: tuple[str, ...] = ()


@dataclass
class GpuDuringCase:
    """A GPU during one case. Hz, °C, W; [lowest, highest] where two stand.

    begun    seconds of the supervisor's monotonic clock
    samples  how often it was looked at; ``silent``: of these, how often NVML did not tell the reasons
    reasons  NVML's reason for the present clocks → in how many of the samples it stood
    changes  [seconds since the case began, reasons] whenever they became others
    """

    case: str
    begun: float
    samples: Count = 0
    silent: Count = 0
    clock_sm: list[float] = field(default_factory=list)
    clock_memory: list[float] = field(default_factory=list)
    temperature: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    reasons: dict[str, Count] = field(default_factory=dict)
    changes: list[tuple[float, list[str]]] = field(default_factory=list)


@dataclass
class HealthLine:
    """What a supervisor saw beside one worker. Nothing but ``phase`` and ``rank`` where there was nothing to see.

    gpu       which GPU it is; None: the worker uses none; ``note``: why it could not be looked at
    cases     the GPU during each case
    memory    of a soak: [seconds since the worker's start, its bytes, its supervisor's]
    errors    of a soak, on a node's first rank: [seconds, error counter, growth since the start]; None: nobody looked
    looks     how often the counters were read; ``followed``: device → error counters whose growth is not known
    """

    phase: Name = ""
    rank: Count = 0
    gpu: WorkerGpu | None = None
    cases: list[GpuDuringCase] = field(default_factory=list)
    note: str = ""
    memory: list[tuple[float, ...]] = field(default_factory=list)
    errors: list[tuple[float, str, Count]] | None = None
    looks: Count = 0
    followed: dict[str, list[str]] = field(default_factory=dict)


HOST = "host memory"


@dataclass(frozen=True)
class PerftestTool:
    """perftest on one node. ``missing``: why it cannot be used; "" where it can. ``knows``: options that it has;
    ``latency``: ib_write_lat is installed beside ib_write_bw.
    """

    node: str
    version: str = ""
    knows: tuple[str, ...] = ()
    missing: str = ""
    latency: bool = False


@dataclass(frozen=True)
class PerftestEnd:
    """One end of a transfer. ``numa``: of the adapter; ``gpu``: index and PCI address, "" for host memory."""

    node: str
    hca: str
    number: Count
    numa: int | None = None
    gpu: str = ""
    gpu_address: str = ""
    dmabuf: bool = False

    @property
    def name(self) -> str:
        """``mlx5_3/1``."""
        return f"{self.hca}/{self.number}"


@dataclass(frozen=True)
class PerftestExit:
    """One process. ``code``: its exit status, None where it was stopped at its deadline; ``text``: what it printed."""

    words: tuple[str, ...]
    code: int | None
    text: str


@dataclass(frozen=True)
class PerftestTransfer:
    """One rail, one direction: ``sender`` is the client, which writes into the memory of ``receiver``.

    again    a second look at what was slow or failed
    client   None where the server did not come up, so that none was started
    tool     ib_write_lat goes both ways: half of a round trip is its figure
    """

    round: Count
    sender: PerftestEnd
    receiver: PerftestEnd
    server: PerftestExit
    client: PerftestExit | None = None
    again: bool = False
    tool: str = "ib_write_bw"

    @property
    def memory(self) -> str:
        return "GPU memory" if self.sender.gpu and self.receiver.gpu else HOST


@dataclass(frozen=True)
class PerftestSkipped:
    """Why nothing was measured with perftest."""

    why: str


@dataclass(frozen=True)
class HeardBroadcasts:
    """What one node heard, in ``logs/wiring.json``: on which of its rails, from whom.

    heard   [own rail, sender, the sender's rail]; ``silent``: rail → why it could not be asked
    """

    heard: tuple[tuple[str, str, str], ...]
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DrawnReports:
    """``drawn.json``: the reports that were drawn, with the digest of each, and a seal of what they were drawn from.

    ``judged``: a seal of the verdicts and of what they were judged from; "" where they were only read.
    """

    files: Mapping[str, str]
    seal: str
    judged: str = ""
