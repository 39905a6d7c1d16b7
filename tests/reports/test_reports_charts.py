"""Specifications: golden, valid, the same bytes everywhere, and names in them are data."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import altair as alt
import pandas as pd
import pytest
from altair.utils.schemapi import SchemaValidationError

import made_runs
from bench.judge.evidence import Evidence
from made_acceptance import LAMBDA, acceptance_run
from reports import theme
from reports.charts import CHARTS, ranked_bars, trend
from reports.charts.bars import RuleLine
from reports.charts.rails import marked_pairs
from reports.export import specifications
from reports.frames import BLAMED_COLUMNS, frames
from reports.pictures import svg
from reports.port_rates import NOBODY
from reports.theme import SCHEMA, SIZE_LABEL, size_ticks, specification, text_of

HERE = Path(__file__).parent
# what a run of accept draws; the others need phases of their own
DRAWN = [chart.name for chart in CHARTS if chart.section in ("collectives", "rails")]


def specs_of(made):
    return specifications(frames(Evidence(made.run, made.profile)))


@pytest.fixture(scope="module")
def cluster_specs():
    return specs_of(made_runs.cluster(4))


def made_trend():
    nights = pd.DataFrame(
        {
            "time": [1.79e9 + 86400 * n for n in range(12)],
            "value": [400.0 + n % 3 for n in range(8)] + [380.0 + n % 3 for n in range(4)],
            "label": ["ok"] * 8 + ["suspicious"] + ["regression"] * 3,
        }
    )
    levels = pd.DataFrame(
        {"begin": [1.79e9, 1.79e9 + 8 * 86400], "end": [1.79e9 + 8 * 86400, 1.79e9 + 11 * 86400],
         "level": [401.0, 381.0], "low": [393.0, 373.0], "high": [409.0, 389.0]}
    )  # fmt: skip
    steps = pd.DataFrame({"time": [1.79e9 + 8 * 86400], "text": ["−5.0 %: NCCL 2.28.9 → 2.29.1"]})
    return trend(nights, levels, steps, title="all_reduce 8 GiB", subtitle="made", axis="busbw (GB/s)")


@pytest.mark.parametrize("name", DRAWN)
def test_a_cluster_draws_every_chart_and_it_is_the_reviewed_one(name, cluster_specs, golden):
    golden(f"{name}.vl.json", text_of(cluster_specs[name]))


def test_a_trend_is_the_reviewed_one(golden):
    golden("trend.vl.json", text_of(specification(made_trend())))


@pytest.mark.parametrize("name", DRAWN)
def test_specifications_are_valid_without_configuration_and_background(name, cluster_specs):
    spec = cluster_specs[name]
    alt.Chart.from_dict(spec)
    assert spec["$schema"] == SCHEMA
    assert "config" not in spec and "background" not in spec


def test_the_schema_is_asked_by_tests_and_a_run_does_without(cluster_specs, monkeypatch):
    wrong = alt.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a:Q")
    wrong.encoding.x.scale = "log"  # a scale is an object
    with pytest.raises(SchemaValidationError):
        specification(wrong)
    monkeypatch.setattr(theme, "VALIDATED", False)
    assert specification(wrong)["encoding"]["x"]["scale"] == "log"
    assert specs_of(made_runs.cluster(4)) == cluster_specs


def test_numbers_are_rounded_and_finite_so_that_files_do_not_depend_on_the_machine(cluster_specs):
    text = "".join(text_of(spec) for spec in cluster_specs.values())
    assert "NaN" not in text and "Infinity" not in text


def test_the_same_run_gives_the_same_bytes_in_another_process_zone_and_hash_seed(cluster_specs):
    here = hashlib.sha256("".join(text_of(spec) for spec in cluster_specs.values()).encode()).hexdigest()
    code = (
        "import hashlib, made_runs; from reports.export import specifications; from reports.frames import frames\n"
        "from reports.theme import text_of; m = made_runs.cluster(4)\n"
        "from bench.judge.evidence import Evidence; s = specifications(frames(Evidence(m.run, m.profile)))\n"
        "print(hashlib.sha256(''.join(text_of(x) for x in s.values()).encode()).hexdigest())"
    )
    paths = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    env = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "America/Los_Angeles", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == here


def test_nothing_measured_draws_only_what_was_planned():
    made = made_runs.nothing_measured()
    f, specs = frames(Evidence(made.run, made.profile)), specs_of(made)
    assert "ranked-collectives" in specs
    assert all(chart.data(f).equals(f.best) for chart in CHARTS if chart.name in specs)
    picture = svg(specs["ranked-collectives"], "light")
    assert picture.count(">not measured<") == len(f.best)


def test_a_local_run_has_no_rails_and_no_target():
    specs = specs_of(made_runs.gloo())
    assert list(specs) == [chart.name for chart in CHARTS if chart.section == "collectives"]
    assert "rails of a node" not in text_of(specs["busbw-by-size"])


def test_the_target_is_shown_in_both_units(cluster_specs):
    assert "400 GB/s = 3,200 Gb/s" in text_of(cluster_specs["busbw-by-size"])


def test_whom_blame_suspects_is_outlined_on_both_maps_and_nobody_else(cluster_specs):
    for name, cells in (("pair-heatmap", 6), ("rail-matrix", 1)):
        rows = max(cluster_specs[name]["datasets"].values(), key=len)
        marked = [row for row in rows if "node002 rail mlx5_10/1" in row["blame"]]
        assert len(marked) == cells
        assert all(row["rail"] == "mlx5_10/1" and "node002" in row.values() for row in marked)
        assert not [row for row in rows if row["blame"] != NOBODY and "node002" not in row.values()]
    assert "node002 on mlx5_10/1 (191" in next(c for c in CHARTS if c.name == "pair-heatmap").about(_faulty())


def test_nobody_is_outlined_on_a_healthy_cluster():
    for name in ("pair-heatmap", "rail-matrix"):
        spec = specs_of(made_runs.cluster(4, faulty=False))[name]
        assert not [
            row for rows in spec["datasets"].values() for row in rows if row.get("blame", NOBODY) != NOBODY
        ]
        assert "nothing is outlined" in json.dumps(spec)


@pytest.mark.parametrize(
    ("kind", "node", "peer", "rail", "cells"),
    [
        (
            "node",
            "n1",
            "",
            "",
            {("n0", "n1", "r0"), ("n1", "n0", "r0"), ("n1", "n2", "r0"), ("n1", "n0", "r1")},
        ),
        ("port", "n1", "", "r0", {("n0", "n1", "r0"), ("n1", "n0", "r0"), ("n1", "n2", "r0")}),
        ("path", "n0", "n1", "r0", {("n0", "n1", "r0"), ("n1", "n0", "r0")}),
        ("rail", "", "", "r0", set()),
    ],
)
def test_outlined_are_the_transfers_that_go_through_the_blamed(kind, node, peer, rail, cells):
    places = [
        ("n0", "n1", "r0"),
        ("n1", "n0", "r0"),
        ("n1", "n2", "r0"),
        ("n0", "n2", "r0"),
        ("n1", "n0", "r1"),
    ]
    pairs = pd.DataFrame(places, columns=["source", "destination", "rail"])
    blamed = pd.DataFrame([(kind, node, peer, rail, "named")], columns=list(BLAMED_COLUMNS))
    marked = marked_pairs(pairs, blamed)
    assert {place for place, text in zip(places, marked["blame"], strict=True) if text != NOBODY} == cells


def test_labels_stand_behind_a_rule_that_would_strike_them_through():
    data = pd.DataFrame({"name": ["near", "clear", "far", "over"], "value": [390.0, 370.0, 40.0, 450.0]})
    chart = ranked_bars(data, "name", "value", title="t", axis="x", format="~f", rule=RuleLine(400.0, "sold"))
    found = re.findall(r'translate\(([\d.]+),[\d.]+\)"[^>]*>(\d+)<', marks_of(chart))
    # the axis ends at 500, the next round number, 800 pixels from 0; labels stand 6 pixels beside
    assert {text: float(x) for x, text in found} == {"390": 646, "370": 598, "40": 70, "450": 726}


def marks_of(chart):
    """The text marks of a rendered chart: those that are neither axis nor title."""
    picture = svg(specification(chart), "light")
    return "".join(re.findall(r'<g class="mark-text role-mark[^"]*".*?</g>', picture, re.S))


def _faulty():
    made = made_runs.cluster(4)
    return frames(Evidence(made.run, made.profile))


def test_alternative_texts_name_what_is_to_be_seen():
    f = _faulty()
    texts = {chart.name: chart.about(f) for chart in CHARTS if chart.name in DRAWN}
    assert all(len(text) > 40 for text in texts.values())
    assert "node002 mlx5_10/1 (50.1 %)" in texts["rail-matrix"]
    lossy = made_runs.gloo(lossy=True)
    ranking = next(chart for chart in CHARTS if chart.name == "ranked-collectives")
    assert "Not measured: scatter" in ranking.about(frames(Evidence(lossy.run, lossy.profile)))


def test_many_nodes_stay_inside_what_a_page_can_carry():
    made = made_runs.cluster(32)
    specs = specs_of(made)
    assert sum(len(text_of(spec)) for spec in specs.values()) < 700_000
    assert "the slowest rail stands for each pair" in text_of(specs["pair-heatmap"])


def test_every_specification_says_in_words_what_it_shows(cluster_specs):
    for spec in cluster_specs.values():
        assert spec["description"].endswith(".") and len(spec["description"]) > 40


def test_hostile_names_are_data_and_never_expressions():
    specs = specs_of(made_runs.cluster(names=["node001", made_runs.HOSTILE]))

    def expressions(value):
        if isinstance(value, dict):
            for key, item in value.items():
                if key in ("calculate", "expr", "filter", "test", "labelExpr") and isinstance(item, str):
                    yield item
                yield from expressions(item)
        elif isinstance(value, list):
            for item in value:
                yield from expressions(item)

    found = [text for spec in specs.values() for text in expressions(spec)]
    assert found
    assert not any("constructor" in text for text in found)
    for name in ("rail-matrix", "node-totals"):
        assert "constructor" in svg(specs[name], "light")


def test_a_label_of_a_night_that_is_unknown_is_refused():
    nights = pd.DataFrame({"time": [0.0], "value": [1.0], "label": ["fine"]})
    with pytest.raises(ValueError, match="unknown label fine; known: ok, suspicious"):
        trend(
            nights,
            pd.DataFrame(columns=["begin", "end", "level", "low", "high"]),
            pd.DataFrame(),
            title="",
            subtitle="",
            axis="",
        )


def test_a_trend_renders():
    picture = svg(specification(made_trend()), "dark")
    assert "NCCL 2.28.9 → 2.29.1" in picture and "regression" in picture


def test_size_ticks_are_powers_of_two_and_few():
    ticks = size_ticks([8, 100, 8 << 30])
    assert len(ticks) <= 9 and ticks[0] == 8
    assert all(math.log2(tick).is_integer() for tick in ticks)
    assert size_ticks([]) == [] and size_ticks([24]) == [24]


def test_the_size_axis_speaks_of_kib_mib_and_gib():
    spec = specs_of(made_runs.cluster())["busbw-by-size"]
    assert SIZE_LABEL in json.loads(text_of(spec))["layer"][0]["encoding"]["x"]["axis"]["labelExpr"]
    picture = svg(spec, "light")
    assert "KiB" in picture and "MiB" in picture and "GiB" in picture


@pytest.mark.parametrize(
    "column", ["a.b", "a[0]", "it's", 'quo"te', "back\\slash", "colon:Q", "datum", "a b"]
)
def test_columns_may_be_called_anything(column):
    data = pd.DataFrame({column + "1": ["low", "high", "none"], column: [1.5, 20.0, math.nan]})
    picture = svg(specification(ranked_bars(data, column + "1", column, title="t", axis="x")), "light")
    assert picture.index(">high<") < picture.index(">low<") < picture.index(">none<")
    assert ">20<" in picture and ">1.5<" in picture and ">not run<" in picture


def test_the_size_curve_rules_the_floor_of_each_size_that_has_one(tmp_path):
    made = made_runs.Made(acceptance_run(tmp_path), LAMBDA)
    spec = specs_of(made)["busbw-by-size"]
    (floors,) = (layer for layer in spec["layer"] if layer.get("name") == "floors")
    rows = spec["datasets"][floors["data"]["name"]]
    wanted = {(row["series"], row["size"]): row["floor"] for row in rows}
    assert wanted and set(wanted.values()) <= {
        limit.bound.value / 1e9 for limit in made.profile.limits if limit.quantity == "busbw"
    }
    assert floors["encoding"]["y"]["field"] == "floor"
    top = spec["layer"][1]["encoding"]["y"]["scale"]["domain"][1]
    assert top >= max(wanted.values())


def test_the_size_curve_reaches_up_to_a_floor_that_nothing_reaches(tmp_path):
    high = [replace(limit, bound=replace(limit.bound, value=2e12)) for limit in LAMBDA.limits]
    made = made_runs.Made(acceptance_run(tmp_path), replace(LAMBDA, limits=tuple(high)))
    assert specs_of(made)["busbw-by-size"]["layer"][1]["encoding"]["y"]["scale"]["domain"][1] >= 2000
