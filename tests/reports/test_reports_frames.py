"""What the frames say of a run."""

import math
import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from msgspec import structs

import made_runs
from bench.judge.evidence import Evidence
from bench.model.measurement import Extra
from bench.model.stats import summary
from bench.store.rows import rows
from reports.charts.rails import slowest_rail
from reports.export import rows_csv
from reports.frames import ROW_COLUMNS, _isolated, curve_frame, frames, rounded, rounded_all, rows_frame
from reports.port_rates import node_rails


def of(made):
    return frames(Evidence(made.run, made.profile))


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
    assert len(f.pairs) == 2 * 6 * 8
    assert set(f.pairs["rail"]) == {f"{device}/1" for device in made_runs.b200_profile().rails.devices}
    assert len(f.pairs[f.pairs["source"] < f.pairs["destination"]]) == 6 * 8


def test_the_slow_port_is_the_slowest_cell():
    f = of(made_runs.cluster(4))
    table = node_rails(f.pairs, f.blamed).sort_values("gbps")
    worst = table.iloc[0]
    assert (worst["node"], worst["rail"]) == ("node002", "mlx5_10/1")
    assert -0.51 < worst["change"] < -0.49


def without(made, gone, **changes):
    """The run with the measurements of which ``gone(case, ranks)`` holds changed, or left out without changes."""
    rows = [(gone(m.case, m.ranks), m) for m in made.run.measurements]
    kept = tuple(replace(m, **changes) if hit else m for hit, m in rows if changes or not hit)
    return replace(made, run=replace(made.run, measurements=kept))


def test_a_node_that_lacks_a_rail_says_so_beside_its_sum():
    made = without(
        made_runs.cluster(4, faulty=False), lambda case, ranks: case.startswith("rails") and 24 in ranks
    )
    totals = of(made).totals.set_index("node")
    assert totals.loc["node004", "note"] == "only 7 of 8 rails"
    assert totals.loc["node004", "gbps"] < 7 / 8 * totals.loc["node003", "gbps"] * 1.05


def test_what_did_not_get_through_is_0_and_what_was_not_measured_is_absent():
    made = made_runs.cluster()
    dead = {"pipelined": (), "isolated": (), "extra": Extra(failed="timed out")}
    failed = of(without(made, lambda case, ranks: case.endswith("there") and ranks == (0, 8), **dead))
    (row,) = failed.pairs[
        (failed.pairs["rail"] == "mlx5_3/1") & (failed.pairs["source"] == "node001")
    ].to_dict("records")
    assert row["gbps"] == 0.0
    absent = of(without(made, lambda case, ranks: case.endswith("there") and ranks == (0, 8)))
    assert len(absent.pairs) == len(of(made).pairs) - 1
    assert "1 without a figure" in failed.best.set_index("series").loc["p2p", "note"]


def test_a_node_is_summed_with_all_rails_at_once_in_both_directions():
    totals = of(made_runs.cluster(faulty=False)).totals
    assert list(totals["rails"]) == [8, 8]
    assert all(3000 < rate < 3150 for rate in totals["gbps"])


def test_the_slowest_rail_stands_for_a_pair():
    pairs = of(made_runs.cluster(4)).pairs
    slow = slowest_rail(pairs)
    assert len(slow) == 12
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
    assert curve_frame(marked).empty
    assert isinstance(f.rows, pd.DataFrame)


def test_a_table_made_in_pieces_is_the_table(monkeypatch):
    made, unchecked = made_runs.gloo(), made_runs.gloo(unchecked=True)
    measured = (
        *of(unchecked).measured[:7],
        *of(made).measured[:7],
        *of(made_runs.not_a_number(made)).measured,
    )
    whole = rows_frame(measured, made.run.manifest.ranks)
    assert len(whole) > 14 and 0 < whole["wrong"].isna().sum() < len(whole)
    monkeypatch.setattr("reports.frames.PIECE", 3)
    monkeypatch.setattr("reports.export.PIECE", 3)
    pieces = rows_frame(measured, made.run.manifest.ranks)
    pd.testing.assert_frame_equal(pieces, whole)
    text = "".join(rows_csv(replace(of(made), rows=pieces)))
    assert text == whole.to_csv(index=False, lineterminator="\n")


def test_no_cell_of_the_rows_is_a_formula():
    made = of(made_runs.gloo())
    named = replace(made, rows=made.rows.assign(rail="=HYPERLINK(A1)"))
    assert ",'=HYPERLINK(A1)," in "".join(rows_csv(named))


def test_cells_are_quoted_as_pandas_quotes_them():
    rows = of(made_runs.gloo()).rows
    texts = ['of "one", two', "on\ntwo lines", None, "plain"]
    odd = rows.assign(group=(texts * len(rows))[: len(rows)], low=math.nan, high=1e-7)
    text = "".join(rows_csv(replace(of(made_runs.gloo()), rows=odd)))
    assert text == odd.to_csv(index=False, lineterminator="\n")


def test_numbers_are_written_as_pandas_writes_them():
    draw = random.Random(3)
    numbers = [
        0.0,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        5e-324,
        1e300,
        9.99999e-05,
        1e-4,
        999999999999999.9,
        1e16,
    ]
    numbers += [
        draw.choice((1, -1)) * draw.uniform(1, 10) * 10.0 ** draw.randint(-12, 20) for _ in range(3000)
    ]
    table = of(made_runs.nothing_measured()).rows.reindex(range(len(numbers))).assign(low=numbers)
    text = "".join(rows_csv(replace(of(made_runs.nothing_measured()), rows=table)))
    assert text == table.to_csv(index=False, lineterminator="\n")


def test_all_are_rounded_as_one_by_one():
    draw = random.Random(2)
    odd = [
        0.0,
        math.nan,
        math.inf,
        5e-324,
        1e300,
        999999.5,
        100000.5,
        123456.5,
        0.1234565,
        99999.95,
        1e5,
        1e6,
    ]
    values = [*odd, *(draw.uniform(1, 10) * 10 ** draw.randint(-25, 25) for _ in range(5000))]
    values += [float(f"0.{draw.randint(100000, 999999)}5") for _ in range(200)]
    values += [-each for each in values]
    assert rounded_all(np.array(values)).tolist() == pytest.approx(
        [*map(rounded, values)], rel=0, abs=0, nan_ok=True
    )


def test_a_table_of_nothing_has_its_columns():
    table = rows_frame((), ())
    assert list(table.columns) == list(ROW_COLUMNS) and table.empty
    assert (
        "".join(rows_csv(replace(of(made_runs.nothing_measured()), rows=table)))
        == ",".join(ROW_COLUMNS) + "\n"
    )


def test_the_figures_of_many_samples_at_once_are_those_of_each_by_itself():
    draw = random.Random(1)
    sizes = (0, 1, 2, 7, 44, 44, 7)
    samples = [[draw.gauss(1e-3, 1e-5) for _ in range(size)] for size in sizes] + [[0.1] * 44]
    (made,) = islice(rows(made_runs.gloo().run), 1)
    found = _isolated(
        [structs.replace(made, measurement=replace(made.measurement, isolated=each)) for each in samples]
    )
    for n, figures, sample in zip(*found, samples, strict=True):
        one = summary(sample)
        wanted = (one.p50, one.p95, one.p99, one.min, one.max, one.stdev)
        assert n == one.n
        assert [*map(rounded, figures)] == pytest.approx([*map(rounded, wanted)], rel=0, abs=0, nan_ok=True)
