"""The phase as the coordinator runs it: two supervisors, an ib_write_bw of paper, a real run folder."""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from dataclasses import replace

import pytest

import made_nodes
from bench.measure.perftest import processes
from bench.measure.perftest.outcome import outcome
from bench.measure.perftest.results import of_lines
from bench.measure.perftest.schedule import ROUND, seconds
from bench.model import typed_json
from bench.model.measurement import Rank
from bench.model.profile import Verbs, load
from bench.run import perftest_phase
from bench.run.live_run import LiveRun
from bench.run.meeting_address import Meeting
from bench.run.options import Options
from bench.store import Manifest, Plan, Recorder
from bench.store import load as load_run
from bench.supervise.coordinator import Coordinator
from bench.supervise.limits import Limits
from bench.supervise.supervisor import Supervisor
from tests.told import Told

LAMBDA = load("lambda-1cc-h100")
TWO = replace(LAMBDA, rails=replace(LAMBDA.rails, count=2))


class Star:
    """Two supervisors in one process: what is sent to the second is handled at once, and it is looked after."""

    def __init__(self) -> None:
        self.rank, self.size, self.peers = 0, 2, (1,)
        self.arrived: deque[tuple[int, dict]] = deque()
        self.second = Supervisor(Ray(self), answer, {})

    def send(self, to, message):
        message = json.loads(json.dumps(message))  # as MPI carries it
        if to:
            self.second.handle(message)
        else:
            self.arrived.append((0, message))

    def receive(self):
        self.second.poll()
        while self.arrived:
            yield self.arrived.popleft()

    def flush(self, limit):
        return True


class Ray:
    def __init__(self, star):
        self.rank, self.size, self._star = 1, 2, star

    def send(self, to, message):
        self._star.arrived.append((1, json.loads(json.dumps(message))))

    def receive(self):
        return iter(())

    def flush(self, limit):
        return True


def answer(what):
    assert what == "counters"
    return typed_json.to_json(made_nodes.counted(made_nodes.node()))


def nodes(*names, second=None):
    """Two nodes with these devices as their only ports."""
    hcas = (names, second or names)
    return tuple(
        replace(
            made_nodes.node(at), ports=tuple(replace(made_nodes.port(1, at), hca=name) for name in hcas[at])
        )
        for at in range(2)
    )


@pytest.fixture
def measure(tmp_path, perftest, monkeypatch):
    """Run the phase on nodes; the run as it lies in its folder."""
    ends = []

    def measured(machines, profile=TWO, display=None, until=None):
        star = Star()
        first = Supervisor(star, answer, {})
        ends.extend((first, star.second))
        with Recorder(tmp_path / "run") as recorder:
            ranks = tuple(Rank(number, node.name, 0) for number, node in enumerate(machines))
            recorder.manifest(Manifest("run", 0.0, (), profile.name, profile.text, "none", "gloo", ranks))
            recorder.plan(Plan(()))
            recorder.facts(machines)
            chief = Coordinator(star, first, recorder, Limits(), Told(), ranks=ranks)
            options = Options(profile, tmp_path / "run", ())
            meeting = Meeting("127.0.0.1", addresses={node.name: "127.0.0.1" for node in machines})
            live = LiveRun(chief, options, display or Told(), Plan(()), meeting=meeting)
            perftest_phase.measure(live, until)
        return load_run(tmp_path / "run")

    yield measured
    for each in ends:
        each.stop_now()


def test_every_rail_is_measured_each_way_with_counters_around(measure):
    run = measure(nodes("mlx5_1", "mlx5_2"))
    record = of_lines(run.perftest)
    assert record.able == ("n0", "n1")
    assert [(t.sender.node, t.sender.hca, t.again) for t in record.transfers] == [
        ("n0", "mlx5_1", False),
        ("n0", "mlx5_2", False),
        ("n1", "mlx5_1", False),
        ("n1", "mlx5_2", False),
    ]
    assert {round(outcome(t).rate / 1e9, 1) for t in record.transfers} == {49.3}
    assert [(row.phase, row.when) for row in run.counters] == [("verbs", "before"), ("verbs", "after")]
    assert [mark.state for mark in run.phases] == ["begin", "end"]


def test_what_is_slow_is_measured_a_second_time(measure, monkeypatch):
    monkeypatch.setenv("RAILGAUGE_FAKE_SLOW", "1")
    record = of_lines(measure(nodes("mlx5_1")).perftest)
    assert [t.again for t in record.transfers] == [False, True, False, True]


