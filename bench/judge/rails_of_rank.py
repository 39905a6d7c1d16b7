"""Which rails each local rank uses, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.rails import by_port, in_order, own_rails, rails_of, unique_rail_names


def rail_names(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node] = (),
    gpus: Mapping[int, int | None] | None = None,
) -> tuple[str, ...]:
    """What the rails of each local rank are called: ``mlx5_3/1``, ``mlx5_0/1+mlx5_1/1`` where its GPU has two,
    ``rail 0`` … where that cannot be determined. See ``own_by_rank``.
    """
    return unique_rail_names(own_by_rank(profile, ranks, nodes, gpus))


def own_by_rank(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node] = (),
    gpus: Mapping[int, int | None] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """The rails of each local rank, as most of the nodes that show them over PCI have them.

    ``gpus``: place of each rank's GPU in the facts of its node; its local rank where that is not given. Without facts
    the profile's devices are shared out in order; () where nothing tells.
    """
    count = 1 + max((rank.local_rank for rank in ranks), default=0)
    rails = profile.rails
    if not any(rails_of(node, rails) for node in nodes):
        shared = in_order(rails.devices, profile.gpus) if profile.gpus and by_port(rails) else ()
        own = shared or tuple((device,) for device in rails.devices)
        return (*own[:count], *((),) * (count - len(own)))
    places = gpus or {}
    facts = {node.name: node for node in nodes}
    owned = {name: own_rails(node, rails) for name, node in facts.items()}
    votes: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(count)]
    for rank in ranks:
        node = facts.get(rank.node)
        if node is None:
            continue
        # gloo takes interfaces in turn, whatever GPUs there are
        in_turn = not node.gpus or (rank.device == "cpu" and not by_port(rails))
        own = tuple((role.name,) for role in rails_of(node, rails)) if in_turn else owned[rank.node]
        at = rank.local_rank if in_turn else places.get(rank.rank, rank.local_rank)
        if at is not None and at < len(own) and own[at]:
            votes[rank.local_rank][own[at]] += 1
    chosen = [vote.most_common(1)[0] if vote else ((), 0) for vote in votes]
    return tuple(
        own if 2 * most > sum(vote.values()) else () for vote, (own, most) in zip(votes, chosen, strict=True)
    )


def pins(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    gpus: Mapping[int, int | None] | None = None,
) -> dict[str, int]:
    """Every rail that can be measured alone → the local rank whose GPU is next to it, in the order of the local ranks.

    Rails that no rank is next to are dealt out in turn. Empty where the nodes do not call them alike.
    """
    own = own_by_rank(profile, ranks, nodes, gpus)
    found = {rail: at for at, rails in reversed(list(enumerate(own))) for rail in reversed(rails)}
    found = dict(reversed(found.items()))
    alike = Counter(tuple(role.name for role in rails_of(node, profile.rails)) for node in nodes)
    names, most = alike.most_common(1)[0] if alike else ((), 0)
    if 2 * most <= len(nodes):
        return {}
    return found | {name: at % len(own) for at, name in enumerate(names) if name not in found}
