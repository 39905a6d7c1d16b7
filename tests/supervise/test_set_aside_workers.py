"""A node is set aside in mid-phase: the others' workers have ended before new ones start, whenever they do end."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model.measurement import Case
from bench.model.typed_json import encode
from bench.store import Phase, Recorder
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.limits import Limits, Lost
from bench.supervise.supervisor import Supervisor
from tests.told import Told

ALL = Case("pairs/1", "pairs", "p2p", 1024, 1024, ((0, 2, 4), (1, 3, 5)))
REST = Case("pairs/2", "pairs", "p2p", 1024, 1024, ((0, 2), (1, 3)))


class Supervisors(Control):
    """The supervisors of three nodes on paper, where rank 4 dies in the first phase.

    late      messages are looked for so often between the order to stop and a worker's end
    workers   rank -> how many run; ``overlaps``: ranks that were to start one beside another
    """

    def __init__(self, late: int) -> None:
        super().__init__(0, 6)
        self.late, self.looks = late, 0
        self.workers = dict.fromkeys(range(6), 0)
        self.overlaps: list[int] = []
        self.due: list[tuple[int, int, dict]] = []  # (look, rank, message)

    def send(self, to, message):
        if message["do"] == "start":
            self.overlaps += [to] * bool(self.workers[to])
            self.workers[to] += 1
            self.started(to, message["order"]["phase"])
        elif message["do"] == "stop" and self.workers[to]:
            self.due.append((self.looks + self.late, to, ended(-15)))

    def started(self, rank, phase):
        if phase == "pairs" and rank == 5:  # the last of them
            self.due.append((self.looks, 4, {"said": "lost", "text": "it closed the connection"}))
        elif phase == "rest" and rank in (0, 1):
            row = next(each for each in runs.measured(REST) if each.ranks[0] == rank)
            self.due += [
                (self.looks, rank, {"said": "row", "row": encode(replace(row, ranks=(rank, rank + 2)))})
            ]
        if phase == "rest":
            self.due.append((self.looks + 1, rank, ended(0)))

    def receive(self):
        self.looks += 1
        now = [(rank, message) for look, rank, message in self.due if look < self.looks]
        self.due = [row for row in self.due if row[0] >= self.looks]
        for rank, message in now:
            self.workers[rank] -= message["said"] == "ended"
        return iter(now)


def ended(status):
    return {"said": "ended", "status": status, "words": "", "log": "", "health": None}


@pytest.mark.parametrize("late", [0, 1, 20])
def test_the_end_of_an_old_worker_is_not_taken_for_that_of_the_next(tmp_path, late):
    control = Supervisors(late)
    supervisor = Supervisor(control, lambda what: {}, {})
    with Recorder(tmp_path / "run") as recorder:
        chief = Coordinator(control, supervisor, recorder, Limits(), Told())
        chief.ranks = runs.ranks(3, 2)
        chief.order = WorkOrder("", (), 0, 6, 0, "gloo", "127.0.0.1", 1.0, TimingRules(), 1)
        with pytest.raises(Lost, match="its supervisor is gone") as lost:
            chief.run(Phase("pairs", "", (ALL,)))
        chief.go_on_without(lost.value.nodes)
        assert [rank.node for rank in chief.ranks] == ["n0", "n0", "n1", "n1"]
        chief.run(Phase("rest", "", (REST,)))
        journal = (recorder.path / "journal.jsonl").read_text()
    supervisor.stop_now()
    assert control.overlaps == []
    assert journal.count('"kind":"loss"') == 1 and journal.count('"kind":"measurement"') == 2
