"""The main job on real ranks: real mpirun, real torch.distributed, real faults."""

import json
import os
import signal
from pathlib import Path

import pytest

import mpi_jobs
from bench.model.collectives import COLLECTIVES
from bench.model.verdict import Status
from bench.store import load
from bench.store.rows import rows

pytestmark = [pytest.mark.mpi, pytest.mark.torch]

CORRUPT = """
# a test's hook: the worker of rank 1 finds one element of a result changed
import os, sys
with open("/proc/self/cmdline") as file:
    words = file.read().split("\\0")
if "bench.measure.worker" in words:
    import torch.distributed as dist
    honest = dist.all_reduce
    def all_reduce(tensor, *args, **kwargs):
        done = honest(tensor, *args, **kwargs)
        if dist.get_rank() == 1 and tensor.numel() > 1000:
            tensor[617] += 1
        return done
    dist.all_reduce = all_reduce
"""


@pytest.fixture
def fast(tmp_path: Path) -> Path:
    return mpi_jobs.profile(tmp_path)


@pytest.mark.parametrize("ranks", [1, 3])
def test_every_collective_is_measured_and_right(tmp_path, fast, ranks):
    out = tmp_path / "run"
    done = mpi_jobs.railgauge("accept", "--profile", fast, "--ranks", str(ranks), "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    run = load(out)
    measured = {row.case.collective for row in rows(run)}
    wanted = set(COLLECTIVES) if ranks > 1 else {name for name in COLLECTIVES if not name.startswith("p2p")}
    assert measured == wanted
    assert all(row.wrong == 0 and row.measurement.checked > 0 for row in rows(run))
    assert len(run.manifest.ranks) == ranks
    assert {verdict.status for verdict in run.verdicts} == {Status.PASS, Status.NOT_APPLICABLE}
    assert "PASS" in (out / "report.md").read_text()
    assert "mpirun" in done.stderr or ranks == 1


def test_every_type_reduction_root_and_placement_is_right_on_three_ranks(tmp_path):
    from every_case import sweeps

    script = Path(__file__).with_name("every_case.py")
    done = mpi_jobs.mpirun(3, script, tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    run = load(tmp_path / "run")
    assert all(row.wrong == 0 and row.measurement.checked for row in rows(run))
    seen = {(row.case.collective, row.case.dtype, row.case.op, max(row.case.root, 0)) for row in rows(run)}
    wanted = {
        (each.collective, each.dtype, each.op if COLLECTIVES[each.collective].reduces else "none", each.root)
        for each in sweeps()
    }
    assert seen == wanted
    assert len(wanted) > 200


def test_a_corrupted_result_fails_and_names_rank_and_index(tmp_path, fast):
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(CORRUPT)
    done = mpi_jobs.railgauge(
        "accept", "--profile", fast, "--ranks", "3", "--out", tmp_path / "run", more={"PYTHONPATH": str(hook)}
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "at rank 1 index 617" in done.stdout
    failed = [v for v in load(tmp_path / "run").verdicts if v.status is Status.FAIL]
    assert [v.subject for v in failed] == ["collectives/all_reduce/65536/float32/sum/in"]


def test_a_killed_worker_costs_its_case_and_no_other(tmp_path):
    slow = mpi_jobs.profile(tmp_path, mpi_jobs.SLOW)
    out = tmp_path / "run"
    job = mpi_jobs.start("accept", "--profile", slow, "--ranks", "2", "--out", out, "--hang", "20s")
    try:
        mpi_jobs.wait_until(lambda: journal(out).count('"measurement"') == 2, "the second row")
        victim = mpi_jobs.workers(job.pid)[1]
        os.kill(victim, signal.SIGKILL)
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
    finally:
        mpi_jobs_end(job)
    assert job.returncode == 3, said + complaint
    run = load(out)
    assert len(run.losses) == 1
    assert "was killed by SIGKILL" in run.losses[0].reason
    measured = {m.case for m in run.measurements}
    assert measured == {case.id for case in run.plan.cases} - {run.losses[0].case}
    assert "SIGKILL" in (out / "report.html").read_text()


def test_a_stopped_worker_is_named_and_the_run_goes_on(tmp_path, fast):
    out = tmp_path / "run"
    slow = mpi_jobs.profile(tmp_path, mpi_jobs.SLOW)
    job = mpi_jobs.start("accept", "--profile", slow, "--ranks", "2", "--out", out, "--hang", "6s")
    try:
        mpi_jobs.wait_until(lambda: journal(out).count('"measurement"') == 2, "the second row")
        os.kill(mpi_jobs.workers(job.pid)[1], signal.SIGSTOP)
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
    finally:
        mpi_jobs_end(job)
    assert job.returncode == 3, said + complaint
    run = load(out)
    assert "last heartbeat" in run.losses[0].reason
    assert len(run.losses) == 1
    assert run.ended is not None


def test_an_interrupt_ends_everything_and_keeps_what_was_measured(tmp_path):
    out = tmp_path / "run"
    slow = mpi_jobs.profile(tmp_path, mpi_jobs.SLOW)
    job = mpi_jobs.start("accept", "--profile", slow, "--ranks", "2", "--out", out)
    try:
        mpi_jobs.wait_until(lambda: journal(out).count('"measurement"') == 2, "the second row")
        below = list(mpi_jobs.descendants(job.pid))
        os.kill(job.pid, signal.SIGINT)
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(below), "the end of every process")
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
    finally:
        mpi_jobs_end(job)
    assert job.returncode == 3, said + complaint
    assert "interrupted" in complaint
    assert len(load(out).measurements) >= 2
    assert "INCONCLUSIVE" in said
    assert f"railgauge report {out}" in complaint
    assert f"railgauge resume {out}" in complaint


def test_a_supervisor_that_dies_ends_the_job_and_the_report_is_written_all_the_same(tmp_path):
    out = tmp_path / "run"
    slow = mpi_jobs.profile(tmp_path, mpi_jobs.SLOW)
    job = mpi_jobs.start("accept", "--profile", slow, "--ranks", "2", "--out", out)
    try:
        mpi_jobs.wait_until(lambda: journal(out).count('"measurement"') == 2, "the second row")
        below = list(mpi_jobs.descendants(job.pid))
        chief = json.loads((out / "manifest.json").read_text())["settings"]["pid"]
        os.kill(chief, signal.SIGKILL)
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(below), "the end of every process")
    finally:
        mpi_jobs_end(job)
    assert job.returncode == 3, said + complaint
    assert "the run did not finish" in complaint
    assert (out / "report.html").exists()


def test_a_supervisor_that_is_killed_is_named_although_its_launcher_ends_all_the_others(tmp_path):
    # Open MPI leaves rank 0 half a second to say it, which may be too little on a machine that does much else
    runs = (killed(tmp_path / str(number)) for number in range(4))
    (loss,) = next((losses for losses in runs if losses), ()) or [None]
    assert loss is not None, "in none of four runs was anybody named"
    assert loss.culprit.endswith("(rank 2)")
    assert "its supervisor is gone: it closed the connection" in loss.reason


def killed(folder):
    """What was lost in a run whose third supervisor is killed; the report is there in any case."""
    folder.mkdir()
    out = folder / "run"
    slow = mpi_jobs.profile(folder, mpi_jobs.SLOW)
    job = mpi_jobs.start("accept", "--profile", slow, "--ranks", "3", "--out", out)
    try:
        mpi_jobs.wait_until(lambda: journal(out).count('"measurement"') == 2, "the second row")
        below = list(mpi_jobs.descendants(job.pid))
        os.kill(mpi_jobs.supervisor(below, 2), signal.SIGKILL)
        said, complaint = job.communicate(timeout=mpi_jobs.LIMIT)
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(below), "the end of every process")
    finally:
        mpi_jobs_end(job)
    assert job.returncode == 3, said + complaint
    assert (out / "report.html").exists()
    return load(out).losses


