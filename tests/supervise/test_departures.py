"""How a run ends early: last messages, connections that are cut, launchers that have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bench.supervise import supervisor as supervisor_module
from bench.supervise.departures import (
    CUT,
    GATHER,
    HURRY,
    ORPHANED,
    PATIENCE,
    SIGNALLED,
    Departures,
    ParentLauncher,
    dismiss,
    parent_launcher,
)
from bench.supervise.limits import Limits
from bench.supervise.supervisor import Supervisor

NODES = ("n0", "n0", "n1", "n1")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_departure_is_judged_once_the_others_had_time_for_their_last_messages():
    clock = Clock()
    departures = Departures(clock=clock)
    assert departures.over(NODES) is None
    assert departures.take(3, "n1", {"said": "lost", "text": "it closed the connection"})
    assert departures.over(NODES) is None
    assert departures.take(2, "n1", {"said": "farewell", "how": SIGNALLED, "text": "SIGTERM"})
    clock.now += HURRY + 0.01
    over = departures.over(NODES)
    assert over is not None and over.names == "n1 (rank 3)" and "left before" not in over.reason


def test_an_orphan_has_time_to_hear_of_the_others():
    clock = Clock()
    departures = Departures(orphaned=lambda: "mpirun (process 5) is gone", clock=clock)
    assert departures.over(NODES) is None
    clock.now += HURRY + 0.01
    assert departures.over(NODES) is None
    clock.now += GATHER
    over = departures.over(NODES)
    assert over is not None and (over.reason, over.names) == ("mpirun (process 5) is gone", "")


def test_the_first_message_of_a_rank_counts():
    departures = Departures()
    departures.take(2, "n1", {"said": "farewell", "how": ORPHANED, "text": "prted (process 7)"})
    departures.take(2, "n1", {"said": "lost", "text": "it closed the connection"})
    assert departures.departed[2].how == ORPHANED


def test_other_messages_are_no_departures():
    departures = Departures()
    assert not departures.take(2, "n1", {"said": "beat", "text": "x"})
    assert not departures.departed


def test_a_rank_0_that_is_told_to_end_says_so_and_who_left_before_it():
    clock, told = Clock(), [""]
    departures = Departures(signalled=lambda: told[0], clock=clock)
    told[0] = "told to end by SIGTERM"
    assert departures.over(NODES) is None
    departures.take(2, "n1", {"said": "farewell", "how": SIGNALLED, "text": "SIGTERM"})
    clock.now += HURRY + 0.01  # a launcher is about to kill
    over = departures.over(NODES)
    assert over is not None and over.names == ""
    assert over.reason == "told to end by SIGTERM; left before: n1 (rank 2) told to end"


TOLD = {"said": "farewell", "how": SIGNALLED, "text": "told to end by SIGTERM"}
LOST = {"said": "lost", "text": "it closed the connection"}


def outliving(clock: Clock) -> Departures:
    """Of a rank 0 under MPI that was just told to end."""
    departures = Departures(signalled=lambda: "told to end by SIGTERM", clock=clock, outlives=lambda: True)
    assert departures.over(NODES) is None
    return departures


def test_a_rank_0_that_outlives_mpirun_waits_for_who_died_however_late_it_shows():
    clock = Clock()
    departures = outliving(clock)
    departures.take(1, "n0", TOLD)
    clock.now += PATIENCE - 0.1
    assert departures.over(NODES) is None
    departures.take(2, "n1", LOST)
    departures.take(3, "n1", LOST)
    assert departures.over(NODES) is None  # its other ranks have a moment
    clock.now += HURRY + 0.01
    over = departures.over(NODES)
    assert over is not None and over.names == "n1 (ranks 2-3)"


def test_a_rank_0_that_outlives_mpirun_waits_no_longer_than_for_all_others():
    departures = outliving(Clock())
    for rank in (1, 2, 3):
        assert departures.over(NODES) is None
        departures.take(rank, NODES[rank], TOLD)
    over = departures.over(NODES)
    assert over is not None and over.names == ""


def test_a_rank_that_mpirun_killed_for_being_slow_is_not_named():
    clock = Clock()
    departures = outliving(clock)
    departures.take(2, "n1", TOLD)
    clock.now += 1.0
    departures.take(3, "n1", LOST)
    departures.take(1, "n0", TOLD)
    over = departures.over(NODES)
    assert over is not None and over.names == ""


def test_a_rank_0_that_outlives_mpirun_names_nobody_where_nothing_shows():
    clock = Clock()
    departures = outliving(clock)
    clock.now += PATIENCE
    over = departures.over(NODES)
    assert over is not None and (over.reason, over.names) == ("told to end by SIGTERM", "")


def test_ranks_that_mpirun_told_to_end_are_not_named_before_rank_0_is_told():
    clock, told = Clock(), [""]
    departures = Departures(signalled=lambda: told[0], clock=clock, outlives=lambda: True)
    departures.take(2, "n1", TOLD)
    assert departures.over(NODES) is None
    clock.now += GATHER + 1.0
    assert departures.over(NODES) is None
    told[0] = "told to end by SIGTERM"
    departures.take(3, "n1", TOLD)
    departures.take(1, "n0", TOLD)
    over = departures.over(NODES)
    assert over is not None and over.names == ""


def test_a_departed_rank_is_not_waited_for_and_counts_as_not_answering():
    class Silent:
        rank, size, peers = 0, 2, (1,)

        def send(self, to: int, message: dict[str, Any]) -> None:
            raise AssertionError(f"rank {to} is gone")

        def receive(self) -> Iterator[tuple[int, dict[str, Any]]]:
            return iter(())

    begun = time.monotonic()
    assert not dismiss(Silent(), 60.0, 3, departed={1})
    assert time.monotonic() - begun < 30.0


def test_a_run_that_measures_nothing_is_given_up_within_the_bound():
    limits = Limits(hang=20)
    assert limits.stall + limits.join < limits.bound < 420
    assert Limits().bound < 500


# the process that started a supervisor

CHILD = """
import os, sys, time
from bench.supervise.departures import (
    CUT, GATHER, HURRY, ORPHANED, SIGNALLED, Departures, ParentLauncher, parent_launcher,
)
launcher = parent_launcher(False)
print(repr(launcher.name), flush=True)
while not launcher.ended():
    time.sleep(0.01)
