"""The watch's section: what its charts show, and that a run without a watch has none."""

import json
from dataclasses import replace

import pytest

import runs
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.activity import DeviceActivity, InspectedCalls
from bench.store import load
from judge.checks.test_watch import FAST, SLOW, device, evidence, ring
from reports.charts import CHARTS
from reports.frames import frames
from reports.page import page
from reports.theme import RED

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
        pytest.approx(FAST * 0.4 / 1e9),
        pytest.approx(SLOW * 0.9 / 1e9),
    )


def test_a_device_shows_the_direction_that_carried_more():
    one_way = ring() | {("n1", 1): device("n1", 1, received=7 * 10**9)}
    rows = frames(evidence(one_way)).watch
    assert rows.loc[rows["device"] == "eth1", "most"].max() == pytest.approx(7.0)


def chart_named(name):
    return next(each for each in WATCH if each.name == name)


def test_the_slow_rail_is_a_red_line_with_its_node_and_both_charts_say_which_it_is(watched):
    judged = judge(watched.run, watched.profile)
    f = frames(judged)
    assert set(f.watch["device"]) == {"eth1", "eth2", "n1 eth1"}
    assert f.watch.loc[f.watch["use"] == "slow", "most"].max() == pytest.approx(SLOW * 0.9 / 1e9)
    assert "red: n1 eth1, for which the job waits" in chart_named("watch-traffic").subtitle(f)
    assert "slow is n1 eth1, at one end of all that is red" in chart_named("watch-waiting").subtitle(f)
    drawn = json.dumps(chart_named("watch-traffic").draw(f).to_dict())
    assert RED in drawn
    assert RED not in json.dumps(chart_named("watch-traffic").draw(frames(evidence(ring()))).to_dict())


def test_what_the_profile_leaves_out_is_said_though_it_carried_nothing():
    profile = replace(runs.LOCAL, rails=replace(runs.two_rails().rails, management="eth0"))
    quiet = ring() | {(name, 0): DeviceActivity(0, 0, True, 0.0, 0.0, "") for name in ("n0", "n1", "n2")}
    f = frames(Evidence(evidence(quiet).run, profile))
    assert "dashed: eth0, left out by the profile" in chart_named("watch-traffic").subtitle(f)
    assert set(f.watch.loc[f.watch["use"] == "excluded", "device"]) == {"eth0"}


def test_a_rail_for_which_data_waits_is_a_bar_and_a_slow_one_has_a_floor(watched):
    rows = frames(watched).waiting.set_index("rail")
    assert rows["gbs"]["n1 eth1 to n2 eth1"] == pytest.approx(SLOW / 1e9)
    assert rows["floor"].dropna().to_dict() == {
        "n0 eth1 to n1 eth1": pytest.approx(0.1),
        "n1 eth1 to n2 eth1": pytest.approx(0.1),
    }


def test_every_chart_is_drawn_and_described(watched):
    f = frames(watched)
    assert len(WATCH) == 3
    for chart in WATCH:
        assert json.loads(chart.draw(f).to_json(validate=True))
        assert chart.about(f)
    assert "n1 eth1 to n2 eth1 0.05 of 0.1 GB/s" in chart_named("watch-waiting").about(f)
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
