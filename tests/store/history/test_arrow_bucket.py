"""Runs the tests of ``read_by_arrow.py`` in a process of their own: once Arrow has read S3, a fork crashes or hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")
CASES = Path(__file__).with_name("read_by_arrow.py")


def test_what_arrow_reads():
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "9 passed" in done.stdout, done.stdout + done.stderr
