"""Prometheus text, read back by Prometheus' own parser and linted as promtool does; a dashboard that reads it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.exporting.formats import export
from bench.exchange.exporting.metrics import METRICS
from bench.store import load
from tests import runs

parser = pytest.importorskip("prometheus_client.parser")
NAME = re.compile(r"[a-z_][a-z0-9_]*")
# promtool's lint: a unit that is not a base unit, or an abbreviation of one
NO_BASE_UNIT = re.compile(
    r"(^|_)(milliseconds|microseconds|nanoseconds|minutes|hours|days|ms|us|ns|s|sec|secs|kilobytes|megabytes|gigabytes|"
    r"kb|mb|gb|kib|mib|gib|bits|gbps|percent|celsius_degrees)(_|$)"
)
RESERVED = ("le", "quantile")
UNBOUNDED = ("run", "run_id", "time", "date", "message", "case", "id")


def families(text: str):
    return list(parser.text_string_to_metric_families(text))


def lint(text: str) -> list[str]:
    """What promtool check metrics would say, and duplicates, which it leaves to the scrape."""
    problems, seen = [], set()
    for family in families(text):
        if not family.documentation.strip():
            problems.append(f"{family.name}: no help text")
        if not NAME.fullmatch(family.name):
            problems.append(f"{family.name}: not snake case")
        if NO_BASE_UNIT.search(family.name):
            problems.append(f"{family.name}: not a base unit")
        if re.search(r"_(gauge|counter|summary|histogram)(_|$)", family.name) or family.name.endswith(
            ("_total", "_sum", "_count", "_bucket")
        ):
            problems.append(f"{family.name}: a type in the name of a {family.type}")
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            if key in seen:
                problems.append(f"{key}: twice")
            seen.add(key)
            problems += [
                f"{sample.name}: label {name}" for name in sample.labels if name in (*RESERVED, *UNBOUNDED)
            ]
            if sample.timestamp is not None:
                problems.append(f"{sample.name}: a timestamp, which node_exporter refuses")
            if not math.isfinite(sample.value):
                problems.append(f"{sample.name}: {sample.value}")
    return problems


def test_what_is_written_is_read_back_and_linted(night):
    text = export(night, "prometheus")
    assert lint(text) == []
    known = {family.name for family in families(text)}
    assert known <= {metric.name for metric in METRICS}
    assert {family.type for family in families(text)} == {"gauge"}
    assert text.endswith("\n")


def test_the_linter_finds_what_it_is_for():
    bad = (
        '# HELP a_total x\n# TYPE a_total gauge\na_total 1\n# TYPE b_milliseconds gauge\nb_milliseconds{le="1"} 1 5\n'
        'b_milliseconds{le="1"} NaN\n'
    )
    said = " ".join(lint(bad))
    for word in ("type in the name", "base unit", "twice", "label le", "timestamp", "nan", "no help text"):
        assert word in said


def test_a_nightly_run_of_a_cluster_fills_every_metric_but_the_target(night):
    known = {family.name for family in families(export(night, "prometheus"))}
    assert {metric.name for metric in METRICS} - known <= {"railgauge_target_ratio"}


def test_figures_are_base_units_of_this_run(night):
    by_name = {family.name: family.samples for family in families(export(night, "prometheus"))}
    ((completed,),) = (by_name["railgauge_run_completion_timestamp_seconds"],)
    assert completed.value == night.ended
    largest = {
        sample.labels["collective"]: sample.value
        for sample in by_name["railgauge_bus_bandwidth_bytes_per_second"]
        if sample.labels["size"] == "4 MiB"
    }
    # 4 MiB in 1.2 ms, times 2 (n - 1) / n of 16 ranks
    assert largest["all_reduce"] == pytest.approx((4 << 20) / 1.2e-3 * 2 * 15 / 16, rel=0.05)
    labels = {sample.labels["label"]: sample.value for sample in by_name["railgauge_drift_series"]}
    assert labels["regression"] >= 1
    status = {sample.labels["status"]: sample.value for sample in by_name["railgauge_run_status"]}
    assert status == {"pass": 0.0, "fail": 1.0, "inconclusive": 0.0}
    slow = min(by_name["railgauge_rail_bandwidth_bytes_per_second"], key=lambda sample: sample.value)
    assert (slow.labels["node"], slow.labels["rail"]) == ("n2", "rail 1")


def test_a_run_that_did_not_end_has_no_completion(tmp_path):
    run = load(runs.folder(tmp_path / "run", end=False))
    known = {family.name for family in families(export(run, "prometheus"))}
    assert "railgauge_run_start_timestamp_seconds" in known
    assert not {"railgauge_run_completion_timestamp_seconds", "railgauge_run_duration_seconds"} & known
    assert "railgauge_drift_series" not in known


def test_a_missing_figure_is_left_out_and_not_zero(tmp_path):
    planned = runs.cases()
    rows = [row for case in planned for row in runs.measured(case, pipelined=(), isolated=())]
    run = load(runs.folder(tmp_path / "run", rows, planned))
    assert "railgauge_bus_bandwidth_bytes_per_second" not in {
        family.name for family in families(export(run, "prometheus"))
    }


@settings(max_examples=40)
@given(name=st.text(max_size=20))
def test_no_name_breaks_the_file(bare, name):
    for odd in (
        replace(bare, manifest=replace(bare.manifest, profile_name=name), by=""),
        replace(bare, by=name or "local"),
    ):
        text = export(odd, "prometheus")
        (info,) = [family for family in families(text) if family.name == "railgauge_run_info"]
        assert info.samples[0].labels["profile"] == odd.profile_name.encode(errors="replace").decode()


# --- the dashboard ------------------------------------------------------------------------------------


def test_the_dashboard_reads_nothing_but_what_is_exported(night):
    board = json.loads(export(night, "grafana"))
    labels = {metric.name: {"cluster", *metric.labels} for metric in METRICS}
    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"railgauge_\w+", target["expr"]))
            assert names <= set(labels), target["expr"]
            asked |= names
            for legend in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert all(legend in labels[name] for name in names), (legend, target["expr"])
            for label in re.findall(r"(\w+)=~?\"", target["expr"]):
                assert all(label in labels[name] for name in names), (label, target["expr"])
    variable = next(each for each in board["templating"]["list"] if each["name"] == "cluster")
    assert re.findall(r"railgauge_\w+", variable["definition"])[0] in labels
    assert len(asked) >= 12


def test_the_dashboard_is_one_that_grafana_imports(night):
    board = json.loads(export(night, "grafana"))
    assert board["title"] and board["uid"] and board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
