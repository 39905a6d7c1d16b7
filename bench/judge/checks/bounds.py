"""Do the measured rows reach the profile's bounds?"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.wire import of_row
from bench.model.profile import LARGE, Limit
from bench.model.stats import median_without, relative_width
from bench.model.timings import Blocks
from bench.model.units import show_both, show_rate, show_seconds, show_share, show_size
from bench.model.verdict import Bound
from bench.plan.phase_names import INSIDE, LINKS, NODES, RERUN
from bench.store import IMPORTED
from bench.store.rows import Row

from .pcie import carried_by_pci

ALONE_SHARE = (
    0.85  # of the profile's figure for one node: healthy ones differ by some per cent, a lost NVLS costs 25 %
)
# of the memory's rate: a plain copy kernel reaches 80 to 92 % (nvbandwidth, BabelStream), a throttled memory a third
MEMORY_SHARE = 0.5
HOST_COPIES, DEVICE_COPY = ("copy_to_device", "copy_to_host"), "copy_device"
SLOWER = 0.9  # of the other GPUs' median: what is below is said as a share of it
TOO_FAST = "measure again: see whether the copies were made at all"
BESIDE_ITS_CPU = re.compile(r"\bG[BH]\d")  # GH200, GB200, GB300: NVLink-C2C joins GPU and host
# of a large run there are thousands, which are only counted
GOOD = Finding("row", True, "clearly reaches its bound")
LARGE_BLOCK = 4 << 20  # bytes from one rank to another from which on bandwidth counts


@check("limits.busbw", on_fail="see the rails and pairs for the node, rail or port that holds it back")
def busbw(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Bus bandwidth of every row that a bound speaks of; averages over sizes gate nothing."""
    for limit in evidence.limits("busbw"):
        rows = evidence.rows_of(limit)
        if not rows:
            yield missing(limit, evidence)
        yield from (against(row, limit.bound) for row in rows)


