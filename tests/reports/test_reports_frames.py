"""What the frames say of a run."""

import math

import made_runs
import pandas as pd

from reports.charts.rails import node_rails, node_totals, slowest_rail
from reports.frames import frames


def of(made):
    return frames(made.run, made.profile)


def test_unchecked_is_missing_and_not_0():
    f = of(made_runs.gloo(unchecked=True))
    assert f.rows["wrong"].isna().all()
    assert (of(made_runs.gloo()).rows["wrong"] == 0).all()


def test_a_planned_collective_without_a_figure_stays_in_the_ranking_with_0():
    best = of(made_runs.gloo(lossy=True)).best.set_index("series")
    assert best.loc["scatter", "busbw"] == 0.0
    assert best.loc["all_reduce", "busbw"] > 0


def test_a_clock_that_is_no_number_gives_no_figure():
    f = of(made_runs.not_a_number(made_runs.gloo()))
    assert (f.best["busbw"] == 0.0).all()
    assert f.curve.empty


def test_a_run_without_measurements_has_empty_frames():
    f = of(made_runs.nothing_measured())
    assert f.rows.empty and f.curve.empty and f.pairs.empty
    assert len(f.best) == 11


def test_the_slowest_group_stands_for_a_series():
    f = of(made_runs.cluster())
    inside = f.rows[f.rows["series"] == "all_reduce (inside a node)"]
    assert len(inside) == 2
    (row,) = f.curve[f.curve["series"] == "all_reduce (inside a node)"].to_dict("records")
    assert row["busbw"] == inside["busbw"].min()
    assert row["groups"] == 2
    assert row["low"] <= row["busbw"] <= row["high"]


def test_out_of_place_is_the_quoted_figure():
    f = of(made_runs.cluster())
    assert set(f.rows[f.rows["series"] == "all_gather"]["placement"]) == {"in", "out"}
    assert set(f.curve[f.curve["series"] == "all_gather"]["placement"]) == {"out"}


def test_pairs_are_named_by_the_profiles_devices_and_keep_their_direction():
    f = of(made_runs.cluster(4))
    assert len(f.pairs) == 6 * 8
    assert set(f.pairs["rail"]) == set(made_runs.b200_profile().rails.devices)
    assert (f.pairs["source"] < f.pairs["destination"]).all()


def test_the_slow_port_is_the_slowest_cell():
    table = node_rails(of(made_runs.cluster(4)).pairs).sort_values("gbps")
    worst = table.iloc[0]
    assert (worst["node"], worst["rail"]) == ("node002", "mlx5_10")
    assert -0.51 < worst["change"] < -0.49


def test_a_node_that_lacks_a_rail_says_so_beside_its_sum():
    pairs = of(made_runs.cluster(4)).pairs
    gone = pairs[
        ~(
            (pairs["rail"] == "mlx5_3")
            & ((pairs["source"] == "node004") | (pairs["destination"] == "node004"))
        )
    ]
    totals = node_totals(gone).set_index("node")
    assert totals.loc["node004", "note"] == "only 7 of 8 rails measured"
    assert totals.loc["node001", "note"] == ""


def test_the_slowest_rail_stands_for_a_pair():
    pairs = of(made_runs.cluster(4)).pairs
    slow = slowest_rail(pairs)
    assert len(slow) == 6
    assert slow["gbps"].min() == pairs["gbps"].min()


def test_rates_are_gigabytes_and_gigabits():
    pairs = of(made_runs.cluster()).pairs
    assert all(
        math.isclose(gbps, 8 * rate, rel_tol=1e-5)
        for gbps, rate in zip(pairs["gbps"], pairs["busbw"], strict=True)
    )


def test_the_evidence_phase_is_quoted_nowhere():
    made = made_runs.gloo()
    f = of(made)
    marked = f.rows.assign(phase="evidence")
    from reports.frames import curve_frame

    assert curve_frame(marked).empty
    assert isinstance(f.rows, pd.DataFrame)
