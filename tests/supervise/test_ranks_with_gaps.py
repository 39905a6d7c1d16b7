"""Ranks keep their numbers when a node is set aside; the workers of those who are left count without gaps."""

from __future__ import annotations

from dataclasses import replace

import runs
from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model.groups import group_of
from bench.model.measurement import Case, Mismatch
from bench.model.typed_json import encode, load
from bench.store import Phase, Recorder
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.limits import Limits
from bench.supervise.messages import measurement_of
from bench.supervise.supervisor import Supervisor
from tests.told import Told

GROUPS = ((0, 6), (1, 7))
CASE = Case("rails/1", "rails", "p2p", 1024, 1024, GROUPS)


class Recorded(Control):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[int, dict] = {}

    def send(self, to, message):
        self.sent[to] = message


def coordinator(tmp_path, recorder) -> Coordinator:
    control = Recorded()
    supervisor = Supervisor(control, lambda what: {}, {})
    chief = Coordinator(control, supervisor, recorder, Limits(), Told())
    chief.ranks = runs.ranks(4, 2)
    chief.order = WorkOrder("", (), 0, 8, 0, "gloo", "127.0.0.1", 1.0, TimingRules(), 1)
    chief.interfaces = {"n3": {"GLOO_SOCKET_IFNAME": "ens3"}}
    chief.go_on_without(["n1", "n2"])
    supervisor.stop_now()
    return chief


def test_workers_are_numbered_without_gaps_and_get_the_interface_of_their_node(tmp_path):
    with Recorder(tmp_path / "run") as recorder:
        chief = coordinator(tmp_path, recorder)
        chief._start_workers(Phase("rails", "", (CASE,)), [CASE], {})
    orders = {to: message["order"] for to, message in chief.control.sent.items() if message["do"] == "start"}
    assert {to: (order["rank"], order["size"]) for to, order in orders.items()} == {
        0: (0, 4),
        1: (1, 4),
        6: (2, 4),
        7: (3, 4),
    }
    read = {to: load(WorkOrder, order) for to, order in orders.items()}
    assert [read[to].placed(group_of(read[to].cases[0].groups, to)) for to in (6, 7)] == [(0, 2), (1, 3)]
    assert chief.control.sent[7]["environment"] == {"GLOO_SOCKET_IFNAME": "ens3"}
    assert chief.control.sent[0]["environment"] == {}
    assert chief.control.sent[2] == {"do": "stop"}


def test_what_they_measured_is_recorded_with_the_numbers_of_the_run(tmp_path):
    with Recorder(tmp_path / "run") as recorder:
        chief = coordinator(tmp_path, recorder)
        row = replace(runs.measured(CASE)[0], ranks=(1, 3), mismatches=(Mismatch(3, 0, 0, 1.0, 2.0),))
        found, plain = measurement_of(encode(row), 7, chief.ranks, {CASE.id: (0, CASE)})
    assert not plain and found.ranks == (1, 7) and found.mismatches[0].rank == 7


def test_a_resumed_run_calls_its_ranks_by_their_old_numbers():
    control = Control(0, 3)
    control.renumber((2, 3, 7))
    assert (control.rank, control.peers) == (2, (3, 7))
    control.send(0, {"said": "hello"})  # the supervisor beside the coordinator knows it as rank 0
    control.send(2, {"said": "bye"})
    assert [source for source, _ in control.receive()] == [2, 2]
