"""The first rank of a node passes on what the others of its node and rank 0 send each other, over real sockets."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest

from bench.run.absent_nodes import attendance
from bench.supervise.control import connect as connecting
from bench.supervise.control import rendezvous
from bench.supervise.control import tcp as tcp_module
from bench.supervise.control.rendezvous import Dialer, Listener, NotMet, sockets_at
from bench.supervise.control.tcp import FOLLOWED, HEAD, Control
from bench.supervise.departures import CUT, SIGNALLED, Departures

TOKEN = b"0123456789abcdef-of-this-job"
LIMIT = 20.0
JOBS = itertools.count()


def frame(rank: int, text: bytes, waits: bool = False) -> bytes:
    return HEAD.pack(rank, waits, len(text)) + text


class At:
    """A connection from a local address."""

    def __init__(self, address: str) -> None:
        self.socket = self
        self.getsockname = lambda: (address, 1)


def wait_for(true) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline


class Job:
    """Ranks of one job in this process, two to a node; each is served by its own thread until ``ends`` are taken."""

    def __init__(self, size: int, absent: tuple[int, ...] = (), limit: float = LIMIT) -> None:
        self.size, self.ends, self.errors, self.token = size, {}, {}, TOKEN
        # the name of a node's socket follows from it: other tests may run on this machine
        self.run = f"run {next(JOBS)} of {os.getpid()}"
        self.listener = Listener(sockets_at(["127.0.0.1"], [0]), lambda text: None)
        self.port, self.serving = self.listener.port, True
        hosts = tuple(f"n{rank // 2}" for rank in range(size))
        threads = [threading.Thread(target=self.lead, args=(hosts, limit))]
        threads += [
            threading.Thread(target=self.join, args=(rank, limit))
            for rank in range(1, size)
            if rank not in absent
        ]
        for thread in threads:
            thread.start()
        threads[0].join(LIMIT)
        self.serving = False
        for thread in threads:
            thread.join(LIMIT)

    def lead(self, hosts, limit) -> None:
        try:
            self.ends[0] = self.listener.wait(self.run, self.size, TOKEN, limit, hosts, True)
        except NotMet as error:
            self.errors[0] = error

    def dialer(self, rank: int) -> Dialer:
        return Dialer(
            ("127.0.0.1",), (self.port,), self.run, rank, self.size, lambda: self.token, lambda text: None
        )

    def join(self, rank: int, limit: float) -> None:
        try:
            self.ends[rank] = end = connecting._join(self.dialer(rank), rank - rank % 2, limit)
        except NotMet as error:
            self.errors[rank] = error
            return
        while self.serving:  # as a supervisor does: the others of its node join while it rests
            end.keep_arrivals()
            end.rest(0.002)

    def pass_on(self) -> None:
        for rank in range(2, self.size, 2):
            if rank in self.ends:
                self.ends[rank].keep_arrivals()

    def hear(self, rank: int, count: int = 1) -> list:
        heard, deadline = [], time.monotonic() + LIMIT
        while len(heard) < count:
            assert time.monotonic() < deadline, f"only {heard} arrived"
            self.pass_on()
            heard += self.ends[rank].receive()
        return heard

    def close(self) -> None:
        for end in self.ends.values():
            end.close()


@pytest.fixture
def job():
    made = Job(6)
    yield made
    made.close()


def test_rank_0_has_a_connection_to_each_other_node_and_to_the_ranks_of_its_own(job):
    assert sorted(job.ends[0]._connections) == [1, 2, 4]
    assert job.ends[0].peers == (1, 2, 3, 4, 5)
    assert [job.ends[rank].behind for rank in (2, 3, 4, 5)] == [(3,), (), (5,), ()]


def test_a_rank_that_calls_rank_0_again_needs_no_file_with_the_token(job):
    job.token = b"the file is gone"
    assert job.ends[2].search.args[0].token() == TOKEN


def test_rank_0_needs_an_open_file_for_each_of_these_connections(monkeypatch):
    asked = list[int]()
    monkeypatch.setattr(rendezvous, "make_room", asked.append)
    Job(6).close()
    assert asked == [3]


def test_every_rank_talks_to_rank_0_and_rank_0_to_every_rank(job):
    for rank, end in job.ends.items():
        end.send(0, {"said": "hello", "from": rank})
    assert {source: said["from"] for source, said in job.hear(0, 6)} == {rank: rank for rank in range(6)}
    for rank in range(1, 6):
        job.ends[0].send(rank, {"do": "start", "for": rank})
        assert job.hear(rank) == [(0, {"do": "start", "for": rank})]


def test_nobody_listens_on_a_node_once_rank_0_begins(job, capsys):
    assert job.ends[2].listener
    job.ends[0].send(2, {"do": "wait"})
    job.hear(2)
    assert job.ends[2].listener is None
    with pytest.raises(NotMet, match=r"rank 3 did not reach rank 0 within .*: Connection refused"):
        connecting._join(job.dialer(3), 2, 0.1)
    said = capsys.readouterr().err
    assert (
        "rank 3 did not reach rank 2 of this node within 0 s: on this node: Connection refused; it dials"
        in said
    )


def test_a_rank_that_is_lost_behind_another_is_lost_alone(job):
    job.ends[3].send(0, {"said": "farewell", "how": SIGNALLED, "text": "told to end"})
    job.ends.pop(3).close()
    farewell, lost = job.hear(0, 2)
    assert farewell == (3, {"said": "farewell", "how": SIGNALLED, "text": "told to end"})
    assert lost[0] == 3 and lost[1]["said"] == "lost" and "closed" in lost[1]["text"]
    job.ends[0].send(3, {"do": "start"})  # goes nowhere
    job.ends[0].send(2, {"do": "start"})
    assert job.hear(2) == [(0, {"do": "start"})]


def test_those_behind_a_rank_that_is_lost_are_not_taken_for_killed_and_end(job):
    job.ends.pop(2).abandon(3)
    first, second = job.hear(0, 2)
    assert (first[0], first[1]["said"], "how" in first[1]) == (2, "lost", False)
    assert second[0] == 3 and second[1]["how"] == FOLLOWED and "rank 2" in second[1]["text"]
    ((source, order),) = job.hear(3)
    assert (source, order["do"]) == (0, "quit") and "rank 2 of this node is gone" in order["lost"]
    departures = Departures(clock=iter(float(at) for at in range(1, 100)).__next__)
    for rank, message in (first, second):
        assert departures.take(rank, "n1", message)
    departures.over(["n0", "n0", "n1", "n1"])
    over = departures.over(["n0", "n0", "n1", "n1"])
    assert over and over.names == "n1 (rank 2)"
    assert {each.how for each in departures.departed.values()} == {CUT, FOLLOWED}


def test_the_others_of_a_node_hear_that_rank_0_is_gone(job):
    job.ends.pop(0).abandon(3)
    ((_, first),) = job.hear(2)
    ((_, second),) = job.hear(3)
    assert "rank 0 is gone" in first["lost"] and "rank 0 is gone" in second["lost"]


def test_a_rank_cannot_speak_for_another_one_of_its_node_or_of_another(job):
    behind, first = job.ends[3]._connections[0], job.ends[4]._connections[0]
    behind.put(frame(2, b'{"said": "forged"}'))
    ((source, told),) = job.hear(0)
    assert (source, told["said"]) == (3, "lost") and "another rank" in told["text"]
    for whose in (1, 2, 3, 0, 99):
        first.put(frame(whose, b'{"said": "forged"}'))
    first.put(frame(4, b'{"said": "behind", "rank": 1, "lost": "forged"}'))
    first.put(frame(4, b'{"said": "behind", "rank": 1}'))
    first.put(frame(4, b'{"said": "hello"}'))
    assert job.hear(0) == [(4, {"said": "hello"})]
    job.ends[1].send(0, {"said": "still here"})
    assert job.hear(0) == [(1, {"said": "still here"})]


def passed_on(end: Control, monkeypatch) -> list[bytes]:
    """The frames that the first rank of a node sends to rank 0 from now on; nothing waits for time."""
    frames, put = list[bytes](), end._connections[0].put
    monkeypatch.setattr(tcp_module, "WAIT_SECONDS", 1e9)
    monkeypatch.setattr(end._connections[0], "put", lambda frame: (frames.append(frame), put(frame)))
    return frames


def test_the_heartbeats_of_a_node_travel_in_one_frame_in_their_order_with_what_does_not_wait(
    job, monkeypatch
):
    frames = passed_on(job.ends[2], monkeypatch)
    for calls in (1, 2):
        job.ends[3].send(0, {"said": "beat", "calls": calls})
    job.ends[3].flush(LIMIT)
    wait_for(lambda: job.pass_on() or len(job.ends[2]._waiting) > 50)
    assert not frames
    job.ends[2].send(0, {"said": "beat", "calls": 3})
    assert [(source, said["calls"]) for source, said in job.hear(0, 3)] == [(3, 1), (3, 2), (2, 3)]
    assert len(frames) == 1
    job.ends[3].send(0, {"said": "beat", "calls": 4})
    job.ends[3].send(0, {"said": "ended"})
    assert [said["said"] for _, said in job.hear(0, 2)] == ["beat", "ended"]


def test_the_rows_of_a_moment_travel_in_one_frame_and_unread(job, monkeypatch):
    frames = passed_on(job.ends[2], monkeypatch)
    rows = [{"said": "row", "row": text} for text in (b'{"case": "a"}', b"no JSON")]
    for row in rows:
        job.ends[3].send(0, row)
    job.ends[3].flush(LIMIT)
    assert job.hear(0, 2) == [(3, row) for row in rows]
    assert len(frames) == 1


def test_a_heartbeat_does_not_wait_for_ever(job):
    job.ends[3].send(0, {"said": "beat"})
    assert job.hear(0) == [(3, {"said": "beat"})]


def test_what_is_long_does_not_wait_and_has_a_frame_of_its_own(job, monkeypatch):
    frames = passed_on(job.ends[2], monkeypatch)
    job.ends[3].send(0, {"said": "beat"})
    job.ends[3].send(0, {"said": "beat", "links": "x" * tcp_module.SHORT})
    assert [len(said) for _, said in job.hear(0, 2)] == [1, 2]
    assert [len(frame) > tcp_module.SHORT for frame in frames] == [False, True]


@pytest.mark.parametrize("payload", [b"{}", frame(3, b'{"said": "x"}')[:-1], HEAD.pack(3, False, 1 << 31)])
def test_a_rank_that_sends_half_a_message_is_lost_alone(job, payload):
    job.ends[3]._connections[0].put(payload)
    ((source, told),) = job.hear(0)
    assert (source, told["said"]) == (3, "lost") and "an invalid frame" in told["text"]
    job.ends[2].send(0, {"said": "still here"})
    assert job.hear(0) == [(2, {"said": "still here"})]


def test_a_rank_behind_another_that_sends_what_is_no_message_is_lost_alone(job):
    job.ends[5]._connections[0].put(frame(5, b"[]"))
    ((source, told),) = job.hear(0)
    assert (source, told["said"]) == (5, "lost") and "invalid message" in told["text"]
    ((_, order),) = job.hear(5)
    assert order["do"] == "quit" and "invalid message" in order["lost"]
    job.ends[5].send(0, {"said": "beat"})
    job.ends[4].send(0, {"said": "beat"})
    assert job.hear(0) == [(4, {"said": "beat"})]


def test_the_first_of_a_node_leaves_after_the_others_and_passes_on_their_last_word(job):
    def leave() -> None:
        time.sleep(0.05)
        job.ends[3].send(0, {"said": "bye"})
        job.ends[3].flush(1.0)
        job.ends.pop(3).close()

    leaving = threading.Thread(target=leave)
    leaving.start()
    job.ends[2].linger(LIMIT)
    leaving.join()
    assert job.ends[2].behind == ()
    assert job.hear(0, 2)[0] == (3, {"said": "bye"})


@pytest.mark.parametrize(("absent", "alone"), [(3, 2), (2, 3)])
def test_a_node_of_which_a_rank_never_comes_is_left_out(absent, alone):
    job = Job(6, absent=(absent,), limit=3.0)
    said = job.ends[0].absent
    assert "1 of 6 ranks did not reach rank 0" in said and f"rank {absent} of n1" in said
    found = attendance(job.ends[0], tuple(f"n{rank // 2}" for rank in range(6)))
    assert (found.here, found.early) == ((0, 1, 4, 5), (alone,))
    job.close()


def test_a_rank_that_cannot_reach_the_first_of_its_node_dials_rank_0(monkeypatch, capsys):
    def taken(name):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(connecting, "node_socket", taken)
    job = Job(4, limit=3.0)
    assert sorted(job.ends[0]._connections) == [1, 2, 3] and not job.ends[0].absent
    assert (
        "rank 2 cannot listen for the others of its node: Address already in use" in capsys.readouterr().err
    )
    job.ends[0].send(3, {"do": "start"})
    assert job.hear(3) == [(0, {"do": "start"})]
    job.close()


def test_the_address_of_rank_0_is_the_one_by_which_it_reaches_the_most_ranks(monkeypatch):
    control = Control(0, 6)
    control._connections = {1: At("127.0.1.1"), 2: At("127.0.1.1"), 3: At("10.0.0.5")}
    control._via = {1: 1, 2: 2, 3: 3, 4: 3, 5: 3}
    assert control.address == "10.0.0.5"
