"""railgauge plan: on a laptop, as text and as JSON."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import mpi_jobs
from bench.model.measurement import Rank
from bench.model.profile import load
from bench.plan import AcceptOptions
from bench.plan.estimate import estimate
from bench.run.bootstrap import memory
from bench.run.options import Options
from bench.run.planning import dry_run, make_plan
from made_nodes import nodes

WORDS = ("plan", "--profile", "lambda-1cc-h100", "--nodes", "8")


def railgauge(*words):
    return subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, timeout=60)


def test_the_json_object_is_the_estimate():
    done = json.loads(railgauge(*WORDS, "--json").stdout)
    found = estimate(load("lambda-1cc-h100"), 8, 8, AcceptOptions())
    assert done["schema"] == "railgauge plan" and done["nodes"] == 8 and done["gpus_per_node"] == 8
    assert done["seconds"] == found.seconds
    assert [phase["name"] for phase in done["phases"]] == [phase.name for phase in found.phases]
    assert {"what": "cross", "reason": "not asked for: --cross-rail"} in done["left_out"]


def test_the_table_names_each_phase_the_time_and_what_is_left_out():
    lines = railgauge(*WORDS).stdout.splitlines()
    assert lines[0].split()[:2] == ["phase", "cases"]
    assert any(line.startswith("collectives ") for line in lines)
    assert any(line.startswith("8 nodes with 8 ranks each, nccl: ") for line in lines)
    assert "left out: cross: not asked for: --cross-rail" in lines


def test_what_a_time_limit_covers_is_not_shown_as_left_out():
    said = railgauge(*WORDS, "--budget", "1h").stdout
    assert "time limit:\n  the run takes up to" in said and "left out: budget" not in said


HEAVY = """
import sys
from bench.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
assert not {"torch", "mpi4py", "pandas"} & set(sys.modules)
"""


def test_nothing_heavy_is_imported():
    done = subprocess.run([sys.executable, "-c", HEAVY, *WORDS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("phase"), done.stderr


def test_too_many_nodes_and_too_little_time_are_one_line():
    for words in (("--nodes", "1"), ("--budget", "5s")):
        done = railgauge(*WORDS, *words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus-per-node", "9"), "profile lambda-1cc-h100 is for nodes of 8 GPUs, not of 9"),
        (("--gpus", "x"), "Invalid value for '--gpus-per-node' / '--gpus': 'x' is not a valid whole number"),
    ],
)
def test_a_wrong_number_of_gpus_is_one_line(words, said):
    done = railgauge(*WORDS, *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def job(machines, budget=None, **changes):
    """A dry run of two nodes with 8 GPUs each, and the plan of a real one."""
    made = [replace(one, **changes) for one in nodes(machines)]
    ranks = tuple(Rank(at, made[at // 8].name, at % 8) for at in range(8 * machines))
    gpus = {rank.rank: rank.local_rank for rank in ranks}
    options = Options(load("lambda-1cc-h100"), "nowhere", (), accept=AcceptOptions(budget=budget))
    room = memory(ranks, made, "nccl", gpus)
    plan = make_plan(options, ranks, "nccl", room, made, gpus)
    return dry_run(options, ranks, "nccl", made, gpus), plan


@pytest.mark.parametrize("budget", [None, 240.0])
def test_a_dry_run_shows_what_the_run_would_measure(budget):
    found, plan = job(2, budget)
    assert [(phase.name, phase.cases, phase.seconds) for phase in found.phases] == [
        (phase.name, len(phase.cases), phase.seconds) for phase in plan.phases
    ]
    assert set(plan.skipped) == set(found.left_out)
    assert ("budget" in dict(found.left_out)) == (budget is not None)


def test_what_does_not_fit_into_memory_is_left_out_of_a_dry_run():
    whole, _ = job(2)
    small = [replace(gpu, memory_free=6 << 30) for gpu in nodes(1)[0].gpus]
    found, plan = job(2, gpus=tuple(small))
    assert sum(phase.cases for phase in found.phases) == len(plan.cases)
    assert len(plan.cases) < sum(phase.cases for phase in whole.phases)
    assert any("available on GPU" in reason for _, reason in found.left_out)


@pytest.mark.mpi
@pytest.mark.torch
def test_a_dry_run_under_mpirun_prints_the_plan_and_leaves_nothing(tmp_path):
    words = ("accept", "--profile", "local", "--ranks", "2", "--dry-run", "--json")
    started = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    out, err = started.communicate(timeout=mpi_jobs.LIMIT)
    found = json.loads(out)
    wanted = json.loads(railgauge("plan", "--profile", "local", "--nodes", "1", "--json").stdout)
    assert started.returncode == 0, err
    assert (found["nodes"], found["ranks"], found["backend"]) == (1, 2, "gloo")
    assert (found["phases"], found["seconds"]) == (wanted["phases"], wanted["seconds"])
    assert not list(tmp_path.iterdir())


def test_json_of_a_run_is_asked_of_judge():
    done = railgauge("accept", "--json")
    assert done.returncode == 2 and "railgauge judge RUN --json" in done.stderr
    assert json.loads(done.stdout)["schema"] == "railgauge error"
