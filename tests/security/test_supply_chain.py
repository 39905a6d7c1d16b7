"""What is installed, built and run beside our own code is named by a hash, and has no more rights than it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports import scripts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WORKFLOWS = [
    *(ROOT / ".github" / "workflows").glob("*.yml"),
    *(ROOT / "ci" / "jobs" / "github").glob("*.yml"),
]
LOCKS = sorted((ROOT / "ci" / "locks").glob("*.txt"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_their_commits_and_may_only_read(path):
    text = path.read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in used), used
    assert "permissions:\n  contents: read\n" in text


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_everything_in_a_lock_has_a_version_and_hashes(path):
    blocks = re.split(r"\n(?=[A-Za-z])", path.read_text().strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;]+", block), block
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize(("lock", "extras"), [("railgauge", []), ("nightly", ["nightly"])])
def test_a_lock_has_all_that_the_project_asks_for(lock, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        row for name in extras for row in project["optional-dependencies"][name]
    ]
    locked = set(
        re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "ci" / "locks" / f"{lock}.txt").read_text(), re.M)
    )
    names = {re.split(r"[\s<>=;\[]", row)[0].lower().replace("_", "-") for row in wanted}
    assert names and names <= {name.lower() for name in locked} and "setuptools" in locked


def test_the_container_has_its_base_by_digest_and_does_not_run_as_root():
    text = (ROOT / "ci" / "jobs" / "container" / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.M)
    assert re.findall(r"^USER (\S+)$", text, re.M)[-1:] == ["railgauge"]
    assert text.count("--require-hashes") == 2


def test_a_night_of_systemd_gains_no_rights_and_writes_in_its_own_folder_alone():
    text = (ROOT / "ci" / "jobs" / "systemd" / "railgauge-nightly.service").read_text()
    for line in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=/shared/railgauge",
        "User=railgauge",
    ):
        assert f"\n{line}\n" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_systemd_knows_every_line_of_the_units(tmp_path):
    for path in (ROOT / "ci" / "jobs" / "systemd").glob("*.[st]*"):
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(), flags=re.M)
        (tmp_path / path.name).write_text(text)
    units = sorted(str(path) for path in tmp_path.iterdir())
    assert len(units) >= 4
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=300)
    said = [line for line in done.stderr.splitlines() if "railgauge" in line]
    assert done.returncode == 0 and not said, done.stderr


def test_scripts_from_elsewhere_have_one_version_and_a_hash():
    pytest.importorskip("sphinx")
    from reports.sphinx_vegalite import CDN

    assert CDN
    for url, integrity in CDN.items():
        assert re.search(r"@\d+\.\d+\.\d+/", url) and re.fullmatch(r"sha384-[A-Za-z0-9+/]{64}", integrity)
    assert "cdn." not in scripts.page_script()
