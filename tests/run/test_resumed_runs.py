"""A real run whose launcher is killed goes on where it stopped, on the cluster that it began on and on no other."""

import json
import os
import signal

import pytest

import mpi_jobs
from bench.measure import forkserver
from bench.model.verdict import Status
from bench.store import JOURNAL, load
from bench.store.case_progress import case_progress

pytestmark = [pytest.mark.mpi, pytest.mark.torch]
CASES = 3


WORDS = ("run", "all_reduce", "-b", "1K", "-e", "16K", "-f", "4", "--precision", "0.01%")


def launcher(pid):
    """The mpirun that a command started."""
    names = ("mpirun", "prterun", "mpiexec")
    found = mpi_jobs.descendants(pid).items()
    return next(child for child, text in found if text.partition(" ")[0].endswith(names))


def worker(pid):
    """A process of a command that measures."""
    found = mpi_jobs.descendants(pid)
    return max(child for child in found if mpi_jobs.called(child) == forkserver.CHILD)


def killed(out, *words, more=None, victim=launcher):
    """The run folder of a command of which one process was killed after the first case: its mpirun, or another."""
    job = mpi_jobs.start(*words, "--ranks", "2", "--out", out, more=more)
    try:
        mpi_jobs.wait_until(
            lambda: (out / JOURNAL).exists() and '"measurement"' in (out / JOURNAL).read_text(), "a row"
        )
        below = list(mpi_jobs.descendants(job.pid))
        os.kill(victim(job.pid), signal.SIGKILL)
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(below), "the end of every process")
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 3, said + complaint
    return load(out)


def test_a_killed_run_goes_on_at_its_missing_cases_and_is_whole_in_the_end(tmp_path):
    out = tmp_path / "run"
    conf = tmp_path / "nccl.conf"
    conf.write_text("NCCL_IB_HCA=^=mlx5_0\n")
    told = {"NCCL_CONF_FILE": str(conf)}
    before = case_progress(killed(out, *WORDS, more=told))
    assert 0 < len(before.measured) < CASES
    journal = (out / JOURNAL).read_bytes()

    other = mpi_jobs.railgauge("resume", out, more={**told, "GLOO_SOCKET_IFNAME": "lo"})
    assert other.returncode == 3 and "GLOO_SOCKET_IFNAME was not set, is lo" in other.stderr
    assert (out / JOURNAL).read_bytes() == journal

    conf.write_text("NCCL_IB_HCA=mlx5_0\n")
    other = mpi_jobs.railgauge("resume", out, more=told)
    assert other.returncode == 3 and (out / JOURNAL).read_bytes() == journal
    assert f"lines of {conf} were 'NCCL_IB_HCA=^=mlx5_0', are 'NCCL_IB_HCA=mlx5_0'" in other.stderr
    conf.write_text("NCCL_IB_HCA=^=mlx5_0\n")

    done = mpi_jobs.railgauge("resume", out, more=told)
    assert f"resumed: {before.text}" in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / JOURNAL).read_bytes().startswith(journal)
    run = load(out)
    assert len(case_progress(run).measured) == CASES and run.ended is not None
    assert run.earlier >= before.measured
    assert {verdict.status for verdict in run.verdicts} <= {Status.PASS, Status.NOT_APPLICABLE}

    again = mpi_jobs.railgauge("resume", out, more=told)
    assert again.returncode == 0 and f"complete: {CASES} of {CASES} cases are reused" in again.stdout


def whole(out):
    """A run that was resumed: every case measured once, nothing against it, what was lost is a note."""
    run = load(out)
    rows = [row for line in (out / JOURNAL).read_text().splitlines() if (row := json.loads(line))]
    measured = [row["case"] for row in rows if row["kind"] == "measurement"]
    assert len(measured) == len(set(measured)) == CASES and run.ended is not None
    assert {verdict.status for verdict in run.verdicts} <= {Status.PASS, Status.NOT_APPLICABLE}
    return run


def test_of_two_resumes_at_once_one_measures_and_the_other_touches_nothing(tmp_path):
    out = tmp_path / "run"
    killed(out, *WORDS)
    both = [mpi_jobs.start("resume", out) for _ in range(2)]
    said = [job.communicate(timeout=mpi_jobs.LIMIT) for job in both]
    whole(out)
    codes = sorted(job.returncode for job in both)
    if codes == [0, 0]:  # the second came when the first had ended
        assert sum("is complete" in text for text, _ in said) == 1, said
        return
    ((_, errors),) = [text for text, job in zip(said, both, strict=True) if job.returncode]
    assert codes == [0, 2] and "is still being written" in errors and "Traceback" not in errors, said


def test_a_worker_that_was_killed_once_is_history_when_resume_has_measured_its_case(tmp_path):
    out = tmp_path / "run"
    run = killed(out, *WORDS, victim=worker)
    (case,) = {loss.case for loss in run.losses if loss.died}
    assert case in case_progress(run).missing
    done = mpi_jobs.railgauge("resume", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("SIGKILL" in note for note in whole(out).notes)
