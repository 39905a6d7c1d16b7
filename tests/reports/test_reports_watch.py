"""The watch's section: what its charts show, and that a run without a watch has none."""

import json

import pytest

import runs
from bench.judge.evidence import Evidence
from bench.model.activity import InspectedCalls
from bench.store import load
from judge.checks.test_watch import FAST, SLOW, device, evidence, ring
from reports.charts import CHARTS
from reports.frames import frames
from reports.page import page

WATCH = [chart for chart in CHARTS if chart.section == "watch"]


@pytest.fixture
def watched():
    slow = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9), ("n0", 1): device("n0", 1, SLOW, 0.9)}
    calls = (InspectedCalls("AllReduce", 1 << 30, 16, 2, 5, 3e11, 1e11),)
    return evidence(slow, calls=calls, errors={"eth2 rx_errors": 7})


def test_a_device_is_a_line_from_the_least_node_to_the_most(watched):
    rows = frames(watched).watch
    assert sorted(set(rows["device"])) == ["eth1", "eth2"]
    first = rows[(rows["device"] == "eth1") & (rows["seconds"] == 1.0)].iloc[0]
    assert (first["least"], first["most"]) == (
        pytest.approx(2 * FAST * 0.4 / 1e9),
        pytest.approx(2 * SLOW * 0.9 / 1e9),
    )


def test_a_rail_for_which_data_waits_is_a_bar_and_a_slow_one_has_a_floor(watched):
    rows = frames(watched).waiting.set_index("rail")
    assert rows["gbs"]["n1 eth1"] == pytest.approx(SLOW / 1e9)
    assert rows["floor"].dropna().to_dict() == {"n0 eth1": pytest.approx(0.1), "n1 eth1": pytest.approx(0.1)}


def test_every_chart_is_drawn_and_described(watched):
    f = frames(watched)
    assert len(WATCH) == 3
    for chart in WATCH:
        assert json.loads(chart.draw(f).to_json(validate=True))
        assert chart.about(f)
    assert "n1 eth1 0.05 of 0.1 GB/s" in next(each for each in WATCH if each.name == "watch-waiting").about(f)
    assert next(iter(f.events["text"])) == "n0 eth2: rx_errors grew by 7"


def test_the_page_of_a_watch_has_no_sections_of_what_was_measured(watched):
    f = frames(watched)
    specs = {chart.name: {"description": chart.about(f)} for chart in WATCH}
    text = page(watched, f, specs)
    assert "The watched job" in text
    assert 'id="coverage"' not in text
    assert 'id="exclusion"' not in text


def test_a_run_without_a_watch_has_no_such_charts(tmp_path):
    f = frames(Evidence(load(runs.folder(tmp_path / "run")), runs.LOCAL))
    assert all(chart.draw(f) is None for chart in WATCH)
