"""The fork that imports pandas and altair ahead: the same report, nothing beside what is measured, none left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mpi_jobs
import reports
import runs
from bench.cli import report_ahead
from bench.cli.page import write_report
from bench.cli.report_ahead import ReportAhead
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.store import RunError, load, save_verdicts


def judged(folder: Path) -> Evidence:
    found = judge(load(runs.folder(folder)), runs.LOCAL)
    save_verdicts(folder, found.verdicts, found.profile.name)
    return found


def drawn(folder: Path) -> dict[str, bytes]:
    """Every file of the report."""
    files = [*folder.glob("report.*"), *folder.glob("rows.*"), *(folder / "charts").iterdir()]
    return {str(each.relative_to(folder)): each.read_bytes() for each in files}


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def catches(pid: int, number: int) -> bool:
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


def until(holds) -> bool:
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_it_draws_what_this_process_would_and_rests_until_then(tmp_path, monkeypatch):
    found = judged(tmp_path / "run")
    write_report(found)
    wanted = drawn(found.run.path)
    for name in wanted:
        (found.run.path / name).unlink()
    with ReportAhead() as process:
        monkeypatch.setattr(report_ahead, "write_report", None)
        process.stop()
        assert until(lambda: state(process._pid) == "T")
        process.write(found)
    assert drawn(found.run.path) == wanted


def test_one_that_is_woken_before_it_is_ready_starts_the_renderer_beside(tmp_path, monkeypatch):
    found = judged(tmp_path / "run")
    here = "/proc/{0}/task/{0}/children"

    def get_ready():
        assert until(lambda: Path(here.format(os.getpid())).read_text())

    monkeypatch.setattr(reports, "get_ready", get_ready)
    with ReportAhead() as process:
        monkeypatch.setattr(report_ahead, "write_report", None)
        assert until(lambda: catches(process._pid, signal.SIGCONT))
        process.stop()
        process.write(found)
    assert (tmp_path / "run" / "charts" / "busbw-by-size.svg").exists()


def test_one_that_was_killed_costs_no_report(tmp_path):
    with ReportAhead() as process:
        os.kill(process._pid, signal.SIGKILL)
        process.stop()
        process.write(judged(tmp_path / "run"))
    assert (tmp_path / "run" / "report.html").exists()


def test_who_reads_what_rank_0_prints_does_not_wait_for_it():
    reading, writing = os.pipe()
    printed = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    with ReportAhead() as process:
        os.dup2(printed, 1)
        os.close(printed)
        assert until(lambda: name(process._pid) == report_ahead.NAME)
        ended = []
        threading.Thread(target=lambda: ended.append(os.read(reading, 1)), daemon=True).start()
        assert until(lambda: ended == [b""])
    os.close(reading)


READY = """
import sys
from pathlib import Path

import jinja2

import reports
from bench.judge.evidence import Evidence
from bench.model.profile import load as profile
from bench.store import load

reports.get_ready()
jinja2.Environment.compile = None
known = set(sys.modules)
reports.write(Evidence(load(Path(sys.argv[1])), profile("local")))
print(sorted(name for name in set(sys.modules) - known if name.startswith(("altair", "jinja2", "narwhals"))))
"""


def test_one_that_is_ready_compiles_no_template_and_loads_nothing_more_of_altair(tmp_path):
    folder = judged(tmp_path / "run").run.path
    done = subprocess.run(
        [sys.executable, "-c", READY, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert (folder / "charts" / "busbw-by-size.vl.json").exists()


@pytest.mark.parametrize("said", ["", "no JSON", "[]", "{}", "null"])
def test_an_answer_that_is_none_is_drawn_here(tmp_path, monkeypatch, said):
    monkeypatch.setattr(report_ahead, "_drawn", lambda connection: said.encode())
    asked = []
    monkeypatch.setattr(report_ahead, "write_report", lambda *of: asked.append(of))
    with ReportAhead() as process:
        process.write(judged(tmp_path / "run"))
    assert len(asked) == 1


def test_a_file_that_cannot_be_written_is_said_and_not_tried_twice(tmp_path, monkeypatch):
    found = judged(tmp_path / "run")
    (tmp_path / "run" / "charts").write_text("no folder")
    with ReportAhead() as process:
        monkeypatch.setattr(report_ahead, "write_report", None)
        with pytest.raises(RunError, match="cannot write .*charts"):
            process.write(found)


def test_none_is_left_of_a_run_that_draws_nothing(tmp_path):
    with ReportAhead() as process:
        process.stop()
        pid = process._pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside numpy's threads
def test_a_copy_of_rank_0_that_outlives_mpirun_ends_it_although_it_is_not_its_parent():
    with ReportAhead() as ahead:
        copy = os.fork()
        if copy == 0:
            with contextlib.suppress(BaseException):
                ahead.__exit__(None, None, None)
                os._exit(0)
            os._exit(1)
        assert os.waitpid(copy, 0)[1] == 0


def test_one_that_is_stopped_ends_with_the_run_that_started_it():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(
            signal.SIGHUP, signal.SIG_IGN
        )  # by which the kernel ends a stopped job without a parent
        report_ahead._drawn = lambda _: signal.pause()
        process = ReportAhead()
        os.write(writing, str(process._pid).encode())
        signal.pause()
        os._exit(0)
    pid = int(os.read(reading, 20))
    assert until(lambda: name(pid) == report_ahead.NAME)  # it has asked the kernel by then
    os.kill(pid, signal.SIGSTOP)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert until(lambda: not Path(f"/proc/{pid}").exists() or state(pid) == "Z")


@pytest.mark.torch
def test_a_run_on_this_machine_measures_while_it_rests(tmp_path):
    folder = tmp_path / "run"
    sizes = ["-b", "1K", "-e", "1M", "-n", "300"]
    job = mpi_jobs.start("run", "all_reduce", "--ranks", "2", *sizes, "--out", folder)
    journal = folder / "journal.jsonl"
    assert until(lambda: journal.exists() and '"kind":"measurement"' in journal.read_text())
    seen = [state(pid) for pid in below(job.pid)]
    measured = journal.read_text().count('"kind":"measurement"')
    printed, errors = job.communicate(timeout=mpi_jobs.LIMIT)
    assert job.returncode == 0, printed + errors
    assert measured < 11 and seen == ["T"]
    assert (folder / "report.html").exists()


def below(pid: int) -> list[int]:
    """The processes beneath one that are there to draw its report."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [child for each in children for child in below(int(each))]
    return [*found, *([pid] if name(pid) == report_ahead.NAME else [])]
