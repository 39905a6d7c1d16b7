"""--budget, --cross-rail, --one-way, --pinned: from words to what is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bench.cli import cli
from bench.cli.invocation import understood
from bench.cli.start import accelerators
from bench.plan import AcceptOptions

ROOT = Path(__file__).parents[2]


def accept(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "accept", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.torch
def test_a_budget_too_small_is_wrong_usage_and_leaves_no_folder(tmp_path):
    done = accept("--ranks", "1", "--budget", "1s", "--out", "run", folder=tmp_path)
    assert done.returncode == 2
    assert "the smallest run" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_budget_without_a_unit_is_wrong_usage(tmp_path):
    done = accept("--budget", "10", folder=tmp_path)
    assert done.returncode == 2
    assert "'10' is not a time" in done.stderr


@pytest.mark.skipif(accelerators(Path("/")), reason="this machine has a GPU or an RDMA device")
def test_a_login_node_is_one_sentence_and_leaves_no_folder(tmp_path):
    done = accept("--profile", "lambda-1cc-h100", "--out", "run", folder=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert len(done.stderr.splitlines()) == 1 and "is this a login node?" in done.stderr


def test_an_interface_that_is_not_here_is_one_sentence_and_leaves_no_folder(tmp_path):
    done = accept("--meet-interface", "eht2", "--out", "run", folder=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert done.stderr.startswith("railgauge: --meet-interface eht2: no such interface here; known: lo"), (
        done.stderr
    )


@pytest.mark.parametrize(
    "device", ["dev/nvidia3", "sys/class/infiniband/mlx5_0", "proc/driver/nvidia/gpus/0000:01:00.0"]
)
def test_one_device_makes_no_login_node(tmp_path, device):
    assert not accelerators(tmp_path)
    (tmp_path / device).mkdir(parents=True)
    assert accelerators(tmp_path)


def test_words_become_what_is_asked():
    words = ["--one-way", "--cross-rail", "--no-pinned", "--budget", "10m"]
    with click.Context(cli):
        assert understood("accept", []).accept == AcceptOptions()
        assert understood("accept", words).accept == AcceptOptions(
            "one-way", True, False, budget=600.0, all_pairs=True
        )
        assert understood("accept", ["--all-pairs"]).accept == AcceptOptions(all_pairs=True)


@pytest.mark.skipif(accelerators(Path("/")), reason="this machine has a GPU or an RDMA device")
@pytest.mark.parametrize(("profile", "said"), [("lambda-1cc-h100", True), ("local", False)])
def test_a_probe_without_any_device_asks_whether_this_is_a_login_node(tmp_path, profile, said):
    words = ["probe", "--profile", profile, "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert ("is this a login node? " in done.stderr) == said
