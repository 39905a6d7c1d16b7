"""The gate of one node: facts, error counters between two gates, the history, and a limit that holds."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mpi_jobs
from bench.judge.errors_since_gate import since_gate
from bench.judge.findings import Finding
from bench.launch.hosts import HostEntry, read_hosts
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.profile import Profile, Rails
from bench.model.verdict import Status, Verdict
from bench.plan.phase_names import GIVEN_UP
from bench.run import gate as subject
from bench.run.gate import GateAnswer, GateOptions, gate
from bench.run.time_limit import Failed, TookTooLong, within
from bench.store import Run, RunError
from bench.store.history import RecordedRun, Sample, append, create
from bench.store.history.nights import Series
from made_acceptance import acceptance_run
from made_nodes import LAMBDA, counted, grow, node, with_port
from runs import LOCAL

HOUR = 3600.0


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A gate of a machine with these facts and counters; the state lies in ``tmp_path``."""

    def at(machine: Node, counters: Snapshot, **changes: Any) -> GateAnswer:
        host = replace(machine.host, clock=time.time())  # the gate asks the machine itself, now
        monkeypatch.setattr(subject, "probe", lambda: replace(machine, host=host))
        monkeypatch.setattr(subject, "snapshot", lambda: counters)
        options = GateOptions("lambda-1cc-h100", LAMBDA, state=tmp_path / "gate.json")
        return gate(replace(options, **changes))

    return at


def test_a_healthy_node_passes_and_says_what_passed(look: Any) -> None:
    answer = look(node(1), counted(node(1)))
    assert answer.status is Status.PASS
    assert answer.sentence.startswith("8 GPUs, 9 RDMA ports, ")
    assert answer.problems == ()


def test_a_rail_that_is_down_is_the_reason(look: Any) -> None:
    sick = with_port(node(1), "mlx5_4", state="DOWN", phys_state="Polling")
    answer = look(sick, counted(sick))
    assert answer.status is Status.FAIL
    assert "n1 mlx5_4/1" in answer.sentence and "DOWN" in answer.sentence


def test_an_error_between_two_gates_stays_until_it_is_forgotten(look: Any) -> None:
    first, sick = counted(node(1)), node(1)
    after = grow(first, "mlx5_3/1", "counters", HOUR, link_downed=1)
    assert look(sick, first).status is Status.PASS
    for _ in range(2):
        answer = look(sick, after)
        assert answer.status is Status.FAIL
        assert answer.sentence.startswith("n1 mlx5_3/1: 1 error more in link_downed in the 60 min 0 s since")
        assert "railgauge gate --forget" in answer.problems[0]
    assert look(sick, after, forget=True).status is Status.PASS
    assert look(sick, after).status is Status.PASS


# NVIDIA NVSentinel, NIC health monitor, default counter thresholds; the last is RailGauge's own, one a second
IN_AN_HOUR = {
    "link_downed": 0,
    "excessive_buffer_overrun_errors": 0,
    "local_link_integrity_errors": 0,
    "rnr_nak_retry_err": 0,
    "symbol_error": 120,
    "link_error_recovery": 300,
    "port_rcv_errors": 36_000,
    "port_rcv_remote_physical_errors": 36_000,
    "local_ack_timeout_err": 3600,
    "port_xmit_discards": 360_000,
    "port_rcv_constraint_errors": 3600,
}


@pytest.mark.parametrize(("name", "allowed"), IN_AN_HOUR.items())
def test_errors_of_a_healthy_port_pass_and_more_fail(look: Any, name: str, allowed: int) -> None:
    first = counted(node(1))
    group = "hw_counters" if name in ("local_ack_timeout_err", "rnr_nak_retry_err") else "counters"
    first = grow(first, "mlx5_3/1", group, **{name: 0})
    look(node(1), first)
    assert look(node(1), grow(first, "mlx5_3/1", group, HOUR, **{name: allowed})).status is Status.PASS
    look(node(1), first, forget=True)
    answer = look(node(1), grow(first, "mlx5_3/1", group, HOUR, **{name: allowed + 1}))
    assert answer.status is Status.FAIL and name in answer.sentence


