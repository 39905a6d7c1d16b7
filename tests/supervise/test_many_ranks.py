"""What rank 0 does for a message costs the same however many ranks there are."""

from __future__ import annotations

import os

import pytest

import runs
from bench.model.measurement import Case
from bench.model.run_folder_lines import PhaseMark
from bench.store import Recorder
from bench.supervise import coordinator
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.hangs.rank_state import RankState
from bench.supervise.limits import Limits
from bench.supervise.supervisor import Supervisor
from tests.told import Told

BEAT = {"said": "beat", "case": "c", "stage": "timing", "calls": 1, "age": 0.1}


class Counted(tuple):
    """Ranks that count how often somebody goes through all of them."""

    walks = 0

    def __iter__(self):
        type(self).walks += 1
        return super().__iter__()


class Talk(Control):
    """All ranks send a heartbeat at once."""

    def receive(self):
        return ((rank, BEAT) for rank in range(self.size))


def test_a_pass_goes_through_all_ranks_no_more_often_when_more_of_them_speak(tmp_path):
    walks = []
    for nodes in (2, 64):
        control = Talk(0, 8 * nodes)
        supervisor = Supervisor(control, lambda what: {}, {})
        with Recorder(tmp_path / str(nodes)) as recorder:
            chief = Coordinator(control, supervisor, recorder, Limits(), Told())
            chief.ranks = Counted(runs.ranks(nodes, 8))
            chief._states = {rank: RankState() for rank in range(8 * nodes)}
            chief._cases = {"c": (0, Case("c", "rails", "p2p", 1, 1, ((0, 8),)))}
            chief.positions = lambda: pytest.fail("positions are made although nobody left")
            Counted.walks = 0
            chief._listen()
            assert chief._over() is None
            walks.append(Counted.walks)
        supervisor.stop_now()
    assert walks[0] == walks[1] < 4


class PaperClock:
    """A clock that somebody else moves."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_looking_at_all_ranks_takes_a_twentieth_of_the_time_until_a_worker_fails(tmp_path, monkeypatch):
    clock, looks = PaperClock(), []

    def looked(*_):
        looks.append(clock.now)
        clock.now += 0.001

    monkeypatch.setattr(coordinator, "time", clock)
    monkeypatch.setattr(coordinator, "trouble", looked)
    control = Talk(0, 2)
    supervisor = Supervisor(control, lambda what: {}, {})
    with Recorder(tmp_path / "run") as recorder:
        chief = Coordinator(control, supervisor, recorder, Limits(), Told())
        for _ in range(500):
            chief._trouble()
            clock.now += 0.002
        assert 0.04 < len(looks) * 0.001 / (clock.now - 100.0) < 0.055
        for said in (
            {"said": "worker", "heard": {"kind": "failed", "error": "E", "text": "", "at": BEAT}},
            {"said": "ended", "status": -9, "words": "", "log": "", "health": None},
        ):
            chief._trouble()
            before = len(looks)
            chief._take(1, said, RankState())
            chief._trouble()
            assert len(looks) == before + 1
    supervisor.stop_now()


def test_the_rows_of_a_pass_are_brought_to_the_disk_at_once(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(file):
        synced.append(file)
        real(file)

    with Recorder(tmp_path / "run") as recorder:
        monkeypatch.setattr(os, "fsync", fsync)
        with recorder.together():
            for _ in range(5):
                recorder.add(PhaseMark("rails", "begin", cases=1))
            assert synced == [] and (tmp_path / "run" / "journal.jsonl").read_bytes().count(b"\n") == 5
        assert len(synced) == 1
        recorder.add(PhaseMark("rails", "end"))
        assert len(synced) == 2
