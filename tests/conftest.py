"""What all tests share: the markers' conditions and a factory of runs."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

NVIDIA = Path("/dev/nvidiactl")
HAS_TORCH = importlib.util.find_spec("torch") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "torch": None if HAS_TORCH else "torch is not installed",
        "mpi": None if HAS_TORCH and mpirun() else "mpirun or torch is not installed",
        "gpu": None if HAS_TORCH and NVIDIA.exists() else "no NVIDIA GPU here, or no torch",
    }
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def mpirun() -> str | None:
    return shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
