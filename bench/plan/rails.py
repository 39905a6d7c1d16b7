"""Phases that measure rails: transfers between two nodes, straight and across, alone and pinned; rings."""

from __future__ import annotations

from dataclasses import replace

from bench.model.groups import Groups, turned
from bench.model.measurement import Case
from bench.model.profile import Profile
from bench.model.rails import can_cross
from bench.model.rounds import round_count
from bench.plan.phase_names import AGAIN, CROSS, FIRST, INSIDE, PINNED, REPEATED, SCREEN
from bench.plan.screening import MOST_IN_PAIRS
from bench.store import Phase

from .job import Job
from .sweep import Request, sweep_cases

RAIL_SECONDS = 0.5  # every pair of a round measures so long, so that all rails are loaded all the time
CROSS_SECONDS = 0.25
PAIR_RULES = {"precision": 0.0, "budget": RAIL_SECONDS}
CROSS_RULES = {"precision": 0.0, "budget": CROSS_SECONDS}
SUSPECT_RULES = {"precision": 0.0, "budget": 0.25}
# the phases that follow from what was measured, by how their names begin
FOLLOW_UPS = {AGAIN: SUSPECT_RULES, REPEATED: PAIR_RULES, SCREEN: PAIR_RULES}
BOTH, THERE, BACK = "both", "there", "back"
WAYS = {"all": (BOTH, THERE, BACK), "one-way": (THERE, BACK), "both": (BOTH,)}
# the log of such a worker is wanted for NCCL's list of devices and its channels alone
LOGGED = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "NET,ENV"}

Left = tuple[str, str]  # a phase that is not applicable: its name, and why


def why_uneven(job: Job) -> str:
    """Why no transfers between nodes can be planned; empty when they can."""
    if len(job.nodes) < 2:
        return "one node has no rails to another"
    if len({len(members) for members in job.nodes}) > 1:
        return "the nodes have different numbers of ranks: start equally many on each"
    return ""


def rails(job: Job) -> Phase | Left:
    """All pairs of nodes, all rails at once."""
    reason = why_uneven(job)
    if not reason and job.screened:
        many = f"as on more than {MOST_IN_PAIRS} nodes; for all pairs: --all-pairs"
        why = "for want of time" if job.accept.screened else many
        reason = f"screened in rings of nodes, {why}: see blame.screening"
    if reason:
        return FIRST, reason
    cases = []
    for turn in range(round_count(len(job.nodes))):
        pairs = job.groups("round", turn=turn)
        cases += pair_cases(FIRST, f"round-{turn}", pairs, job.profile, job.backend, job.accept.ways)
    title = "point-to-point between all node pairs, all rails at once"
    return Phase(FIRST, title, tuple(cases), rules=PAIR_RULES)


def pair_cases(
    phase: str, name: str, pairs: Groups, profile: Profile, backend: str, ways: str = "all", rail: str = ""
) -> list[Case]:
    """A round of disjoint pairs of ranks: both directions at once, then each direction by itself.

    Both at once loads the rails fully; only one direction by itself says which of the two is slow.
    ``rail``: a device that all of them use, instead of each its own.
    """
    size = max(profile.sweep.pair_sizes, default=1 << 22)
    own = rail or ("own" if backend == "nccl" or profile.rails.interfaces else "")
    how = {BOTH: ("p2p_bidirectional", pairs), THERE: ("p2p", pairs), BACK: ("p2p", turned(pairs))}
    return [
        replace(case, id=f"{case.id}/{name}/{way}", rail=own)
        for way in WAYS[ways]
        for collective_name, groups in (how[way],)
        for case in sweep_cases(
            phase, Request(collective_name, size, size, dtype=profile.sweep.dtype), groups
        )
    ]


def cross(job: Job) -> Phase | Left:
    """GPU i of a node against GPU j of another: every node with two partners, all of its rails at once."""
    if not job.accept.cross:
        return CROSS, "not asked for: --cross-rail"
    width = len(job.nodes[0])
    reason = why_uneven(job)
    if not can_cross(job.profile.rails):
        reason = reason or "between interfaces the kernel routes by the far side's address; see rails.wiring"
    if reason := reason or ("one rank a node has no other rail" if width < 2 else ""):
        return CROSS, reason
    cases = []
    # so many rounds that every node meets two others: with an odd count one rests in each
    for turn in range(min(2 + len(job.nodes) % 2, round_count(len(job.nodes)))):
        for shift in range(1, width):
            pairs = job.groups("round", turn=turn, shift=shift)
            name = f"shift-{shift}-round-{turn}"
            cases += pair_cases(CROSS, name, pairs, job.profile, job.backend, "one-way")
    title = "across the rails: GPU i of a node against GPU j of another"
    return Phase(CROSS, title, tuple(cases), own_rails(job.backend), rules=CROSS_RULES)