def test_latencies_are_measured_once_over_each_pair_of_ports(measure):
    record = of_lines(measure(nodes("mlx5_1", "mlx5_2")).perftest)
    assert [(t.sender.node, t.sender.hca, t.again) for t in record.latencies] == [
        ("n0", "mlx5_1", False),
        ("n0", "mlx5_2", False),
    ]
    assert [outcome(t).latency for t in record.latencies] == [pytest.approx(1.96e-6)] * 2
    assert record.latencies[0].client.words[:7] == ("ib_write_lat", "-d", "mlx5_1", "-i", "1", "-F", "-s")


def test_latencies_that_are_too_long_are_measured_a_second_time(measure, monkeypatch):
    monkeypatch.setenv("RAILGAUGE_FAKE_LATENCY", "10.01")  # the profile: 10
    record = of_lines(measure(nodes("mlx5_1")).perftest)
    assert [t.again for t in record.latencies] == [False, True]
    assert [t.again for t in record.transfers] == [False, False]


def test_without_ib_write_lat_the_bandwidth_is_measured_alone(measure, perftest, monkeypatch):
    perftest.with_name("ib_write_lat").unlink()
    perftest.with_name("timeout").symlink_to(str(shutil.which("timeout")))
    monkeypatch.setenv("PATH", str(perftest.parent))  # not the one that this machine may have
    record = of_lines(measure(nodes("mlx5_1")).perftest)
    assert [tool.latency for tool in record.tools] == [False, False]
    assert (len(record.transfers), record.latencies) == (2, ())


def test_one_rail_that_cannot_start_does_not_keep_the_others(measure):
    record = of_lines(measure(nodes("mlx5_1", "down")).perftest)
    good = [t for t in record.transfers if t.sender.hca == "mlx5_1"]
    bad = [t for t in record.transfers if t.sender.hca == "down"]
    assert all(outcome(t).cause is None for t in good)
    assert {t.client for t in bad} == {None}
    assert "the port is Down" in outcome(bad[0]).cause.line


def test_memory_that_cannot_be_registered_is_named_on_its_own_side(measure):
    record = of_lines(measure(nodes("mlx5_1", second=("memlock",))).perftest)
    causes = {outcome(t).cause.line for t in record.transfers}
    assert causes == {"n1 memlock/1: memory could not be registered"}


def test_without_perftest_nothing_is_begun(measure, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    run = measure(nodes("mlx5_1"))
    record = of_lines(run.perftest)
    assert [tool.missing for tool in record.tools] == ["ib_write_bw is not installed"] * 2
    assert (record.transfers, run.phases, run.counters) == ((), (), ())


@pytest.mark.parametrize(
    ("profile", "why"),
    [(replace(TWO, verbs=Verbs("off")), "turns it off"), (load("local"), "no rails")],
)
def test_what_does_not_apply_is_recorded_with_its_reason(measure, profile, why):
    assert why in of_lines(measure(nodes("mlx5_1"), profile).perftest).left


def test_a_dead_path_costs_its_deadline_and_no_more(measure, monkeypatch):
    monkeypatch.setattr(processes, "RUN_SECONDS", 0.5)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.2)
    record = of_lines(measure(nodes("dead")).perftest)
    assert {outcome(t).cause.text for t in record.transfers} == {
        "no answer before its deadline: nothing came through"
    }


def test_the_time_of_the_phase_does_not_grow_with_the_nodes():
    assert seconds(1) == 0.0
    assert seconds(2) < seconds(64) == seconds(8) < 120


def test_no_time_left_is_a_reason(measure):
    told = Told()
    run = measure(nodes("mlx5_1"), display=told, until=0.0)
    assert of_lines(run.perftest).left == "no time was left in the budget"
    (text,) = told.said
    assert "verbs was not begun" in text and "0 ns of the budget are left" in text
    assert run.given_up == (text,)


def test_of_a_perftest_that_is_not_there_no_budget_is_spoken(measure, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = Told()
    run = measure(nodes("mlx5_1"), display=told, until=0.0)
    assert (told.said, of_lines(run.perftest).left, of_lines(run.perftest).able) == ([], "", ())


def test_a_round_that_may_last_too_long_is_not_begun_and_that_is_told(measure, monkeypatch):
    monkeypatch.setattr(perftest_phase, "seconds", lambda nodes: 0.0)
    run = measure(nodes("mlx5_1"), until=time.monotonic() + ROUND / 2)
    assert of_lines(run.perftest).transfers == ()
    (note,) = run.notes
    assert (
        "verbs ended after 0 of 1 rounds" in note
        and '"given_up":true' in (run.path / "journal.jsonl").read_text()
    )
    assert run.given_up == (note,)
