"""--budget, --cross-rail, --one-way, --pinned: from words to what is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.invocation import understood
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
    assert "the least is" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_budget_without_a_unit_is_wrong_usage(tmp_path):
    done = accept("--budget", "10", folder=tmp_path)
    assert done.returncode == 2
    assert "'10' is not a time" in done.stderr


def test_words_become_what_is_asked():
    assert understood("accept", []).accept == AcceptOptions()
    words = ["--one-way", "--cross-rail", "--no-pinned", "--budget", "10m"]
    assert understood("accept", words).accept == AcceptOptions("one-way", True, False, budget=600.0)
