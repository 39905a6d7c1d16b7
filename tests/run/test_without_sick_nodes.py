"""One sick node costs itself: it is set aside with its reason, and the others are measured in the same run folder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

import made_nodes
import runs
from bench import __version__
from bench.judge.expected_plan import expected_phases
from bench.judge.verdicts import judge
from bench.model.facts import Interface, Node
from bench.model.verdict import Status
from bench.plan import Memory
from bench.run import without_sick_nodes
from bench.run.live_run import LiveRun
from bench.run.meeting_address import Meeting, NoAddress
from bench.run.options import Options
from bench.run.planning import make_plan
from bench.run.resume import RemainingPhase
from bench.store import LOGS, Loss, Manifest, Recorder, SetAside, load, write_file
from bench.store.set_aside import without_set_aside
from bench.supervise.hangs.culprits import Culprits
from bench.supervise.limits import Lost, Stopped
from test_transfers import MADE
from tests.told import Told

WHERE = runs.ranks(4, 2)
LEFT = (0, 1, 2, 3, 6, 7)  # without n2
GONE = Lost("n2 (ranks 4-5): its supervisor is gone: Connection timed out", "n2 (ranks 4-5)", ("n2",))


class Chief:
    """A coordinator of paper, which measures at once; ``trouble``: phase -> what breaks it, once."""

    def __init__(self, recorder: Recorder, trouble: dict[str, Lost]) -> None:
        self.recorder, self.ranks, self.trouble = recorder, WHERE, trouble
        self.order = SimpleNamespace(backend="gloo")
        self.phase, self.begun = "", list[str]()
        self.slowest_join = 0.0
        self.second: Lost | Stopped | None = None

    def ask(self, question, ranks, limit):
        return {rank: made_nodes.counted(made_nodes.node()) for rank in ranks}

    def go_on_without(self, nodes):
        self.ranks = tuple(rank for rank in self.ranks if rank.node not in nodes)
        if self.second:
            lost, self.second = self.second, None
            raise lost

    def run(self, phase):
        self.phase = phase.name
        self.begun.append(phase.name)
        for number, case in enumerate(phase.cases):
            if number == 0 and phase.name in self.trouble:
                continue
            if number and phase.name in self.trouble:
                lost = self.trouble.pop(phase.name)
                # a hang before, for which the run gave the case up
                self.recorder.loss(Loss(phase.cases[0].id, "no progress", lost.culprits, False, lost.nodes))
                self.recorder.loss(Loss(case.id, str(lost), lost.culprits, True, lost.nodes))
                raise lost
            for row in runs.measured(case):
                self.recorder.measurement(row)


def roomy(node):
    return replace(node, host=replace(node.host, memory_available=1 << 40))


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """A whole acceptance of four nodes over a coordinator of paper; the run as it lies in its folder."""
    meetings: list[NoAddress] = []

    def prepare(live, backend):
        live.meeting = Meeting("10.0.0.1")
        if meetings:
            raise meetings.pop()

    monkeypatch.setattr(without_sick_nodes, "prepare", prepare)

    def measured(trouble=None, no_address=None, failed=(), trial=(), second=None, **more):
        meetings[:] = [no_address] if no_address else []
        trials = [list(trial)]
        monkeypatch.setattr(without_sick_nodes, "sick_nodes", lambda live: trials.pop() if trials else [])
        profile = MADE
        options = Options(profile, tmp_path / "run", ("railgauge", "accept"), **more)
        machines = tuple(roomy(made_nodes.node(number)) for number in range(4))
        plan = make_plan(options, WHERE, "gloo", Memory(1 << 40, "n0"), machines)
        told = Told()
        found = [runs_verdict(subject) for subject in failed]
        monkeypatch.setattr(without_sick_nodes, "preflight", lambda *_: found)
        with Recorder(tmp_path / "run") as recorder:
            made = Manifest("run", 0.0, options.command, profile.name, profile.text, "none", "gloo", WHERE)
            recorder.manifest(replace(made, versions={"railgauge": __version__}))
            recorder.plan(plan)
            recorder.facts(machines)
            write_file(tmp_path / "run", f"{LOGS}/collectives.0.log", b"of the first try")
            chief = Chief(recorder, trouble or {})
            chief.second = second
            live = LiveRun(chief, options, told, plan, machines)
            without_sick_nodes.measure(
                live, "gloo", [RemainingPhase(phase) for phase in plan.phases], resumed=False
            )
            recorder.end()
        return load(tmp_path / "run"), told.said, profile

    return measured


def runs_verdict(subject):
    from bench.model.verdict import Verdict

    return Verdict("rails.state", subject, Status.FAIL, "state is down")


def test_a_node_that_dies_in_mid_run_is_set_aside_and_the_others_are_measured_whole(measure):
    run, said, profile = measure({"collectives": GONE})
    (aside,) = run.manifest.set_aside
    assert (aside.node, aside.phase, aside.failed) == ("n2", "collectives", False)
    assert "Connection timed out" in aside.reason
    assert run.manifest.nodes == ("n0", "n1", "n3") and len(run.whole.manifest.ranks) == 8
    assert "the run goes on with 3 of 4 nodes" in said
    by_check = {verdict.check: verdict for verdict in judge(run, profile).verdicts}
    assert by_check["coverage.nodes"].status is Status.INCONCLUSIVE
    assert "3 of 4 nodes were measured" in by_check["coverage.nodes"].message
    assert by_check["coverage.plan"].status is Status.PASS
    assert "coverage.losses" not in by_check  # measured again by those who are left
    cases = [each for each in judge(run, profile).verdicts if each.check == "coverage.cases"]
    assert cases and {each.status for each in cases} == {Status.PASS}


def test_a_second_node_that_dies_while_the_first_is_set_aside_is_set_aside_too(measure):
    second = Lost("n1 (rank 2): its supervisor is gone", "n1 (rank 2)", ("n1",))
    run, said, _ = measure({"collectives": GONE}, second=second)
    assert [each.node for each in run.manifest.set_aside] == ["n2", "n1"]
    assert {rank for row in run.measurements for rank in row.ranks} == {0, 1, 6, 7}
    assert said[-1] == "the run goes on with 2 of 4 nodes"


def test_a_job_that_its_launcher_ends_while_a_node_is_set_aside_can_go_on(measure, tmp_path):
    with pytest.raises(Stopped):
        measure({"collectives": GONE}, second=Stopped("told to end by SIGTERM"))
    run = load(tmp_path / "run")
    assert run.manifest.set_aside == () and {phase.name for phase in expected_phases(run)} <= {
        phase.name for phase in run.plan.phases
    }


def test_messages_between_two_ranks_that_were_measured_before_are_not_measured_again(measure):
    run, _, _ = measure({"collectives": GONE})
    pairs = [row for row in run.measurements if row.case.startswith("rails/")]
    assert pairs and all(set(row.ranks) <= set(LEFT) for row in run.measurements)
    whole = [
        row for row in run.whole.measurements if row.case.startswith("rails/") and set(row.ranks) <= set(LEFT)
    ]
    assert len(pairs) == len(whole)
    (phase,) = [phase for phase in expected_phases(run) if phase.name == "rails"]
    assert {group for case in phase.cases for group in case.groups} == {row.ranks for row in pairs}


def test_logs_of_a_phase_that_is_measured_again_are_put_away(measure, tmp_path):
    measure({"collectives": GONE})
    logs = {path.name for path in (tmp_path / "run" / LOGS).iterdir()}
    assert "collectives.0.before" in logs and "collectives.0.log" not in logs


def test_a_node_that_fails_before_measuring_is_set_aside_with_what_failed(measure):
    run, _, _ = measure(failed=("n2 eth1",))
    (aside,) = run.manifest.set_aside
    assert (aside.node, aside.reason, aside.phase) == ("n2", "n2 eth1: state is down", "")
    assert {rank for row in run.measurements for rank in row.ranks} == set(LEFT)


@pytest.mark.parametrize(
    ("failed", "more"),
    [
        (("all nodes",), {}),
        (("n0", "n1", "n2"), {}),
        (("n2 eth1",), {"strict": True}),
    ],
    ids=["a finding on all", "too few are left", "strict"],
)
def test_what_concerns_all_stops_before_measuring(measure, failed, more):
    run, said, _ = measure(failed=failed, **more)
    assert not run.measurements and not run.manifest.set_aside
    assert said[0].startswith("stopped before measuring: ")


def test_a_node_that_reaches_no_address_is_faulty_and_set_aside(measure):
    why = "it does not reach 10.0.0.1 of n0: no answer within 1 s"
    run, _, profile = measure(no_address=NoAddress("no address", {"n2": why}))
    (aside,) = run.manifest.set_aside
    assert (aside.node, aside.failed, aside.reason) == ("n2", True, why)
    verdicts = [each for each in judge(run, profile).verdicts if each.check == "coverage.nodes"]
    assert [each.status for each in verdicts] == [Status.FAIL]


@pytest.mark.parametrize(("nodes", "more"), [(("n2",), {"strict": True}), ((), {}), (("n1", "n2", "n3"), {})])
def test_a_run_ends_where_the_others_cannot_go_on(measure, nodes, more):
    with pytest.raises(Lost):
        measure({"collectives": Lost("gone", "", nodes)}, **more)


def test_a_node_that_others_do_not_reach_is_set_aside_with_the_rail_before_anything_is_measured(measure):
    found = SetAside("n2", "n2 eth1", "eth1: 10.0.1.12 is not reached from n0", True)
    run, _, profile = measure(trial=[found])
    assert run.manifest.set_aside == (found,)
    (verdict,) = [each for each in judge(run, profile).verdicts if each.check == "coverage.nodes"]
    assert (verdict.subject, verdict.status) == ("n2 eth1", Status.FAIL)


def test_pairs_are_tried_when_a_join_fails_and_not_when_a_measurement_does(monkeypatch):
    found = SetAside("n2", "n2 eth1", "eth1: 10.0.1.12 is not reached from n0", True)
    monkeypatch.setattr(without_sick_nodes, "sick_nodes", lambda live: [found])
    live = LiveRun(SimpleNamespace(ranks=WHERE), Options(MADE, None, ()), Told(), None)  # type: ignore[arg-type]
    why = Culprits("n0 (rank 0) did not join", "n0 (rank 0)")
    lost = without_sick_nodes._sick(live, why, False, 1)
    assert lost is not None and lost.nodes == ("n2",)
    assert without_sick_nodes._sick(live, why, True, 1) is None
    live.options = replace(live.options, strict=True)
    assert without_sick_nodes._sick(live, why, False, 1) is None


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        ("n2 eth1", ["n2"]),
        ("all nodes", []),
        ("rails n2 eth1", []),
        ("n1 eth1 and n2 eth1", ["n2"]),
        ("n0 GPU 3 and n1 GPU 3", ["n0", "n1"]),
    ],
)
def test_of_two_nodes_with_one_address_the_odd_one_is_meant(subject, meant):
    def machine(name, *addresses):
        faces = (Interface(f"eth{at}", addresses=(each,)) for at, each in enumerate(addresses))
        return Node(name, interfaces=tuple(faces))

    nodes = (
        machine("n0", "10.0.0.10/24", "10.0.1.10/24"),
        machine("n1", "10.0.0.11/24", "10.0.1.11/24", "10.0.2.11/24"),
        machine("n2", "10.0.0.12/24", "10.0.1.11/24", "10.0.2.12/24"),
    )
    live = LiveRun(SimpleNamespace(ranks=WHERE), Options(MADE, None, ()), Told(), None, nodes)  # type: ignore[arg-type]
    assert without_sick_nodes._named_nodes(runs_verdict(subject), live) == meant


def test_a_node_that_breaks_a_phase_twice_in_a_row_is_sick():
    chief = SimpleNamespace(ranks=WHERE)
    live = LiveRun(chief, Options(MADE, None, ()), Told(), None)  # type: ignore[arg-type]
    why = Culprits("n2 (rank 4): its worker was killed", "n2 (rank 4)")
    assert without_sick_nodes._sick(live, why, True, 1) is None
    found = without_sick_nodes._sick(live, why, True, 2)
    assert found is not None and found.nodes == ("n2",)
    assert without_sick_nodes._sick(live, Culprits("nobody knows", ""), True, 2) is None


def test_what_most_nodes_have_is_not_a_fault_of_theirs(monkeypatch):
    found = [runs_verdict(f"n{number}") for number in range(4)]
    monkeypatch.setattr(without_sick_nodes, "preflight", lambda *_: found)
    recorder = SimpleNamespace(path=None, note=lambda *_: None)
    chief = SimpleNamespace(ranks=runs.ranks(6, 1), recorder=recorder)
    live = LiveRun(chief, Options(MADE, None, ()), Told(), None)  # type: ignore[arg-type]
    assert without_sick_nodes._by_facts(live, ()) is None
    found[:] = found[:3]
    assert [each.node for each in without_sick_nodes._by_facts(live, ()) or ()] == ["n0", "n1", "n2"]


def test_of_a_node_that_never_came_one_line_is_said(measure):
    run, _, profile = measure(trial=[SetAside("n2", "n2", "n2 did not come")])
    known = tuple(node for node in run.whole.facts if node.name != "n2")
    absent = without_set_aside(replace(run.whole, facts=known))
    named = [
        verdict.check
        for verdict in judge(absent, profile).verdicts
        if verdict.status in (Status.FAIL, Status.INCONCLUSIVE) and "n2" in verdict.subject
    ]
    assert named == ["coverage.nodes"]
    alone = replace(run.whole, facts=known, manifest=replace(run.whole.manifest, set_aside=()))
    assert "host.facts" in {
        v.check for v in judge(alone, profile).verdicts if v.status is Status.INCONCLUSIVE
    }