@check("limits.latency", on_fail="look for another load on the nodes, then for retransmissions")
def latency(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The isolated median of every row that a bound speaks of."""
    for limit in evidence.limits("p50"):
        rows = evidence.rows_of(limit)
        if not rows:
            yield missing(limit, evidence)
        for row in rows:
            found = Finding(
                row.case.id,
                row.isolated.p50 <= limit.bound.value,
                f"median {show_seconds(row.isolated.p50)}",
                row.isolated.p50,
                wanted=f"at most {limit.bound.text}",
                source=limit.bound.source,
                bound=limit.bound.value,
                case=row.case.id,
            )
            yield _certain(found, row)


def _no_share(evidence: Evidence) -> str:
    return "" if evidence.profile.share_of_ceiling else "the profile names no share of the ceiling"


@check(
    "limits.ceiling_share",
    subject="all rows",
    on_fail="see the rails, pairs and nodes for what holds it back; then railgauge run with this collective alone",
    every="the largest message of each collective without a bound of its own reaches its share of the ceiling",
    unit="rows",
    unless=(_no_share,),
)
def ceiling_share(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The largest message of each collective that no bound speaks of reaches a share of what the fabric allows."""
    found = list(with_ceiling(evidence))
    if not found:
        yield NotApplicable("no row that has a ceiling is without a bound of its own")
    for row, bound in found:
        pair = row.case.phase in (INSIDE, LINKS)
        yield GOOD if _clearly(row, bound) else against(row, bound, who(row, evidence) if pair else "")


def with_ceiling(evidence: Evidence) -> Iterator[tuple[Row, Bound]]:
    """The rows of ``ceiling_share``, with the busbw that they must reach by the algorithm that allows least."""
    share = evidence.profile.share_of_ceiling
    if share is None:
        return
    yield from _by_nvlink(evidence, share)
    bounds = evidence.limits("busbw")
    series: dict[tuple[str, ...], Row] = {}
    for row in evidence.rows:
        case = row.case
        if row.ranks == len(evidence.ranks) and case.phase != "evidence" and not row.measurement.extra.failed:
            key = case.phase, case.collective, case.placement, case.algorithm
            series[key] = max(row, series.get(key, row), key=lambda each: each.case.size)
    for row in series.values():
        reading = of_row(row, evidence)
        if reading is None or not _is_large(row) or any(limit.covers(row.case) for limit in bounds):
            continue
        ceiling = min(each.ceiling for each in reading.readings)
        text = f"{show_rate(share.value * ceiling)}, {share.text} of the ceiling {show_rate(ceiling)}"
        yield row, replace(share, value=share.value * ceiling, text=text)


def _by_nvlink(evidence: Evidence, share: Bound) -> Iterator[tuple[Row, Bound]]:
    """Bounds the large messages between two GPUs of a node by NVLink's rate: where all pairs are slow alike, none
    stands out among its equals.
    """
    nvlink = evidence.profile.nvlink
    if nvlink is None:
        return
    text = f"{show_rate(share.value * nvlink.value)}, {share.text} of NVLink's {nvlink.text}"
    floor = replace(share, value=share.value * nvlink.value, text=text)
    for row in evidence.rows:
        paired = row.case.phase in (INSIDE, LINKS) and len(row.measurement.ranks) == 2
        if paired and row.case.size >= LARGE and not row.measurement.extra.failed:
            yield row, floor


def _is_large(row: Row) -> bool:
    """Whether bandwidth counts in a row, and no longer the latency of its messages: of n ranks each may send n."""
    spread = row.case.collective in ("all_to_all", "gather", "scatter")
    return row.case.size >= LARGE and row.case.size >= LARGE_BLOCK * (row.ranks if spread else 1)


def _no_node(evidence: Evidence) -> str:
    if evidence.profile.alone is None:
        return "the profile does not say what a healthy node reaches alone"
    return "" if _alone(evidence) else "no node was measured by itself in a phase of its own"


def _alone(evidence: Evidence) -> dict[str, Row]:
    """Node → its own all_reduce; the faster row where it was measured again."""
    found: dict[str, Row] = {}
    for row in evidence.rows:
        if row.case.phase in (NODES, f"{RERUN}-{NODES}") and row.case.collective == "all_reduce":
            node = evidence.run.node_of.get(row.measurement.ranks[0], "?")
            found[node] = max(row, found.get(node, row), key=lambda each: each.busbw)
    return found


@check(
    "limits.alone",
    on_fail="look at NVLink, NVLS and the fabric manager of that node: nvidia-smi nvlink -s, nvidia-smi -q",
    every="all_reduce inside each node is as fast as on a healthy one",
    unit="nodes",
    unless=(_no_node,),
)
def alone(evidence: Evidence) -> Iterator[Finding]:
    """Every node reaches what a healthy one reaches in all_reduce by itself."""
    healthy = evidence.profile.alone
    if healthy is not None:
        text = f"{show_share(ALONE_SHARE)} of {healthy.text}"
        bound = replace(healthy, value=ALONE_SHARE * healthy.value, text=text)
        for node, row in _alone(evidence).items():
            yield against(row, bound, node)


def _no_copies(evidence: Evidence) -> str:
    if evidence.profile.host_copies is None:
        return "the profile names no rate of copies from and to the host"
    return "" if _copies(evidence, *HOST_COPIES) else "no large copy from or to the host was measured"


def _copies(evidence: Evidence, *names: str) -> list[Row]:
    """The largest copies of these kinds."""
    rows = [row for row in evidence.rows if row.case.collective in names]
    largest = max((row.case.size for row in rows), default=0)
    return [row for row in rows if row.case.size == largest >= LARGE]


@check(
    "limits.host_copies",
    on_fail="look at the PCIe link of that GPU (check pcie.link) and where its host memory lies: nvidia-smi topo -m, "
    "numactl -H",
    every="every GPU copies from and to its host fast enough",
    unit="copies",
    unless=(_no_copies,),
)
def host_copies(evidence: Evidence) -> Iterator[Finding]:
    """Every GPU copies from and to its host as fast as the profile asks, all GPUs at once."""
    rows = _copies(evidence, *HOST_COPIES)
    rates = _rates(rows)
    for row in rows if evidence.profile.host_copies else ():
        assert evidence.profile.host_copies
        link = _link(row, evidence)
        found = _copied(row, rates, evidence.profile.host_copies, evidence, link)
        if row.busbw > link:
            text = f"{found.measured}, more than the {show_rate(link)} of its PCI Express link"
            found = structs.replace(found, ok=None, measured=text, step=TOO_FAST)
        yield found


def _link(row: Row, evidence: Evidence) -> float:
    """Bytes/s that can pass between a GPU and its host; infinite where PCI Express is not all that joins the two."""
    rank = row.measurement.ranks[0]
    gpu = evidence.gpu_of(rank)
    if gpu is None or BESIDE_ITS_CPU.search(gpu.name or "GB0"):
        return math.inf
    if evidence.facts[evidence.run.node_of[rank]].host.virtual:  # which may show any link
        return math.inf
    return carried_by_pci(gpu.pci, virtual=False) or math.inf


def _rates(rows: list[Row]) -> dict[str, list[float]]:
    """The rates of all GPUs by kind of copy, in rising order."""
    found = defaultdict(list)
    for row in sorted((row for row in rows if math.isfinite(row.busbw)), key=lambda row: row.busbw):
        found[row.case.collective].append(row.busbw)
    return found


def _copied(
    row: Row, rates: dict[str, list[float]], bound: Bound, evidence: Evidence, most: float
) -> Finding:
    """Hold a GPU's copy against a floor; one that is too slow is shown beside those of the other GPUs.

    ``most``: bytes/s that no copy can exceed.
    """
    name = row.case.collective
    if row.busbw <= most and _clearly(row, bound):
        return GOOD
    found = against(row, bound, f"{who(row, evidence)}, {name}")
    if found.ok is not False or len(rates[name]) < 2:
        return found
    peers = median_without(rates[name], row.busbw)
    if not row.busbw < SLOWER * peers:
        return found
    figures = f"{show_rate(row.busbw).split()[0]} of {show_rate(peers)}"
    return structs.replace(found, measured=f"{show_share(row.busbw / peers)} of its peers' rate ({figures})")


def _no_device_copies(evidence: Evidence) -> str:
    if evidence.profile.gpu_memory is None:
        return "the profile names no rate of the GPUs' memory"
    return "" if _copies(evidence, DEVICE_COPY) else "no large copy inside a GPU was measured"


@check(
    "limits.device_copies",
    on_fail="see the clock of that GPU's memory and its load: nvidia-smi -q -d CLOCK,PERFORMANCE,ECC",
    every="every GPU copies inside its own memory fast enough",
    unit="copies",
    unless=(_no_device_copies,),
)
def device_copies(evidence: Evidence) -> Iterator[Finding]:
    """Every GPU copies inside its own memory at half of the rate that its memory can: each byte is read and written."""
    memory = evidence.profile.gpu_memory
    if memory is not None:
        floor = MEMORY_SHARE * memory.value / 2
        text = f"{show_rate(floor)}, {show_share(MEMORY_SHARE)} of {memory.text}, read and written"
        bound = replace(memory, value=floor, text=text)
        rows = _copies(evidence, DEVICE_COPY)
        rates = _rates(rows)
        for row in rows:
            found = _copied(row, rates, bound, evidence, memory.value)
            if row.busbw > memory.value:  # each byte is read and written: half of that is the most
                found = structs.replace(
                    found, ok=None, measured=f"{found.measured}, more than {memory.text}", step=TOO_FAST
                )
            yield found


def who(row: Row, evidence: Evidence) -> str:
    """``n1``, ``n1 GPU 2``, ``n1 GPU 2 – GPU 5``: the part of the cluster that a row measured."""
    ranks, places = row.measurement.ranks, evidence.gpu_of_rank
    by_node = defaultdict(list)
    for rank in ranks:
        at = places.get(rank)
        by_node[evidence.run.node_of.get(rank, "?")].append(f"GPU {at}" if at is not None else f"rank {rank}")
    if len(ranks) > 2:
        return ", ".join(by_node)
    return " to ".join(f"{node} {' – '.join(gpus)}" for node, gpus in by_node.items())


def against(row: Row, bound: Bound, subject: str = "") -> Finding:
    """A row's busbw against a floor. ``subject``: where it is not the case."""
    found = Finding(
        subject or row.case.id,
        bound.reached(row.busbw),
        f"busbw {show_both(row.busbw)}",
        row.busbw,
        wanted=f"at least {bound.text}",
        source=bound.source,
        bound=bound.value,
        case=row.case.id,
    )
    return _certain(found, row)


def _clearly(row: Row, bound: Bound) -> bool:
    """Whether a row reaches a bound by more than half of any confidence interval of its figure."""
    return bound.reached(row.busbw) and _far_apart(row, row.busbw, bound.value)


def _far_apart(row: Row, value: float, bound: float) -> bool:
    """Whether ``bound`` is further from ``value`` than half of the widest confidence interval that the row can have."""
    widest = max((row.slowest - row.quickest) / row.seconds, row.measurement.precision or 0.0)
    return abs(value - bound) >= value * widest / 2


def _certain(found: Finding, row: Row) -> Finding:
    """The finding, INCONCLUSIVE where nothing was timed or its bound lies within the figure's confidence interval."""
    assert found.value is not None and found.bound is not None
    if math.isnan(found.value):
        return structs.replace(found, ok=None, step="measure again: the row has no time")
    if _far_apart(row, found.value, found.bound):  # nearly always
        return found
    width = _width(row)
    if width is None or not abs(found.value - found.bound) < found.value * width / 2:
        return found
    text = f"{found.measured} ± {show_share(width / 2)} (95 % confidence): too uncertain to be held against the bound"
    return structs.replace(
        found, ok=None, measured=text, step="see what else uses the nodes, then measure again, longer"
    )


def _width(row: Row) -> float | None:
    """The relative width of a row's interval: as it says, or that of its own blocks where this is wider."""
    said, own = row.measurement.precision, relative_width(Blocks.of(row.measurement.pipelined).slowest)
    return max(own, said or 0.0) if math.isfinite(own) else said


def missing(limit: Limit, evidence: Evidence) -> Finding | NotApplicable:
    """The finding on a bound without a row; not applicable for an import, which cannot be measured again."""
    low, high = (show_size(size) for size in limit.size)
    subject = f"{limit.collective} {limit.algorithm}".strip()
    if evidence.manifest.launcher == IMPORTED:
        return NotApplicable(f"the import holds no such row from {low} to {high}", subject)
    return Finding(
        subject,
        None,
        f"no row from {low} to {high} was measured",
        wanted=f"{limit.quantity} {limit.bound.text}",
        source=limit.bound.source,
        step="measure that size: see [sweep] of the profile",
    )
