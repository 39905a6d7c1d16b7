"""The nouns of blame: what was measured between two nodes on a rail, and who is named for it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model.late_dataclass import dataclass, field
from bench.model.verdict import Status


@dataclass(frozen=True, slots=True)
class PairRate:
    """One transfer between two nodes on one rail.

    round        number of the round of the schedule, or of the re-measurement
    a, b         names of the two nodes
    rail         the rail of both ends; with ``rail_b`` that of ``a`` (a cross-rail transfer)
    direction    "ab" a sends, "ba" b sends, "both" one time for both directions
    rate         bytes per second; 0 tried and did not get through, NaN not measured
    retransmits  segments or packets the sender sent again meanwhile; None where nobody counted
    again        a re-measurement of a suspect: what it says replaces the first pass
    """

    round: int
    a: str
    b: str
    rail: str
    direction: str
    rate: float
    retransmits: float | None = None
    again: bool = False
    rail_b: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("ab", "ba", "both"):
            raise ValueError(f"direction is {self.direction!r}; write one of ab, ba, both")
        if self.a == self.b:
            raise ValueError(f"{self.a} is on both ends of {self.rail}; a pair is two nodes")


@dataclass(frozen=True)
class Symptom:
    """Something else that speaks against one end: a link down or too slow, an error counter that rose.

    Only what belongs to this very port is a symptom. Retransmissions are not: they are counted at the
    sender wherever the loss is, so they go into ``PairRate.retransmits``.
    """

    node: str
    rail: str
    text: str


@dataclass(frozen=True)
class NvlinkRate:
    """Bytes per second that the GPU of a node's rail reached inside its node (NVLink), off the network."""

    node: str
    rail: str
    gpu: str
    rate: float


@dataclass(frozen=True)
class BlameRules:
    """What is expected and what is worth naming.

    nominal   bytes/s that a healthy pair reaches on one rail (profile); None: compared with each other only
    noise     least relative standard deviation of one transfer to reckon with
    smallest  smallest share lost that is named
    lossy     retransmissions of a transfer above which packets are being lost; a connection that starts
              over shows a few, 1 % loss some hundreds
    repeats   re-measurements of a transfer that settle it; their median is judged
    """

    nominal: float | None = None
    noise: float = 0.01
    smallest: float = 0.03
    lossy: float = 20.0
    repeats: int = 7


@dataclass(frozen=True)
class Background:
    """What is known besides the transfers: the whole cluster, leaves by (node, rail), symptoms, NVLink runs."""

    nodes: tuple[str, ...] = ()
    rails: tuple[str, ...] = ()
    leaves: Mapping[tuple[str, str], str] = field(default_factory=dict)
    symptoms: tuple[Symptom, ...] = ()
    inside: tuple[NvlinkRate, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The part that is blamed.

    kind        node, gpu, port (node and rail), path (node and peer on a rail), rail, leaf, fabric; swap (rails
                ``rail`` and ``name`` of the node are in each other's place), stray (``rail`` is in that of ``name``)
    direction   both, or tx | rx of a node or port, ab | ba of a path (a = ``node``, the earlier name)
    name        of the gpu or leaf, or the other rail
    """

    kind: str
    node: str = ""
    peer: str = ""
    rail: str = ""
    direction: str = "both"
    name: str = ""

    @property
    def text(self) -> str:
        """``node7 mlx5_3, sending only``."""
        ways = {"tx": ", sending only", "rx": ", receiving only", "both": ""}
        ways |= {
            "ab": f", from {self.node} to {self.peer} only",
            "ba": f", from {self.peer} to {self.node} only",
        }
        what = {
            "node": f"node {self.node}",
            "gpu": f"{self.node} GPU {self.name} (rail {self.rail})",
            "port": f"{self.node} rail {self.rail}",
            "path": f"path {self.node} - {self.peer} on rail {self.rail}",
            "rail": f"rail {self.rail}, all nodes",
            "leaf": f"leaf {self.name} of rail {self.rail}",
            "fabric": "all rails of all nodes",
            "swap": f"{self.node} rails {self.rail} and {self.name}, swapped",
            "stray": f"{self.node} rail {self.rail}, cabled as rail {self.name}",
        }
        return what[self.kind] + ways[self.direction]


@dataclass(frozen=True)
class Blame:
    """One row of blame.

    lost          share of the reference rate that is missing, 0..1 (1: nothing gets through)
    confidence    0..1: that there is an effect, and that it is this subject's; divided by the number of
                  subjects when ``alternatives`` cannot be distinguished from it
    confirmed     seen again in re-measurements; what is not confirmed is a suspect, and is not named
    alternatives  others that the same measurements fit as well; then ``next_step`` says what to measure
    metric        "rate", "retransmits" where packets are lost whatever the rate, "inside" for NVLink, "wiring"
                  where a port hangs on another rail's leaf
    """

    subject: Subject
    lost: float
    confidence: float
    confirmed: bool
    evidence: tuple[str, ...]
    next_step: str
    alternatives: tuple[Subject, ...] = ()
    metric: str = "rate"

    @property
    def text(self) -> str:
        """``n1 rail eth2 loses 5.1 %``, or ``cannot tell n0 rail eth2 from n1 rail eth2``."""
        if self.alternatives:
            return (
                f"cannot tell {self.subject.text} from {', '.join(other.text for other in self.alternatives)}"
            )
        return self.subject.text


@dataclass(frozen=True)
class Answer:
    """What the measurements say.

    status      PASS nobody to blame and all was measured; FAIL somebody confirmed; INCONCLUSIVE otherwise
    blames      deepest effect first
    withdrawn   suspects of the first pass that the re-measurement cleared
    unknown     sentences: what could not be determined, and what to measure for it
    measured, expected   transfers (pair x rail x direction) with a usable value, and of the whole cluster
    reference   bytes/s of a healthy pair, as measured; NaN when none could be found
    noise       relative standard deviation of one transfer
    floor       smallest share of rate that is blamed
    explained   paths that are slow because one of their ports is now and then: not among ``blames``
    """

    status: Status
    blames: tuple[Blame, ...]
    withdrawn: tuple[Subject, ...]
    unknown: tuple[str, ...]
    measured: int
    expected: int
    reference: float
    noise: float
    floor: float
    explained: tuple[Blame, ...] = ()

    @property
    def named(self) -> tuple[Blame, ...]:
        """The confirmed rows of blame."""
        return tuple(blame for blame in self.blames if blame.confirmed)

    @property
    def suspects(self) -> tuple[Blame, ...]:
        """The rows that wait for a re-measurement."""
        return tuple(blame for blame in self.blames if not blame.confirmed)
