"""What of the operating system bears on RDMA: GPUDirect, ACS, IOMMU, locked memory, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from statistics import median_low

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.run_times import of_another_day
from bench.model.counters import Snapshot
from bench.model.facts import Node, PciLink
from bench.model.profile import Rails
from bench.model.rails import by_port, rails_of
from bench.model.units import show_count, show_seconds, show_size

# ACS controls that send peer-to-peer traffic up to the root complex instead of straight across the switch
REDIRECTS = ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")
OFFSET = (
    5.0  # s. Counters are read on all nodes at once, and answers come within seconds: nothing finer is known
)
COARSE = 30.0  # s. A probe takes so long where the driver has to wake the GPUs first


def no_ports(evidence: Evidence) -> str:
    return "" if by_port(evidence.rails) else "the profile's rails are not ports of HCAs"


def no_gpu_rdma(evidence: Evidence) -> str:
    return no_ports(evidence) if evidence.profile.gpus else "no RDMA to GPUs: the profile has no GPUs"


@check(
    "host.facts",
    wanted="the facts of every node",
    source="RailGauge",
    on_inconclusive="run railgauge probe on that node and see what fails",
    unit="nodes",
    facts_only=True,
)
def facts(evidence: Evidence) -> Iterator[Finding]:
    """Facts were collected from every node of the job, while the run went on."""
    for name in evidence.manifest.nodes:
        known = evidence.facts.get(name)
        wrong = _of_another_time(known, evidence) if known else "no facts were collected"
        yield Finding(name, None if wrong else True, wrong)


def _of_another_time(node: Node, evidence: Evidence) -> str:
    """By how much the facts of a node are older or newer than the run; "" where they are of it."""
    at = node.host.clock
    if at is None:
        shown = node.ports or node.gpus or node.interfaces
        return "its facts do not show when they were gathered" if shown else ""
    apart = of_another_day(evidence.run, at, at)
    return f"its facts were gathered {apart}" if apart else ""


@check(
    "host.gpudirect",
    wanted="nvidia_peermem, or dma-buf by the open kernel module",
    source="NCCL: ncclIbGdrSupport",
    on_fail="sudo modprobe nvidia_peermem, and have it loaded at boot",
    on_inconclusive="see lsmod and cat /proc/driver/nvidia/version",
    unit="nodes",
    unless=(no_gpu_rdma,),
    facts_only=True,
)
def gpudirect(evidence: Evidence) -> Iterator[Finding]:
    """GPUDirect RDMA is possible: nvidia_peermem is loaded, or the open NVIDIA module offers dma-buf."""
    for node in evidence.nodes:
        clients = [name for name in node.host.memory_peers if name.startswith("nv_mem")]
        is_open = node.host.nvidia_open
        if node.host.peermem or clients:
            text = f"nvidia_peermem {node.host.peermem or clients[0]}"
            yield Finding(node.name, True, text, note=text)
        elif is_open is None:
            text = "nvidia_peermem is not loaded, and it is not known whether NVIDIA's module is the open one"
            yield Finding(node.name, None, text)
        else:
            kind = "open" if is_open else "closed"
            text = f"no nvidia_peermem; NVIDIA's kernel module is the {kind} one"
            yield Finding(node.name, is_open, text, note=text)


def _on_bare_metal(
    judge: Callable[[Node, Rails], Finding],
) -> Callable[[Evidence], Iterator[Finding | NotApplicable]]:
    """Findings of the nodes that are bare metal; in a virtual machine these things are the hypervisor's."""

    @wraps(judge)
    def find(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
        virtual = [node.name for node in evidence.nodes if node.host.virtual]
        if virtual:
            text = f"on virtual machines the hypervisor decides ({show_count(len(virtual), 'node')})"
            yield NotApplicable(text, evidence=tuple(virtual[:16]))
        yield from (judge(node, evidence.rails) for node in evidence.nodes if not node.host.virtual)

    return find


@check(
    "host.acs",
    wanted="ACS off on every bridge above a GPU or rail",
    source="NCCL user guide, troubleshooting: PCI Access Control Services",
    on_fail="switch it off at boot: setpci -s BRIDGE ECAP_ACS+6.w=0000",
    on_inconclusive="probe as root: sudo railgauge probe; or sudo lspci -vvv | grep ACSCtl",
    unit="nodes",
    unless=(no_gpu_rdma,),
    facts_only=True,
)
@_on_bare_metal
def acs(node: Node, rails: Rails) -> Finding:
    """On bare metal no bridge between a GPU and its rail redirects traffic to the root (ACS)."""
    bridges = dict(_bridges(node, rails))
    redirecting = {
        at: f"{at} ({' '.join(hop.acs)})"
        for at, hop in bridges.items()
        if hop.acs and set(hop.acs) & {*REDIRECTS}
    }
    unread = [address for address, hop in bridges.items() if hop.acs is None]
    if redirecting:
        text = (
            f"ACS is on at {show_count(len(redirecting), 'bridge')}: {', '.join([*redirecting.values()][:4])}"
        )
        return Finding(node.name, False, text, float(len(redirecting)))
    if not bridges:
        return Finding(node.name, None, "the bridges above its GPUs and rails are not known")
    if unread:
        text = f"this user may not read ACS of {len(unread)} of {show_count(len(bridges), 'bridge')}"
        return Finding(node.name, None, text)
    return Finding(node.name, True, f"ACS is off at {show_count(len(bridges), 'bridge')}", 0.0)


def _bridges(node: Node, rails: Rails) -> Iterator[tuple[str, PciLink]]:
    paths = [gpu.pci for gpu in node.gpus]
    paths += [role.port.pci for role in rails_of(node, rails) if role.port]
    for path in paths:
        for hop in path.hops[1:] if path else ():
            yield hop.address, hop


@check(
    "host.iommu",
    wanted="no IOMMU, or passthrough",
    source="NVIDIA, GPUDirect RDMA: the IOMMU must map one to one",
    on_fail="boot with iommu=pt, or switch VT-d or AMD-Vi off in the firmware",
    on_inconclusive="see ls /sys/kernel/iommu_groups and cat /proc/cmdline",
    unit="nodes",
    unless=(no_gpu_rdma,),
    facts_only=True,
)
@_on_bare_metal
def iommu(node: Node, _: Rails) -> Finding:
    """On bare metal the IOMMU is off or passes through."""
    groups, options = node.host.iommu_groups, node.host.iommu_options
    if groups is None:
        return Finding(node.name, None, "its IOMMU groups are not known")
    translating = sum(count for kind, count in groups.items() if kind.startswith("DMA"))
    if translating:
        return Finding(
            node.name, False, f"{translating} IOMMU groups translate DMA addresses (no passthrough)"
        )
    through = [word for word in options or () if word in ("iommu=pt", "iommu.passthrough=1")]
    if groups.get("") and not through:
        return Finding(node.name, None, "this kernel does not show what its IOMMU groups do")
    text = f"{sum(groups.values())} IOMMU groups pass through" if groups else "the IOMMU is off"
    return Finding(node.name, True, text, note=text)


@check(
    "host.memlock",
    wanted="unlimited",
    source="NCCL user guide, troubleshooting: memlock",
    on_fail="set memlock unlimited: limits.conf, LimitMEMLOCK of slurmd or sshd, docker --ulimit memlock=-1",
    on_inconclusive="ulimit -l",
    unit="nodes",
    unless=(no_ports,),
    facts_only=True,
    beside=False,
)
def memlock(evidence: Evidence) -> Iterator[Finding]:
    """Locked memory is unlimited for the processes of the job: RDMA registers its buffers with it."""
    for node in evidence.nodes:
        limit, total = node.host.memlock, node.host.memory_total
        if node.host.memlock_unlimited:
            yield Finding(node.name, True, "unlimited")
        elif limit is None:
            yield Finding(node.name, None, "its limit of locked memory is not known")
        else:
            # a limit of any usual size is too small; only one beyond all memory is as good as none
            enough = total is not None and limit >= total
            yield Finding(node.name, enough, f"locked memory is limited to {show_size(limit)}", float(limit))


def one_node(evidence: Evidence) -> str:
    return "one node has no other to compare with" if evidence.node_count < 2 else ""


def _no_clocks(evidence: Evidence) -> str:
    needed = evidence.rails.kind != "none" or any(each.ok is not None for each in _offsets(evidence))
    return "" if needed else "no clock of a node is known, and the profile needs none"


@check(
    "host.clock",
    wanted=f"within {OFFSET:g} s of the other nodes",
    source="RailGauge: logs of nodes are read side by side",
    on_fail="set it by NTP: timedatectl, chronyc tracking",
    on_inconclusive="compare by hand: date +%s on every node",
    unit="nodes",
    bound=OFFSET,
    unless=(one_node, _no_clocks),
    facts_only=True,
)
def clock(evidence: Evidence) -> Iterator[Finding]:
    """The clocks of the nodes agree: as far as answers that come within seconds show it."""
    return _offsets(evidence)


def _offsets(evidence: Evidence) -> Iterator[Finding]:
    """The clock offset of each node, by snapshots where there are some, which are quick; else by the slower probes."""
    names = evidence.manifest.nodes
    coarse = [{node.name: node.host.clock for node in evidence.nodes}]
    fine = [_times(line.snapshots, names) for line in evidence.run.counters]
    by_snapshots, by_probes = _offsets_of(fine), _offsets_of(coarse)
    for name in names:
        offset, limit, how = by_snapshots.get(name), OFFSET, ""
        if offset is None:
            offset, limit, how = by_probes.get(name), COARSE, ", by the probes' own clocks"
        if offset is None:
            yield Finding(name, None, "its clock is not known")
            continue
        ok = True if abs(offset) <= OFFSET else False if abs(offset) > limit else None
        side = "ahead of" if offset > 0 else "behind"
        text = f"{show_seconds(abs(offset))} {side} the median of the nodes{how}"
        yield Finding(name, ok, text, abs(offset))


def _times(shots: Sequence[Snapshot], names: tuple[str, ...]) -> dict[str, float | None]:
    if len(shots) != len(names):
        return {}
    return {name: shot.time for name, shot in zip(names, shots, strict=True)}


def _offsets_of(sets: list[dict[str, float | None]]) -> dict[str, float]:
    """Each node's smallest offset from the median of all that any set shows: a true one is in them all."""
    found: dict[str, float] = {}
    for times in sets:
        known = {name: time for name, time in times.items() if time is not None}
        if len(known) > 1:
            middle = median_low(known.values())
            for name, time in known.items():
                found[name] = min(found.get(name, time - middle), time - middle, key=abs)
    return found