def test_the_run_command_prints_nccl_tests_table(tmp_path):
    done = mpi_jobs.railgauge(
        "run",
        "all_gather",
        "-b",
        "1K",
        "-e",
        "4K",
        "-f",
        "2",
        "-n",
        "5",
        "-w",
        "1",
        "--ranks",
        "2",
        "--out",
        tmp_path / "run",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = [
        line.split() for line in done.stdout.partition("# Out of bounds")[0].splitlines() if line[:1] == " "
    ]
    assert [line[0] for line in table] == ["1024", "2048", "4096"]
    assert all(len(line) == 13 for line in table)
    assert "# Avg bus bandwidth" in done.stdout


def test_what_does_not_fit_is_refused_and_the_rest_is_measured(tmp_path):
    done = mpi_jobs.railgauge(
        "run",
        "all_reduce",
        "-b",
        "1K",
        "-e",
        "1T",
        "-f",
        "1073741824",
        "-n",
        "2",
        "-w",
        "1",
        "--ranks",
        "2",
        "--out",
        tmp_path / "run",
    )
    assert done.returncode == 3
    assert "not measured: run/all_reduce/1099511627776" in done.stderr
    assert "available on" in done.stderr
    assert "1024" in done.stdout


def journal(out: Path) -> str:
    try:
        return (out / "journal.jsonl").read_text()
    except OSError:
        return ""


def mpi_jobs_end(job) -> None:
    """End what a failed test left behind: our own process group and nothing else."""
    for pid in [*mpi_jobs.descendants(job.pid), job.pid]:
        try:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    job.communicate()
