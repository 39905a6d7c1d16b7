"""A folder of the user's that holds ``bench/``, ``torch.py`` or ``signal.py`` is never imported from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mpi_jobs
from bench.cli import keep_out, without_local_rank
from bench.launch.python import RUN_MODULE, as_module, console_script

MODULES = (
    "torch.py",
    "signal.py",
    "numpy.py",
    "click.py",
    "bench/__init__.py",
    "bench/__main__.py",
    "reports/__init__.py",
)
WORDS = ("run", "all_reduce", "-b", "1K", "-e", "1K", "-n", "3", "-w", "1", "--out", "run")
SAFE = {"PYTHONSAFEPATH": ""}  # as Python 3.10, which does not know it, reads it


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A current folder of modules that tell when somebody imports them."""
    folder = tmp_path / "here"
    for name in MODULES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"import os, pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).write_text({name!r})\nos._exit(0)\n"
        )
    return folder


@pytest.fixture
def railgauge(tmp_path: Path) -> str:
    """The console script, as pip writes it, in a folder of its own."""
    script = tmp_path / "bin" / "railgauge"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom bench.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return str(script)


def started(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=mpi_jobs.environment(more),
        capture_output=True,
        text=True,
        timeout=mpi_jobs.LIMIT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.mpi
@pytest.mark.torch
@pytest.mark.parametrize("how", ["alone", "mpirun", "node", "torchrun", "launched"])
def test_what_the_current_folder_holds_is_not_run(hostile, railgauge, tmp_path, how):
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=2\n")
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    command, more = {
        "alone": ([railgauge, *WORDS, "--ranks", "1"], {}),
        "mpirun": ([railgauge, *WORDS, "--ranks", "2"], {}),
        "node": (
            [railgauge, *WORDS],
            {"RAILGAUGE_FIRST_RANK": "0", "RAILGAUGE_RANKS_HERE": "2", "RAILGAUGE_SIZE": "2"}
            | {"RAILGAUGE_MEET": "127.0.0.1:29733"},
        ),
        "torchrun": ([torchrun, "--nproc-per-node=2", "--master-port=29741", railgauge, *WORDS], {}),
        "launched": (
            [
                railgauge,
                "launch",
                "--hosts",
                str(hosts),
                "--launcher",
                "torchrun",
                "--port",
                "29751",
                "--",
                *WORDS,
            ],
            {},
        ),
    }[how]
    if command[0] is None:
        pytest.skip("torchrun is not installed beside this Python")
    done = started(hostile, *command, **more)
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode == 0 and (hostile / "run" / "verdicts.json").exists(), done.stdout + done.stderr


@pytest.mark.mpi
@pytest.mark.torch
def test_the_command_that_accept_prints_is_safe_as_a_person_pastes_it(hostile, railgauge, tmp_path):
    first = started(tmp_path, railgauge, *WORDS, "--ranks", "2")
    line = first.stderr.splitlines()[0].removeprefix("railgauge: ")
    done = started(hostile, "sh", "-c", line, **SAFE)
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode == 0 and (hostile / "run" / "verdicts.json").exists(), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["railgauge", "other"])
def test_what_a_person_pastes_is_the_script_that_was_called_or_else_a_file_of_ours(
    monkeypatch, tmp_path, name
):
    script = tmp_path / name
    script.write_text(f"#!{sys.executable}\n")
    monkeypatch.setattr("sys.argv", [str(script), "accept"])
    here = (sys.executable, RUN_MODULE, "bench")
    assert console_script() == ((str(script),) if name == "railgauge" else here)
    script.write_text("#!/another/python\n")
    assert console_script() == here


def test_a_source_tree_that_is_not_installed_is_found_by_what_a_person_pastes(tmp_path):
    tree = tmp_path / "tree"
    (tree / "bench/launch").mkdir(parents=True)
    shutil.copy(RUN_MODULE, tree / "bench/launch")
    (tree / "bench/__init__.py").touch()
    (tree / "bench/__main__.py").write_text("print('this tree')")
    done = started(tmp_path, sys.executable, str(tree / "bench/launch/run_module.py"), "bench", **SAFE)
    assert done.stdout == "this tree\n", done.stderr


def test_pictures_are_drawn_by_what_this_process_imports(hostile, tmp_path):
    words = (
        "import sys; sys.path.pop(0)\nfrom reports.renderer import WARM, Renderer\nwith Renderer() as it:\n"
        + ("    it.ask(WARM)\n    assert len(it._answers()) == 1")
    )
    done = started(hostile, sys.executable, "-c", words, **SAFE)
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode == 0, done.stderr


def test_python_3_10_runs_modules_without_the_current_folder(hostile, tmp_path):
    done = started(hostile, sys.executable, RUN_MODULE, "bench", "profiles", "local", **SAFE)
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode == 0 and 'name = "local"' in done.stdout, done.stderr
    assert as_module("bench") == (("-m", "bench") if sys.version_info >= (3, 11) else (RUN_MODULE, "bench"))


def test_a_source_tree_in_which_one_stands_is_named_for_the_processes_below(monkeypatch):
    tree = str(mpi_jobs.ROOT)
    monkeypatch.setattr(sys, "path", [tree, "/x"])
    for before, after in (("", tree), ("/y", f"{tree}{os.pathsep}/y"), (f"/y{os.pathsep}{tree}", None)):
        environment = {"PYTHONPATH": before}
        keep_out(environment)
        assert environment == {"PYTHONSAFEPATH": "1", "PYTHONPATH": after or before}
    monkeypatch.setattr(sys, "path", ["/venv/bin", tree])
    keep_out(environment := {})
    assert environment == {"PYTHONSAFEPATH": "1"}


def test_a_current_folder_that_was_deleted_is_one_line(tmp_path, railgauge):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = started(gone, "sh", "-c", f'rmdir "{gone}" && exec "{railgauge}" accept')
    assert done.returncode == 2
    assert (
        done.stderr
        == "railgauge: the current folder cannot be used (No such file or directory): change to another one\n"
    )


def test_a_home_that_nobody_knows_is_one_line(tmp_path, railgauge):
    done = started(tmp_path, railgauge, "history", "list", "~nosuchuser/nights")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_what_deepspeed_adds_to_a_script_is_ignored(tmp_path, railgauge):
    done = started(tmp_path, railgauge, "--local_rank=3", "profiles", "local")
    assert done.returncode == 0 and 'name = "local"' in done.stdout


@pytest.mark.parametrize("added", [[], ["--local_rank=3"], ["--local-rank", "3"]])
def test_what_launchers_add_is_no_part_of_a_run_s_command(added):
    words = ["accept", "--profile", "local"]
    assert without_local_rank([*added, *words]) == without_local_rank([*words, *added]) == words


@pytest.mark.parametrize("added", [["--local_rank=x"], ["--local-rank"], ["--local_rank="]])
def test_a_local_rank_that_is_no_number_is_refused(tmp_path, railgauge, added):
    done = started(tmp_path, railgauge, "profiles", "local", *added)
    assert done.returncode == 2 and "takes the number of a rank" in done.stderr
