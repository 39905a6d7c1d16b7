"""What the workers of a run are told besides their cases: where they meet, by which interface, in which environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bench.measure.work_order import WorkOrder
from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.rails import by_port
from bench.plan import by_node

from .live_run import LiveRun
from .meeting_address import Meeting, find_meeting
from .options import Options


def prepare(live: LiveRun, backend: str) -> None:
    """Find where the workers meet, and make the order and the environment that all phases have in common.

    Raises NoAddress where some node reaches no address of the first one.
    """
    chief, options, profile = live.coordinator, live.options, live.profile
    nodes = [node for node in live.nodes if node.name in live.leads]
    live.meeting = find_meeting(
        chief, live.leads, nodes, profile.rails, options.meet_interface, options.ports
    )
    if live.meeting.refused:
        live.say(f"the workers meet at {live.meeting.address}: {live.meeting.refused}")
    chief.order = _order(options, chief.ranks, backend, live.meeting.address)
    chief.environment = _environment(profile, backend, chief.ranks)
    chief.interfaces = _interfaces(profile, backend, chief.environment, live.meeting, nodes)


def _order(options: Options, ranks: Sequence[Rank], backend: str, address: str) -> WorkOrder:
    return WorkOrder(
        phase="",
        cases=(),
        rank=0,
        size=len(ranks),
        local_rank=0,
        backend=backend,
        address=address,
        ports=options.ports,
        timeout=options.limits.hang + 30,
        rules=options.rules,
        repetitions=options.repetitions,
        rails=options.profile.rails.interfaces if backend == "gloo" else (),
    )


def _environment(profile: Profile, backend: str, ranks: Sequence[Rank]) -> dict[str, str]:
    """What the workers get on top of the user's own environment; the profile's settings are for NCCL."""
    wanted = {"PYTHONUNBUFFERED": "1"}
    if max(len(here) for here in by_node(ranks)) >= (os.cpu_count() or 1):
        wanted["OMP_NUM_THREADS"] = "1"
    if backend == "nccl":
        return {**wanted, **profile.environment}
    rails = ",".join(profile.rails.interfaces) if len(by_node(ranks)) > 1 else ""
    named = os.environ.get("GLOO_SOCKET_IFNAME") or rails
    return {**wanted, "GLOO_SOCKET_IFNAME": named} if named else wanted


def _interfaces(
    profile: Profile,
    backend: str,
    environment: Mapping[str, str],
    meeting: Meeting,
    nodes: Sequence[Node],
) -> dict[str, dict[str, str]]:
    """Node -> the setting that names its interface for gloo, or for NCCL's bootstrap, where nobody named one.

    Left alone, gloo takes the address of the host's name, and NCCL the first interface that it finds: often one over
    which the nodes do not reach each other.
    """
    if backend != "nccl":
        name, exactly = "GLOO_SOCKET_IFNAME", ""
    elif by_port(profile.rails) and len(meeting.interfaces) > 1:
        name, exactly = "NCCL_SOCKET_IFNAME", "="
    else:
        return {}  # where NCCL measures over sockets, the same variable names the rails
    files = (text or "" for node in nodes for text in node.environment.files.values())
    if name in environment or os.environ.get(name) or any(name in text for text in files):
        return {}
    return {node: {name: f"{exactly}{each}"} for node, each in meeting.interfaces.items() if each}
