"""What of the operating system bears on RDMA: GPUDirect, ACS, IOMMU, locked memory, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median_low

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.counters import Snapshot
from bench.model.facts import Host, Node, PciLink
from bench.model.profile import Profile
from bench.model.rails import by_port, rails_of
from bench.model.units import show_seconds, show_size
from bench.model.verdict import Verdict

NO_RDMA = "the profile's rails are no ports of HCAs"
NO_GPUS = "no RDMA to GPUs: the profile speaks of no GPUs"
# ACS controls that send peer-to-peer traffic up to the root complex instead of straight across the switch
REDIRECTS = ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")
OFFSET = (
    5.0  # s. Counters are asked of all nodes at once and answered within seconds: finer cannot be determined
)
COARSE = 30.0  # s. A probe takes so long where the driver has to wake the GPUs first


@check("host.facts", early=True)
def facts(evidence: Evidence) -> Iterator[Verdict]:
    """Every node of the job has told its facts."""
    ask = Question(
        "host.facts",
        "the facts of every node",
        "RailGauge",
        "",
        "run railgauge probe on that node and see what fails",
    )
    known = {node.name for node in evidence.nodes}
    found = [
        Finding(name, True if name in known else None, "facts are there" if name in known else "no facts")
        for name in evidence.manifest.nodes
    ]
    yield from ask.verdicts(found, "nodes have told their facts")


@check("host.gpudirect", early=True)
def gpudirect(evidence: Evidence) -> Iterator[Verdict]:
    """GPUDirect RDMA is possible: nvidia_peermem is loaded, or the open NVIDIA module offers dma-buf."""
    ask = Question(
        "host.gpudirect",
        "nvidia_peermem, or dma-buf by the open kernel module",
        "NCCL: ncclIbGdrSupport",
        "sudo modprobe nvidia_peermem, and have it loaded at boot",
        "see lsmod and cat /proc/driver/nvidia/version",
    )
    if not by_port(evidence.rails) or not evidence.profile.gpus:
        yield ask.skip("all nodes", NO_RDMA if evidence.profile.gpus else NO_GPUS)
        return
    yield from ask.verdicts((_gpudirect(node) for node in evidence.nodes), "nodes can do GPUDirect RDMA")


def _gpudirect(node: Node) -> Finding:
    host = node.host
    clients = [name for name in host.memory_peers if name.startswith("nv_mem")]
    if host.peermem or clients:
        told = f"nvidia_peermem {host.peermem or clients[0]}"
        return Finding(node.name, True, told, note=told)
    if host.nvidia_open is None:
        return Finding(
            node.name, None, "nvidia_peermem is not loaded, and the kind of NVIDIA's module is not known"
        )
    told = (
        "no nvidia_peermem; NVIDIA's kernel module is the "
        + ("open" if host.nvidia_open else "closed")
        + " one"
    )
    return Finding(node.name, host.nvidia_open, told, note=told)


@check("host.acs", early=True)
def acs(evidence: Evidence) -> Iterator[Verdict]:
    """On bare metal no bridge between a GPU and its rail redirects traffic to the root (ACS)."""
    ask = Question(
        "host.acs",
        "ACS off on every bridge above a GPU or rail",
        "NCCL user guide, troubleshooting: PCI Access Control Services",
        "switch it off at boot: setpci -s BRIDGE ECAP_ACS+6.w=0000",
        "probe as root: sudo railgauge probe; or sudo lspci -vvv | grep ACSCtl",
    )
    if not by_port(evidence.rails) or not evidence.profile.gpus:
        yield ask.skip("all nodes", NO_RDMA if evidence.profile.gpus else NO_GPUS)
        return
    yield from _bare(ask, evidence, _acs, "nodes have ACS off")


Look = Callable[[Node, Profile], Finding]


def _bare(ask: Question, evidence: Evidence, look: Look, well: str) -> Iterator[Verdict]:
    """Findings of the nodes that are bare metal; in a virtual machine these things are the hypervisor's."""
    virtual = [node.name for node in evidence.nodes if node.host.virtual]
    if virtual:
        yield ask.skip(
            "all nodes",
            f"{len(virtual)} nodes are virtual machines, where the hypervisor decides",
            *virtual[:16],
        )
    bare = [node for node in evidence.nodes if not node.host.virtual]
    if bare or not virtual:
        yield from ask.verdicts((look(node, evidence.profile) for node in bare), well)


def _acs(node: Node, want: Profile) -> Finding:
    bridges = dict(_bridges(node, want))
    on = [
        f"{at} ({' '.join(hop.acs or ())})"
        for at, hop in bridges.items()
        if set(hop.acs or ()) & set(REDIRECTS)
    ]
    blind = [address for address, hop in bridges.items() if hop.acs is None]
    if on:
        return Finding(
            node.name, False, f"ACS is on at {len(on)} bridges: {', '.join(on[:4])}", float(len(on))
        )
    if not bridges:
        return Finding(node.name, None, "the bridges above its GPUs and rails are not known")
    if blind:
        return Finding(
            node.name, None, f"ACS of {len(blind)} of {len(bridges)} bridges may not be read by this user"
        )
    return Finding(node.name, True, f"ACS is off at {len(bridges)} bridges", 0.0)


