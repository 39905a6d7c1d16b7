"""A plan that promised what it covers keeps it: what is measured because of what was seen has the time that is left."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

import made_nodes
import runs
from bench.judge.blame import transfers
from bench.plan import AFTER, AcceptOptions
from bench.run.live_run import LiveRun
from bench.run.options import Options
from bench.run.phases import run_phases
from bench.run.resume import RemainingPhase
from bench.store import Manifest, Phase, Plan, Recorder, load
from bench.supervise.questions import COUNTERS
from test_transfers import MADE, measured, rails_phase
from tests.told import Told

WHERE = runs.ranks(4, 2)
SLOW = ("n1", "eth2")
LONG = 10_000.0  # seconds that the phase after the rails may take
FIRST = 1.0


class Chief:
    """A coordinator of paper, with clocks of paper: what it is told to measure is there at once."""

    def __init__(self, recorder: Recorder, join: float) -> None:
        self.slowest_join = join
        self.recorder, self.ranks, self.order = recorder, WHERE, SimpleNamespace(backend="gloo")
        self.begun: list[str] = []

    def ask(self, question, ranks, limit):
        assert question is COUNTERS
        return {rank: made_nodes.counted(made_nodes.node()) for rank in ranks}

    def run(self, phase):
        self.begun.append(phase.name)
        for case in phase.cases:
            for row in measured(case, WHERE, SLOW):
                self.recorder.measurement(row)


@pytest.fixture
def run(tmp_path):
    """Phases of a plan within a budget; what was begun, and what was said."""

    def ran(budget: float, ago: float = 0.0, join: float = 0.0, **more):
        rails = replace(rails_phase(WHERE), seconds=FIRST)
        later = Phase("collectives", "", tuple(runs.cases(n=len(WHERE))[:1]), seconds=LONG)
        plan = Plan((rails, later))
        options = Options(
            MADE,
            tmp_path / "run",
            (),
            go_on=True,
            accept=AcceptOptions(budget=budget),
            start_time=time.monotonic() - ago,
            **more,
        )
        told = Told()
        with Recorder(tmp_path / "run") as recorder:
            recorder.manifest(Manifest("run", 0.0, (), MADE.name, MADE.text, "none", "gloo", WHERE))
            recorder.plan(plan)
            recorder.facts([made_nodes.node(number) for number in range(4)])
            chief = Chief(recorder, join)
            run_phases(LiveRun(chief, options, told, plan), [RemainingPhase(phase) for phase in plan.phases])
        return chief.begun, told.said, load(tmp_path / "run")

    return ran


def test_what_is_left_is_reckoned_with_the_start_that_was_timed(run):
    begun, said, _ = run(LONG + 500.0, join=1000.0)
    assert "collectives" not in begun and "collectives was not begun: it takes up to 3 h 3 min" in said[-1]


def test_with_time_enough_suspects_are_looked_at_before_the_next_phase(run):
    begun, said, _ = run(LONG + 3600.0)
    assert begun[0] == transfers.FIRST and begun[1] == transfers.AGAIN and begun[-1] == "collectives"
    assert said == []


def test_a_look_at_suspects_does_not_take_the_time_of_a_planned_phase(run):
    # a look takes 18 s and more; after the rails half of that is not spoken for
    begun, said, seen = run(FIRST + LONG + AFTER + 9.0)
    assert begun == [transfers.FIRST, "collectives"]
    (text,) = said
    assert text.startswith(f"{transfers.AGAIN} was not begun") and "of the budget are left" in text
    assert seen.given_up == (text,) and '"given_up":true' in (seen.path / "journal.jsonl").read_text()


def test_the_budget_counts_from_the_commands_start(run):
    begun, said, _ = run(LONG + 3600.0, ago=3580.0)
    assert begun == [transfers.FIRST, "collectives"]
    assert [text.split()[0] for text in said] == [transfers.AGAIN]


def test_what_was_spent_before_the_first_phase_is_not_there_for_the_last(run):
    begun, said, _ = run(LONG + 3600.0, ago=3700.0)
    assert "collectives" not in begun
    assert any(text.startswith("collectives was not begun") for text in said)
