"""Which layer of a rail loses: link, verbs, NCCL point-to-point, collective, one row a node and rail.

link        what the port runs at, by sysfs
verbs       ib_write_bw, the slower direction
p2p         NCCL between the GPUs of that rail, the slower direction, all rails at once
collective  bytes that left the rail by its counters, put on the rate of the phase's largest message

Each is held against the layer below it, or what that should have given where it was not measured. With
several partners the best counts: a slow partner is not a slow rail, and every pair is judged by blame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.judge.evidence import Evidence, derived
from bench.measure.perftest.expected_rate import least
from bench.measure.perftest.results import of_lines
from bench.measure.perftest.schedule import expected_ports
from bench.model.facts import Node, Port
from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import HOST
from bench.model.units import show_both, show_rate, show_share
from bench.model.verdict import Bound, Status
from bench.plan.phase_names import FIRST

from . import rail_figures as figures
from .rail_figures import Figure, RailEvidence

LINK, VERBS, P2P, COLLECTIVE = "link", "verbs", "p2p", "collective"
NAMES = {LINK: "the link", VERBS: "verbs", P2P: "NCCL point-to-point", COLLECTIVE: "the collective"}
P2P_SHARE = 0.88
P2P_SOURCE = "NCCL reaches 46 to 49 GB/s on NDR rails of 49.7 (nccl-tests#290, #319, #267); 44 leaves 4 %"
COLLECTIVE_SHARE = 0.88
COLLECTIVE_SOURCE = "a forced Ring carries 365 GB/s where eight rails carry 388 (nccl-tests#290): 94 %"
STEPS = {
    LINK: "reseat or change the cable, see the switch port, then: railgauge probe",
    VERBS: "the link is up and RDMA is slow: see pcie.link, the MTU, ACS and IOMMU, and growth.errors",
    P2P: "verbs carries it and NCCL does not: see nccl.gpudirect, the GPU's way to the HCA, and NCCL_IB_*",
    COLLECTIVE: "each rail carries it and the collective does not: see the algorithm, and whether all rails are used",
}


@dataclass(frozen=True)
class LayerLoss:
    """A layer that gives less than is normal above the layer below. ``lost``: share of ``below`` bytes/s;
    ``how``: the figure's own text.
    """

    layer: str
    rate: float
    below: float
    bound: Bound
    how: str = ""

    @property
    def lost(self) -> float:
        return 1 - self.rate / self.below

    @property
    def text(self) -> str:
        how = f", {self.how}" if self.how else ""
        gives = f"{show_both(self.rate)} of {show_both(self.below)}"
        return f"{NAMES[self.layer]} loses {show_share(self.lost)}: {gives}{how}"


@dataclass(frozen=True)
class RailRow:
    """One rail of one node. ``losses`` from the lowest layer up."""

    node: str
    rail: str
    figures: Mapping[str, Figure]
    losses: tuple[LayerLoss, ...]
    status: Status

    @property
    def loser(self) -> LayerLoss | None:
        """The layer that loses most; None where none does."""
        return max(self.losses, key=lambda loss: loss.lost, default=None)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not known of layers that should be: ``verbs: the port is Down``."""
        return tuple(
            f"{NAMES[name]}: {f.text}" for name, f in self.figures.items() if not f.told and f.should
        )

    @property
    def text(self) -> str:
        """What loses, or what is missing, or the layers side by side."""
        if self.losses:
            return "; ".join(loss.text for loss in self.losses)
        if self.missing:
            return "; ".join(self.missing)
        if self.status is Status.NOT_APPLICABLE:
            return self.figures[VERBS].text
        told = [f"{name} {show_rate(f.rate, 'Gb/s')}" for name, f in self.figures.items() if f.told]
        return ", ".join(told)


@dataclass(frozen=True)
class RailLayers:
    """The table, and why there is none (NOT APPLICABLE, or INCONCLUSIVE where it should be there)."""

    rows: tuple[RailRow, ...]
    status: Status
    text: str


