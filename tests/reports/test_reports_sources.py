"""Data by URL: the same picture as with the data inline, every column typed, whatever the texts are."""

import csv
import io
import json
import re

import altair as alt
import pandas as pd
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st

import made_runs
from bench.judge.evidence import Evidence
from bench.model.printable import no_formula
from reports.export import specifications
from reports.frames import frames
from reports.sources import by_url, csv_text, types
from reports.theme import text_of


@pytest.fixture(scope="module")
def specs():
    made = made_runs.cluster(4)
    return specifications(frames(Evidence(made.run, made.profile)))


def test_data_move_into_one_file_and_rules_keep_theirs(specs):
    spec, files = by_url(specs["node-totals"], "node-totals")
    assert list(files) == ["node-totals.csv"]
    assert spec["data"] == {
        "url": "node-totals.csv",
        "format": {"type": "csv", "parse": {"node": "string", "gbps": "number", "note": "string"}},
    }
    assert "datasets" not in spec
    inline = [layer["data"] for layer in spec["layer"] if "data" in layer]
    assert inline == [{"values": [{"text": "as sold: 3,200 Gb/s = 400 GB/s"}]}] * 2


def test_every_specification_stays_valid_and_types_every_column(specs):
    for name, spec in specs.items():
        moved, files = by_url(spec, name, "https://example.org/charts/")
        alt.Chart.from_dict(moved)
        assert json.dumps(moved).count('"url": "https://example.org/charts/') == len(files) >= 1
        head = next(csv.reader(io.StringIO(files[f"{name}.csv"])))
        assert list(moved["data"]["format"]["parse"]) == head


def test_layers_with_data_of_their_own_get_files_of_their_names():
    one = alt.Chart(pd.DataFrame({"a": [1, 2]})).mark_point().encode(x="a:Q").properties(name="nights")
    two = alt.Chart(pd.DataFrame({"b": [3, 4]})).mark_point().encode(x="b:Q")
    spec, files = by_url(alt.layer(one, two).to_dict(), "trend")
    assert files == {"trend.nights.csv": "a\n1\n2\n"}
    assert [layer["data"].get("url") for layer in spec["layer"]] == ["trend.nights.csv", None]
    assert spec["layer"][1]["data"]["values"] == [{"b": 3}, {"b": 4}]


@pytest.mark.parametrize("name", ["pair-heatmap", "ranked-collectives", "busbw-by-size", "rail-matrix"])
def test_by_url_the_picture_is_the_same_as_inline(name, specs, tmp_path, loopback):
    spec, files = by_url(specs[name], name, url := loopback(tmp_path))
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    apart = vl_convert.vegalite_to_svg(spec, vl_version="5.21", allowed_base_urls=[url])
    inline = vl_convert.vegalite_to_svg(specs[name], vl_version="5.21", allowed_base_urls=[])
    assert re.sub(r'id="[^"]*"|url\(#[^)]*\)', "", apart) == re.sub(r'id="[^"]*"|url\(#[^)]*\)', "", inline)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False), st.booleans()),
        min_size=1,
    )
)
def test_any_text_and_number_comes_back_from_the_file(found):
    rows = [{"text": text, "number": number, "flag": flag} for text, number, flag in found]
    read = list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))
    assert [row["text"] for row in read] == [no_formula(text) for text, _, _ in found]
    for row, (_, value, _) in zip(read, found, strict=True):
        assert row["number"] == "" if value is None else float(row["number"]) == value
    assert types(rows) == {"text": "string", "number": "number", "flag": "boolean"}


def test_nothing_measured_is_a_header_alone_or_nothing():
    assert csv_text([]) == "\n" and types([]) == {}


def test_the_same_table_gives_the_same_bytes(specs):
    first, second = (by_url(specs["pair-heatmap"], "pair-heatmap") for _ in range(2))
    assert text_of(first[0]) == text_of(second[0]) and first[1] == second[1]
