"""railgauge charts: what it takes, what it writes, what it refuses."""

import json

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.judge.drift import Series
from bench.store.history import RecordedRun, Sample, append, create
from runs import folder

FAST = ("--no-pictures",)


@pytest.fixture
def charts():
    """Runs the command: (exit status, what it printed)."""

    def run(*words):
        done = CliRunner().invoke(cli, ["charts", *map(str, words), *FAST])
        return done.exit_code, done.output + (str(done.exception) if done.exception else "")

    return run


def test_a_run_becomes_a_folder_that_a_second_call_leaves_as_it_is(charts, tmp_path):
    run, out = folder(tmp_path / "run"), tmp_path / "docs" / "charts"
    before = sorted(path.name for path in run.iterdir())
    code, said = charts(run, "--out", out)
    assert code == 0 and f"first page {out / 'index.md'}" in said
    spec = json.loads((out / "ranked-collectives.vl.json").read_text())
    assert spec["data"]["url"] == "ranked-collectives.csv" and (out / "ranked-collectives.csv").is_file()
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert charts(run, "--out", out)[0] == 0
    assert files == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    # the run folder is evidence, and drawing it elsewhere leaves it as it was
    assert before == sorted(path.name for path in run.iterdir())


def test_several_runs_are_ranked_beside_each_other(charts, tmp_path):
    runs = [folder(tmp_path / name) for name in ("monday", "tuesday")]
    assert charts(*runs, "--out", tmp_path / "out", "--inline")[0] == 0
    text = (tmp_path / "out" / "clusters-all_reduce.vl.json").read_text()
    assert "monday" in text and "tuesday" in text
    assert not list((tmp_path / "out").glob("*.csv"))


def test_a_history_becomes_a_page_of_trends(charts, tmp_path):
    history, series = str(tmp_path / "history"), Series("c", "all_reduce", "8 GiB", "busbw")
    create(history)
    for at in range(12):
        append(
            history, RecordedRun(f"n{at}", 1.785e9 + 86400 * at, "c", (), (Sample(series, 400e9 + at * 1e8),))
        )
    (tmp_path / "history" / "stray.txt").write_text("no run")
    code, said = charts(history, "--out", tmp_path / "out")
    assert code == 0 and "left out stray.txt" in said
    assert (tmp_path / "out" / "nightly-c.md").is_file()
    assert (tmp_path / "out" / "trend-c-all_reduce-8-GiB-busbw.nights.csv").read_text().count("\n") == 13
    assert charts(history, "--out", tmp_path / "out", "--cluster", "other")[0] != 0


def test_what_was_drawn_before_does_not_stay_when_nothing_was_measured(charts, tmp_path):
    out = tmp_path / "out"
    assert charts(folder(tmp_path / "good"), "--out", out)[0] == 0
    code, said = charts(folder(tmp_path / "bad", rows=[], planned=[]), "--out", out)
    assert code == 3 and "nothing was measured that a chart could show" in said
    assert "```vegalite" not in (out / "collectives.md").read_text()
    assert "nothing was measured" in (out / "busbw-by-size.csv").read_text()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("RUN", "--inline", "--base", "https://example.org"),
            "--inline puts the data into the specifications",
        ),
        (("RUN", "missing"), "missing is not a run folder; give run folders, or one history"),
        (("missing",), "missing is neither a run folder nor a history"),
        (("missing", "gone"), "missing is neither a run folder nor a history"),
    ],
)
def test_words_that_do_not_fit_are_refused(charts, tmp_path, words, text):
    run = folder(tmp_path / "run")
    code, said = charts(*(run if word == "RUN" else word for word in words), "--out", tmp_path / "out")
    assert code == 2 and text in said
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_no_history_with_nights(charts, tmp_path):
    (tmp_path / "empty").mkdir()
    code, said = charts(tmp_path / "empty", "--out", tmp_path / "out")
    assert code == 3 and "nothing was measured" in said and not (tmp_path / "out").exists()
