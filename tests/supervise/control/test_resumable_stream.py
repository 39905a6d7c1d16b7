"""Both ends of a stream, without sockets: what is on a route when it ends comes by the next one, once and in order."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from bench.supervise.control import resumable_stream as module
from bench.supervise.control.connection import WAITING
from bench.supervise.control.message_frames import HEAD, LONGEST_MESSAGE, SEALED, framed, messages_in, parsed
from bench.supervise.control.resumable_stream import ResumableStream
from bench.supervise.control.sealed_frames import LONGEST, Forged, Handshake
from bench.supervise.control.tcp import Control

TOKEN = b"0123456789abcdef-of-this-job"


class Carrier:
    """Frames on their way in one direction."""

    def __init__(self) -> None:
        self.frames = []
        self.lost = ""

    def put(self, frame: bytes) -> None:
        self.frames.append(frame[HEAD.size :])


class Ends:
    """X and rank 0, and the route between them."""

    def __init__(self) -> None:
        self.dialer, self.rank_0 = (
            ResumableStream(4, b"secret", leads=False),
            ResumableStream(4, b"secret", leads=True),
        )
        self.taken = {self.dialer: [], self.rank_0: []}
        self.routes = 0
        self.renew()

    def renew(self) -> None:
        """A new route; what was on the old one is gone."""
        self.routes += 1
        handshake = Handshake("a run", 4, 8, b"%032d" % self.routes, bytes(32))
        self.up, self.down = Carrier(), Carrier()
        self.rank_0.renew(handshake, TOKEN, self.down, 2)
        self.dialer.renew(handshake, TOKEN, self.up, 2)

    def carry(self, count: int = 1 << 30) -> None:
        """So many of the frames that are on the way arrive."""
        for end, carrier in ((self.rank_0, self.up), (self.dialer, self.down)):
            for sealed in carrier.frames[:count]:
                self.taken[end] += end.take(sealed)
            del carrier.frames[:count]


@pytest.mark.parametrize("seed", range(50))
def test_every_frame_is_taken_once_and_in_order_however_often_the_way_ends(seed):
    chance, ends, sent = random.Random(seed), Ends(), {}
    for end in (ends.dialer, ends.rank_0):
        sent[end] = []
    for at in range(400):
        end = chance.choice((ends.dialer, ends.rank_0))
        sent[end].append(b"%d" % at)
        end.put(sent[end][-1])
        if chance.random() < 0.5:
            ends.carry(chance.randrange(4))
        if chance.random() < 0.1:
            chance.choice((ends.dialer, ends.rank_0)).push()
        if chance.random() < 0.03:
            ends.rank_0.interrupt()
        if chance.random() < 0.05:
            ends.renew()
    ends.renew()
    ends.carry()
    ends.carry()
    assert ends.taken == {ends.rank_0: sent[ends.dialer], ends.dialer: sent[ends.rank_0]}


def test_rank_0_sends_nothing_before_the_other_end_has_spoken():
    ends = Ends()
    ends.rank_0.put(b"order")
    assert not ends.down.frames and not ends.rank_0.open
    ends.carry()
    assert ends.rank_0.open and ends.taken[ends.dialer] == [b"order"]


def test_what_was_taken_is_named_and_kept_no_longer(monkeypatch):
    ends = Ends()
    ends.carry()
    for _ in range(module.NAME_FRAMES):
        ends.dialer.put(b"row")
    assert len(ends.dialer._kept) == module.NAME_FRAMES
    ends.carry()
    ends.rank_0.push()
    ends.carry()
    assert not ends.dialer._kept and ends.dialer._bytes == 0
    ends.dialer.put(b"one more")
    ends.carry()
    ends.rank_0.push()
    assert not ends.down.frames
    monkeypatch.setattr(module, "NAME_SECONDS", 0.0)
    ends.rank_0.push()
    ends.carry()
    assert not ends.dialer._kept


@pytest.mark.parametrize("harm", ["altered", "repeated", "left out", "of another route"])
def test_a_node_in_the_middle_cannot_change_what_it_carries(harm):
    ends = Ends()
    ends.carry()
    ends.dialer.put(b"first")
    first = ends.up.frames.pop()
    if harm == "altered":
        forged = first[:-40] + bytes([first[-40] ^ 1]) + first[-39:]
    elif harm == "repeated":
        ends.taken[ends.rank_0] += ends.rank_0.take(first)
        forged = first
    elif harm == "left out":
        ends.dialer.put(b"second")
        forged = ends.up.frames.pop()
    else:
        ends.renew()
        forged = first
    with pytest.raises(Forged):
        list(ends.rank_0.take(forged))


def test_what_the_other_end_never_takes_is_kept_within_bounds():
    ends = Ends()
    for _ in range(WAITING // LONGEST + 2):
        ends.dialer.put(bytes(LONGEST - module.WRAP))
        ends.up.frames.clear()
    assert "took nothing of the last" in ends.dialer.lost and not ends.dialer._kept
    with pytest.raises(ValueError, match="can be sent"):
        ends.rank_0.put(bytes(LONGEST))


@pytest.mark.parametrize("leads", [True, False])
def test_the_longest_message_fits_through_many_nodes_and_one_byte_more_is_refused(leads):
    """Each stream carries the frames of the one behind it; the innermost is carried by a connection."""
    way, sent = ResumableStream(16, b"secret", leads), []
    wire = SimpleNamespace(put=sent.append, lost="")
    carriers = [ResumableStream(rank, b"secret", leads) for rank in range(1, 16)]
    for carrier, below in zip([*carriers, way], [wire, *carriers], strict=True):
        carrier.renew(Handshake("a run", carrier.rank, 20, bytes(32), bytes(32)), TOKEN, below, 2)
        carrier.open = True
    row = bytes(LONGEST_MESSAGE - HEAD.size)
    way.put(framed(16, {"said": "row", "row": row}))
    assert LONGEST_MESSAGE < len(sent[-1]) <= LONGEST
    with pytest.raises(ValueError, match="at most"):
        framed(16, {"said": "row", "row": row + b"0"})


def test_what_a_node_carries_is_passed_on_up_to_the_last_byte_that_fits():
    above, peer = [], SimpleNamespace(lost="", lose=lambda why: setattr(peer, "lost", why))
    control = Control(2, 20, {})
    control._connections[0] = SimpleNamespace(put=above.append)
    frame = HEAD.pack(16, SEALED, LONGEST - module.WRAP - HEAD.size) + bytes(
        LONGEST - module.WRAP - HEAD.size
    )
    assert list(control._take(16, peer, frame)) == [] and above == [frame] and not peer.lost
    longer = HEAD.pack(16, SEALED, len(frame) - HEAD.size + 1) + bytes(len(frame) - HEAD.size + 1)
    assert list(control._take(16, peer, longer)) == [] and len(above) == 1 and "too many" in peer.lost
    control._selector.close()


def test_a_call_that_was_given_up_before_it_was_answered_loses_nobody():
    ends = Ends()
    ends.rank_0.put(b"order")
    ends.rank_0.end("it closed the connection")  # X has not spoken on this route yet
    assert not ends.rank_0.lost and ends.rank_0.carrier is None
    ends.renew()
    ends.carry()
    ends.carry()
    assert ends.taken[ends.dialer] == [b"order"]
    ends.rank_0.end("it closed the connection")
    assert ends.rank_0.lost == "it closed the connection"


def test_a_rank_that_is_lost_behind_a_living_node_is_told_to_end():
    ends = Ends()
    ends.carry()
    ends.rank_0.lose("it sent an invalid message")
    ends.carry()
    (text,) = (text for frame in ends.taken[ends.dialer] for _, _, text in messages_in(frame))
    assert parsed(text) == {"do": "quit", "lost": "it sent an invalid message"}
