"""Real sockets on the loopback: the star comes together and names lost ranks; no stranger stops it."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from bench.model.measurement import Rank
from bench.run.absent_nodes import attendance
from bench.run.options import CannotRun
from bench.supervise.control import connection as connection_module
from bench.supervise.control import rendezvous, tcp, tree_places
from bench.supervise.control.connection import Connection
from bench.supervise.control.rendezvous import Dialer, Listener, NotMet, sockets_at
from bench.supervise.control.sealed_frames import (
    DIALER,
    HELLO,
    LENGTH,
    LONGEST,
    MAGIC,
    VERSION,
    Handshake,
    Sealer,
    hello,
)  # fmt: skip
from bench.supervise.control.tcp import HEAD, Control

TOKEN = b"0123456789abcdef-of-this-job"
LIMIT = 20.0
RUN = "a run"


def of_1(text):
    return HEAD.pack(1, False, len(text)) + text


BEAT = of_1(b'{"said": "beat"}')


def quiet(text):
    """Print nothing."""


def opened(said=None):
    return Listener(sockets_at(["127.0.0.1"], [0]), said.append if said is not None else quiet)


def dialer(port, rank, size, token=TOKEN, run=RUN, said=None):
    return Dialer(
        ("127.0.0.1",), (port,), run, rank, size, lambda: token, said.append if said is not None else quiet
    )


def in_background(work):
    """Start ``work`` in a thread; a function that waits for its result or raises what it raised."""
    box = []

    def run():
        try:
            box.append((work(), None))
        except Exception as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(LIMIT + 5)
        assert box, "it did not come back"
        value, error = box[0]
        if error:
            raise error
        return value

    return result


def star(size, before=quiet):
    """A star of ``size`` in this process; ``before(port)`` acts while rank 0 listens and nobody is connected."""
    listener = opened()
    before(listener.port)
    host = in_background(lambda: listener.wait(RUN, size, TOKEN, LIMIT))
    others = [
        in_background(lambda rank=rank: dialer(listener.port, rank, size).connect(LIMIT))
        for rank in range(1, size)
    ]
    return [host(), *(other() for other in others)]


def close(ends):
    for end in ends:
        end.close()


def hear(end, count=1):
    """The next ``count`` messages."""
    heard, deadline = [], time.monotonic() + LIMIT
    while len(heard) < count:
        assert time.monotonic() < deadline, f"only {heard} arrived"
        heard += end.receive()
    return heard


def test_ranks_whose_nodes_nobody_knows_are_all_connected_to_rank_0(monkeypatch):
    monkeypatch.setattr(tree_places, "FAN_OUT", 1)  # so many nodes would be a tree
    ends = star(6)
    assert ends[0].connections == 5
    assert ends[0].open_listener is None, "a tree listens to the end"
    close(ends)


class Behind:
    """The connection to a node that is behind this one, as far as signs of life go."""

    lost = ""

    def __init__(self):
        self.signs = 0

    def put(self, frame):
        self.signs += 1

    def push(self):
        return True

    def lose(self, why):
        self.lost = why


def test_a_node_that_passes_nothing_on_gives_no_sign_of_life(monkeypatch):
    monkeypatch.setattr(tcp, "RELAY_HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(tcp, "HUNG_SECONDS", 0.3)
    end, behind = Control(2, 8), Behind()
    end._connections[5] = behind
    end._carried.add(5)
    threading.Thread(target=end._pulse, daemon=True).start()
    deadline, before = time.monotonic() + LIMIT, -1
    while behind.signs != before or not before:  # they come, and then no more
        assert time.monotonic() < deadline
        before = behind.signs
        time.sleep(0.5)
    list(end.receive())
    while behind.signs == before:  # until it looks again
        assert time.monotonic() < deadline
        time.sleep(0.01)
    end.close()


def test_every_rank_talks_to_rank_0_and_to_itself():
    ends = star(4)
    for rank, end in enumerate(ends):
        end.send(0, {"said": "hello", "from": rank})
    assert {rank: said["from"] for rank, said in hear(ends[0], 4)} == {0: 0, 1: 1, 2: 2, 3: 3}
    for rank in range(1, 4):
        ends[0].send(rank, {"do": "start", "for": rank})
        assert hear(ends[rank]) == [(0, {"do": "start", "for": rank})]
    assert all(end.flush(1.0) for end in ends)
    close(ends)


def test_a_message_of_megabytes_arrives_whole_and_send_does_not_wait_for_it():
    ends = star(2)
    text = "log line\n" * 1_000_000
    ends[1].send(0, {"said": "ended", "log": text})
    assert not ends[1].flush(0.01)  # more than the kernel holds: nobody has read yet
    pumping = in_background(lambda: ends[1].flush(LIMIT))
    assert hear(ends[0])[0][1]["log"] == text
    assert pumping()
    close(ends)


def test_rank_0_hears_which_rank_is_lost_and_what_it_had_sent_before():
    ends = star(3)
    ends[2].send(0, {"said": "bye"})
    ends[2].close()
    first, second = hear(ends[0], 2)
    assert first == (2, {"said": "bye"})
    assert second[0] == 2 and second[1]["said"] == "lost" and "closed" in second[1]["text"]
    ends[0].send(2, {"do": "quit"})  # goes nowhere, and breaks nothing
    ends[0].send(1, {"do": "start"})
    assert hear(ends[1]) == [(0, {"do": "start"})]
    assert list(ends[0].receive()) == []  # it is reported once
    close(ends[:2])


def test_the_other_ranks_quit_when_rank_0_is_gone_and_know_why():
    ends = star(2)
    ends[0].abandon(3)
    ((source, message),) = hear(ends[1])
    assert (source, message["do"]) == (0, "quit")
    assert "rank 0 is gone" in message["lost"]
    ends[1].send(0, {"said": "bye"})
    assert ends[1].flush(0.1)
    close(ends)


def test_a_peer_that_reads_nothing_is_lost_and_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(connection_module, "WAITING", 1 << 20)
    ends = star(2)
    for _ in range(100):
        ends[0].send(1, {"do": "start", "log": "x" * (1 << 20)})
    (told,) = hear(ends[0])
    assert told[0] == 1 and told[1]["said"] == "lost" and "read nothing" in told[1]["text"]
    close(ends)


# what a stranger can do while rank 0 listens; each gets the port and keeps its sockets


def garbage(port):
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4000), b"\0" * HELLO.size, b"\xff" * 60):
        yield called(port, data)


def half_a_hello(port):
    for cut in (1, 12, HELLO.size - 1):
        yield called(port, hello(b"n" * 32, 1, 3)[:cut])


def says_nothing(port):
    for _ in range(5):
        yield called(port, b"")


def hangs_up(port):
    for data in (b"", b"x", hello(b"n" * 32, 1, 3)):
        called(port, data).close()
    yield from ()


def wrong_proof(port):
    for rank in (1, 2):
        yield called(port, hello(b"n" * 32, rank, 3) + os.urandom(32))


def no_such_rank(port):
    for rank, size in ((0, 3), (3, 3), (2**32 - 1, 2**32 - 1), (1, 2**31)):
        yield called(port, hello(b"n" * 32, rank, size) + b"p" * 32)


def huge_length(port):
    yield called(port, hello(b"n" * 32, 1, 3) + LENGTH.pack(2**32 - 1) * 100)


def flood(port):
    # twice the waiting room, all from the address of the true ranks
    for _ in range(2 * rendezvous.WAITING_ROOM):
        yield called(port, b"")


def called(port, data):
    sock = socket.create_connection(("127.0.0.1", port), LIMIT)
    with contextlib.suppress(OSError):
        sock.sendall(data)
    return sock


def other_version(port):
    yield called(port, HELLO.pack(b"railgauge-5\n", b"n" * 32, 1, 3) + b"p" * 32)


STRANGERS = (
    other_version,
    garbage,
    half_a_hello,
    says_nothing,
    hangs_up,
    wrong_proof,
    no_such_rank,
    huge_length,
    flood,
)


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.__name__)
def test_a_stranger_neither_joins_nor_stops_nor_stalls_a_job(stranger):
    held = []
    begun = time.monotonic()
    ends = star(3, before=lambda port: held.extend(stranger(port)))
    # nobody had to wait for a stranger's time to be up
    assert time.monotonic() - begun < rendezvous.ANSWER_SECONDS + LIMIT / 2
    for rank in (1, 2):
        ends[rank].send(0, {"said": "hello"})
        assert hear(ends[0]) == [(rank, {"said": "hello"})]
    for sock in held:
        assert shut(sock), "a stranger was kept"
        sock.close()
    close(ends)


def shut(sock):
    """Whether the other end has closed; a greeting of 32 bytes may come before."""
    sock.settimeout(LIMIT)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(4096):
            got += part
    return len(got) <= 32


def test_nobody_listens_once_every_rank_is_connected():
    ports = []
    ends = star(2, before=ports.append)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), LIMIT)
    close(ends)


@pytest.mark.parametrize(
    ("token", "run"), [(b"another token of a stranger", RUN), (TOKEN, "another run")], ids=["token", "run"]
)
def test_a_rank_with_another_token_or_run_is_refused_and_named_on_both_sides(token, run):
    named, told = [], []
    listener = opened(named)
    host = in_background(lambda: listener.wait(RUN, 2, TOKEN, 1.5))
    with pytest.raises(NotMet, match="does not take our token"):
        dialer(listener.port, 1, 2, token, run, told).connect(0.5)
    with pytest.raises(
        NotMet, match=r"1 of 2 ranks did not reach rank 0 at 127.0.0.1.*rank 1.*does not know the token"
    ):
        host()
    assert len(named) == 1 and "127.0.0.1 called as rank 1" in named[0]
    assert len(told) == 1 and not any(TOKEN.decode() in text for text in told + named)


def test_rank_0_names_both_versions_where_a_rank_is_of_another_one_and_answers_with_its_own():
    said = []
    listener = opened(said)
    with called(listener.port, HELLO.pack(b"railgauge-5\n", b"n" * 32, 1, 3)) as sock:
        host = in_background(lambda: listener.wait(RUN, 3, TOKEN, 1.0))
        sock.settimeout(LIMIT)
        assert sock.recv(64) == MAGIC.ljust(32) and sock.recv(64) == b""
    with pytest.raises(
        NotMet, match=f"of version 5 and not {VERSION}: install the same RailGauge on every node"
    ):
        host()
    assert [text for text in said if "version" in text] == [
        f"127.0.0.1 called as a rank of version 5 and not {VERSION}: install the same RailGauge on every node"
    ]


def test_a_rank_names_both_versions_where_rank_0_is_of_another_one():
    said = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as sock:
                        sock.recv(HELLO.size)
                        sock.sendall(b"railgauge-7\n".ljust(32))

        threading.Thread(target=answer, daemon=True).start()
        why = f"rank 0 is of version 7 and not {VERSION}: install the same RailGauge on every node"
        with pytest.raises(NotMet, match=why):
            dialer(server.getsockname()[1], 1, 3, said=said).connect(1.0)
    assert len(said) == 1 and why in said[0]


def test_a_replayed_handshake_is_refused():
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 3, TOKEN, LIMIT))
    recorded = []
    proxy = socket.create_server(("127.0.0.1", 0))
    port = proxy.getsockname()[1]

    def relay():
        there, _ = proxy.accept()
        back = socket.create_connection(("127.0.0.1", listener.port))
        data = there.recv(4096)
        recorded.append(data)
        back.sendall(data)
        there.sendall(back.recv(4096))
        proof = there.recv(4096)
        recorded.append(proof)
        back.sendall(proof)
        there.sendall(back.recv(32))
        there.sendall(back.recv(4096))  # the place that rank 0 gives it
        return there, back

    relayed = in_background(relay)
    first = dialer(port, 1, 3).connect(LIMIT)
    kept = relayed()
    with called(listener.port, recorded[0] + recorded[1]) as stranger:
        assert shut(stranger)
    second = dialer(listener.port, 2, 3).connect(LIMIT)
    close([host(), first, second])
    proxy.close()
    for sock in kept:
        sock.close()


def test_a_false_rank_0_that_does_not_know_the_token_is_not_obeyed():
    false = socket.create_server(("127.0.0.1", 0))
    told = []

    def pretend():
        sock, _ = false.accept()
        sock.recv(4096)
        sock.sendall(b"n" * 32)
        sock.recv(4096)
        sock.sendall(os.urandom(32))
        return sock

    pretending = in_background(pretend)
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 2, TOKEN, LIMIT))
    # the false one has the first of the ports that are tried
    ports = (false.getsockname()[1], listener.port)
    rank = Dialer(("127.0.0.1",), ports, RUN, 1, 2, lambda: TOKEN, told.append)
    end = rank.connect(LIMIT)
    assert "does not know our token" in told[0]
    close([host(), end])
    pretending().close()
    false.close()


def test_a_rank_that_dials_twice_keeps_its_first_connection():
    said = []
    listener = opened(said)
    host = in_background(lambda: listener.wait(RUN, 3, TOKEN, LIMIT))
    first = dialer(listener.port, 1, 3).connect(LIMIT)
    with pytest.raises(NotMet, match="this rank is there already"):
        dialer(listener.port, 1, 3).connect(0.2)
    last = dialer(listener.port, 2, 3).connect(LIMIT)
    end = host()
    first.send(0, {"said": "it is me"})
    assert hear(end) == [(1, {"said": "it is me"})]
    assert "called twice" in said[0]
    close([end, first, last])


def test_a_rank_that_died_while_rank_0_listened_may_dial_again():
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 3, TOKEN, LIMIT))
    dialer(listener.port, 1, 3).connect(LIMIT).close()
    again = dialer(listener.port, 1, 3).connect(LIMIT)
    last = dialer(listener.port, 2, 3).connect(LIMIT)
    end = host()
    again.send(0, {"said": "back"})
    assert hear(end) == [(1, {"said": "back"})]
    close([end, again, last])


def test_a_rank_that_counts_another_size_ends_the_job_with_both_sizes():
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 4, TOKEN, LIMIT))
    with pytest.raises(NotMet):
        dialer(listener.port, 1, 8).connect(0.2)
    with pytest.raises(NotMet, match="counts 8 ranks, rank 0 counts 4"):
        host()


def test_ranks_that_do_not_dial_are_named():
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 4, TOKEN, 1.0))
    end = dialer(listener.port, 2, 4).connect(LIMIT)
    with pytest.raises(
        NotMet, match=r"2 of 4 ranks did not reach rank 0 at 127.0.0.1, port \d+, within 1 s: rank 1, 3"
    ):
        host()
    source, told = hear(end)[0]
    assert (source, told["do"], told["status"]) == (0, "quit", 3) and "rank 1, 3" in told["reason"]
    end.close()


NODES = ("n0", "n0", "n1", "n1", "n2", "n2")


@pytest.mark.parametrize(("hosts", "spare"), [(NODES, False), ((), True), (NODES[:4] * 2, True)])
def test_nodes_that_do_not_come_end_the_job_where_they_may_not_be_spared(hosts, spare):
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 6, TOKEN, 1.0, hosts[:6], spare))
    ends = [dialer(listener.port, rank, 6).connect(LIMIT) for rank in (2, 3)]
    with pytest.raises(NotMet, match="rank 1, 4, 5"):
        host()
    for end in ends:
        end.close()


def test_a_job_begins_without_the_node_of_the_launchers_list_that_never_came(monkeypatch):
    monkeypatch.setattr(rendezvous, "REMIND_SECONDS", 0.3)
    told = list[str]()
    listener = opened(told)
    host = in_background(lambda: listener.wait(RUN, 6, TOKEN, 1.0, NODES, True))
    ends = [dialer(listener.port, rank, 6).connect(LIMIT) for rank in (1, 2, 3, 4)]
    control = host()
    assert "waiting for rank 5 of n2, for 1 s at most" in told
    assert "1 of 6 ranks did not reach rank 0" in control.absent and "rank 5 of n2" in control.absent
    assert (control.size, control.peers) == (6, (1, 2, 3, 4))
    found = attendance(control, NODES)
    assert (found.here, found.early) == ((0, 1, 2, 3), (4,))
    assert found.absent == (Rank(4, "n2", 0), Rank(5, "n2", 1))
    (aside,) = found.set_aside(["n0", "n1"])
    assert (aside.node, aside.failed) == ("n2", False) and "n2 did not come: 1 of 6 ranks" in aside.reason
    with pytest.raises(CannotRun, match="a node called n2 is here"):
        found.set_aside(["n0", "n2"])
    control.close()
    for end in ends:
        end.close()


def test_the_next_port_is_used_where_the_first_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = Listener(sockets_at(["127.0.0.1"], [port, 0]), quiet)
        assert listener.port not in (port, 0)
        listener.close()
        with pytest.raises(NotMet, match=f"cannot listen on 127.0.0.1, port {port}"):
            sockets_at(["127.0.0.1"], [port])
        with pytest.raises(
            NotMet, match=r"in use; another job or user has them \(ss -ltnp\): end it, or do this$"
        ):
            sockets_at(["127.0.0.1"], [port], "do this")
    with pytest.raises(NotMet, match="cannot listen on 192.0.2.1"):
        sockets_at(["192.0.2.1"], [0])


def pair():
    """Two ends of one connection, and a raw socket into the first of them in place of the second."""
    ours, theirs = socket.socketpair()
    call = Handshake(RUN, 1, 2, b"c" * 32, b"h" * 32)
    return (
        Control(0, 2, {1: Connection(ours, call, TOKEN, host=True)}),
        theirs,
        Sealer(call.key(TOKEN, "frames to host")),
    )


def test_a_replayed_frame_closes_the_connection_and_is_not_delivered():
    end, wire, sealer = pair()
    frame = sealer.seal(of_1(b'{"said": "ended"}'))
    wire.sendall(frame + frame)
    first, second = hear(end, 2)
    assert first == (1, {"said": "ended"})
    assert second[1]["said"] == "lost" and "repeated" in second[1]["text"]
    wire.close()
    end.close()


@pytest.mark.parametrize(
    "payload",
    [b"{", b"\xff", b"[]", b"{}", b'{"said": 7}', b"[" * 100_000],
    ids=["cut", "no text", "a list", "empty", "a number", "deep"],
)
def test_a_rank_that_sends_an_invalid_message_is_lost_and_ends_no_other(payload):
    end, wire, sealer = pair()
    wire.sendall(sealer.seal(BEAT) + sealer.seal(of_1(payload)) + sealer.seal(BEAT))
    first, (source, told) = hear(end, 2)
    assert first == (1, {"said": "beat"})
    assert (source, told["said"]) == (1, "lost") and "an invalid message" in told["text"]
    assert list(end.receive()) == []
    wire.close()
    end.close()


def test_a_forged_length_closes_the_connection():
    end, wire, _ = pair()
    wire.sendall(LENGTH.pack(LONGEST + 1))
    ((_, told),) = hear(end)
    assert told["said"] == "lost" and "at most" in told["text"]
    wire.close()
    end.close()


def test_half_a_frame_is_waited_for_without_blocking():
    end, wire, sealer = pair()
    frame = sealer.seal(BEAT)
    for at in range(len(frame) - 1):
        wire.sendall(frame[at : at + 1])
        assert list(end.receive()) == []
    wire.sendall(frame[-1:])
    assert hear(end) == [(1, {"said": "beat"})]
    wire.close()
    end.close()


def test_a_caller_that_drips_bytes_is_disconnected_in_the_end(monkeypatch):
    monkeypatch.setattr(rendezvous, "ANSWER_SECONDS", 0.3)
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 2, TOKEN, LIMIT))
    with called(listener.port, b"r") as slow:
        # a byte now and then does not prolong its time
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < LIMIT:
                slow.sendall(b"a")
                slow.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not slow.recv(1):
                        break
        assert time.monotonic() - begun < LIMIT
    end = dialer(listener.port, 1, 2).connect(LIMIT)
    close([host(), end])


def test_a_proof_is_good_for_its_own_nonces_alone():
    # what a rank proves to a false rank 0 cannot be handed on to the true one: the nonces differ
    call = Handshake(RUN, 1, 3, b"c" * 32, b"a" * 32)
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 2, TOKEN, 0.8))
    with called(listener.port, hello(b"c" * 32, 1, 2) + call.key(TOKEN, DIALER)) as stranger:
        assert shut(stranger)
    with pytest.raises(NotMet):
        host()


def test_rank_0_listens_on_those_addresses_that_it_has_at_one_port():
    listener = Listener(sockets_at(["192.0.2.1", "127.0.0.1", "127.0.0.2"], [0] * 8), quiet)
    assert listener.addresses == ("127.0.0.1", "127.0.0.2")
    for address in listener.addresses:
        socket.create_connection((address, listener.port), LIMIT).close()
    listener.close()


def test_a_rank_tries_every_address_in_turn():
    listener = opened()
    host = in_background(lambda: listener.wait(RUN, 2, TOKEN, LIMIT))
    rank = Dialer(("127.0.0.9", "127.0.0.1"), (listener.port,), RUN, 1, 2, lambda: TOKEN, quiet)
    close([rank.connect(LIMIT), host()])


FILES = """
import resource, sys, threading
soft, hard, size = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from bench.supervise.control.rendezvous import Dialer, Listener, NotMet, sockets_at
listener = Listener(sockets_at(["127.0.0.1"], [0]), print)
def call(rank):
    at = ("127.0.0.1",), (listener.port,), "r", rank, size, lambda: b"t" * 32, lambda text: None
    kept.append(Dialer(*at).connect(20))
kept = []
threads = [threading.Thread(target=call, args=(rank,), daemon=True) for rank in range(1, size)]
for thread in threads:
    thread.start()
try:
    print(len(listener.wait("r", size, b"t" * 32, 20)._connections))
except NotMet as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    # how many files it needs depends on how many of the callers, which share its process, have a socket by then
    [
        (64, 1024, r"99\n"),
        (64, 100, r"rank 0 may have 100 files open and needs [12]\d\d, of which 99 for the other ranks: "),
    ],
    ids=["raised", "named"],
)
def test_the_limit_of_open_files_is_raised_or_named(soft, hard, said):
    words = [sys.executable, "-c", FILES, str(soft), str(hard), "100"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90)
    assert re.match(said, done.stdout), done
