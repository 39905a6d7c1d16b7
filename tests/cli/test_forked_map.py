"""Work in several processes gives what one process gives, whatever happens to a fork."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runs
from bench.cli import forked_map
from bench.judge import verdicts
from bench.model.verdict import Verdict
from bench.store import load

FORKS = 3


@pytest.fixture(autouse=True)
def several_processes(monkeypatch):
    monkeypatch.setattr(forked_map, "processes", lambda: FORKS)


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def test_results_stand_in_the_order_of_the_items_and_come_from_several_processes():
    assert forked_map.forked_map(str, str, range(300)) == [str(at) for at in range(300)]
    assert len({*forked_map.forked_map(int, pid_after, [0.1] * 12)}) == FORKS


def test_what_a_killed_fork_had_begun_is_done_here():
    parent = os.getpid()

    def end_if_fork(item):
        time.sleep(0.05)
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return item, os.getpid()

    assert forked_map.forked_map(tuple[int, int], end_if_fork, range(12)) == [
        (item, parent) for item in range(12)
    ]


def test_a_fork_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(forked_map, "LONGEST", 0.2)
    parent = os.getpid()

    def hang_if_fork(item):
        time.sleep(0.05)
        if os.getpid() != parent:
            time.sleep(600)
        return item

    assert forked_map.forked_map(int, hang_if_fork, range(12)) == [*range(12)]


def test_what_an_item_raises_is_raised_here_and_no_fork_is_left(monkeypatch):
    forks, fork = [], os.fork

    def noted():
        forks.append(fork())
        return forks[-1]

    def refuse_the_last(item):
        time.sleep(0.05)
        if item == 11:
            raise KeyError(item)

    monkeypatch.setattr(os, "fork", noted)
    with pytest.raises(KeyError, match="11"):
        forked_map.forked_map(type(None), refuse_the_last, range(12))
    assert len(forks) == FORKS - 1
    assert not [pid for pid in forks if Path(f"/proc/{pid}").exists()]


def test_a_result_that_cannot_be_sent_is_found_here():
    odd = "a file name that is no text: \udc80"
    assert forked_map.forked_map(str, lambda item: odd * item, range(12)) == [
        odd * item for item in range(12)
    ]
    assert forked_map.forked_map(int, str, range(12)) == [str(item) for item in range(12)]


def test_a_fork_ends_with_this_process():
    program = (
        "import os, time; from bench.cli import forked_map; forked_map.processes = lambda: 2\n"
        "forked_map.forked_map(int, lambda _: print(os.getpid(), flush=True) or time.sleep(600), [0, 1])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        fork = ({int(process.stdout.readline()) for _ in range(2)} - {process.pid}).pop()
        process.kill()
        try:
            process.communicate(timeout=20)  # the output ends when nobody can write to it any more
        except subprocess.TimeoutExpired:
            os.kill(fork, signal.SIGKILL)
            raise


def test_without_another_process_all_is_done_here(monkeypatch):
    def refuse():
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(os, "fork", refuse)
    files = Path("/proc/self/fd")
    before = len([*files.iterdir()])
    assert forked_map.forked_map(str, str, range(12)) == [str(at) for at in range(12)]
    assert len([*files.iterdir()]) == before


def test_a_large_run_is_judged_in_several_processes_as_in_one(tmp_path, monkeypatch):
    run = load(runs.folder(tmp_path / "r"))
    asked = []

    def each(function, items):
        asked.append(len(items))
        return forked_map.forked_map(list[Verdict], function, items)

    alone = verdicts.judge(run, runs.LOCAL, each=each).verdicts
    assert not asked, "a small run"
    monkeypatch.setattr(verdicts, "LARGE", len(run.measurements))
    assert verdicts.judge(run, runs.LOCAL, each=each).verdicts == alone
    assert asked and asked[0] > 100
