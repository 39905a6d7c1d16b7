"""``charts --csv``: the chart of a table in one command; what cannot be drawn is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from reports import ranked_table
from reports.ranked_table import NotATable, ranked_page

CSV = Path(__file__).with_name("data") / "resnet50_made.csv"


def charts(*words):
    command = [sys.executable, "-m", "bench", "charts", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_command_draws_the_ranked_throughput_of_a_csv(tmp_path):
    done = charts(
        "--csv", CSV, "--label", "name_gpu", "--value", "resnet50", "--out", tmp_path, "--no-pictures"
    )
    assert done.returncode == 0, done.stderr
    spec = json.loads((tmp_path / "ranked-resnet50.vl.json").read_text())
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["bar", "text"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] == {
        "field": "resnet50",
        "op": "max",
        "order": "descending",
    }
    written = pd.read_csv(tmp_path / "ranked-resnet50.csv")
    original = pd.read_csv(CSV)
    assert list(written["name_gpu"]) == list(original["name_gpu"])
    assert list(written["resnet50"]) == list(original["resnet50"])
    assert "ranked-resnet50" in (tmp_path / "resnet50.md").read_text()


def test_what_was_not_run_is_counted_and_not_drawn_as_0(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("gpu,images/s\nA,1e3\nB,0\nC,\nD,n/a\nE,inf\n")
    _, (page,) = ranked_page(file, "gpu", "images/s")
    assert page.intro == ("1 row of t.csv; 4 were not run.",)
    assert page.name == "images-s" and page.charts[0].about == "images/s by gpu, largest first: A 1,000."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu,x\nA,1\n", "has no column 'resnet50'; it has: gpu, x"),
        ("gpu,resnet50\nA,1\nA,2\n", "several rows of one gpu, of which only one can be drawn: A"),
        ("", "is no CSV file with a header"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, text, said):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(NotATable, match=said.replace("'", ".")):
        ranked_page(file, "gpu", "resnet50")


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(NotATable, match="not a regular file"):
        ranked_page(tmp_path / "t.csv", "gpu", "resnet50")


def test_a_table_that_is_larger_than_any_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ranked_table, "LARGEST", 20)
    (tmp_path / "t.csv").write_text("gpu,resnet50\nA,12345678\n")
    with pytest.raises(NotATable, match="larger than 20 bytes"):
        ranked_page(tmp_path / "t.csv", "gpu", "resnet50")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu,resnet50\n" + "".join(f"g{at},1\n" for at in range(2001)), "has 2001 rows"),
        ("gpu,resnet50\n" + "A" * 5000 + ",1\n", "a very long gpu"),
        ("gpu,resnet50" + ",x" * 3000 + "\n", "its first line is longer than 4096 bytes"),
    ],
)
def test_a_table_that_no_picture_can_hold_is_one_line(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(NotATable, match=said):
        ranked_page(tmp_path / "t.csv", "gpu", "resnet50")


@pytest.mark.parametrize(
    "words",
    [(), ("--csv", CSV), ("--label", "a"), (CSV.parent, "--csv", CSV, "--label", "a", "--value", "b")],
)
def test_half_of_the_options_is_wrong_usage(tmp_path, words):
    assert charts(*words, "--out", tmp_path / "out").returncode == 2


def test_a_table_without_a_figure_draws_nothing(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("gpu,x\nA,0\n")
    assert charts("--csv", file, "--label", "gpu", "--value", "x", "--out", tmp_path / "out").returncode == 3