print("gone", flush=True)
"""


def _under(script: str) -> subprocess.Popen[str]:
    """A process that starts CHILD and waits; what CHILD prints can be read from it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, "torchrun", CHILD],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_killed_launcher_is_noticed():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[2]])"
    launcher = _under(script)
    try:
        assert launcher.stdout is not None
        assert launcher.stdout.readline().strip() == "'torchrun'"
        launcher.kill()
        assert launcher.stdout.readline().strip() == "gone"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        assert launcher.stdout is not None
        launcher.stdout.close()


def test_a_parent_that_is_no_launcher_is_not_watched():
    assert parent_launcher(False).name == ""
    assert not parent_launcher(False).ended()
    assert parent_launcher(True).name


# a supervisor that leaves before it is dismissed


class Deaf:
    """Rank 1's end of a star from which nothing comes; what it says is kept."""

    rank, size = 1, 2

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.said: list[dict[str, Any]] = []
        self.messages = [(0, message) for message in messages]

    def send(self, to: int, message: dict[str, Any]) -> None:
        self.said.append(message)

    def receive(self) -> Iterator[tuple[int, dict[str, Any]]]:
        while self.messages:
            yield self.messages.pop(0)

    def flush(self, limit: float) -> bool:
        return True

    rest = staticmethod(time.sleep)

    def linger(self, limit: float) -> None:
        return

    def close(self) -> None:
        return

    def abandon(self, status: int) -> None:
        return


def served(control: Deaf, **fields: Any) -> str:
    supervisor = Supervisor(control, lambda what: {}, {}, **fields)
    try:
        return supervisor.serve()
    finally:
        supervisor.stop_now()


def test_a_supervisor_that_is_told_to_end_says_so_first():
    control = Deaf()
    assert served(control, signalled="SIGTERM") == "SIGTERM"
    assert control.said == [{"said": "farewell", "how": SIGNALLED, "text": "SIGTERM"}]


def test_a_supervisor_whose_launcher_is_gone_says_that_and_not_that_it_was_told():
    control = Deaf()
    nobody = ParentLauncher(0, "prted")  # process 0 is nobody's parent here
    assert served(control, signalled="SIGTERM", parent=nobody) == "prted (process 0) is gone"
    assert control.said == [{"said": "farewell", "how": ORPHANED, "text": "prted (process 0)"}]


def test_a_silent_rank_0_is_not_served_for_ever(monkeypatch):
    monkeypatch.setattr(supervisor_module, "SILENT_SECONDS", 0.05)
    assert "rank 0 sent nothing for" in served(Deaf({"do": "wait"}))


def test_a_supervisor_whose_rank_0_is_gone_knows_that_it_was_not_dismissed():
    assert served(Deaf({"do": "quit", "lost": "rank 0 is gone (reset)"})) == "rank 0 is gone (reset)"
    assert served(Deaf({"do": "quit", "status": 0, "reason": ""})) == ""


def test_a_connection_that_is_cut_is_a_departure():
    departures = Departures()
    assert departures.take(1, "n1", {"said": "lost", "text": "it closed the connection"})
    assert departures.departed[1].how == CUT


def test_who_is_set_aside_may_leave():
    departures = Departures()
    departures.ignore([2])
    departures.take(2, "n1", {"said": "lost", "text": "it closed the connection"})
    assert departures.over(NODES) is None and not departures.missed and 2 in departures.departed
