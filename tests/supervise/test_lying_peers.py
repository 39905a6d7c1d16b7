"""Whoever has the token speaks for its own rank alone: what it sends that no rank sends costs it its place, and rank 0
nothing; and a rank 0 that others dial starts measurements, and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import runs
from bench.measure.loop import TimingRules
from bench.measure.perftest.command import lawful
from bench.measure.perftest.processes import SERVE, PerftestJob, PerftestJobs, PerftestRunner
from bench.measure.work_order import WorkOrder
from bench.model.measurement import Case, Extra, Mismatch
from bench.model.typed_json import Misfit, encode, to_json
from bench.store import Phase, Recorder
from bench.supervise import questions
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.hangs.rank_state import RankState
from bench.supervise.limits import Limits, Lost
from bench.supervise.supervisor import Supervisor
from tests.told import Told

ORDER = WorkOrder("p", (), 0, 4, 0, "gloo", "127.0.0.1", 1.0, TimingRules(), 1)
PAIRS = Case("pairs/1", "pairs", "p2p", 1024, 1024, ((0, 1), (2, 3)))
QUESTIONS = {each.word: each for each in vars(questions).values() if isinstance(each, questions.Question)}
BEAT = {"said": "beat", "case": "pairs/1", "stage": "timing", "calls": 1}
ENDED = {"said": "ended", "status": 0, "words": "", "log": "", "health": None}
OF_FIRST, OF_SECOND = runs.measured(PAIRS)


def from_worker(kind: str, **fields: Any) -> dict[str, Any]:
    return {"said": "worker", "heard": {"kind": kind, **fields}}


def row(of: Any) -> dict[str, Any]:
    return {"said": "row", "row": encode(of)}


class Script(Control):
    """A control channel on which rank 2 of four says what it is told to."""

    def __init__(self, *said: dict[str, Any]) -> None:
        super().__init__(0, 4)
        self.said = list(said)
        self.sent: list[tuple[int, dict[str, Any]]] = []

    def receive(self):
        return iter([(2, self.said.pop(0))] if self.said else [])

    def send(self, to, message):
        self.sent.append((to, message))


@pytest.fixture
def chief(tmp_path):
    ends = []

    def made(*said: dict[str, Any]) -> Coordinator:
        control = Script(*said)
        supervisor = Supervisor(control, lambda what: {}, {})
        recorder = Recorder(tmp_path / "run")
        ends.append((supervisor, recorder))
        found = Coordinator(control, supervisor, recorder, Limits(quit=0.0), Told())
        found.ranks, found.order = runs.ranks(2, 2), ORDER
        return found

    yield made
    for supervisor, recorder in ends:
        supervisor.stop_now()
        recorder.__exit__()


@pytest.mark.parametrize(
    "message",
    [
        {"said": "beat"},
        {**BEAT, "calls": -1},
        {**BEAT, "calls": float("nan")},
        {**BEAT, "age": "old"},
        {**BEAT, "links": {"eth1": 3}},
        {**BEAT, "rails": {"eth1": "fast"}},
        {"said": "ended"},
        {**ENDED, "status": "0"},
        {**ENDED, "log": 5},
        {**ENDED, "health": {"cases": [{"case": 1}]}},
        {"said": "health", "health": []},
        {"said": "worker", "heard": 5},
        {"said": "worker", "heard": {}},
        {"said": "worker", "heard": {"kind": ["store"]}},
        from_worker("store", port=99_999),
        from_worker("ready", seconds={"meet": float("inf")}, versions={}, gpu=None, plan=""),
        from_worker("ready", seconds={}, versions={"torch": 2}, gpu=None, plan=""),
        from_worker(
            "ready", seconds={}, versions={}, gpu=None, plan="0" * 64
        ),  # of other cases than rank 0's
        from_worker("failed", error="x", text="y"),
        from_worker("flight", last=[{"group": "0"}]),
        from_worker("window", ended=1.0),
        {"said": "row"},
        {"said": "row", "row": "{}"},
        {"said": "row", "row": b"{}"},
        {"said": "row", "row": b"[" * 100_000},
        {"said": "row", "row": encode(OF_SECOND)[:-1]},
        row(OF_FIRST),  # of ranks 0 and 1
        row(replace(OF_SECOND, case="pairs/2")),
        row(replace(OF_SECOND, ranks=(2, 9))),
        row(replace(OF_SECOND, mismatches=(Mismatch(9, 0, 0, 1.0, 2.0),))),
    ],
    ids=lambda message: str(message)[:60],
)
def test_a_rank_that_sends_what_no_rank_sends_is_lost_by_name(chief, message):
    with pytest.raises(Lost, match=r"n1 \(rank 2\).*it sent what a supervisor never sends") as lost:
        chief(message).run(Phase("pairs", "", (PAIRS,)))
    assert lost.value.nodes == ("n1",)


def test_a_rank_reports_its_own_group_once(chief, tmp_path):
    with pytest.raises(Lost, match="it reports pairs/1 twice"):
        chief(row(OF_SECOND), row(OF_SECOND)).run(Phase("pairs", "", (PAIRS,)))
    assert (tmp_path / "run" / "journal.jsonl").read_text().count('"kind":"measurement"') == 1


@pytest.mark.parametrize("odd", ["NaN", "1e999"])
@pytest.mark.parametrize("of", ["isolated", "launch"])
def test_a_time_that_no_clock_measures_costs_its_case_alone(chief, tmp_path, of, odd):
    changed = {"isolated": (0.5,)} if of == "isolated" else {"extra": Extra(launch=(0.5,))}
    text = encode(replace(OF_SECOND, **changed)).replace(b"0.5]", odd.encode() + b"]")
    with pytest.raises(Lost, match="its supervisor is gone"):
        chief({"said": "row", "row": text}, {"said": "lost", "text": "x"}).run(Phase("pairs", "", (PAIRS,)))
    journal = (tmp_path / "run" / "journal.jsonl").read_text()
    assert "no possible measurement" in journal and '"kind":"measurement"' not in journal


@pytest.mark.parametrize("more", ['"kind":"end"', '"\\u006bind":"end"', '\n"x":0', '\r"x":0'])
def test_a_row_is_one_line_of_the_journal_and_of_no_other_kind(chief, tmp_path, more):
    text = encode(OF_SECOND)[:-1] + b"," + more.encode() + b"}"
    with pytest.raises(Lost, match="its supervisor is gone"):
        chief({"said": "row", "row": text}, {"said": "lost", "text": "x"}).run(Phase("pairs", "", (PAIRS,)))
    lines = (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.count("measurement") == 1 and "end" not in kinds


def test_the_port_of_the_store_comes_from_the_rank_that_opens_it(chief):
    told = chief(from_worker("store", port=1234), {"said": "lost", "text": "it closed the connection"})
    with pytest.raises(Lost):
        told.run(Phase("pairs", "", (PAIRS,)))
    assert [message for _, message in told.control.sent if message["do"] == "rendezvous"] == []


def test_what_runs_beside_rests_before_another_rank_can_meet_the_first(chief):
    told = chief()
    told._states = {0: RankState()}
    sent_by_then = []
    told.before_measuring = lambda: sent_by_then.append(list(told.control.sent))
    told._take_from_worker(0, {"kind": "store", "port": 1234}, told._states[0])
    assert sent_by_then == [[]]
    assert [rank for rank, message in told.control.sent if message["do"] == "rendezvous"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("hello", {"host": "n1"}),
        (
            "hello",
            {"host": "n1\x1b[2J", "machine": "m", "torch": True, "python": "p", "environment": {}},
        ),
        ("probe", {"name": 5}),
        ("counters", []),
        ("activity", {"span": -1}),
        ("listen", {"ports": {"10.0.0.1": 0}}),
        ("reach", {"tries": [["10.0.0.1"]]}),
        ("wiring", {"heard": [["eth1"]]}),
        ("verbs.serve", {"a": {"port": "x"}}),
    ],
)
def test_an_answer_that_does_not_fit_its_question_costs_who_gave_it(chief, what, answer):
    with pytest.raises(Lost, match=r"n1 \(rank 2\).*it sent what a supervisor never sends"):
        chief({"said": what, "answer": answer}).ask(QUESTIONS[what], [2], 30.0)


def test_a_last_message_of_another_version_is_one_that_was_cut_off(chief):
    told = chief({"said": "farewell", "how": "merrily"})
    with pytest.raises(Lost, match=r"n1 \(rank 2\): its supervisor is gone"):
        told.ask(questions.COUNTERS, [2], 30.0)


def obeying(environment: dict[str, str] | None = None, **order: Any) -> None:
    supervisor = Supervisor(Control(), lambda what: {}, {})
    try:
        message = {"order": {**to_json(ORDER), **order}, "environment": environment or {}}
        supervisor.handle({"do": "start", **message})
    finally:
        supervisor.stop_now()


@pytest.mark.parametrize(
    "environment",
    [
        {"LD_PRELOAD": "/tmp/evil.so"},
        {"PYTHONPATH": "/tmp"},
        {"NCCL_NET_PLUGIN": "evil"},
        {"NCCL_DEBUG_FILE": "/home/u/.bashrc"},
        {"NCCL_TOPO_X": "/etc/passwd"},
    ],
)
def test_rank_0_sets_nothing_for_a_worker_that_could_run_code(environment):
    with pytest.raises(Misfit, match="rank 0 may not set"):
        obeying(environment)


def test_rank_0_names_no_log_outside_of_the_scratch_folder(tmp_path):
    victim = tmp_path / "victim.log"
    victim.write_text("mine")
    with pytest.raises(Misfit, match="phase"):
        obeying(phase=str(victim.with_suffix("")))
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["/bin/sh", "-c", "id"],
        ["ib_write_bw", "--out_json", "--out_json_file=/home/u/.bashrc"],
        ["ib_write_bw", "-d", "../../x"],
        ["ib_write_bw", "-d", "mlx5_0", "--report-unsorted"],
    ],
)
def test_rank_0_starts_no_program_but_a_measurement(words):
    assert not lawful(words)
    errands = PerftestRunner()
    try:
        with pytest.raises(Misfit, match="rank 0 may not start"):
            errands.begin(SERVE, PerftestJobs({"x": PerftestJob(words)}))
    finally:
        errands.stop()
