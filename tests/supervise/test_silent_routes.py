"""A rank is not blamed for what the nodes between it and rank 0 do."""

from __future__ import annotations

import time

import pytest

import runs
from bench.model.measurement import Case
from bench.store import Recorder
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.hangs.rank_state import RankState
from bench.supervise.limits import Limits, Lost
from bench.supervise.supervisor import Supervisor
from tests.told import Told

BEAT = {"said": "beat", "case": "c", "stage": "timing", "calls": 1, "age": 0.1, "state": "S", "links": {}}
SILENT = 30.0  # s; node n1 is stopped for so long, and carries what n2 says


class Ways(Control):
    """Nothing arrives; n2's routes are as silent as n1 is, if ``excused``."""

    excused = True

    def receive(self):
        return iter(())

    def excuse(self, number: int) -> float:
        return SILENT - 1.0 if self.excused and number in (4, 5) else 0.0


@pytest.fixture
def chief(tmp_path):
    control = Ways(0, 6)
    supervisor = Supervisor(control, lambda what: {}, {})
    now = time.monotonic()
    with Recorder(tmp_path / "run") as recorder:
        made = Coordinator(control, supervisor, recorder, Limits(hang=20.0, quit=0.0), Told())
        made.ranks, made._cases = runs.ranks(3, 2), {"c": (0, Case("c", "rails", "p2p", 1, 1, ((0, 6),)))}
        made._started = now - 100.0
        for rank in range(6):
            heard = now if rank < 2 else now - SILENT
            made._states[rank] = RankState(BEAT, heard, heard, {"kind": "ready"})
        yield made
    supervisor.stop_now()


@pytest.mark.parametrize(
    ("excused", "named"), [(True, "n1 (ranks 2-3)"), (False, "n1 (ranks 2-3), n2 (ranks 4-5)")]
)
def test_who_is_behind_a_silent_node_is_not_blamed_for_a_hang(chief, excused, named):
    chief.control.excused = excused
    found = chief._trouble()
    assert found is not None and found.names == named


def test_a_rank_is_not_taken_for_stuck_while_its_way_is_silent(chief):
    now = time.monotonic()
    for rank in (2, 3):
        chief._states[rank].last_heard = chief._states[rank].last_moved = now
    assert chief._trouble() is None
    chief.control.excused, chief._look_at = False, 0.0
    assert chief._trouble().names == "n2 (ranks 4-5)"


def test_who_could_not_hear_that_its_worker_must_end_is_not_blamed_for_it(chief):
    for rank in (0, 1):
        chief._states[rank].ended = True
    with pytest.raises(Lost) as lost:
        chief._end_workers()
    assert lost.value.nodes == ("n1",)
