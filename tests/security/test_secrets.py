"""No secret is in a run folder, whoever sends it to whomever; and nobody else's file is written to on the way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpi_jobs
import runs
from bench import launch
from bench.cli.page import write_report
from bench.judge.drift.past import from_saved
from bench.judge.evidence import Evidence
from bench.model.profile import load as load_profile
from bench.model.redact import HIDDEN, scrub, scrub_text, secrets, veil
from bench.store import MANIFEST, load, write_file, write_text
from reports import export
from reports.renderer import Renderer
from tests import made_nights

CANARY = "canary7Zq1"
IN_THE_ENVIRONMENT = {
    "HF_TOKEN": f"hf_{CANARY}",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "RUNPOD_API_KEY": f"rpa_{CANARY}",
    "SLURM_JWT": CANARY,
    "WANDB_API_KEY": CANARY,
    "DATABASE_URL": f"postgres://me:{CANARY}@db/x",
    "SOME_OTHER_NAME": CANARY,
    "NCCL_API_TOKEN": CANARY,  # on the list by its start, a secret by its end
    "OMPI_MCA_sec_password": CANARY,
    "RAILGAUGE_TOKEN": CANARY * 4,
    "RAILGAUGE_WEBHOOK": f"https://hooks.example/{CANARY}",
}


def everything(folder: Path) -> str:
    return "\n".join(
        f"{path}\n{path.read_bytes().decode(errors='replace')}"
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_no_secret_of_the_environment_is_in_a_probe(tmp_path):
    done = mpi_jobs.railgauge("probe", "--out", tmp_path / "run", more=IN_THE_ENVIRONMENT)
    assert "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "run" / MANIFEST).exists()
    assert CANARY not in everything(tmp_path)
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.torch
def test_no_secret_of_the_environment_is_in_a_run_and_nothing_else_of_it_is_needed(tmp_path):
    """As under cron and systemd: no HOME, no PATH, no USER."""
    words = ["run", "all_reduce", "-b", "8", "-n", "2", "-w", "1", "--ranks", "1", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        capture_output=True,
        text=True,
        env={**IN_THE_ENVIRONMENT, "PYTHONPATH": str(mpi_jobs.ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=mpi_jobs.LIMIT,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    run = load(tmp_path / "run")
    assert run.measurements and run.ended is not None
    assert (tmp_path / "run" / "report.html").exists()
    assert CANARY not in everything(tmp_path)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["accept", "--out", "runs/a"], ["accept", "--out", "runs/a"]),
        (["--api-token", CANARY], ["--api-token", HIDDEN]),
        (["--api-token", "--verbose"], ["--api-token", "--verbose"]),
        ([f"--password={CANARY}"], [f"--password={HIDDEN}"]),
        (["--webhook", f"https://x/{CANARY}"], ["--webhook", HIDDEN]),
        ([f"HF_TOKEN={CANARY}"], [f"HF_TOKEN={HIDDEN}"]),
        (["--token-file", "/shared/token"], ["--token-file", "/shared/token"]),
        (["--history", f"s3://id:{CANARY}@bucket/x"], ["--history", f"s3://{HIDDEN}@bucket/x"]),
        (["--history", f"https://b/x?sig={CANARY}"], ["--history", f"https://b/x?{HIDDEN}"]),
        (["--history", f"s3://id:a/{CANARY}@bucket/x"], ["--history", f"s3://{HIDDEN}@bucket/x"]),
        (["--history", f"ftp://me:p@{CANARY}@h/x"], ["--history", f"ftp://{HIDDEN}@h/x"]),
        (["--base", "https://cdn.example/npm/vega@6"], ["--base", "https://cdn.example/npm/vega@6"]),
        (["--base", "http://h:8080/npm/vega@6"], ["--base", "http://h:8080/npm/vega@6"]),
        ([f"ghp_{CANARY}"], [HIDDEN]),
        ([f"x-hf_{CANARY}-y"], [f"x-{HIDDEN}"]),
        (["NCCL_IB_HCA=^=mlx5_0"], ["NCCL_IB_HCA=^=mlx5_0"]),
        (["--hang", "60s", "-b", "8"], ["--hang", "60s", "-b", "8"]),
    ],
)
def test_what_is_kept_of_a_command(words, kept):
    assert list(scrub(words)) == kept


@given(
    st.sampled_from(["TOKEN", "api-key", "Secret", "passWord", "AUTH", "credentials"]),
    st.text("abc-_", max_size=5),
    st.booleans(),
)
def test_no_value_of_a_secret_looking_option_is_kept(word, rest, joined):
    name = f"--{rest.strip('-')}{word}"
    words = [f"{name}={CANARY}"] if joined else [name, CANARY]
    assert CANARY not in " ".join(scrub(["accept", *words, "--quiet"]))


@given(st.text(max_size=60))
def test_scrubbing_twice_changes_nothing_more(text):
    assert scrub_text(scrub_text(text)) == scrub_text(text)


def test_a_manifest_keeps_no_secret_of_the_command_line(tmp_path):
    done = mpi_jobs.railgauge(
        "probe", "--out", tmp_path / "p", "--profile", "local", more={"RAILGAUGE_TOKEN": CANARY * 4}
    )
    assert "Traceback" not in done.stderr
    assert CANARY not in (tmp_path / "p" / MANIFEST).read_text()


# addresses with a password


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"http://user:{CANARY}@host/x", f"cannot reach user:{CANARY}@host"),
        (f"s3://KEY:ab%2F{CANARY}@bucket/x", f"no bucket of KEY:ab/{CANARY}"),
        (f"s3://KEY:ab/{CANARY}@bucket/x", f"no bucket of KEY, ab/{CANARY}"),
        (f"https://host/x?sv=1&sig={CANARY}%3D", f"403 for sig={CANARY}="),
        (f"https://host/x?sig={CANARY}", f"403 for {CANARY}"),
    ],
)
def test_what_a_library_repeats_of_an_address_is_veiled(address, said):
    shown = veil(said, secrets(["nightly", "--history", address]))
    assert CANARY not in shown and HIDDEN in shown


def test_an_address_without_a_secret_hides_nothing():
    words = [
        "nightly",
        "--history",
        "s3://bucket/history",
        "--base",
        "https://host:8080/a@b",
        "/nfs/railgauge",
    ]
    assert secrets(words) == ()


@pytest.mark.parametrize(
    "history",
    [
        f"http://user:{CANARY}@127.0.0.1:9/x",
        f"s3://KEY:{CANARY}@bucket/x",
        f"nosuch://user:{CANARY}@host/x",
        f"https://127.0.0.1:9/x?sv=1&sig={CANARY}",
    ],
)
@pytest.mark.parametrize("command", [["nightly", "--history"], ["history", "list"]])
def test_no_password_of_a_history_is_printed(tmp_path, history, command):
    pytest.importorskip("pyarrow")
    done = mpi_jobs.railgauge(*command, history, cwd=tmp_path)
    assert done.returncode in (2, 3), done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert HIDDEN in done.stderr, done.stderr


@pytest.mark.torch
def test_no_password_of_a_history_is_in_a_night(tmp_path):
    pytest.importorskip("pyarrow")
    address = f"memory://user:{CANARY}@host/{tmp_path.name}"
    run = made_nights.nightly(tmp_path / "run", address)
    past = from_saved(run.history)
    assert past.recorded.startswith(f"memory://{HIDDEN}@host/")
    write_report(Evidence(run, load_profile("local")))
    assert HIDDEN in (tmp_path / "run" / "report.html").read_text()
    again = made_nights.nightly(tmp_path / "again" / "run", address)
    assert "already there" in from_saved(again.history).trouble
    assert CANARY not in everything(tmp_path)


def test_a_command_is_shown_without_its_passwords():
    shown = launch.shown(["mpirun", "-n", "2", "--history", f"s3://KEY:it's{CANARY}@bucket/x"])
    assert CANARY not in shown and HIDDEN in shown and shown.startswith("mpirun -n 2")


# files


@pytest.mark.parametrize(
    ("share", "mask", "file", "folder"),
    [(True, 0o027, 0o640, 0o750), (True, 0o077, 0o600, 0o700), (False, 0o022, 0o600, 0o700)],
)
def test_a_run_folder_is_private_unless_it_is_shared_as_far_as_the_umask_says(
    tmp_path, share, mask, file, folder, monkeypatch
):
    monkeypatch.setattr(export, "_drawn", lambda frames: iter(()))
    monkeypatch.setattr(export, "_texts", lambda *_: iter([("charts/a.svg", "<svg>")]))
    before = os.umask(mask)
    try:
        made = runs.folder(tmp_path / "r", share=share)
        write_file(made, "report.md", "x")
        with Renderer() as renderer:
            export.write(Evidence(load(made), runs.LOCAL), renderer)
    finally:
        os.umask(before)
    for path in (made, *made.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file), path


def test_a_temporary_file_has_a_name_that_nobody_can_guess(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def remembered(name, target, **folders):
        seen.append(name)
        replace(name, target, **folders)

    monkeypatch.setattr(os, "replace", remembered)
    for _ in range(3):
        write_text(tmp_path / "verdicts.json", "x")
    assert len(set(seen)) == 3
    assert not any(str(os.getpid()) in name.rpartition(".")[2] for name in seen if len(str(os.getpid())) > 4)


def test_a_link_in_wait_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "report.html").symlink_to(victim)
    write_text(folder / "report.html", "a report")
    assert victim.read_text() == "mine"
    assert not (folder / "report.html").is_symlink()


def test_counters_are_not_written_through_a_link(tmp_path):
    from bench.store import Recorder, RunError

    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    recorder = Recorder(tmp_path / "run")
    (tmp_path / "run" / "counters.jsonl").symlink_to(victim)
    with pytest.raises(RunError, match="cannot write"):
        recorder.counters("p", "before", [])
    assert victim.read_text() == "mine\n"