@derived
def of_layers(evidence: Evidence) -> RailLayers:
    """The layers of every rail."""
    lines, record = evidence.run.perftest, of_lines(evidence.run.perftest)
    if not record.transfers and (not lines or record.left):
        left = record.left or evidence.skipped.get(FIRST) or "perftest did not run"
        must = evidence.profile.verbs.mode == "on"
        return RailLayers((), Status.INCONCLUSIVE if must else Status.NOT_APPLICABLE, left)
    view = RailEvidence(evidence, record)
    found = tuple(
        _row(view, node, port) for node in evidence.nodes for port in expected_ports(node, evidence.rails)
    )
    if not found:
        return RailLayers((), Status.INCONCLUSIVE, "no node has a rail that perftest can measure")
    return RailLayers(found, *_together(found, view))


def _together(found: Sequence[RailRow], view: RailEvidence) -> tuple[Status, str]:
    counts = {status: sum(row.status is status for row in found) for status in Status}
    for status, word in ((Status.FAIL, "lose in a layer"), (Status.INCONCLUSIVE, "cannot be determined")):
        if counts[status]:
            return status, f"{counts[status]} of {len(found)} rails {word}"
    if counts[Status.NOT_APPLICABLE]:
        lacking = [tool for tool in view.record.tools if tool.missing]
        why = lacking[0].missing if lacking else "no other node takes part"
        return (
            Status.NOT_APPLICABLE,
            f"{len(lacking)} of {len(view.evidence.nodes)} nodes cannot be measured: {why}",
        )
    return Status.PASS, f"{len(found)} of {len(found)} rails lose nothing above what is normal in any layer"


def _row(view: RailEvidence, node: Node, port: Port) -> RailRow:
    seen = {
        LINK: figures.link(port),
        VERBS: figures.verbs(view, node, port),
        P2P: figures.p2p(view, node, port),
        COLLECTIVE: figures.collective(view, node, port),
    }
    losses = tuple(_losses(view, node, port, seen))
    return RailRow(node.name, port.name, seen, losses, _status(seen, losses))


def _status(seen: Mapping[str, Figure], losses: Sequence[LayerLoss]) -> Status:
    if losses:
        return Status.FAIL
    if any(not each.told and each.should for each in seen.values()):
        return Status.INCONCLUSIVE
    return Status.PASS if seen[VERBS].told else Status.NOT_APPLICABLE


def _losses(view: RailEvidence, node: Node, port: Port, seen: Mapping[str, Figure]) -> Iterable[LayerLoss]:
    """The losses of each layer against the layer below; where that one is not known, against its nominal rate."""
    link, nominal = seen[LINK], view.evidence.profile.rails.rate
    if nominal is None and port.rate:
        nominal = Bound(port.rate, show_rate(port.rate, "Gb/s"), "what the port itself says")
    if nominal and link.told and not nominal.reached(link.rate):
        yield LayerLoss(LINK, link.rate, nominal.value, nominal, link.text)
    verbs, below = seen[VERBS], figures.common_link(view, node, port)
    if not verbs.told or not below > 0:
        return
    bound = least(view.evidence.profile, below, figures.mtu(view, node, port))
    if not bound.reached(verbs.rate):
        yield LayerLoss(VERBS, verbs.rate, below, bound, verbs.text)
    under = verbs.rate
    for name, share, source in (
        (P2P, P2P_SHARE, P2P_SOURCE),
        (COLLECTIVE, COLLECTIVE_SHARE, COLLECTIVE_SOURCE),
    ):
        figure, floor = seen[name], Bound(share * under, show_share(share), source)
        if figure.told and not floor.reached(figure.rate):
            # what host memory carries says nothing of the GPU's way to the adapter
            memory = ", verbs in host memory" if name == P2P and HOST in verbs.text else ""
            yield LayerLoss(name, figure.rate, under, floor, figure.text + memory)
        under = figure.rate if figure.told and figure.rate > 0 else floor.value
