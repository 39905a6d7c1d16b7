"""Which star a place gets, and where rank 0 listens."""

import socket
import threading
from collections import deque

import pytest

from bench.launch import LaunchContext, Rendezvous
from bench.supervise.control import connect as connecting
from bench.supervise.control import rendezvous
from bench.supervise.control.connect import candidates, choose, connect, listening
from bench.supervise.control.rendezvous import NotMet
from bench.supervise.control.sealed_frames import DIALER, HELLO, Handshake, parse_hello
from bench.supervise.control.token import VARIABLE, NoToken, derived_key, take

LO = {"lo": ("127.0.0.1/8", "::1/128")}
NODE = {
    **LO,
    "eth0": ("10.0.0.5/24",),
    "eth1": ("10.1.0.5/24",),
    "docker0": ("172.17.0.1/16",),
}
RAILS = ("eth1", "eth2")


@pytest.mark.parametrize(
    ("told", "own", "management", "addresses"),
    [
        # the address that the others were told, also on a rail: they know no other
        (["10.0.0.5"], NODE, "eth0", ("10.0.0.5",)),
        (["10.1.0.5"], NODE, "eth0", ("10.1.0.5",)),
        # a name that is the loopback here and something else elsewhere
        (["127.0.1.1"], NODE, "eth0", ("127.0.1.1", "10.0.0.5")),
        (["127.0.1.1", "10.0.0.5"], NODE, "", ("10.0.0.5",)),
        (
            ["127.0.0.1"],
            {**LO, "a": ("10.0.0.5/24",), "b": ("10.2.0.5/24",)},
            "",
            ("127.0.0.1", "10.0.0.5", "10.2.0.5"),
        ),
        # translated on the way: no address of ours
        (["203.0.113.7"], NODE, "", ("10.0.0.5",)),
        (["203.0.113.7"], NODE, "eth9", ("10.0.0.5",)),
        # nothing but rails and inward networks
        (["203.0.113.7"], {**LO, "eth1": ("10.1.0.5/24",), "docker0": ("172.17.0.1/16",)}, "", ()),
        (["203.0.113.7"], {**LO, "eth0": ("fe80::1/64",)}, "", ()),
        (["fd00::5"], {**LO, "eth0": ("10.0.0.5/24", "fd00::5/64")}, "", ("fd00::5",)),
    ],
)
def test_rank_0_listens_where_the_others_dial_and_on_a_rail_only_there(told, own, management, addresses):
    assert choose(told, own, management, RAILS) == addresses


def test_ranks_of_one_machine_meet_on_the_loopback():
    assert listening(Rendezvous("node1", (29501,), "r", local=True), "eth0", ()) == ("127.0.0.1",)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_two_launchers_that_meet_on_the_loopback_open_no_door_outwards(host, monkeypatch):
    monkeypatch.setattr(connecting, "_own_addresses", lambda: NODE)
    found = listening(Rendezvous(host, (29501,), "r", local=False), "eth0", ())
    assert "127.0.0.1" in found and set(found) <= {"127.0.0.1", "::1"}


def test_a_job_of_one_rank_needs_no_connection():
    assert connect(LaunchContext()).size == 1
    assert connect(LaunchContext("torchrun", 0, 1)).size == 1


def test_ranks_on_several_machines_need_a_token(monkeypatch):
    monkeypatch.delenv("RAILGAUGE_TOKEN", raising=False)
    monkeypatch.delenv("RAILGAUGE_TOKEN_FILE", raising=False)
    where = LaunchContext("torchrun", 0, 4, False, Rendezvous("node1", (29501,), "r", local=False))
    with pytest.raises(NoToken, match="RAILGAUGE_TOKEN.*openssl rand.*--token-file"):
        connect(where, limit=0.1)


def test_a_stranger_in_the_place_of_rank_0_pays_for_every_guess_at_the_token():
    false = socket.create_server(("127.0.0.1", 0))
    recorded = []

    def record():
        sock, _ = false.accept()
        with sock:
            recorded.append(sock.recv(HELLO.size, socket.MSG_WAITALL))
            sock.sendall(b"n" * 32)
            recorded.append(sock.recv(32, socket.MSG_WAITALL))

    listening = threading.Thread(target=record)
    listening.start()
    where = LaunchContext(
        "torchrun", 1, 2, False, Rendezvous("127.0.0.1", (false.getsockname()[1],), "r", local=True)
    )
    word = "correct-horse-battery-staple"
    with pytest.raises(NotMet):
        connect(where, limit=0.1, source=take({VARIABLE: word}))
    listening.join(10)
    false.close()
    nonce, rank, size = parse_hello(recorded[0])
    handshake = Handshake("r", rank, size, nonce, b"n" * 32)
    assert not handshake.proves(word.encode(), DIALER, recorded[1])
    assert handshake.proves(derived_key(word.encode()), DIALER, recorded[1])