def test_a_counter_that_was_cleared_has_counted_what_it_shows(look: Any) -> None:
    before = grow(counted(node(1)), "mlx5_3/1", "counters", link_downed=9)
    look(node(1), before)
    after = grow(before, "mlx5_3/1", "counters", HOUR, link_downed=-7)
    answer = look(node(1), after)
    assert answer.status is Status.FAIL and "2 errors more in link_downed" in answer.sentence


def test_a_counter_at_its_maximum_is_inconclusive(look: Any) -> None:
    full = grow(counted(node(1)), "mlx5_3/1", "counters", symbol_error=65535)
    look(node(1), counted(node(1)))
    look(node(1), full, forget=True)
    answer = look(node(1), replace(full, monotonic=full.monotonic + HOUR))
    assert answer.status is Status.INCONCLUSIVE
    assert "symbol_error stands at its maximum, 65535" in answer.sentence


def test_counters_of_an_earlier_boot_are_not_compared(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worn = grow(counted(node(1)), "mlx5_3/1", "counters", link_downed=5)
    look(node(1), counted(node(1)))
    monkeypatch.setattr(subject, "machine", lambda _: "another boot")
    assert look(node(1), worn).status is Status.PASS


def test_a_damaged_state_is_inconclusive_and_hides_no_fault(look: Any, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text('{"node": 7}')
    answer = look(node(1), counted(node(1)))
    assert answer.status is Status.INCONCLUSIVE and "gate.json is damaged" in answer.sentence
    sick = with_port(node(1), "mlx5_4", state="DOWN", phys_state="Polling")
    assert look(sick, counted(sick)).status is Status.FAIL
    assert (tmp_path / "gate.json").read_text() == '{"node": 7}'


def test_a_state_of_another_format_is_not_read_as_todays_and_is_kept(look: Any, tmp_path: Path) -> None:
    look(node(1), counted(node(1)))
    newer = (tmp_path / "gate.json").read_text().replace('"format":1', '"format":2')
    (tmp_path / "gate.json").write_text(newer)
    answer = look(node(1), counted(node(1)))
    assert answer.status is Status.INCONCLUSIVE
    assert "gate.json has format 2, this RailGauge reads 1" in answer.sentence
    assert '"format":2' in newer and (tmp_path / "gate.json").read_text() == newer


def test_a_history_that_cannot_be_read_is_inconclusive_and_hides_no_fault(look: Any, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    answer = look(node(1), counted(node(1)), history=nowhere)
    assert answer.status is Status.INCONCLUSIVE and f"{nowhere}: no such folder" in answer.sentence
    sick = with_port(node(1), "mlx5_4", state="DOWN", phys_state="Polling")
    assert look(sick, counted(sick), history=nowhere).status is Status.FAIL


def recorded(history: Path, *clusters: str) -> str:
    """A history in which this node failed in its last night, in each of these clusters."""
    create(str(history))
    for cluster in clusters:
        sample = Sample(Series(cluster, "p2p", "1 MiB", "busbw", "n1 mlx5_4/1"), 1e9, status=Status.FAIL)
        append(str(history), RecordedRun("night", time.time() - HOUR, cluster, (), (sample,)))
    return str(history)


@pytest.mark.parametrize("name", ["n1", "lambda-1cc-h100", "site", "what Slurm calls it"])
def test_the_nights_are_found_under_the_name_that_nightly_gives_them(
    look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    answer = look(node(1), counted(node(1)), history=recorded(tmp_path / "nights", name))
    assert answer.status is Status.FAIL and "was worse in the night of" in answer.sentence


def test_of_several_clusters_it_takes_its_own_or_asks_which(
    look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = recorded(tmp_path / "nights", "east", "west")
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    answer = look(node(1), counted(node(1)), history=history)
    assert answer.status is Status.INCONCLUSIVE
    assert "nights of east, west, and none of n1 or lambda-1cc-h100: give --cluster" in answer.sentence
    answer = look(node(1), counted(node(1)), history=history, cluster="north")
    assert answer.status is Status.INCONCLUSIVE and "none of north: give --cluster" in answer.sentence
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "west")
    assert look(node(1), counted(node(1)), history=history).status is Status.FAIL


def test_the_night_of_another_node_is_nothing_against_this_one(look: Any, tmp_path: Path) -> None:
    answer = look(node(2), counted(node(2)), history=recorded(tmp_path / "nights", "site"))
    assert answer.status is Status.PASS


def test_an_empty_history_holds_nothing_against_a_node(look: Any, tmp_path: Path) -> None:
    assert look(node(1), counted(node(1)), history=recorded(tmp_path / "nights")).status is Status.PASS


def test_a_state_that_cannot_be_kept_is_inconclusive(look: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = look(node(1), counted(node(1)), state=tmp_path / "file" / "gate.json")
    assert answer.status is Status.INCONCLUSIVE
    assert "cannot" in answer.sentence


@pytest.mark.parametrize(
    ("name", "more", "fine"),
    [("rx_dropped", 1 << 30, True), ("tx_dropped", 360_000, True), ("tx_dropped", 360_001, False),
     ("rx_errors", 3601, False), ("carrier_down_count", 1, False)],
)  # fmt: skip
def test_a_rail_of_sockets_is_judged_by_its_interface(name: str, more: int, fine: bool) -> None:
    sockets = Rails(kind="socket", count=1, devices=("eth0",))
    first = grow(counted(node(1)), "eth0", "statistics", **{name: 0})
    (found,) = since_gate(node(1), sockets, first, grow(first, "eth0", "statistics", HOUR, **{name: more}))
    assert isinstance(found, Finding) and found.ok is fine


def test_a_rail_without_error_counters_does_not_pass(look: Any) -> None:
    blind = counted(node(1))
    readings = {name: groups for name, groups in blind.readings.items() if name != "mlx5_3/1"}
    look(node(1), replace(blind, readings=readings))
    answer = look(node(1), replace(blind, readings=readings, monotonic=blind.monotonic + HOUR))
    assert answer.status is Status.INCONCLUSIVE and "shows no error counter" in answer.sentence


def test_a_folder_that_is_made_for_the_state_is_private(look: Any, tmp_path: Path) -> None:
    look(node(1), counted(node(1)), state=tmp_path / "new" / "gate.json")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_the_state_is_private_and_read_again(look: Any, tmp_path: Path) -> None:
    look(node(1), counted(node(1)))
    state = json.loads((tmp_path / "gate.json").read_text())
    assert state["node"] == "n1" and state["counters"]["readings"]["mlx5_3/1"]


def test_a_process_that_hangs_is_left_behind_and_what_it_did_is_named() -> None:
    def hang(say: Any) -> bytes:
        say("asking NVML")
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(600)
        return b""

    with pytest.raises(TookTooLong, match="no answer within 0.3 s, while asking NVML"):
        within(0.3, hang)


def test_a_process_that_is_left_behind_is_killed(tmp_path: Path) -> None:
    def hang(say: Any) -> bytes:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)
        return b""

    with pytest.raises(TookTooLong):
        within(2.0, hang)
    pid = int((tmp_path / "pid").read_text())
    mpi_jobs.wait_until(lambda: not mpi_jobs.alive([pid]), "the end of the process")


def test_what_the_process_raises_is_said_with_its_status() -> None:
    def wrong(_: Any) -> bytes:
        raise RunError("no such place", 2)

    with pytest.raises(Failed, match="no such place") as raised:
        within(10, wrong)
    assert raised.value.exit_status == 2


def test_a_process_that_is_killed_is_no_answer() -> None:
    def gone(_: Any) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with pytest.raises(Failed, match="ended without an answer") as raised:
        within(10, gone)
    assert raised.value.exit_status == 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of n0 and its neighbour n1."""
    return acceptance_run(tmp_path_factory.mktemp("pair"))


BETWEEN = Verdict("limits.rail_rate", "n0 mlx5_4/1 to n1 mlx5_4/1", Status.FAIL, "is slow")
WHOLE = Verdict("limits.busbw", "all_reduce, 8 GiB", Status.FAIL, "is slow")
NEIGHBOUR = Verdict("rails.state", "n1 mlx5_4/1", Status.FAIL, "is DOWN")
OWN = Verdict("rails.state", "n0 mlx5_4/1", Status.FAIL, "is DOWN")


@pytest.mark.parametrize(
    ("found", "statuses"),
    [
        ((BETWEEN, WHOLE), "FF"),
        ((NEIGHBOUR,), "I"),
        ((BETWEEN, WHOLE, NEIGHBOUR), "III"),
        ((BETWEEN, WHOLE, NEIGHBOUR, OWN), "IIIF"),
    ],
)
def test_a_node_does_not_fail_for_the_faults_of_its_neighbour(
    pair: Run, found: tuple[Verdict, ...], statuses: str
) -> None:
    judged = subject._of_measured(replace(pair, verdicts=found), "n0")
    assert "".join(each.status.name[0] for each in judged) == statuses


def test_a_level_that_measured_nothing_does_not_pass(pair: Run) -> None:
    passed = Verdict("rails.state", "n0 mlx5_4/1", Status.PASS, "is ACTIVE")
    *_, last = subject._of_measured(replace(pair, verdicts=(passed,), measurements=()), "n0")
    assert (last.check, last.status) == ("gate.measured", Status.INCONCLUSIVE)


LOST = Verdict("coverage.losses", "host", Status.INCONCLUSIVE, "the worker of rank 0 died")
ONE_NODE = Verdict("coverage.cluster", "job", Status.INCONCLUSIVE, "spans 1 node")
NO_TIME = Verdict("coverage.budget", "run", Status.INCONCLUSIVE, "sweep was not begun")
LACKS_ALL = Verdict("coverage.cases", "absent", Status.INCONCLUSIVE, "0 of 9 cases measured")


@pytest.mark.parametrize(
    ("given_up", "found", "kept"),
    [
        ((), (ONE_NODE, NO_TIME), ()),
        (("sweep was not begun",), (LOST, LACKS_ALL), (LOST,)),
        ((), (LACKS_ALL,), (LACKS_ALL,)),
    ],
)
def test_what_was_lost_or_never_measured_keeps_a_level_from_passing(
    pair: Run, given_up: tuple[str, ...], found: tuple[Verdict, ...], kept: tuple[Verdict, ...]
) -> None:
    assert tuple(subject._of_measured(replace(pair, verdicts=found, given_up=given_up), "n0")) == kept


def test_a_phase_that_was_begun_and_not_ended_is_not_excused_by_a_short_time(pair: Run) -> None:
    phase = pair.measurements[0].case.split("/")[0]
    lacking = replace(LACKS_ALL, subject=phase)
    run = replace(pair, verdicts=(lacking,), given_up=("sweep was not begun",))
    assert tuple(subject._of_measured(run, "n0")) == (lacking,)


def test_what_there_was_no_time_for_stands_beside_the_pass(
    look: Any, pair: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Verdict("rails.state", "n1 mlx5_4/1", Status.PASS, "is ACTIVE")
    found = replace(pair, verdicts=(passed,), path=Path())
    cut = replace(found, plan=replace(pair.plan, skipped=((GIVEN_UP, "copies"),)), given_up=("steady",))
    monkeypatch.setattr(subject, "_measured", lambda *_: cut)
    answer = look(node(1), counted(node(1)), level=2)
    assert answer.status is Status.PASS and answer.left_out == ("copies", "steady")
    assert answer.sentence.endswith(" checks passed; there was no time for copies; steady")
    monkeypatch.setattr(subject, "_measured", lambda *_: found)
    assert "no time" not in look(node(1), counted(node(1)), level=2).sentence


@pytest.mark.parametrize(("profile", "slots"), [(LAMBDA, 8), (LOCAL, 1)])
def test_at_level_3_both_nodes_have_slots_with_and_without_gpus(
    profile: Profile, slots: int, tmp_path: Path
) -> None:
    options = GateOptions(profile.name, profile, level=3, neighbour="n2", scratch=tmp_path)
    jobs = subject._jobs(options, "n1")
    words = next(jobs)
    hosts = Path(words[words.index("--hosts") + 1])
    assert read_hosts(hosts) == (HostEntry("n1", slots), HostEntry("n2", slots))
    assert list(jobs) == [] and hosts.parent == tmp_path
