"""Job files: each parsed by whoever will read it, where that is installed, and held against what it must say."""

from __future__ import annotations

import configparser
import fcntl
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.model.profile import names

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "ci" / "jobs"
SBATCH = sorted((JOBS / "slurm").glob("*.sbatch"))
GATES = [JOBS / "slurm" / name for name in ("healthcheck", "prolog", "epilog")]
SCRIPTS = [*SBATCH, *GATES, JOBS / "venv" / "install"]
YAML = sorted(
    path for path in (*JOBS.rglob("*.yaml"), *JOBS.rglob("*.yml")) if path.parent.name != "templates"
)


def asked(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=60, check=False)


def loaded(path: Path) -> list:
    return list(yaml.safe_load_all(path.read_text()))


def test_every_file_is_spoken_of_in_the_readme():
    told = (JOBS / "README.md").read_text()
    for path in JOBS.rglob("*"):
        if path.is_file() and path.name != "README.md" and "chart" not in path.parts:
            assert path.name in told or path.suffix == ".timer", path


def test_every_profile_that_is_named_exists():
    for path in JOBS.rglob("*"):
        if path.is_file():
            for name in re.findall(
                r"--profile[ =]([a-z0-9][a-z0-9-]+)|profile=\$\{1:-([a-z0-9-]+)\}", path.read_text()
            ):
                assert (name[0] or name[1]) in names(), path