def test_rank_0_of_an_mpi_job_on_one_machine_listens_on_the_loopback():
    assert candidates([socket.gethostname()] * 4, "eth0", RAILS) == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("own", "management", "addresses"),
    [
        (NODE, "", ("10.0.0.5", "10.1.0.5")),
        (NODE, "eth0", ("10.0.0.5", "10.1.0.5")),
        (
            {"a": ("10.9.0.5/24",), "eth1": ("10.1.0.5/24",), "eth0": ("10.0.0.5/24",)},
            "eth0",
            ("10.0.0.5", "10.9.0.5", "10.1.0.5"),
        ),
        ({**LO, "eth1": ("10.1.0.5/24",)}, "eth0", ("10.1.0.5",)),
    ],
)
def test_addresses_of_an_mpi_job_are_tried_in_order_management_first_rails_last(
    monkeypatch, own, management, addresses
):
    monkeypatch.setattr(connecting, "addresses", lambda: own)
    assert candidates(["n0", "n1"], management, RAILS) == addresses


def test_rank_0_of_an_mpi_job_that_has_no_outward_address_says_so(monkeypatch):
    monkeypatch.setattr(connecting, "addresses", lambda: {**LO, "docker0": ("172.17.0.1/16",)})
    with pytest.raises(NotMet, match="no address at which the other nodes could reach it"):
        candidates(["n0", "n1"], "", ())


class Paper:
    """One rank's end of an MPI job of paper, whose ranks are threads."""

    def __init__(self, rank, shared):
        self.rank, self.size, self._shared = rank, len(shared.hosts), shared
        self.finished, self.aborted = False, []

    def gather(self, value):
        self._shared.hosts[self.rank] = value
        self._shared.barrier.wait(10)
        return self._shared.hosts if self.rank == 0 else None

    def scatter(self, values):
        if self.rank == 0:
            self._shared.sent.extend(values)
        self._shared.barrier.wait(10)
        return self._shared.sent[self.rank]

    def finish(self):
        self.finished = True

    def abort(self, status):
        self.aborted.append(status)


gathered = Paper.gather


class Shared:
    def __init__(self, size):
        self.hosts, self.sent, self.barrier = [None] * size, deque(), threading.Barrier(size)


def met(size, addresses):
    """(job, star or the error) of every rank."""
    shared = Shared(size)
    ends = [(Paper(rank, shared), []) for rank in range(size)]

    def meet(job, found):
        try:
            found.append(connecting._under_mpi(job, addresses, (29_600, 29_699)))
        except (NotMet, threading.BrokenBarrierError) as error:
            shared.barrier.abort()
            found.append(error)

    threads = [threading.Thread(target=meet, args=end) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [(job, found[0]) for job, found in ends], shared


def test_mpi_hands_out_the_address_and_the_secret_and_carries_nothing_else(capfd):
    ends, shared = met(3, lambda hosts: ("127.0.0.1",))
    stars = [star for _, star in ends]
    stars[2].send(0, {"said": "hello"})
    assert stars[2].flush(5.0)
    heard = []
    while not heard:
        heard = list(stars[0].receive())
    assert heard == [(2, {"said": "hello"})]
    assert {each.first for each in shared.sent} == {0}
    sent = shared.sent[1]
    assert sent.secret not in repr(sent).encode() and sent.secret.hex() not in repr(sent)
    for star in stars:
        star.close()
    assert all(job.finished and not job.aborted for job, _ in ends)
    assert capfd.readouterr() == ("", "")


def test_mpi_tells_each_rank_the_first_one_of_its_node_by_host_machine_and_network(monkeypatch):
    nodes = [
        ("n0", "boot", "net:1"),
        ("n0", "boot", "net:1"),
        ("n0", "boot", "net:2"),
        ("n0", "reboot", "net:1"),
    ]
    monkeypatch.setattr(Paper, "gather", lambda self, _: gathered(self, nodes[self.rank]))
    ends, shared = met(4, lambda hosts: ("127.0.0.1",))
    assert [each.first for each in shared.sent] == [0, 0, 2, 3]
    for _, control in ends:
        control.close()


def unreachable(*_):
    raise OSError(113, "No route to host")


def test_an_mpi_job_whose_nodes_cannot_reach_each_other_is_aborted_with_one_line(monkeypatch, capfd):
    monkeypatch.setattr(connecting, "MPI_SECONDS", 0.5)
    monkeypatch.setattr(connecting, "LATER_SECONDS", 0.5)
    monkeypatch.setattr(rendezvous, "_dial", unreachable)
    ends, _ = met(2, lambda hosts: ("127.0.0.1", "127.0.0.2"))
    assert ends[0][0].aborted == [3] and not ends[0][0].finished
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "ranks did not reach" in line]
    assert "1 of 2 ranks did not reach rank 0 at 127.0.0.1 or 127.0.0.2, port " in line
    assert "rank 1" in line and "management" in line


def test_an_mpi_job_that_has_no_address_is_aborted_with_one_line(capfd):
    def nowhere(hosts):
        raise NotMet("rank 0 has no address")

    ends, _ = met(2, nowhere)
    assert ends[0][0].aborted == [3]
    assert capfd.readouterr().err == "railgauge: rank 0 has no address\n"


def test_an_mpi_job_of_one_rank_ends_with_mpi():
    ((job, star),), shared = met(1, lambda hosts: ())
    star.abandon(3)
    assert job.aborted == [3] and not shared.sent
