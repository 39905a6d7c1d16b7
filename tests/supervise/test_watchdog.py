"""The process beside rank 0: what it hears, whom it ends, and that it leaves everybody else alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mpi_jobs
from bench.supervise import watchdog

STAT = "{pid} ({name}) {state} {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 20 0 1 {begun} 0 0 0\n"


def tree(root: Path, *rows: tuple[int, str, int]) -> Path:
    """A /proc with ``rows`` of (pid, name, parent)."""
    for pid, name, parent in rows:
        folder = root / str(pid)
        folder.mkdir()
        text = STAT.format(pid=pid, name=name, state="S", parent=parent, begun=100 + pid)
        # starttime is the 22nd field
        fields = text.rpartition(")")[2].split()
        assert fields[19] == str(100 + pid)
        (folder / "stat").write_text(text)
    return root


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(50, "python", 40), (40, "prterun", 1)], 40),
        ([(50, "python", 45), (45, "sh", 40), (40, "mpirun", 1)], 40),
        ([(50, "python", 40), (40, "mpiexec) (x", 1)], None),
        ([(50, "python", 40), (40, "slurmstepd", 1)], None),
        ([(50, "python", 40), (40, "prted", 1)], None),
        ([(50, "python", 1)], None),
        ([(50, "python", 40)], None),
        ([], None),
    ],
)
def test_the_launcher_is_an_mpirun_above_and_nothing_else(tmp_path, rows, found):
    launcher = watchdog.parent_mpirun(50, tree(tmp_path, *rows))
    assert (launcher.pid if launcher else None) == found


def test_a_number_that_went_to_another_process_is_not_the_same_process(tmp_path):
    tree(tmp_path, (50, "python", 1))
    assert watchdog.identify(50, tmp_path) == watchdog.ProcessIdentity(50, 150)
    assert watchdog.identify(51, tmp_path) is None
    assert watchdog.identify(0, tmp_path) is None


def heard(data: bytes, close: bool = True, leave: float = 0.05) -> set[str]:
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        if close:
            os.close(writing)
        return watchdog.hear(reading, leave)
    finally:
        os.close(reading)
        if not close:
            os.close(writing)


def test_words_are_heard_until_the_other_side_is_gone():
    assert heard(b"") == set()
    assert heard(b"written\n") == {"written"}
    assert heard(b"written\nhalf a wo") == {"written"}


def test_closed_is_the_last_word():
    assert heard(b"written\nclosed\n", close=False) == {"written", "closed"}


def test_a_rank_0_that_hangs_in_the_end_of_mpi_is_not_waited_for():
    assert heard(b"abandon\n", close=False) == {"abandon"}


def run_guard(words: bytes, folder: Path, rank0: int, launcher: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.supervise.watchdog", str(folder), str(rank0), str(launcher), "1"],
        input=words,
        timeout=60,
        env=mpi_jobs.environment(),
        cwd=mpi_jobs.ROOT,
        check=False,
    )
    assert done.returncode == 0


def test_a_job_that_closed_properly_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            run_guard(b"written\nclosed\n", tmp_path, stranger.pid, stranger.pid)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_rank_0_that_is_stuck_is_ended(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stuck:
        try:
            run_guard(b"written\n", tmp_path, stuck.pid, 0)
            assert stuck.wait(5) == -9
        finally:
            stuck.kill()


def test_ending_is_asked_for_before_it_is_forced(tmp_path):
    mark = tmp_path / "ready"
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f" open({str(mark)!r}, 'w'); time.sleep(60)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", deaf]) as stubborn,
        subprocess.Popen(["sleep", "60"]) as meek,
    ):
        try:
            mpi_jobs.wait_until(mark.exists, "the deaf process", 20)
            for process, limit in ((meek, 5.0), (stubborn, 0.2)):
                found = watchdog.identify(process.pid)
                assert found
                watchdog.end(found, limit)
            assert meek.wait(5) == -15
            assert stubborn.wait(5) == -9
        finally:
            stubborn.kill()
            meek.kill()


def test_who_is_gone_is_not_waited_for():
    begun = time.monotonic()
    assert watchdog.wait(watchdog.ProcessIdentity(1 << 22, 1), 30)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(("mpi", "status"), [(True, -9), (False, 7)])
def test_rank_0_ends_with_its_own_status_where_no_mpi_can_hold_it_up(tmp_path, mpi, status):
    script = (
        "import time; from pathlib import Path; from bench.supervise.watchdog import Watchdog;"
        f"dog = Watchdog(Path({str(tmp_path)!r}), False, {mpi}); dog.report('written'); dog.report('abandon');"
        "dog._process.stdin.close(); dog._process.wait(); raise SystemExit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=mpi_jobs.environment(), cwd=mpi_jobs.ROOT, timeout=60, check=False
    )
    assert done.returncode == status
