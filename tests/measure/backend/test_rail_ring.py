"""Rings of ranks over one interface: what a screening sends, on real gloo connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("members", [(0, 1), (3, 4, 5), (7, 2, 9, 4)])
def test_every_rank_gets_the_data_of_the_one_before_and_the_values_of_all(members):
    import torch
    import torch.distributed as dist

    from bench.measure.backend.group import Group, HostClock
    from bench.measure.backend.one_rail import open_pair
    from bench.model.collective_calls import Call
    from bench.model.collectives import collective

    store, ring = dist.HashStore(), collective("p2p_ring")

    def rank(place: int):
        talk = open_pair(store, "ring", members, place, "lo", 10.0)
        send, received = torch.full((1000,), float(place)), torch.full((1000,), -1.0)
        ring.call(Call(talk, None, members, place, -1, None), send, received)
        group = Group(members, place, None, torch.device("cpu"), HostClock(), talk)
        group.together()
        return received.unique().tolist(), group.share([float(place), 2.0])

    with ThreadPoolExecutor(len(members)) as pool:
        seen = list(pool.map(rank, range(len(members))))
    n = len(members)
    assert [got for got, _ in seen] == [[float((place - 1) % n)] for place in range(n)]
    assert all(shared == [[float(place), 2.0] for place in range(n)] for _, shared in seen)


def test_a_ring_whose_member_does_not_come_ends_with_an_error_in_time():
    import torch.distributed as dist

    from bench.measure.backend.one_rail import open_pair

    with pytest.raises(RuntimeError):
        open_pair(dist.HashStore(), "ring", (0, 1, 2), 0, "lo", 0.5)
