"""The command line as a person meets it: one clear line for each mistake, and the right exit status."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mpi_jobs
import runs
from bench.store import MANIFEST, not_written


def cli(*arguments, **more):
    return mpi_jobs.railgauge(*arguments, **more)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frob"], "no command 'frob'; known: accept"),
        (["accept", "--nosuch"], "No such option"),
        (["run", "nosuch"], "known: all_reduce"),
        (["run", "all_reduce", "-d", "fp8"], "known: float32"),
        (["run", "all_reduce", "-o", "xor"], "known: sum"),
        (["run", "all_reduce", "-b", "x"], "is not a size"),
        (["run", "all_reduce", "-b", "2M", "-e", "1M"], "larger than --end"),
        (["run", "all_reduce", "-b", "1K", "-e", "1G", "-i", "1"], "sizes"),
        (["run", "broadcast", "-r", "9", "--ranks", "2"], "root 9 does not exist"),
        (["accept", "--profile", "nosuch"], "azure-nd-h100-v5"),
        (["accept", "--profile", "./nosuch.toml"], "No such file"),
        (["judge", "/nonexistent"], "no run folder"),
        (["report", "/nonexistent"], "no run folder"),
        (["profiles", "nosuch"], "known:"),
        (["compare", "/dev", "/dev/"], "are the same run; there is nothing to compare"),
        (["accept", "--hang", "10"], "is not a time"),
        *((["accept", "--hang", text], "is no") for text in ("0s", "0.0 ms", "1e999s", "1e300 h", "400e5s")),
        *((["accept", "--hang", text], "is not a time") for text in ("nan s", "inf s", "-1s", "nan")),
        *((["accept", "--budget", text], "is no") for text in ("0m", "nan m", "1e999m", "-1m")),
        *((["nightly", "--history", "h", "--budget", text], "is no") for text in ("0m", "nan m", "1e999m")),
        *((["soak", "--minutes", text], "no") for text in ("nan", "inf", "0", "-1", "1e999", "NaN")),
        *((["soak", "--minutes", "1", "--window", text], "is no") for text in ("0s", "nan s", "-1s")),
        *((["soak", "--minutes", "1", "--size", text], "is no") for text in ("0", "nan", "1e999", "-4")),
        *(
            (["run", "all_reduce", "--precision", text], "is no")
            for text in ("0 %", "nan %", "1e999%", "-1%")
        ),
        *((["run", "all_reduce", "-b", text], "is no") for text in ("0", "nan", "inf", "1e999", "-8")),
        (["run", "all_reduce", "-b", "8", "-e", "64", "-i", "0"], "is no message size"),
        *(
            (["run", "all_reduce", flag, "nan"], "not a valid whole number")
            for flag in ("-n", "-w", "-c", "-f", "-r")
        ),
        *(
            (["run", "all_reduce", flag, "-1"], "is not in the range")
            for flag in ("-n", "-w", "-c", "-f", "-r")
        ),
        (["accept", "--ranks", "0"], "is not in the range"),
        (
            ["run", "all_reduce", "-b", "3", "--ranks", "2"],
            "all_reduce of float32 on 2 ranks needs 4 B at least",
        ),
        (["explain", "x", "--devices", ""], "--devices names no device"),
        (["explain", "x", "--devices", "a:b:c"], "is not a device"),
        (["explain", "x", "--root", "/nonexistent"], "no folder at /nonexistent"),
        (["import", "/dev/null", "--algorithm", "bogus"], "no algorithm 'bogus'; known: auto, ring"),
        (["import", "/dev/null", "--unit", "XB"], "no unit 'XB'; known: MB/sec"),
        (["import", "/dev/null", "/dev/../dev/null"], "given more than once: /dev/null"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, words):
    done = cli(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rank", ["0", "5"])
def test_a_mistake_under_a_launcher_is_said_by_whoever_is_still_there(rank):
    done = cli("accept", "--nosuch", more={"OMPI_COMM_WORLD_RANK": rank})
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert ("(rank 5 on " in done.stderr) == (rank == "5")


def test_a_folder_that_is_no_run_cannot_be_judged(tmp_path):
    done = cli("judge", tmp_path)
    assert done.returncode == 2
    assert "not a run folder" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["export", "RUN", "--out", "missing/x"],
        ["export", "RUN", "--format", "csv", "--out", "."],
        ["export", "RUN", "--format", "junit", "--out", "/proc/nosuch"],
        ["export", "RUN", "--format", "prometheus", "--out", "file/x"],
        ["charts", "RUN", "--no-pictures", "--out", "/proc/nosuch"],
        ["charts", "RUN", "--no-pictures", "--out", "file"],
    ],
)
def test_a_place_where_nothing_can_be_written_is_wrong_usage(tmp_path, words):
    runs.folder(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    done = cli(*("run" if word == "RUN" else word for word in words), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_no_wrong_usage():
    def status(number):
        return not_written(Path("x"), OSError(number, "why")).exit_status

    assert [status(number) for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT)] == [3, 3, 3]
    assert [status(number) for number in (errno.ENOENT, errno.EACCES, errno.EROFS)] == [2, 2, 2]


@pytest.mark.parametrize("command", ["import", "nightly", "soak", "probe"])
def test_a_run_that_never_goes_on_is_wrong_usage_for_resume(tmp_path, command):
    path = runs.folder(tmp_path / "run")
    row = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**row, "command": ["railgauge", command]}))
    done = cli("resume", path)
    assert done.returncode == 2, done.stderr
    assert f"is of railgauge {command}: only runs of railgauge accept and railgauge run can be" in done.stderr


def test_a_newer_run_asks_for_an_upgrade(tmp_path):
    path = runs.folder(tmp_path / "r")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    done = cli("judge", path)
    assert done.returncode == 3
    assert "upgrade" in done.stderr


def test_judging_says_the_same_by_status_and_by_word(tmp_path):
    good = cli("judge", runs.folder(tmp_path / "good"))
    assert (good.returncode, good.stdout.strip().splitlines()[-1].split(":")[0]) == (0, "PASS")
    bad = cli("judge", runs.folder(tmp_path / "bad", end=False))
    assert (bad.returncode, bad.stdout.strip().splitlines()[-1].split(":")[0]) == (3, "INCONCLUSIVE")


def test_without_mpirun_there_is_one_line_and_status_3(tmp_path):
    interpreter = tmp_path / "python"
    interpreter.symlink_to(mpi_jobs.sys.executable)
    code = (
        "import sys; sys.argv = ['railgauge', 'accept', '--ranks', '2', '--out', sys.argv[1]]\n"
        "from bench.launch import mpirun; mpirun.sys = type('S', (), {'executable': sys.argv[-1] + '/python'})\n"
        "from bench.cli import main; main()"
    )
    done = subprocess.run(
        [mpi_jobs.sys.executable, "-c", code, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=mpi_jobs.environment({"PATH": "/nonexistent"}),
    )
    assert done.returncode == 3, done.stderr
    assert "no mpirun found" in done.stderr


def test_a_reader_that_leaves_early_gets_no_traceback():
    done = subprocess.run(
        f"{mpi_jobs.sys.executable} -m bench profiles lambda-1cc-h100 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env=mpi_jobs.environment(),
        cwd=mpi_jobs.ROOT,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


LIMITED = """
import resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (24, hard))
from bench.cli import main
sys.argv = ["railgauge", "profiles"]
try:
    main()
except SystemExit:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
"""


def test_a_command_raises_the_limit_of_open_files_before_it_starts_anything():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_node_that_the_run_never_had_cannot_be_left_out_of_its_resume(tmp_path):
    done = cli("resume", runs.folder(tmp_path / "run", end=False), "--without", "n0,n99")
    assert done.returncode == 2 and "--without n99: not in this run; its nodes are n0" in done.stderr, (
        done.stderr
    )
