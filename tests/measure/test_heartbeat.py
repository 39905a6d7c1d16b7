"""The worker's heart beside work that stands still: what it tells of torch's recorders, and when it asks nothing."""

import io
import json
import sys
import threading
from types import SimpleNamespace

import pytest

from bench.measure import worker
from bench.measure.work_order import CAPTURING, Progress
from bench.supervise.hangs.rank_state import flight_of

NCCL = json.dumps(
    {"entries": [{"record_id": 4, "process_group": ["0", "default_pg"], "collective_seq_id": 5, "p2p_seq_id": 0,
                  "is_p2p": False, "profiling_name": "nccl:all_reduce", "state": "scheduled", "retired": False}]}
).encode()  # fmt: skip


class Ends(Exception):
    """A heart of paper stops after its last beat."""


def beats(monkeypatch, stage: str, count: int = 20) -> list[dict]:
    """What a heart says in ``count`` beats of a worker that does not move."""
    torch = SimpleNamespace(
        _dump_nccl_trace_json=lambda includeCollectives, onlyActive: NCCL,
        _dump_fr_trace_json=lambda includeCollectives, onlyActive: b"{}",
    )
    clock = SimpleNamespace(now=0.0, left=count)

    def sleep(seconds: float) -> None:
        clock.now, clock.left = clock.now + seconds, clock.left - 1
        if not clock.left:
            raise Ends

    class Now:
        """A thread that runs where it is started."""

        def __init__(self, target, args, daemon) -> None:
            self.start = lambda: target(*args)

    monkeypatch.setitem(sys.modules, worker.RECORDERS, torch)
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(worker, "threading", SimpleNamespace(Thread=Now))
    said = io.StringIO()
    channel = worker.Channel(said, lock=threading.Lock())
    with pytest.raises(Ends):
        worker._beat(channel, Progress("c", stage, 3), "nccl")
    return [json.loads(line) for line in said.getvalue().splitlines()]


def test_what_nccl_recorded_is_told_once(monkeypatch):
    (told,) = [line for line in beats(monkeypatch, "timing") if line["kind"] == "flight"]
    assert [entry.text for entry in flight_of(told).open] == ["all_reduce 5"]


def test_nothing_is_asked_while_a_graph_is_captured(monkeypatch):
    """NCCL's recorder asks CUDA for its events, and a capture does not survive that."""
    assert {line["kind"] for line in beats(monkeypatch, CAPTURING)} == {"beat"}
