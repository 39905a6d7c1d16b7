"""How the jobs that start mpirun end, when mpirun says what it does and the run folder what it does.

What mpirun does here, Open MPI 5 does: it ends with 0 when its daemon on a node is killed (ci/lab/README.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import runs
from helm_chart import rendered

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "ci" / "jobs"

MPIRUN = r"""#!/bin/bash
# as much of mpirun as the job files ask of it: its name, a job that leaves $LEAVES and ends with $ENDS, and one rank
[ "$1" != --version ] || { echo "mpirun (Open MPI) 5.0.11"; exit 0; }
while [ $# -gt 0 ]; do
    case $1 in
        railgauge)
            while [ "$1" != --out ]; do shift; done
            [ -z "$LEAVES" ] || cp -r "$LEAVES" "$2"
            exit "$ENDS" ;;
        bash)
            [ -z "$DEAF" ] || exit 0
            bash "${@:2:2}" "$OUT" # the claim is mounted elsewhere
            exit 0 ;;
    esac
    shift
done
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Run folders as a job may leave them."""
    home = tmp_path_factory.mktemp("left")
    cases = runs.cases()
    right = [row for case in cases for row in runs.measured(case)]
    wrong = [replace(row, wrong=(3, 0)) for row in right]
    return {
        "nothing": "",
        "passed": runs.folder(home / "passed", right),
        "failed": runs.folder(home / "failed", wrong),
        "broken off": runs.folder(home / "broken off", right[:2], end=False),
    }


@pytest.fixture
def place(tmp_path):
    """A folder with mpirun and railgauge in the virtual environment that the jobs activate."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, text in (
        ("mpirun", MPIRUN),
        ("railgauge", f'#!/bin/bash\nexec {sys.executable} -m bench "$@"\n'),
        ("activate", f'PATH="{programs}:$PATH"\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return tmp_path


def slurm(place: Path, **told: str) -> subprocess.CompletedProcess[str]:
    script = JOBS / "slurm" / "accept-mpirun.sbatch"
    return done(place, ["bash", str(script), "local"], SLURM_JOB_ID="7", SLURM_NTASKS="16", **told)


def kubernetes(place: Path, **told: str) -> subprocess.CompletedProcess[str]:
    (job,) = rendered()
    container = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    out = str(place / "runs" / "slurm-7")
    words = [word.replace("/runs/$(JOB)", out) for word in (*container["command"], *container["args"])]
    path = f"{place}/.venv/bin:{os.environ['PATH']}"
    return done(
        place,
        [word.replace("/tmp/judged", f"{place}/judged") for word in words],
        PATH=path,
        JOB="7",
        OUT=out,
        **told,
    )


def done(place: Path, words: list[str], **told: str) -> subprocess.CompletedProcess[str]:
    (place / "runs").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEAF": "", **told}
    return subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("job", [slurm, kubernetes])
@pytest.mark.parametrize(
    ("leaves", "ends", "status"),
    [
        ("passed", 0, 0),
        ("failed", 1, 1),
        ("failed", 0, 1),  # what mpirun says of a pass and of a dead daemon
        ("broken off", 0, 3),
        ("nothing", 0, 3),
        ("nothing", 1, 3),  # mpirun's own fault is no verdict on a cluster
        ("broken off", 137, 3),
        ("nothing", 2, 2),
        ("passed", 3, 3),  # the verdict could not be saved, say
    ],
)
def test_a_job_ends_by_the_verdict_and_not_by_mpiruns_word(place, left, job, leaves, ends, status):
    found = job(place, LEAVES=str(left[leaves]), ENDS=str(ends))
    assert found.returncode == status, found.stdout + found.stderr


def test_a_verdict_that_does_not_come_back_from_the_first_worker_is_none(place, left):
    found = kubernetes(place, LEAVES=str(left["passed"]), ENDS="0", DEAF="1")
    assert found.returncode == 3, found.stdout + found.stderr
