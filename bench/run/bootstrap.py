"""Rank 0 asks every supervisor for its host and facts, and derives ranks, backend and memory from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.typed_json import MOST
from bench.model.units import show_some
from bench.plan import NCCL_RESERVE, TORCH_HOST, Memory, by_node
from bench.supervise.coordinator import Coordinator
from bench.supervise.questions import HELLO, PROBE, SUBNET, Hello

from .options import CannotRun

PROBE_SECONDS = 120.0
FABRIC_SECONDS = 400.0  # three tools, two minutes each at most


def gather_facts(
    chief: Coordinator, here: Sequence[int]
) -> tuple[tuple[Rank, ...], tuple[Node, ...], dict[int, Hello]]:
    """Returns the ranks that joined, the facts of their nodes in the order of first ranks, and every rank's hello."""
    hellos = chief.ask(HELLO, here, PROBE_SECONDS)
    ranks = number_ranks(hellos)
    leads = [members[0] for members in by_node(ranks)]
    facts = chief.ask(PROBE, leads, PROBE_SECONDS)
    # called as its ranks are, whatever it calls itself here
    nodes = tuple(replace(facts[lead], name=hellos[lead].host) for lead in leads)
    return ranks, nodes, hellos


def ask_fabric(chief: Coordinator, profile: Profile) -> None:
    """Ask the subnet from the first node: before anything is measured, and once more at the end."""
    if profile.rails.kind == "infiniband":
        chief.recorder.fabric(chief.ask(SUBNET, [0], FABRIC_SECONDS)[0].answers)


def number_ranks(hellos: Mapping[int, Hello]) -> tuple[Rank, ...]:
    """Ranks with their local ranks: numbered per host. CannotRun where two hosts have one name."""
    seen: dict[str, int] = {}
    machines: dict[str, tuple[str, int]] = {}
    ranks = []
    for rank in sorted(hellos):
        host = hellos[rank].host
        machine, first = machines.setdefault(host, (hellos[rank].machine, rank))
        if hellos[rank].machine != machine:
            raise CannotRun(
                f"two machines are called {host}: those of rank {first} and of rank {rank} (different boot IDs); "
                "give each node a hostname of its own"
            )
        ranks.append(Rank(rank, host, seen.setdefault(host, 0)))
        seen[host] += 1
    return tuple(ranks)


def choose_backend(
    profile: Profile, hellos: Mapping[int, Hello], ranks: Sequence[Rank], nodes: Sequence[Node]
) -> tuple[str, str]:
    """What the profile says; "auto": nccl where every node has a GPU for each of its ranks, else gloo. And why.

    Raises CannotRun where torch is missing.
    """
    without = [rank for rank, said in hellos.items() if not said.torch]
    if without:
        said = hellos[without[0]]
        raise CannotRun(
            f"torch is not installed for {said.python} on {said.host} (rank "
            f"{show_some(map(str, without), 1)}): pip install torch"
        )
    if profile.backend != "auto":
        return profile.backend, ""
    for node, here in zip(nodes, by_node(ranks), strict=True):
        if len(node.gpus) < len(here):
            note = next((f" ({note})" for note in node.notes if note.startswith("nvml: ")), "")
            return "gloo", f"{node.name} shows {len(node.gpus)} GPUs for {len(here)} ranks{note}"
    return "nccl", "every node has a GPU for each of its ranks"


def device_name(
    rank: Rank, backend: str, nodes: Sequence[Node], places: Mapping[int, int | None] | None = None
) -> str:
    """``cuda:3 NVIDIA H100 80GB HBM3`` or ``cpu``. ``places``: of each rank's GPU in its node; see ``gpu_of_rank``."""
    if backend != "nccl":
        return "cpu"
    gpus = next(node.gpus for node in nodes if node.name == rank.node)
    at = (places or {}).get(rank.rank, rank.local_rank)
    name = gpus[at].name if at is not None and at < len(gpus) else None
    return f"cuda:{rank.local_rank} {name or 'no such GPU'}"


def memory(
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    backend: str,
    places: Mapping[int, int | None] | None = None,
) -> Memory:
    """What the rank with the least may use: its share of the host's memory, or of its own GPU's.

    Where nothing is known of it nothing is refused: a case that does not fit then fails by itself.
    """
    rooms = []
    for node, here in zip(nodes, by_node(ranks), strict=True):
        if backend == "nccl":
            known = [(places or {}).get(rank) for rank in here]
            own = [at if place is None else place for at, place in enumerate(known)]
            for gpu in (node.gpus[at] for at in own if at < len(node.gpus)):
                if gpu.memory_free is not None:
                    free = max(0, gpu.memory_free - NCCL_RESERVE)
                    rooms.append(Memory(free, f"GPU {gpu.index} of {node.name}"))
        elif node.host.memory_available is not None:
            # with many ranks torch alone takes more
            share = max(0, int(node.host.memory_available * 0.9) // len(here) - TORCH_HOST)
            rooms.append(Memory(share, f"{node.name}, {len(here)} ranks"))
    return min(rooms, key=lambda room: room.available, default=Memory(MOST, "memory that is not known"))
