"""More nodes than rank 0 has places: real processes and sockets, and a node in the middle that dies or is stopped."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.supervise.control import resumable_stream, tcp, tree_places
from bench.supervise.control.rendezvous import Dialer, NotMet
from bench.supervise.control.resumable_stream import ResumableStream
from bench.supervise.control.token import derived_key
from rank_of_a_tree import PER_NODE, TOKEN, joined

LIMIT = 60.0
JOBS = itertools.count()


class Tree:
    """Nodes of two ranks, each a process; rank 0 is this one. What it hears is kept by rank."""

    def __init__(self, nodes: int, fan_out: int) -> None:
        self.size = nodes * PER_NODE
        self.rows = {rank: [] for rank in range(1, self.size)}
        self.answers = {rank: [] for rank in range(1, self.size)}
        self.lost, self.bye, self.orders, self.most = {}, {}, 0, 0
        self.run = f"tree {next(JOBS)} of {os.getpid()}"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        words = str(self.size), str(self.port), self.run, str(fan_out), str(resumable_stream.SILENCE_SECONDS)
        script = str(Path(__file__).with_name("rank_of_a_tree.py"))
        self.ranks = subprocess.Popen([sys.executable, script, *words], stdout=subprocess.PIPE, text=True)
        self.control = joined(0, self.size, self.port, self.run)
        assert self.ranks.stdout
        self.pids = [0, *map(int, self.ranks.stdout.readline().split())]

    def look(self, until) -> None:
        """Be rank 0, and give each rank an order at each look, until something is true."""
        deadline = time.monotonic() + LIMIT
        while not until():
            assert time.monotonic() < deadline, f"lost: {self.lost}; rows: {self.rows}"
            for source, message in list(self.control.receive()):
                self.take(source, message)
            self.most = max(self.most, len(self.connected))
            time.sleep(0.01)

    def order(self) -> None:
        for rank in self.alive:
            self.control.send(rank, {"do": "answer", "number": self.orders})
        self.orders += 1

    def take(self, source, message) -> None:
        said = message["said"]
        if said == "row":
            self.rows[source].append(int(message["row"]))
        elif said == "answer":
            self.answers[source].append(message["number"])
        elif said == "bye":
            self.bye[source] = message["rows"]
        elif said == "lost" and source not in self.bye:
            self.lost[source] = message

    @property
    def alive(self):
        return [rank for rank in self.rows if rank not in self.lost]

    @property
    def connected(self):
        """The ranks that are connected to rank 0 itself."""
        routes = self.control._connections.items()
        return [
            rank
            for rank, route in routes
            if not isinstance(route, ResumableStream) or (not route.middle and route.carrier)
        ]

    def middle(self, rank: int) -> int:
        route = self.control._connections[rank]
        return route.middle if isinstance(route, ResumableStream) else 0

    def behind(self, rank: int) -> list[int]:
        return [each for each in range(PER_NODE, self.size, PER_NODE) if self.middle(each) == rank]

    def usable(self, rank: int) -> bool:
        return self.control._connections[rank].open

    @property
    def chain(self) -> list[int]:
        """The first ranks of the nodes, each behind the one before it."""
        found = [next(rank for rank in self.connected if rank >= PER_NODE)]
        while behind := self.behind(found[-1]):
            found += behind
        return found

    def secret(self) -> bytes:
        return derived_key(TOKEN.encode())

    def work(self, seconds: float) -> None:
        """Have all count and answer for so long."""
        for rank in self.alive:
            self.control.send(rank, {"do": "count"})
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.order()
            now = time.monotonic()
            self.look(lambda now=now: time.monotonic() - now > 0.02)

    def signal(self, node: int, number: int) -> None:
        for rank in range(node * PER_NODE, (node + 1) * PER_NODE):
            os.kill(self.pids[rank], number)

    def dismiss(self) -> None:
        """Every rank that lives has said all that it had to say, once and in order, and did every order once."""
        last = self.orders
        self.look(lambda: all(len(self.answers[rank]) >= last for rank in self.alive))
        for rank in self.alive:
            self.control.send(rank, {"do": "quit"})
        self.look(lambda: all(rank in self.bye for rank in self.alive))
        for rank in self.alive:
            assert self.rows[rank] == list(range(self.bye[rank])), f"rows of rank {rank}"
            assert self.answers[rank] == list(range(last)), f"orders of rank {rank}"

    def close(self) -> None:
        self.control.close()
        self.ranks.kill()
        self.ranks.communicate()


@pytest.fixture
def tree(monkeypatch):
    made = []
    monkeypatch.setattr(resumable_stream, "SILENCE_SECONDS", 2.0)

    def make(nodes: int, fan_out: int) -> Tree:
        monkeypatch.setattr(tree_places, "FAN_OUT", fan_out)
        made.append(Tree(nodes, fan_out))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_nodes_that_have_no_place_at_rank_0_are_behind_others(tree):
    job = tree(6, 1)
    chain = job.chain
    assert len(job.connected) == 2 and len(chain) == 5
    idle = time.monotonic() + 2 * resumable_stream.SILENCE_SECONDS
    job.look(lambda: time.monotonic() > idle)
    assert job.chain == chain  # nobody left a node that has nothing to say
    job.work(1.0)
    job.dismiss()
    assert not job.lost and job.most == 2


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_node_in_the_middle_that_dies_is_lost_alone(tree, at):
    job = tree(6, 1)
    job.work(0.5)
    dead = job.chain[at]
    behind = job.chain[at + 1]
    job.signal(dead // PER_NODE, signal.SIGKILL)
    job.look(lambda: len(job.lost) == PER_NODE and job.usable(behind))
    job.work(1.0)
    job.dismiss()
    assert sorted(job.lost) == [dead, dead + 1]
    assert job.lost[dead + 1]["how"] == tcp.FOLLOWED and job.most <= 3


def test_several_nodes_in_the_middle_that_die_at_once_are_lost_alone(tree):
    job = tree(8, 2)
    job.work(0.5)
    dead = [rank for rank in job.connected if rank >= PER_NODE and job.behind(rank)]
    for rank in dead:
        job.signal(rank // PER_NODE, signal.SIGKILL)
    job.work(1.0)
    job.look(lambda: len(job.lost) == PER_NODE * len(dead))
    job.dismiss()
    assert dead and sorted(job.lost) == sorted(each + own for each in dead for own in range(PER_NODE))


@pytest.mark.parametrize("goes_on", [True, False])
def test_who_is_behind_a_node_that_is_stopped_leaves_it(tree, goes_on):
    job = tree(5, 1)
    if not goes_on:  # with messages on the way; else nothing is, and TCP notices nothing
        job.work(0.5)
    still, behind = job.chain[1], job.chain[2]
    job.signal(still // PER_NODE, signal.SIGSTOP)
    job.look(lambda: job.control.excuse(behind) > 0.5)
    assert job.middle(behind) == still
    job.look(lambda: job.middle(behind) != still and job.usable(behind))
    assert job.control.excuse(behind) < 1.0 and not job.lost
    job.signal(still // PER_NODE, signal.SIGCONT if goes_on else signal.SIGKILL)
    job.work(1.0)
    job.look(lambda: goes_on or len(job.lost) == PER_NODE)
    job.dismiss()
    assert sorted(job.lost) == ([] if goes_on else [still, still + 1]), job.lost


def test_who_is_behind_a_node_that_is_set_aside_leaves_it_first(tree):
    job = tree(5, 1)
    job.work(0.5)
    aside, behind = job.chain[1], job.chain[2]
    job.control.leave([aside, aside + 1])
    job.look(lambda: job.middle(behind) != aside and job.usable(behind))
    job.work(0.5)
    job.signal(aside // PER_NODE, signal.SIGKILL)
    job.look(lambda: len(job.lost) == PER_NODE)
    job.work(0.5)
    job.dismiss()
    assert sorted(job.lost) == [aside, aside + 1]


def test_a_rank_behind_a_node_that_dies_is_lost_at_once_and_alone(tree):
    job = tree(5, 1)
    job.work(0.5)
    dead = job.chain[-1]
    job.signal(dead // PER_NODE, signal.SIGKILL)
    begun = time.monotonic()
    job.look(lambda: len(job.lost) == PER_NODE)
    assert (
        time.monotonic() - begun < resumable_stream.RETURN_SECONDS
    )  # not only because it does not come again
    job.dismiss()
    assert sorted(job.lost) == [dead, dead + 1]


def test_a_node_that_does_not_come_again_is_lost(tree, monkeypatch):
    monkeypatch.setattr(resumable_stream, "RETURN_SECONDS", 1.0)
    monkeypatch.setattr(tcp, "RETURN_SECONDS", 1.0)
    job = tree(5, 1)
    still, gone = job.chain[1], job.chain[2]
    job.signal(gone // PER_NODE, signal.SIGSTOP)
    job.signal(still // PER_NODE, signal.SIGKILL)
    job.look(lambda: gone in job.lost)
    assert "did not come again" in job.lost[gone]["text"]
    assert {still, still + 1, gone, gone + 1} >= set(job.lost)


@pytest.mark.parametrize("at", [1, 2])
def test_a_node_that_is_busy_as_the_one_before_it_dies_is_kept(tree, monkeypatch, at):
    for module in (resumable_stream, tcp):
        monkeypatch.setattr(module, "RETURN_SECONDS", 8.0)
    job = tree(5, 1)
    job.work(0.5)
    dead, busy = job.chain[at - 1], job.chain[at]
    job.control.send(busy, {"do": "probe", "seconds": 12.0})
    time.sleep(0.3)
    job.signal(dead // PER_NODE, signal.SIGKILL)
    job.look(lambda: job.middle(busy) != dead and job.usable(busy))
    job.look(lambda: len(job.lost) == PER_NODE)
    job.work(0.5)
    job.dismiss()
    assert sorted(job.lost) == [dead, dead + 1]


def test_a_node_that_is_busy_leaves_one_that_is_stopped_meanwhile(tree):
    job = tree(5, 1)
    still, busy = job.chain[1], job.chain[2]
    job.control.send(busy, {"do": "probe", "seconds": 2 * LIMIT})  # so that it cannot leave after that
    idle = time.monotonic() + 2 * resumable_stream.SILENCE_SECONDS
    job.look(lambda: time.monotonic() > idle)
    assert job.middle(busy) == still  # which is alive, although nobody reads what it says
    job.signal(still // PER_NODE, signal.SIGSTOP)
    job.look(lambda: job.middle(busy) != still)
    assert not job.lost


def test_a_node_that_dies_busy_after_it_was_connected_again_is_lost_in_time(tree, monkeypatch):
    assert resumable_stream.BUSY_SECONDS > LIMIT  # else this would show nothing
    for module in (resumable_stream, tcp):
        monkeypatch.setattr(module, "RETURN_SECONDS", 8.0)
    job = tree(5, 1)
    gone, busy = job.chain[1], job.chain[2]
    job.control.send(busy, {"do": "probe", "seconds": 60.0})
    time.sleep(0.3)
    job.signal(gone // PER_NODE, signal.SIGKILL)
    job.look(lambda: job.control._connections[busy].patience > resumable_stream.RETURN_SECONDS)
    job.signal(busy // PER_NODE, signal.SIGKILL)
    job.look(lambda: busy in job.lost)


def test_a_rank_that_cannot_reach_its_place_is_kept_by_rank_0(tree, monkeypatch):
    listens = tree_places.Places.listens
    monkeypatch.setattr(tree_places.Places, "listens", lambda self, rank, port: listens(self, rank, 9))
    job = tree(4, 1)
    assert sorted(job.connected) == [1, 2, 4, 6]
    job.work(0.2)
    job.dismiss()


def test_all_end_when_rank_0_is_gone(tree):
    job = tree(5, 1)
    job.control.abandon(3)
    assert job.ranks.wait(LIMIT) == 0


def test_whoever_knows_the_token_cannot_take_the_place_of_a_rank(tree):
    job = tree(4, 1)
    taken = job.chain[-1]
    dialer = Dialer(("127.0.0.1",), (job.port,), job.run, taken, job.size, job.secret, lambda text: None)
    refused = []

    def call() -> None:
        try:
            dialer.connect(0.5)
        except NotMet as error:
            refused.append(str(error))

    calling = threading.Thread(target=call)
    calling.start()
    job.look(lambda: not calling.is_alive())
    assert "does not take our token" in refused[0]
    job.work(0.2)
    job.dismiss()
    assert not job.lost
