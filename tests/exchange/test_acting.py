"""railgauge act: who is drained, with which words, how many at most, and how it is taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.exchange.acting import kubernetes, slurm
from bench.exchange.acting.drain_commands import (
    CannotAct,
    allowed,
    checked,
    perform,
    require_known,
    to_undo,
    undo,
)
from bench.exchange.acting.events import health_events, nagios
from bench.judge.action_of_check import action_of
from bench.judge.actions import NodeAction, node_actions
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.measurement import Rank
from bench.model.profile import load
from bench.model.verdict import Action, Status, Verdict
from bench.store import Run, RunError
from bench.store.recorder import save_verdicts
from bench.store.sums import ACTIONS, changes, record_sums
from made_acceptance import acceptance_run
from runs import folder

SENTENCE = "n1 rail mlx5_4/1 runs at 49 % of its peers' rate"
FAULTY = NodeAction("n1", True, Action.RESEAT_CABLE, "blame.rails", SENTENCE)
SUSPECT = NodeAction("n2", False, Action.RESEAT_CABLE, "limits.rail_rate", "n2 n3: slow")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return acceptance_run(tmp_path_factory.mktemp("run"))


def failed(run: Run, *verdicts: Verdict) -> Run:
    return replace(run, verdicts=tuple(replace(each, action=action_of(each)) for each in verdicts))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_failed_check_has_an_action(name: str) -> None:
    assert action_of(Verdict(name, "n1", Status.FAIL, "is bad")) is not Action.NONE


def test_what_is_inconclusive_is_measured_again_and_what_passed_is_left() -> None:
    assert action_of(Verdict("rails.state", "n1", Status.INCONCLUSIVE, "?")) is Action.RE_MEASURE
    assert action_of(Verdict("rails.state", "n1", Status.PASS, "up")) is Action.NONE


def test_every_verdict_of_a_judged_run_says_its_action_also_in_its_file(healthy: Run, tmp_path: Path) -> None:
    known = load("lambda-1cc-h100")
    bad = Verdict("rails.state", "n0 mlx5_4/1", Status.FAIL, "is DOWN")
    judged = Evidence(healthy, known).judged(
        (bad, replace(bad, status=Status.INCONCLUSIVE), replace(bad, status=Status.PASS))
    )
    save_verdicts(tmp_path, judged.verdicts, known.name)
    said = json.loads((tmp_path / "verdicts.json").read_text())["verdicts"]
    assert [each["action"] for each in said] == ["reseat-cable", "re-measure", "none"]


def test_a_faulty_node_is_drained_and_an_unclear_pair_suspected(healthy: Run) -> None:
    a, b = healthy.manifest.nodes[:2]
    alone = Verdict("rails.state", f"{a} mlx5_4/1", Status.FAIL, "is DOWN", next_step="reseat it")
    found = node_actions(failed(healthy, alone))
    assert [(each.node, each.drain, each.action) for each in found] == [(a, True, Action.RESEAT_CABLE)]
    assert found[0].reason == f"{a} mlx5_4/1: is DOWN"
    both = Verdict("nvlink.pairs", f"{a} {b}", Status.FAIL, "is slow")
    assert [each.drain for each in node_actions(failed(healthy, both))] == [False, False]


def test_nodes_with_the_same_fault_are_each_drained_however_many_they_are(healthy: Run) -> None:
    for nodes in (healthy.manifest.nodes[:2], [f"m{number}" for number in range(12)]):
        alike = [
            Verdict("host.acs", node, Status.FAIL, "ACS is on", next_step="switch it off") for node in nodes
        ]
        run = replace(
            healthy, manifest=replace(healthy.manifest, ranks=tuple(Rank(0, each, 0) for each in nodes))
        )
        found = node_actions(failed(run, *alike))
        assert [(each.node, each.drain) for each in found] == [(node, True) for node in nodes]
        assert found[1].reason == f"{nodes[1]}: ACS is on"


def test_of_several_nodes_in_one_verdict_none_is_known_to_be_faulty(healthy: Run) -> None:
    run = replace(
        healthy, manifest=replace(healthy.manifest, ranks=tuple(Rank(0, f"m{i}", 0) for i in range(3)))
    )
    same = Verdict("rails.guids", "m0 mlx5_4 and m1 mlx5_4 and m2 mlx5_4", Status.FAIL, "is on 3 nodes")
    assert [each.drain for each in node_actions(failed(run, same))] == [False] * 3


def test_what_is_inconclusive_or_of_the_whole_cluster_drains_nobody(healthy: Run) -> None:
    a = healthy.manifest.nodes[0]
    unknown = Verdict("rails.state", f"{a} mlx5_4/1", Status.INCONCLUSIVE, "could not be read")
    slow = Verdict("limits.busbw", "all_reduce, 8 GiB", Status.FAIL, "is slow")
    old = Verdict("limits.rail_rate", f"{a} mlx5_4/1", Status.FAIL, "is slow")
    assert node_actions(failed(healthy, unknown, slow, old)) == ()


def test_of_a_node_that_is_faulty_and_suspected_too_the_fault_counts_and_comes_first(healthy: Run) -> None:
    a, b = healthy.manifest.nodes[:2]
    both = Verdict("nvlink.pairs", f"{a} {b}", Status.FAIL, "is slow")
    alone = Verdict("rails.state", f"{b} mlx5_4/1", Status.FAIL, "is DOWN")
    for verdicts in ((both, alone), (alone, both)):
        found = node_actions(failed(healthy, *verdicts))
        assert [(each.node, each.drain) for each in found] == [(b, True), (a, False)]


@pytest.mark.parametrize(
    ("share", "nodes", "before", "room"),
    [(0.05, 100, 0, 5), (0.05, 100, 4, 1), (0.05, 100, 9, 0), (0.05, 4, 0, 1)],
)
def test_the_budget_stops_the_sixth_drain_of_a_hundred(
    share: float, nodes: int, before: int, room: int
) -> None:
    assert allowed(share, nodes, before) == room


@pytest.mark.parametrize("name", ["n[1-99]", "a,b", "-x", "", "n1;reboot", "ALL ", "ALL", "all"])
def test_a_name_that_means_more_than_one_node_is_refused(name: str) -> None:
    with pytest.raises(CannotAct, match="is not the name of one node"):
        checked([replace(FAULTY, node=name)])


class Scheduler:
    """Takes commands and answers by how they begin; the ``breaks``-th raises."""

    def __init__(self, breaks: int = 0, **answers: str) -> None:
        self.heard: list[tuple[str, ...]] = []
        self._breaks, self._answers = breaks, answers

    def __call__(self, words: Sequence[str]) -> str:
        self.heard.append(tuple(words))
        if len(self.heard) == self._breaks:
            raise CannotAct("scontrol update failed: no such node")
        if "hostnames" in words:
            return words[-1].replace(",", "\n")
        return next((text for name, text in self._answers.items() if name in words), "")


NODES = "n0|idle|none\nn1|idle|none\nn2|mixed|none\nn3|idle|none\nn5|idle|none\n"
IDLE = slurm.cluster(Scheduler(sinfo=NODES))
OTHER = replace(FAULTY, node="n5")


def slurm_of(*lines: str, reservation: str = "") -> slurm.SlurmNodes:
    return slurm.cluster(Scheduler(sinfo="\n".join(lines), reservation=reservation))


def test_slurm_is_told_the_sentence_and_how_to_take_it_back() -> None:
    drain, reserve = IDLE.steps([FAULTY, SUSPECT], "night")
    assert drain.commands == (
        ("scontrol", "update", "NodeName=n1", "State=DRAIN", f"Reason=railgauge: {SENTENCE}"),
    )
    assert drain.undo == (("scontrol", "update", "NodeName=n1", "State=RESUME"),)
    assert "Nodes=n2" in reserve.commands[0] and "Flags=MAINT,IGNORE_JOBS" in reserve.commands[0]
    assert reserve.undo == (("scontrol", "delete", "ReservationName=railgauge-night-n2"),)


def test_slurm_s_own_drains_are_not_counted_as_ours_and_are_left_alone() -> None:
    found = slurm_of("n0|idle|none", "n1|drained|railgauge: n1 is bad", "n2|draining|new fan", "n3|down|gone")
    assert found.nodes == {"n0", "n1", "n2", "n3"} and found.ours == {"n1"}
    reasons = {name: found.settled(replace(FAULTY, node=name)) for name in sorted(found.nodes)}
    assert reasons == {
        "n0": "",
        "n1": "is drained already",
        "n2": "was drained by another (new fan)",
        "n3": "",
    }


def test_what_the_gate_has_drained_counts_and_is_drained_again_so_that_the_gate_does_not_resume_it() -> None:
    found = slurm_of("n1|drained*|railgauge gate: FAIL: n1 eth1: state is down")
    assert found.ours == {"n1"} and found.settled(FAULTY) == ""
    assert found.settled(replace(SUSPECT, node="n1")) == "is drained already"


def test_reserved_suspects_count_and_are_not_reserved_twice() -> None:
    shown = (
        "ReservationName=new-fans StartTime=now Nodes=n5 NodeCnt=1\n"
        "ReservationName=railgauge-night-n2 StartTime=now Nodes=n2,n3 NodeCnt=2\n"
    )
    found = slurm_of("n2|maint|none", "n3|maint|none", "n5|maint|none", reservation=shown)
    assert found.ours == {"n2", "n3"}
    assert found.settled(SUSPECT) == "is reserved already"
    assert found.settled(replace(SUSPECT, drain=True)) == ""


def test_what_somebody_else_has_done_since_is_not_taken_back(tmp_path: Path) -> None:
    steps = IDLE.steps([FAULTY, OTHER, SUSPECT, replace(SUSPECT, node="n3")], "night")
    perform(steps, tmp_path, Scheduler())
    now = Scheduler(
        sinfo=f"n1|drained|new fan\nn5|drained|railgauge: {SENTENCE}\n",
        reservation="ReservationName=railgauge-night-n3 Nodes=n3 NodeCnt=1",
    )
    moot = slurm.moot(to_undo(tmp_path), now)
    assert {step.node for step in moot} == {"n1", "n2"}
    back = Scheduler()
    undo(tmp_path, to_undo(tmp_path), back, moot)
    assert [words[2] for words in back.heard] == ["ReservationName=railgauge-night-n3", "NodeName=n5"]
    assert to_undo(tmp_path) == ()


def test_a_drain_for_another_run_is_not_taken_back() -> None:
    """Somebody has resumed n1 meanwhile, and a later run has found another fault there."""
    (drain,) = IDLE.steps([FAULTY], "night")
    for reason, moot in ((SENTENCE, ()), ("n1 mlx5_7/1: link is down", (drain,))):
        assert slurm.moot((drain,), Scheduler(sinfo=f"n1|drained|railgauge: {reason}\n")) == moot


def test_a_taint_for_another_run_is_not_taken_back() -> None:
    (faulty,) = kube(n1={}).steps([FAULTY], "night")
    for name, moot in (("night", ()), ("morning", (faulty,))):
        node = {
            "metadata": {"name": "n1", "annotations": {"railgauge.io/run": name}},
            "spec": {"taints": [{"key": "railgauge.io/failed"}]},
        }
        assert kubernetes.moot((faulty,), Scheduler(get=json.dumps({"items": [node]}))) == moot


def test_nothing_is_done_where_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RunError("no space left")

    monkeypatch.setattr("bench.exchange.acting.drain_commands.write_file", full)
    there = Scheduler()
    with pytest.raises(RunError):
        perform(IDLE.steps([FAULTY], "night"), tmp_path, there)
    assert there.heard == []


def test_what_a_killed_act_has_done_can_be_taken_back(tmp_path: Path) -> None:
    def killed(_: object) -> str:
        assert [step.node for step in to_undo(tmp_path)] == [
            "n1"
        ]  # what whoever looks finds while it is done
        raise CannotAct("no such node")

    with pytest.raises(CannotAct):
        perform(IDLE.steps([FAULTY], "night"), tmp_path, killed)
    assert to_undo(tmp_path) == ()


def test_a_node_that_the_scheduler_does_not_know_is_named_before_anything_is_done() -> None:
    with pytest.raises(CannotAct, match="Slurm knows no node n9, only n0, n1, n2, n3 and 1 more"):
        require_known([FAULTY, replace(FAULTY, node="n9")], IDLE.nodes, "Slurm")
    require_known([FAULTY], IDLE.nodes, "Slurm")


def test_a_reason_is_no_longer_than_a_line_of_slurm_s() -> None:
    (drain,) = IDLE.steps([replace(FAULTY, reason="x" * 2000)], "night")
    assert len(drain.commands[0][-1]) == len("Reason=") + 900


def kube(**specs: dict[str, object]) -> kubernetes.KubernetesNodes:
    items = [{"metadata": {"name": name}, "spec": spec} for name, spec in specs.items()]
    return kubernetes.cluster(lambda _: json.dumps({"items": items}))


def test_another_s_taints_are_not_counted_as_ours() -> None:
    ours, theirs = [{"key": "railgauge.io/failed"}], [{"key": "nvidia.com/gpu"}]
    found = kube(n0={"taints": ours}, n1={"taints": theirs}, n2={"taints": [{"key": "railgauge.io/suspect"}]})
    assert found.nodes == {"n0", "n1", "n2"} and found.ours == {"n0", "n2"}
    assert found.settled(replace(FAULTY, node="n0")) == "is tainted already"
    assert [found.settled(each) for each in (FAULTY, SUSPECT)] == ["", "is tainted already"]
    assert found.settled(replace(FAULTY, node="n2")) == ""


def test_kubernetes_is_tainted_marked_and_cordoned() -> None:
    faulty, suspect = kube(n1={}, n2={}).steps([FAULTY, SUSPECT], "night")
    words = [" ".join(command) for command in faulty.commands]
    assert words[0].startswith("kubectl taint node n1 railgauge.io/failed=reseat-cable:NoSchedule")
    patch = json.loads(faulty.commands[2][-1].removeprefix("--patch="))
    assert patch["status"]["conditions"][0]["message"] == SENTENCE
    assert words[3] == "kubectl cordon n1"
    assert faulty.undo[0] == ("kubectl", "uncordon", "n1")
    assert "PreferNoSchedule" in " ".join(suspect.commands[0])


def test_a_cordon_of_somebody_else_s_is_not_taken_back() -> None:
    (faulty,) = kube(n1={"unschedulable": True}).steps([FAULTY], "night")
    words = [word for command in (*faulty.commands, *faulty.undo) for word in command]
    assert "cordon" not in words and "uncordon" not in words and words.count("taint") == 2


def test_a_taint_that_somebody_else_has_taken_away_is_not_taken_back_again() -> None:
    faulty, suspect, gone = kube(n1={}, n2={}, n3={}).steps(
        [FAULTY, SUSPECT, replace(FAULTY, node="n3")], "night"
    )
    drained = IDLE.steps([OTHER], "night")
    left = {"n1": [{"key": "railgauge.io/failed"}], "n2": [{"key": "railgauge.io/failed"}]}
    kept = {"railgauge.io/run": "night"}
    items = [
        {"metadata": {"name": name, "annotations": kept}, "spec": {"taints": taints}}
        for name, taints in left.items()
    ]
    now = Scheduler(get=json.dumps({"items": items}))
    assert kubernetes.moot((faulty, suspect, gone, *drained), now) == (suspect, gone)
    assert kubernetes.moot(drained, Scheduler(breaks=1)) == ()


def test_what_was_done_twice_is_taken_back_once(tmp_path: Path) -> None:
    for _ in range(2):
        perform(IDLE.steps([FAULTY], "night"), tmp_path, Scheduler())
    back = Scheduler()
    undo(tmp_path, to_undo(tmp_path), back)
    assert len(back.heard) == 1 and to_undo(tmp_path) == ()


def test_of_a_step_that_fails_in_its_middle_what_was_done_can_be_taken_back(tmp_path: Path) -> None:
    with pytest.raises(CannotAct):
        perform(kube(n1={}).steps([FAULTY], "night"), tmp_path, Scheduler(breaks=3))
    (step,) = to_undo(tmp_path)
    assert [words[1] for words in step.commands] == ["taint", "annotate"]
    assert [(words[1], words[-1]) for words in step.undo] == [
        ("annotate", "railgauge.io/run-"),
        ("taint", "railgauge.io/failed:NoSchedule-"),
    ]


def test_events_are_those_of_nvsentinel_s_schema() -> None:
    faulty, suspect = (json.loads(line) for line in health_events([FAULTY, SUSPECT], 0.0))
    assert faulty["nodeName"] == "n1" and faulty["isFatal"] and not faulty["isHealthy"]
    assert faulty["recommendedAction"] == "CONTACT_SUPPORT"
    assert faulty["generatedTimestamp"] == "1970-01-01T00:00:00Z"
    assert not suspect["isFatal"]


@pytest.mark.parametrize(
    ("status", "head", "code"),
    [(Status.PASS, "OK - ", 0), (Status.FAIL, "CRITICAL - ", 2), (Status.INCONCLUSIVE, "UNKNOWN - ", 3)],
)
def test_nagios_hears_one_line_and_a_status(status: Status, head: str, code: int) -> None:
    line, found = nagios(status, "a | b", [FAULTY])
    assert (line.startswith(head), found) == (True, code)
    assert line.endswith("| faulty=1;;1;0 suspected=0;1;;0") and line.count("|") == 1


def test_what_was_done_is_kept_and_taken_back_last_first(tmp_path: Path) -> None:
    steps = IDLE.steps([FAULTY, OTHER], "night")
    there, back = Scheduler(), Scheduler()
    perform(steps, tmp_path, there)
    assert len(there.heard) == 2
    undo(tmp_path, to_undo(tmp_path), back)
    assert [words[2] for words in back.heard] == ["NodeName=n5", "NodeName=n1"]
    assert to_undo(tmp_path) == ()


def test_one_node_s_steps_are_taken_back_alone(tmp_path: Path) -> None:
    perform(IDLE.steps([FAULTY, OTHER], "night"), tmp_path, Scheduler())
    undo(tmp_path, to_undo(tmp_path, "n1"), Scheduler())
    assert [step.node for step in to_undo(tmp_path)] == ["n5"]


def test_what_two_schedulers_were_told_is_kept_side_by_side(tmp_path: Path) -> None:
    for cluster in (IDLE, kube(n1={})):
        perform(cluster.steps([FAULTY], "night"), tmp_path, Scheduler())
    back = Scheduler()
    undo(tmp_path, to_undo(tmp_path), back)
    assert [words[0] for words in back.heard] == ["kubectl"] * 4 + ["scontrol"]


def test_of_an_undo_that_fails_the_rest_can_be_taken_back(tmp_path: Path) -> None:
    perform(IDLE.steps([FAULTY, OTHER], "night"), tmp_path, Scheduler())
    with pytest.raises(CannotAct, match="no such node"):
        undo(tmp_path, to_undo(tmp_path), Scheduler(breaks=2))
    assert [step.node for step in to_undo(tmp_path)] == ["n1"]


def test_of_steps_of_which_one_fails_those_before_it_are_kept(tmp_path: Path) -> None:
    steps = IDLE.steps([FAULTY, OTHER], "night")
    with pytest.raises(CannotAct, match="no such node"):
        perform(steps, tmp_path, Scheduler(breaks=2))
    assert [step.node for step in to_undo(tmp_path)] == ["n1"]


def test_commands_that_somebody_else_wrote_are_not_run_to_take_them_back(tmp_path: Path) -> None:
    """Manifest and plan of a folder that went to a vendor and came back are still the user's own."""
    (step,) = IDLE.steps([FAULTY], "night")
    perform([step], tmp_path, Scheduler())
    path = tmp_path / ACTIONS
    written = json.loads(path.read_text())
    for seal in (written["seal"], "", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        path.write_text(
            json.dumps({**written, "seal": seal, "steps": [{**written["steps"][0], "undo": [["sh"]]}]})
        )
        heard = Scheduler()
        with pytest.raises(RunError, match="was changed, or written by another account; move it away"):
            undo(tmp_path, to_undo(tmp_path), heard)
        with pytest.raises(
            RunError, match="was changed, or written by another account"
        ):  # nor sealed with what is new
            perform([step], tmp_path, heard)
        assert not heard.heard


def test_the_seal_of_what_was_done_holds_for_its_run_alone(tmp_path: Path) -> None:
    one, other = (folder(tmp_path / name) for name in ("one", "other"))
    perform(IDLE.steps([FAULTY], "night"), one, Scheduler())
    (other / ACTIONS).write_bytes((one / ACTIONS).read_bytes())
    with pytest.raises(RunError, match="was changed, or written by another account"):
        to_undo(other)


def test_what_was_done_is_no_evidence(tmp_path: Path) -> None:
    made = folder(tmp_path / "run")
    record_sums(made)
    perform(IDLE.steps([FAULTY], "night"), made, Scheduler())
    assert changes(made) == []


def test_the_command_wants_one_scheduler_and_a_folder_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(cli, ["act", str(tmp_path)])
    assert done.exit_code == 2 and "choose one of: --slurm" in done.output
    made = folder(tmp_path / "run")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    done = CliRunner().invoke(cli, ["act", str(made), "--slurm"])
    assert done.exit_code == 2 and "may not be your own" in done.output