# scripts


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_for_bash(path):
    assert path.read_text().startswith(("#!/bin/bash\n", "#!/usr/bin/env bash\n"))
    done = asked("bash", "-n", path)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path):
    done = asked("shellcheck", "--shell=bash", path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", GATES[1:], ids=lambda path: path.name)
def test_a_prolog_calls_no_command_of_slurm(path):
    """Slurm's manual forbids it: a prolog of every node that asks slurmctld at once brings it down."""
    code = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert not re.search(r"\b(scontrol|squeue|sinfo|sacct|scancel|srun)\b", "\n".join(code))


@pytest.mark.parametrize("path", SBATCH, ids=lambda path: path.name)
def test_a_slurm_job_says_what_it_needs_before_its_first_command(path):
    head = path.read_text().partition("set -euo pipefail")[0]
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", head, re.M))
    assert {"job-name", "nodes", "exclusive", "time", "output"} <= set(options)
    assert options["ntasks-per-node"] == options["gpus-per-node"] == "8"
    assert path.read_text().count("#SBATCH") == len(options)
    last = path.read_text().rstrip().splitlines()
    # the job's status is railgauge's
    assert any(line.startswith("exec srun ") for line in last[-3:]) or last[-1] == 'exit "$status"'


# of four nodes, those in the file are drained: a line is NODE|REASON
SINFO = """#!/bin/sh
case "$*" in
*%E*) cat {drained} ;;
*) printf 'n0\\nn1\\nn2\\nn3\\n' ;;
esac
"""
SCONTROL = """#!/bin/sh
case "$*" in
*show*) echo "NodeName=n2 State=IDLE $(sed -n 's/^n2|\\(.*\\)/ Reason=\\1 [root@now]/p' {drained})" ;;
*State=DRAIN*) echo "$@" >> {told}
    for last in "$@"; do :; done
    echo "n2|${{last#Reason=}}" >> {drained}
    cat {race} >> {drained} ;;
*) echo "$@" >> {told} ;;
esac
"""


FAULT = "FAIL: n2 eth1: state is down"


def health_check(
    tmp_path: Path, status: int, drained: str = "", race: str = "", at_most: str = "5", line: str = FAULT
) -> list[str]:
    """What scontrol is told on n2 by the health check after a gate with this status; ``race``: drained meanwhile."""
    files = {name: tmp_path / name for name in ("drained", "race", "told")}
    for name, text in (("drained", drained), ("race", race), ("told", "")):
        files[name].write_text(text)
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    gate = f"#!/bin/sh\nprintf '{line}'\nexit {status}\n"
    for name, text in (("railgauge", gate), ("sinfo", SINFO), ("scontrol", SCONTROL)):
        (folder / name).write_text(text if name == "railgauge" else text.format(**files))
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:/usr/bin:/bin", "RAILGAUGE_VENV": str(tmp_path), "SLURMD_NODENAME": "n2",
        "RAILGAUGE_AT_MOST": at_most, "RAILGAUGE_LOCK": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run([JOBS / "slurm" / "healthcheck"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return files["told"].read_text().splitlines()


DRAIN = "update NodeName=n2 State=DRAIN Reason=railgauge gate: FAIL: n2 eth1: state is down"
RESUME = "update NodeName=n2 State=RESUME"


@pytest.mark.parametrize(
    ("status", "drained", "told"),
    [
        (1, "", [DRAIN]),
        (0, "", []),
        (3, "", []),
        (127, "", []),
        (1, "n2|Prolog error\n", [DRAIN]),
        (1, "n2|new fan\n", []),
        (0, "n2|new fan\n", []),
        (0, "n2|railgauge gate: FAIL: n2 eth1: state is down\n", [RESUME]),
        (3, "n2|railgauge gate: FAIL: n2 eth1: state is down\n", []),
        (0, "n2|railgauge: n2 rail eth1 runs at 49 % of its peers' rate\n", []),
        (1, "n2|railgauge: n2 rail eth1 runs at 49 % of its peers' rate\n", []),
    ],
)
def test_the_health_check_drains_and_resumes_only_what_is_its_own(
    tmp_path: Path, status: int, drained: str, told: list[str]
) -> None:
    assert health_check(tmp_path, status, drained) == told


@pytest.mark.parametrize(
    ("drained", "race", "at_most", "told"),
    [
        ("n0|railgauge gate: FAIL\n", "", "5", []),
        ("n0|railgauge: is slow\n", "", "5", []),
        ("n0|new fan\n", "", "5", [DRAIN]),
        ("n0|railgauge gate: FAIL\n", "", "50", [DRAIN]),
        ("n0|railgauge gate: FAIL\nn1|railgauge: is slow\n", "", "50", []),
        ("", "n0|railgauge gate: FAIL\n", "5", [DRAIN, RESUME]),
        ("", "n3|railgauge gate: FAIL\n", "5", [DRAIN]),
    ],
)
def test_the_health_check_leaves_a_node_in_work_when_enough_are_drained(
    tmp_path: Path, drained: str, race: str, at_most: str, told: list[str]
) -> None:
    assert health_check(tmp_path, 1, drained, race, at_most) == told


def test_a_gate_that_prints_nothing_drains_nobody_and_holds_up_no_job(tmp_path: Path) -> None:
    """A Python that cannot be started, or lacks a library, ends with 1 as a FAIL does."""
    assert health_check(tmp_path, 1, line="") == []
    environment = {"PATH": "/usr/bin:/bin", "RAILGAUGE_VENV": str(tmp_path)}
    prolog = subprocess.run(
        [JOBS / "slurm" / "prolog"], env=environment, capture_output=True, text=True, check=False
    )
    assert (prolog.returncode, prolog.stderr) == (0, "railgauge gate: it could not start, exit status 1\n")
    assert health_check(tmp_path, 1) == [DRAIN]
    prolog = subprocess.run(
        [JOBS / "slurm" / "prolog"], env=environment, capture_output=True, text=True, check=False
    )
    assert (prolog.returncode, prolog.stderr) == (1, f"railgauge gate: {FAULT}\n")


def test_the_plugin_of_node_problem_detector_calls_no_node_sick_without_a_line(tmp_path: Path) -> None:
    script = loaded(JOBS / "kubernetes" / "gate.yaml")[1]["data"]["railgauge-gate.sh"]
    (tmp_path / "railgauge").write_text('#!/bin/sh\nprintf "$SAYS"\nexit "$ENDS"\n')
    (tmp_path / "railgauge").chmod(0o755)
    script = script.replace("/opt/railgauge/bin", str(tmp_path))
    for says, ends, status in (
        (FAULT, "1", 1),
        ("", "1", 2),
        ("PASS: n2", "0", 0),
        ("INCONCLUSIVE: n2", "3", 2),
    ):
        environment = {"PATH": "/usr/bin:/bin", "SAYS": says, "ENDS": ends}
        assert subprocess.run(["bash", "-c", script], env=environment, check=False).returncode == status


def test_a_second_health_check_does_nothing_while_the_first_one_runs(tmp_path: Path) -> None:
    with (tmp_path / "railgauge-healthcheck.n2").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert health_check(tmp_path, 1) == []
    assert health_check(tmp_path, 1) == [DRAIN]


def bare(tmp_path: Path, **programs: str) -> dict[str, str]:
    """An environment in which these programs are found and beside them only the shell's own tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for tool in ("bash", "dirname", "basename", "grep", "env", "cat", "sed", "mkdir"):
        (folder / tool).symlink_to(shutil.which(tool))
    return {"PATH": str(folder), "HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ({}, "no python3; set PYTHON"),
        ({"python3": "#!/bin/sh\nexit 0\n"}, "no mpirun on PATH"),
        ({"python3": "#!/bin/sh\nexit 0\n", "mpirun": "#!/bin/sh\n"}, "has no torch; set PYTHON"),
    ],
)
def test_the_venv_recipe_changes_nothing_where_there_is_nothing_to_leave_alone(tmp_path, programs, words):
    out = tmp_path / "venv"
    done = subprocess.run(
        ["bash", str(JOBS / "venv" / "install"), str(out)],
        capture_output=True,
        text=True,
        env=bare(tmp_path, **programs),
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert words in done.stderr
    assert not out.exists()


# Kubernetes


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_read(path):
    assert all(isinstance(document, dict) for document in loaded(path))


# systemd, cron


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, allow_no_value=False)
    parser.optionxform = str
    parser.read_string((JOBS / "systemd" / name).read_text())
    return parser


def test_the_units_fit_together():
    service, timer = unit("railgauge-nightly.service"), unit("railgauge-nightly.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["ExecStart"].startswith("/")
    assert {"TimeoutStartSec", "User", "UMask"} <= set(service["Service"])
    assert timer["Timer"]["OnCalendar"] and timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path):
    for name in ("railgauge-nightly.service", "railgauge-nightly.timer"):
        text = (JOBS / "systemd" / name).read_text()
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.M)
        text = re.sub(r"^User=\S+", "User=root", text, flags=re.M)
        (tmp_path / name).write_text(text)
    done = asked("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir()))
    mine = [line for line in done.stderr.splitlines() if "railgauge" in line]
    assert mine == []
    done = asked("systemd-analyze", "calendar", unit("railgauge-nightly.timer")["Timer"]["OnCalendar"])
    assert done.returncode == 0, done.stderr


def test_the_cron_line_has_a_time_a_user_and_one_line():
    lines = [
        line
        for line in (JOBS / "systemd" / "railgauge.cron").read_text().splitlines()
        if line and not line.startswith("#") and not re.match(r"[A-Z]+=", line)
    ]
    assert len(lines) == 1
    *when, user, command = lines[0].split(maxsplit=6)
    assert all(re.fullmatch(r"\*|\d+", field) for field in when[:5]) and user == "railgauge"
    assert "%" not in command  # cron ends the command there
    assert "flock" in command and "timeout" in command


# GitHub, container, conda


def test_the_workflow_runs_on_the_cluster_one_night_at_a_time():
    workflow = loaded(JOBS / "github" / "nightly.yml")[0]
    job = workflow["jobs"]["nightly"]
    assert "self-hosted" in job["runs-on"] and job["timeout-minutes"] <= 60
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert workflow["permissions"] == {"contents": "read"}
    for step in job["steps"]:
        # what GitHub puts into a script is put there as text: a name must not become code
        assert "${{" not in step.get("run", "")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(
        r"\\\n", " ", re.sub(r"^#.*\n", "", (JOBS / "container/Dockerfile").read_text(), flags=re.M)
    )
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def test_the_image_is_made_of_what_is_here():
    rows = instructions()
    known = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "CMD"}  # SHELL is not heard by buildah
    assert {name for name, _ in rows} == known
    assert [name for name, _ in rows[:2]] == ["ARG", "FROM"]
    for name, rest in rows:
        for source in rest.split()[:-1] if name == "COPY" else ():
            assert (ROOT / source).exists(), source
        if name == "RUN":
            assert asked("sh", "-n", "-c", rest).returncode == 0, rest
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = " ".join(rest for name, rest in rows if name == "COPY")
    for needed in ("README.md", "setup.py", *project["project"]["license-files"], "bench", "reports"):
        assert needed in copied


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say():
    done = asked("hadolint", JOBS / "container" / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_conda_environment_has_what_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["nightly"]]
    rows = loaded(JOBS / "conda" / "environment.yml")[0]["dependencies"]
    conda = {re.split(r"[<>= ]", row)[0]: row for row in rows if isinstance(row, str)}
    for requirement in needed:
        name, _, bounds = re.match(r"([a-z0-9_-]+)((.*))", requirement.partition(";")[0]).groups()
        if name in ("tomli",):  # for Python 3.10; the environment's is newer
            continue
        other = {"typst": "typst-py"}.get(name, name)
        assert other in conda, requirement
        assert conda[other].partition(other)[2] == bounds.strip(), requirement
    assert {"python", "pip", "openmpi", "pytorch-gpu"} <= set(conda)


def test_no_job_file_holds_a_secret_or_a_private_place():
    for path in JOBS.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"(?i)(password|token|secret)\s*[:=]\s*['\"]?[A-Za-z0-9]{8,}", text), path
            assert "/root/" not in text.replace("/root/.ssh", ""), path
