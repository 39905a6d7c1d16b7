"""What the report tests share: golden files, a reports folder written once, and headless Chromium."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import made_docs
import made_runs
import programs
import reports
from bench.judge.evidence import Evidence
from reports import theme

theme.VALIDATED = True  # every chart that a test makes is held against Vega-Lite's schema

GOLDEN = Path(__file__).with_name("golden")
CHROMIUM = programs.find("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
    "--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with its golden file; ``--update-golden`` writes it for a person to review."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden", default=False):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; write it with: pytest tests/reports --update-golden"
        assert text == path.read_text(encoding="utf-8"), (
            f"{name} differs; see pytest tests/reports --update-golden"
        )

    return compare


@pytest.fixture(scope="session")
def cluster_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of a faulty cluster whose names are hostile, written once."""
    folder = tmp_path_factory.mktemp("cluster")
    made = made_runs.cluster(names=["node001", made_runs.HOSTILE])
    reports.write(Evidence(replace(made.run, path=folder), made.profile))
    return folder


@pytest.fixture(scope="session")
def docs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The charts of a faulty cluster and of a history, as documentation embeds them, written once."""
    return made_docs.folder(tmp_path_factory.mktemp("documentation") / "charts")


@pytest.fixture(scope="session")
def browse() -> Callable[..., tuple[str, str]]:
    """(DOM after all scripts, console lines) of a page."""
    programs.need("chromium")

    def run(page: Path | str, folder: Path, *flags: str) -> tuple[str, str]:
        url = page if isinstance(page, str) else page.as_uri()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", *flags, "--dump-dom", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)

    return run


@pytest.fixture(scope="session")
def loopback() -> Iterator[Callable[[Path], str]]:
    """Serves a folder on loopback, as a web server would: the URL it begins at. Ends with the session."""
    with contextlib.ExitStack() as servers:

        def serve(folder: Path) -> str:
            # a process of its own: the renderer that asks it holds the GIL
            words = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
            server = subprocess.Popen(
                [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            servers.callback(server.wait, 10)
            servers.callback(server.terminate)
            assert server.stdout is not None
            servers.callback(server.stdout.close)
            port = re.search(r"port (\d+)", server.stdout.readline())
            assert port
            return f"http://127.0.0.1:{port.group(1)}/"

        yield serve
