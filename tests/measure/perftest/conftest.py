"""A folder with the ib_write_bw and the ib_write_lat of paper, first on PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

FAKE = Path(__file__).with_name("fake_perftest.py")


@pytest.fixture
def perftest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ib_write_lat", "ib_write_bw"):
        program = folder / name
        program.write_text(f"#!{sys.executable} -IS\n" + FAKE.read_text())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return program
