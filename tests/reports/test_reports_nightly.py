"""The section on drift: what moved stands first, trends show their nights, and nothing else has such a section."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.judge.evidence import Evidence

pytest.importorskip("pyarrow")
pytest.importorskip("ruptures")

from bench.judge.drift import Acceptance
from bench.run.finish import judge_and_save
from bench.store import load
from bench.store.history import accept
from reports import nightly, write
from reports.pictures import svg
from tests import made_nights as made
from tests import runs

NIGHTS = 30
MOVED = "trend-c1-all_reduce-4-MiB-busbw"


def slow(case, group):
    return 1.15 if case.collective == "all_reduce" and case.size > 1 << 20 else 1.0


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    made.before(folder / "history", folder / "like", NIGHTS)
    return folder / "history"


@pytest.fixture(scope="module")
def night(tmp_path_factory, history):
    own = shutil.copytree(history, tmp_path_factory.mktemp("own") / "history")
    return made.nightly(tmp_path_factory.mktemp("night") / "tonight", own, NIGHTS, slow)


@pytest.fixture(scope="module")
def page(night):
    write(Evidence(night, runs.LOCAL))
    return (night.path / "report.html").read_text()


def test_what_moved_is_drawn_first_with_its_words(night):
    first, *rest = nightly.trends_of(Evidence(night, runs.LOCAL))
    assert first.name == MOVED
    assert len(rest) == nightly.MOST_CHARTS - 1
    assert f"over {NIGHTS + 1} nights" in first.about
    assert "regression" in first.about


def test_a_trend_holds_every_night_and_is_drawn(night):
    spec = nightly.specifications(Evidence(night, runs.LOCAL))[MOVED]
    rows = [row for data in spec["datasets"].values() for row in data]
    nights = [row for row in rows if "label" in row]
    assert len(nights) == NIGHTS + 1
    assert nights[-1]["label"] == "regression"
    assert nights[-1]["value"] < 0.9 * nights[0]["value"]
    assert "regression" in svg(spec, "dark")
    assert json.dumps(spec, allow_nan=False)


def test_the_page_has_one_section_with_the_verdict_of_the_nights(page):
    assert page.count('id="nightly"') == 1
    assert "Drift: tonight among the nights" in page
    section = page[page.index('id="nightly"') : page.index('id="collectives"')]
    assert "1 regression" in section
    assert section.index("all_reduce 4 MiB busbw") < section.index("all_gather 4 MiB busbw")
    assert "Nothing changed in the fingerprint since" in section
    assert "Recorded as" in section
    assert f'data-chart="{MOVED}"' in section


def test_the_report_is_the_same_bytes_each_time(night, page):
    write(Evidence(load(night.path), runs.LOCAL))
    assert (night.path / "report.html").read_text() == page


def test_a_run_that_is_no_nightly_one_has_no_such_section(tmp_path):
    run = judge_and_save(runs.folder(tmp_path / "run"), runs.LOCAL).run
    assert nightly.specifications(Evidence(run, runs.LOCAL)) == {}
    write(Evidence(run, runs.LOCAL))
    assert 'id="nightly"' not in (tmp_path / "run" / "report.html").read_text()


def test_a_first_night_has_no_trend_and_says_why(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history")
    assert nightly.specifications(Evidence(run, runs.LOCAL)) == {}
    write(Evidence(run, runs.LOCAL))
    text = (tmp_path / "run" / "report.html").read_text()
    assert "The first night of c1: nothing to compare with yet" in text


def test_files_left_out_accepted_levels_and_hostile_names_are_shown_as_text(tmp_path, history):
    own = Path(shutil.copytree(history, tmp_path / "history"))
    (own / "cluster=c1" / "<script>alert(1)<.txt").write_text("x")
    start = made.FIRST + made.DAY
    accept(str(own), Acceptance("c1", start, "<b>ann</b>", start, "why </script> not"))
    run = made.nightly(tmp_path / "run", own, NIGHTS)
    write(Evidence(run, runs.LOCAL))
    text = (tmp_path / "run" / "report.html").read_text()
    assert "1 file of the history left out: broken or foreign" in text
    assert "<script>alert(1)" not in text and "<b>ann" not in text
    assert "&lt;b&gt;ann&lt;/b&gt;" in text


def test_rails_that_stand_out_are_listed_beside_their_peers(tmp_path):
    def rail(case, group):
        return 1.3 if case.collective == "p2p" and 5 in group else 1.0

    run = made.nightly(tmp_path / "run", tmp_path / "history", 0, rail, where=runs.ranks(8, 2))
    write(Evidence(run, runs.LOCAL))
    text = (tmp_path / "run" / "report.html").read_text()
    assert "rails: 15 of 16 as fast as their peers tonight" in text
    assert "nodes: 8 of 8 as fast as their peers tonight" in text
