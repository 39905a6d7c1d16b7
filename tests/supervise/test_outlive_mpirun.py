"""Rank 0 goes on in a copy of itself when its launcher ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mpi_jobs

LIMIT = 60.0

RANK_0 = """
import os, signal, sys, time
from pathlib import Path
from bench.run import join
from bench.supervise.control.tcp import Control
from bench.supervise.departures import parent_launcher

place = Path(sys.argv[1])
control = Control()
control.mpi = "MPI"
supervisor = type("Supervisor", (), {"stop_now": lambda self: None})()
told = join._on_signals(supervisor, 0)
launcher = parent_launcher(True)
join._outlive(control, launcher)
first = os.getpid()
(place / "began").write_text(str(first))
while not told() and not launcher.ended():
    time.sleep(0.01)
assert os.getpid() != first and os.getsid(0) == os.getpid() and control.mpi is None
while not (place / "enough").exists():
    time.sleep(0.01)
print("the last line", flush=True)
(place / "judged").write_text(told() or "orphaned")
"""


def _until(path: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} was never written"
        time.sleep(0.01)


def _ended(path: Path) -> str:
    (path / "enough").touch()
    _until(path / "judged")
    deadline = time.monotonic() + LIMIT
    while not (text := (path / "judged").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return text


def test_rank_0_that_is_told_to_end_and_killed_still_judges(tmp_path):
    rank_0 = subprocess.Popen(
        [sys.executable, "-c", RANK_0, str(tmp_path)], env=mpi_jobs.environment({}), start_new_session=True
    )
    _until(tmp_path / "began")
    rank_0.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # a launcher leaves it a second
    os.killpg(rank_0.pid, signal.SIGKILL)
    assert rank_0.wait(LIMIT) == -signal.SIGKILL
    assert not (tmp_path / "judged").exists()
    assert _ended(tmp_path) == "told to end by SIGTERM"


def test_the_process_that_mpirun_started_ends_with_its_copy(tmp_path):
    rank_0 = subprocess.Popen([sys.executable, "-c", RANK_0, str(tmp_path)], env=mpi_jobs.environment({}))
    _until(tmp_path / "began")
    rank_0.send_signal(signal.SIGTERM)
    assert _ended(tmp_path) == "told to end by SIGTERM"
    assert rank_0.wait(LIMIT) == 3


def test_rank_0_whose_launcher_is_gone_still_judges(tmp_path):
    # as mpirun, which passes on what its ranks print
    start = (
        "import subprocess, sys; "
        f"subprocess.run([sys.executable, '-c', {RANK_0!r}, sys.argv[1]], stdout=subprocess.PIPE)"
    )
    with (tmp_path / "shown").open("wb") as shown:
        launcher = subprocess.Popen(
            [sys.executable, "-c", start, str(tmp_path)], env=mpi_jobs.environment({}), stdout=shown
        )
    _until(tmp_path / "began")
    launcher.kill()
    launcher.wait(LIMIT)
    time.sleep(0.2)
    os.kill(int((tmp_path / "began").read_text()), signal.SIGKILL)  # as MPI ends it
    assert _ended(tmp_path) == "orphaned"
    assert (tmp_path / "shown").read_text() == "the last line\n"


def test_a_signal_of_the_kernel_while_the_launcher_lives_is_ignored(tmp_path):
    rank_0 = subprocess.Popen([sys.executable, "-c", RANK_0, str(tmp_path)], env=mpi_jobs.environment({}))
    _until(tmp_path / "began")
    rank_0.send_signal(signal.SIGUSR2)
    time.sleep(0.2)
    copies = Path(f"/proc/{rank_0.pid}/task/{rank_0.pid}/children").read_text()
    (tmp_path / "enough").touch()
    rank_0.kill()
    rank_0.wait(LIMIT)
    assert not copies and not (tmp_path / "judged").exists()


BOTH_PRINT = """
import os, sys
from bench.cli.standard_streams import append_to_files
from bench.supervise.outlive_mpirun import streams_of
append_to_files()
print("front", flush=True)
(out, _) = streams_of(os.getpid())
os.write(out, b"outlives it\\n")
print("goes on", flush=True)
"""


def test_in_a_log_file_nobody_writes_over_the_words_of_the_rank_that_outlives_the_launcher(tmp_path):
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", BOTH_PRINT], stdout=log, check=True, timeout=60)
    assert (tmp_path / "log").read_text() == "front\noutlives it\ngoes on\n"
