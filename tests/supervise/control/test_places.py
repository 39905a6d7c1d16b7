"""Who is connected to rank 0 itself, and who behind which other node."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from bench.supervise.control import tree_places as module
from bench.supervise.control.connection import Connection
from bench.supervise.control.message_frames import MESSAGE
from bench.supervise.control.resumable_stream import ResumableStream
from bench.supervise.control.tcp import Control
from bench.supervise.control.tree_places import HERE, LATER, THROUGH, Place, Places, place_in


class Job:
    """Nodes of two ranks whose first ranks call rank 0, each from an address of its own."""

    def __init__(self, nodes: int) -> None:
        self.places = Places([rank - rank % 2 for rank in range(2 * nodes)])
        self.routes = {1: connection()}

    def call(self, rank: int, port: int = 1000, comes: bool = True) -> Place:
        """``port``: at which it listens if it is to; ``comes``: it reaches its place."""
        place = self.places.choose(rank, f"10.0.0.{rank}", self.routes)
        if place.where == HERE:
            self.routes[rank] = connection()
        elif place.where == THROUGH:
            self.routes[rank] = route = ResumableStream(rank, b"secret", leads=True)
            route.middle, route.carrier, route.open = place.rank, self.routes[place.rank], comes
            if comes:
                self.places.came(rank)
        if place.listen and port:
            self.places.listens(rank, port + rank)
        return place


def connection() -> Connection:
    made = object.__new__(Connection)
    made.lost = ""
    return made


@pytest.fixture(autouse=True)
def fan_out(monkeypatch):
    monkeypatch.setattr(module, "FAN_OUT", 2)


def test_where_all_fit_all_are_kept_and_nobody_listens():
    job = Job(4)  # three more nodes, and a rank of its own node: four connections
    assert {job.call(rank) for rank in (2, 4, 6)} == {Place()}


def test_the_first_to_call_are_kept_and_the_others_spread_over_them():
    job = Job(12)
    found = [job.call(rank) for rank in (1, *range(2, 24, 2))]
    assert [place.where for place in found] == [HERE] * 4 + [THROUGH] * 8
    assert not found[0].listen and all(place.listen for place in found[1:4])
    assert [place.rank for place in found[4:]] == [2, 4, 6, 2, 4, 6, 8, 10]
    assert (found[4].host, found[4].port) == ("10.0.0.2", 1002)


def test_who_calls_before_anybody_listens_calls_again():
    job = Job(6)
    for rank in (2, 4, 6):
        job.call(rank, port=0)
    assert job.call(8).where == LATER
    for rank in (2, 4, 6):
        job.places.listens(rank, 0)  # they cannot
    assert job.call(8).where == HERE


def test_who_could_not_reach_its_place_is_sent_to_one_more_and_then_kept():
    job = Job(6)
    for rank in (2, 4, 6):
        job.call(rank)
    assert [job.call(8, comes=False).rank for _ in range(2)] == [2, 4]
    assert job.call(8).where == HERE
    assert job.call(10).where == THROUGH


def test_a_place_that_was_reached_begins_the_count_anew():
    job = Job(12)
    for rank in range(2, 18, 2):
        job.call(rank)
    assert [job.call(18, comes=comes).where for comes in (False, True, False, False)] == [THROUGH] * 4
    assert job.call(18).where == HERE


def test_rank_0_is_crowded_only_beyond_its_places():
    control = Control(0, 12, places=Places([rank - rank % 2 for rank in range(12)]))
    ends = [socket.socketpair() for _ in range(5)]
    for rank, (own, _) in zip((2, 4, 6, 8, 10), ends, strict=True):
        assert not control.crowded
        way = connection()
        way.socket = own
        control._register(rank, way)
    assert control.crowded
    control._selector.close()
    for pair in ends:
        for each in pair:
            each.close()


def test_nobody_goes_behind_the_same_node_twice_or_behind_one_that_is_avoided_or_lost():
    job = Job(6)
    for rank in (2, 4, 6):
        job.call(rank)
    assert job.call(8).rank == 2
    job.places.avoided.add(4)
    assert job.call(8).rank == 6
    job.places.left([6])
    assert job.call(8).where == HERE


def test_nobody_goes_behind_itself():
    job = Job(12)
    for rank in range(2, 24, 2):
        job.call(rank)
    below = next(
        rank for rank, route in job.routes.items() if isinstance(route, ResumableStream) and route.middle == 8
    )
    job.places._ports = {below: 1000}  # all others are full or lost
    assert job.call(12).rank == below
    assert job.call(8).where == HERE


def test_a_place_is_read_as_it_was_written():
    place = Place(THROUGH, True, 8, "10.0.0.8", 29600)
    assert place_in(place.text) == place


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"where": 1}', b'{"port": true}', b'{"more": 1}', b"null"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="place|JSON|Expecting|truncated|malformed"):
        place_in(text)


def test_who_has_not_come_when_the_run_begins_cannot_come_later():
    control = Control(0, 6, places=Places(range(6)))
    stream = control._connections[4] = ResumableStream(4, b"secret", leads=True)
    control._unsettled.add(4)
    assert control.secrets(4, b"token", begun=False) == (b"secret", b"token")
    control.begin(SimpleNamespace(close=lambda: None))
    assert control.secrets(4, b"token", begun=True) == () and stream not in control._connections.values()
    control.close()


def test_a_node_in_the_middle_cannot_speak_for_those_behind_it():
    control = Control(0, 6, places=Places(range(6)))
    control._via = {2: 2, 4: 4}
    forged = [(4, MESSAGE, b'{"said": "forged"}')]
    assert list(control._take_all(2, connection(), forged)) == []
    assert [said for _, said in control._take_all(4, connection(), forged)] == [{"said": "forged"}]
    control.close()
