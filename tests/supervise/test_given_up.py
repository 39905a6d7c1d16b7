"""When a run is given up: tries that give nothing cost no more than the stated time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runs
from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model.measurement import Case
from bench.model.run_folder_lines import HealthLine
from bench.model.typed_json import encode, to_json
from bench.store import Phase, Recorder
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.departures import Departures
from bench.supervise.hangs.culprits import Culprits
from bench.supervise.hangs.rank_state import RankState
from bench.supervise.limits import Limits, Lost, Stopped
from bench.supervise.questions import COUNTERS
from bench.supervise.supervisor import Supervisor
from tests.told import Told

CASES = tuple(Case(f"rails/{size}", "rails", "p2p", size, size, ((0, 1),)) for size in range(6))
WHO = Culprits("n2 (rank 4): its worker was killed", "n2 (rank 4)")


class Tried(Coordinator):
    """A coordinator whose tries end as they are told: None measures all that is left, ``WHO`` gives nothing."""

    ends: tuple[Culprits | None, ...] = ()
    tries: int = 0

    def _attempt(self, phase: Phase, cases: list[Case]) -> Any:
        found = self.ends[self.tries]
        self.tries += 1
        return (cases, found) if found else ([], None)


@pytest.fixture
def tried(tmp_path) -> Iterator[Callable[..., Tried]]:
    supervisor = Supervisor(Control(), lambda what: {}, {})
    with Recorder(tmp_path / "run") as recorder:

        def made(limits: Limits, *ends: Culprits | None) -> Tried:
            chief = Tried(Control(), supervisor, recorder, limits, Told())
            chief.ends = ends
            return chief

        yield made
    supervisor.stop_now()


def losses(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "run" / "journal.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == "loss"]


def phase(name: str) -> Phase:
    return Phase(name, name, CASES)


def test_a_run_whose_tries_give_nothing_is_given_up_once_their_time_is_spent(tried, tmp_path):
    chief = tried(Limits(join=0.0, hang=0.0), WHO)
    with pytest.raises(Lost, match="of tries measured nothing"):
        chief.run(phase("rails"))
    assert [row["culprit"] for row in losses(tmp_path)] == ["n2 (rank 4)"]


def test_a_try_that_gives_something_makes_up_for_those_before_it(tried, tmp_path):
    chief = tried(Limits(), WHO, None, WHO, None)
    chief.run(phase("rails"))
    chief.run(phase("nodes"))
    assert chief.tries == 4
    assert len(losses(tmp_path)) == 2


def test_two_phases_that_give_nothing_are_the_last(tried, tmp_path):
    chief = tried(Limits(), WHO, WHO, WHO, WHO)
    chief.run(phase("rails"))
    with pytest.raises(Lost, match="2 phases in a row measured nothing"):
        chief.run(phase("nodes"))


def test_who_dies_while_nothing_is_measured_is_named_all_the_same(tried, tmp_path):
    chief = tried(Limits())
    chief.departures.take(1, "n1", {"said": "lost", "text": "it closed the connection"})
    chief.phase = "rails"
    with pytest.raises(Lost, match=r"its supervisor is gone"):
        chief.ask(COUNTERS, [0], 60.0)
    (loss,) = losses(tmp_path)
    assert (loss["case"], loss["culprit"]) == ("after rails", "n1 (rank 1)")


def test_a_rank_0_that_is_told_to_end_stops_and_blames_nobody(tried, tmp_path):
    chief = tried(Limits())
    chief.departures = Departures(signalled=lambda: "told to end by SIGTERM")
    with pytest.raises(Stopped, match="told to end by SIGTERM"):
        chief.ask(COUNTERS, [0], 60.0)
    assert losses(tmp_path) == []


class Script(Control):
    """A control channel that says what the others say, one message at a look."""

    def __init__(self, *said: dict[str, Any]) -> None:
        super().__init__()
        self.said = [(1, message) for message in said]

    def receive(self):
        return iter([self.said.pop(0)] if self.said else [])

    def send(self, to, message): ...


def test_a_supervisor_that_dies_in_mid_phase_costs_the_case_in_flight(tmp_path):
    planned = runs.cases()
    said = [{"said": "row", "row": encode(row)} for case in planned[:2] for row in runs.measured(case)]
    control = Script(*said, {"said": "lost", "text": "it closed the connection"})
    supervisor = Supervisor(control, lambda what: {}, {})
    order = WorkOrder("", (), 0, 2, 0, "gloo", "127.0.0.1", 1.0, TimingRules(), 1)
    with Recorder(tmp_path / "run") as recorder:
        chief = Coordinator(control, supervisor, recorder, Limits(), Told())
        chief.ranks, chief.order = runs.ranks(), order
        with pytest.raises(Lost, match="its supervisor is gone"):
            chief.run(Phase("collectives", "", tuple(planned)))
        (loss,) = losses(tmp_path)
    supervisor.stop_now()
    assert (loss["case"], loss["culprit"], loss["died"]) == (planned[2].id, "n0 (rank 1)", True)


def test_what_was_sampled_of_an_interrupted_soak_is_kept(tried, tmp_path):
    class Interrupted(Tried):
        def _attempt(self, phase: Phase, cases: list[Case]) -> Any:
            for rank in (0, 1):
                self._states[rank] = RankState()
                seen = to_json(HealthLine(memory=[(0.0, 1.0, 2.0)]))
                self._take(rank, {"said": "health", "health": seen}, self._states[rank])
            self._states[1].ended = True  # its whole line is there already
            raise Stopped("told to end by SIGINT")

    chief = tried(Limits())
    chief.__class__, chief.phase = Interrupted, "soak"
    with pytest.raises(Stopped):
        chief.run(phase("soak"))
    (line,) = map(json.loads, (tmp_path / "run" / "health.jsonl").read_text().splitlines())
    assert (line["phase"], line["rank"], line["memory"]) == ("soak", 0, [[0.0, 1.0, 2.0]])


def test_what_a_supervisor_saw_beside_its_worker_is_kept_under_its_phase_and_rank(tried, tmp_path):
    chief = tried(Limits())
    chief.phase = "soak"
    seen = to_json(HealthLine(memory=[(0.0, 1.0, 2.0)]))
    ended = {"said": "ended", "status": 0, "words": "", "log": "", "health": seen}
    chief._take(3, ended, RankState())
    (line,) = map(json.loads, (tmp_path / "run" / "health.jsonl").read_text().splitlines())
    assert (line["phase"], line["rank"], line["memory"]) == ("soak", 3, [[0.0, 1.0, 2.0]])
