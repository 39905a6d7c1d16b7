"""The documentation site: built strictly, every link leads somewhere, and what the program says is on its pages."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

import runs
from bench.cli import cli
from bench.judge.checks import CHECKS
from bench.model.profile import load, names
from bench.store.schema import FILES

ROOT = Path(__file__).parents[2]
pytest.importorskip("material", reason="mkdocs-material is not installed")
from maker.checks_page import GROUPS, checks_page  # noqa: E402
from maker.commands_page import commands_page  # noqa: E402
from maker.markdown import text  # noqa: E402
from maker.profiles_page import profiles_page  # noqa: E402
from maker.schema_page import schema_page  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    measured, lab = runs.folder(folder / "measured"), runs.folder(folder / "lab")
    words = [
        "docs/build.py",
        "--nodes",
        "3",
        "--measured",
        str(measured),
        "--lab",
        str(lab),
        "--out",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def broken(site, page):
    """The links of a page that lead nowhere in the site."""
    html = re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.S)
    for url in re.findall(r'<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"]+)"', html):
        parts = urlsplit(unescape(url))
        if parts.scheme or parts.netloc or not parts.path:
            continue
        path = (
            site / parts.path.lstrip("/") if parts.path.startswith("/") else page.parent / unquote(parts.path)
        )
        found = path / "index.html" if path.is_dir() else path
        anchored = parts.fragment and found.suffix == ".html" and found.is_file()
        if not found.is_file() or (
            anchored and f'id="{parts.fragment}"' not in found.read_text(encoding="utf-8")
        ):
            yield url


def test_every_link_leads_somewhere(site):
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 15
    assert {
        str(page.relative_to(site)): list(broken(site, page)) for page in pages if list(broken(site, page))
    } == {}


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("index.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', html), page


def test_simulated_samples_say_so_on_the_page_and_in_the_report(site):
    listed = unescape((site / "samples" / "index.html").read_text(encoding="utf-8"))
    assert listed.count("Simulated:") == 3
    for name, verdict in (("healthy", "PASS"), ("faulty", "FAIL")):
        report = (site / "samples" / name / "report.html").read_text(encoding="utf-8")
        assert "Simulated:" in report and verdict in report
    assert re.search(r"FAIL:</strong>[^<]*because n2 rail mlx5_4/1 runs at 4\d\.\d % of its peers", listed)
    assert re.search(r"PASS:</strong>", listed)
    for page in ("nightly/nightly-cluster-a", "charts/rails"):
        assert "Simulated:" in (site / "samples" / page / "index.html").read_text(encoding="utf-8")
    for name in ("lab", "local"):
        assert "Simulated:" not in (site / "samples" / name / "report.html").read_text(encoding="utf-8")


def test_the_published_site_is_built_by_root_who_may_run_the_lab_for_its_sample(
    monkeypatch, tmp_path, capsys
):
    job = (ROOT / "ci" / "jobs" / "github" / "docs.yml").read_text(encoding="utf-8")
    assert "- run: sudo ci/docs" in job
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    asked = []
    monkeypatch.setattr(build.subprocess, "run", lambda words, **_: asked.append(words))
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)
    assert build.lab_run(tmp_path / "lab") == tmp_path / "lab" / "slow-rail-n2-1.1"
    assert [str(word) for word in asked[0][-3:]] == ["demo", "--out", str(tmp_path / "lab")]
    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)
    assert build.lab_run(tmp_path / "lab") is None and len(asked) == 1
    assert "next: sudo ci/docs" in capsys.readouterr().err


def test_the_nightly_sample_is_drawn(site):
    html = (site / "samples" / "nightly" / "nightly-cluster-a" / "index.html").read_text(encoding="utf-8")
    assert html.count('<div class="vegalite"') == 3


def test_every_check_stands_on_its_page_with_why_it_matters():
    page = checks_page()
    for name, check in CHECKS.items():
        assert f"### `{name}`\n\n{text(check.about)}" in page
    assert set(GROUPS) == {name.partition(".")[0] for name in CHECKS}


def test_every_bound_of_every_profile_stands_there_with_its_source():
    page = profiles_page()
    for name in names():
        assert f"## `{name}`" in page
        for limit in load(name).limits:
            assert text(limit.bound.source) in page and limit.bound.text in page


def test_every_file_of_the_run_folder_and_every_command_has_its_place():
    schema, commands = schema_page(), commands_page()
    assert all(f"## `{name}`" in schema for name in FILES)
    for name, command in cli.commands.items():
        assert f"## `railgauge {name}`" in commands
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        assert all(
            f"`{option.opts[0]}" in commands or f", {option.opts[0]}" in commands for option in options
        )


@pytest.mark.parametrize("said", ["a *b* <c> [d](e) a_b_c | \\", "x & y", "``code`` stays `too`"])
def test_a_text_is_shown_as_it_is(said):
    markdown = pytest.importorskip("markdown")
    html = markdown.markdown(text(said), extensions=["tables"])
    shown = unescape(re.sub(r"</?(?:p|code)>", "", html))
    assert shown == said.replace("`", "")