def own_rails(backend: str) -> dict[str, str]:
    """The environment in which each GPU sends by its own rail, whichever rail the receiver has.

    By PXN, and with NCCL_CROSS_NIC=0, NCCL sends by the rail of the receiver (ncclTopoGetNetDev in
    src/graph/search.cc and topo.cc, v2.28).
    """
    return {"NCCL_PXN_DISABLE": "1", "NCCL_CROSS_NIC": "2", **LOGGED} if backend == "nccl" else {}


def off_nvlink(phase: Phase, profile: Profile) -> Phase:
    """The phase, with NVLink between nodes switched off where its cases are of rails: NCCL would send by it.

    NCCL_MNNVL_ENABLE=0: NCCL's user guide, from 2.21 on. NVLink inside the node stays.
    """
    if profile.nvlink_nodes == 1 or not any(case.rail for case in phase.cases):
        return phase
    return replace(phase, environment={"NCCL_MNNVL_ENABLE": "0", **phase.environment})


def pinned(job: Job) -> list[Phase] | Left:
    """Every rail alone, in workers that can use no other; every node sends and receives once."""
    wanted = job.backend == "nccl" if job.accept.pinned is None else job.accept.pinned
    if not wanted:
        bound = "; with gloo every transfer is bound to its interface anyway" if job.backend != "nccl" else ""
        return PINNED, f"not asked for: --pinned{bound}"
    reason = why_uneven(job) or _unpinned(job)
    if reason:
        return PINNED, reason
    phases = []
    for number, device in enumerate(job.devices):
        # the rank next to the rail: another GPU's way to it may be the slower part
        near = job.near[number] if job.near else number % len(job.nodes[0])
        cases = [
            case
            for turn in range(1 + len(job.nodes) % 2)
            for case in pair_cases(
                f"{PINNED}-{number}",
                f"round-{turn}",
                job.groups("round", turn=turn, local=near),
                job.profile,
                job.backend,
                "both",
                device,
            )
        ]
        title = f"rail {device} alone, in workers pinned to it"
        phases.append(
            Phase(f"{PINNED}-{number}", title, tuple(cases), pinning(device, job), rules=PAIR_RULES)
        )
    return phases


def _unpinned(job: Job) -> str:
    if job.profile.rails.kind == "none":
        return "the profile speaks of no rails"
    if not job.devices:
        return "the rails of the nodes have no names in common to pin a worker to"
    if job.backend == "gloo" and job.profile.rails.kind != "socket":
        return "gloo uses no RDMA"
    return ""


def pinning(device: str, job: Job) -> dict[str, str]:
    """The environment of a worker that must use ``device`` (``mlx5_3/1``, ``eth3``) and no other.

    NCCL reads it once, at init, so a pinned worker is a fresh one. ``=`` in front: exactly this name, or
    mlx5_1 would take mlx5_10 too (NCCL's user guide, NCCL_IB_HCA).
    """
    if job.backend != "nccl":
        return {"GLOO_SOCKET_IFNAME": device}
    name = "NCCL_SOCKET_IFNAME" if job.profile.rails.kind == "socket" else "NCCL_IB_HCA"
    return {name: f"={device.replace('/', ':')}", **LOGGED}


def inside(job: Job) -> Phase | Left:
    """Every GPU against every other of its node: tells a slow GPU from a slow rail."""
    if job.backend != "nccl":
        return INSIDE, "without GPUs there is nothing inside a node but its memory"
    if min(len(members) for members in job.nodes) < 3 or len(job.nodes) < 2:
        return INSIDE, "three GPUs or more a node are wanted to tell which of two is slow, on two nodes"
    title = "point-to-point between the GPUs of each node, all nodes at once"
    return Phase(INSIDE, title, inside_cases(INSIDE, job), rules=PAIR_RULES)


def inside_cases(phase: str, job: Job) -> tuple[Case, ...]:
    """All pairs of GPUs of each node, in rounds, all nodes at once."""
    cases = []
    for turn in range(round_count(min(len(members) for members in job.nodes))):
        pairs = job.groups("inside", turn=turn)
        cases += pair_cases(phase, f"round-{turn}", pairs, job.profile, job.backend, "both")
    return tuple(replace(case, rail="") for case in cases)