def _bridges(node: Node, want: Profile) -> Iterator[tuple[str, PciLink]]:
    paths = [gpu.pci for gpu in node.gpus]
    paths += [role.port.pci for role in rails_of(node, want.rails) if role.port]
    for path in paths:
        for hop in path.hops[1:] if path else ():
            yield hop.address, hop


@check("host.iommu", early=True)
def iommu(evidence: Evidence) -> Iterator[Verdict]:
    """On bare metal the IOMMU is off or passes through."""
    ask = Question(
        "host.iommu",
        "no IOMMU, or passthrough",
        "NVIDIA, GPUDirect RDMA: the IOMMU must map one to one",
        "boot with iommu=pt, or switch VT-d or AMD-Vi off in the firmware",
        "see ls /sys/kernel/iommu_groups and cat /proc/cmdline",
    )
    if not by_port(evidence.rails) or not evidence.profile.gpus:
        yield ask.skip("all nodes", NO_RDMA if evidence.profile.gpus else NO_GPUS)
        return
    yield from _bare(
        ask, evidence, lambda node, _: _iommu(node), "nodes have the IOMMU off or passing through"
    )


def _iommu(node: Node) -> Finding:
    groups, options = node.host.iommu_groups, node.host.iommu_options
    if groups is None:
        return Finding(node.name, None, "IOMMU groups are not known")
    translating = sum(count for kind, count in groups.items() if kind.startswith("DMA"))
    if translating:
        return Finding(node.name, False, f"{translating} IOMMU groups translate")
    through = [word for word in options or () if word in ("iommu=pt", "iommu.passthrough=1")]
    if groups.get("") and not through:
        return Finding(node.name, None, "this kernel does not say what its IOMMU groups do")
    told = "no IOMMU groups" if not groups else f"{sum(groups.values())} IOMMU groups pass through"
    return Finding(node.name, True, told)


@check("host.memlock", early=True)
def memlock(evidence: Evidence) -> Iterator[Verdict]:
    """Locked memory is unlimited for the processes of the job: RDMA registers its buffers with it."""
    ask = Question(
        "host.memlock",
        "unlimited",
        "NCCL user guide, troubleshooting: memlock",
        "set memlock unlimited: limits.conf, LimitMEMLOCK of slurmd or sshd, docker --ulimit memlock=-1",
        "ulimit -l",
    )
    if not by_port(evidence.rails):
        yield ask.skip("all nodes", NO_RDMA)
        return
    yield from ask.verdicts(
        (_memlock(node.name, node.host) for node in evidence.nodes), "nodes lock memory without limit"
    )


def _memlock(name: str, host: Host) -> Finding:
    if host.memlock_unlimited:
        return Finding(name, True, "unlimited")
    if host.memlock is None:
        return Finding(name, None, "the limit of locked memory is not known")
    enough = None if host.memory_total is None else host.memlock >= host.memory_total
    # a limit of any usual size is too small; only one beyond all memory is as good as none
    return Finding(name, bool(enough), f"limited to {show_size(host.memlock)}", float(host.memlock))


@check("host.clock", early=True)
def clock(evidence: Evidence) -> Iterator[Verdict]:
    """The nodes' clocks agree, as far as answers that come within seconds can tell."""
    ask = Question(
        "host.clock",
        f"within {OFFSET:g} s of the other nodes",
        "RailGauge: logs of nodes are read side by side",
        "set it by NTP: timedatectl, chronyc tracking",
        "compare by hand: date +%s on every node",
        OFFSET,
    )
    names = evidence.manifest.nodes
    if len(names) < 2:
        yield ask.skip("all nodes", "one node has no other to compare with")
        return
    found = list(_offsets(evidence, names))
    if evidence.rails.kind == "none" and all(each.ok is None for each in found):
        yield ask.skip("all nodes", "no node tells its time to be compared, and the profile needs none")
        return
    yield from ask.verdicts(found, "nodes have a clock that agrees")


def _offsets(evidence: Evidence, names: tuple[str, ...]) -> Iterator[Finding]:
    """From the snapshots where there are some, which are taken quickly; else from the probes, which are not."""
    coarse = [{node.name: node.host.clock for node in evidence.nodes}]
    fine = [_times(line.snapshots, names) for line in evidence.run.counters]
    for name in names:
        offset = _least(fine, name)
        sure = offset is not None
        if offset is None:
            offset = _least(coarse, name)
        if offset is None:
            yield Finding(name, None, "its clock is not known")
            continue
        told = f"{show_seconds(abs(offset))} {'ahead of' if offset > 0 else 'behind'} the median of the nodes"
        limit = OFFSET if sure else COARSE
        ok = True if abs(offset) <= OFFSET else False if abs(offset) > limit else None
        yield Finding(name, ok, told if sure else f"{told}, by the probes' own clocks", abs(offset))


def _times(shots: Sequence[Snapshot], names: tuple[str, ...]) -> dict[str, float | None]:
    if len(shots) != len(names):
        return {}
    return {name: shot.time for name, shot in zip(names, shots, strict=True)}


def _least(sets: list[dict[str, float | None]], name: str) -> float | None:
    """The smallest offset from the median of all nodes that any set shows: a true one is in them all."""
    found = []
    for times in sets:
        known = [time for time in times.values() if time is not None]
        mine = times.get(name)
        if mine is not None and len(known) > 1:
            found.append(mine - median_low(known))
    return min(found, key=abs, default=None)
