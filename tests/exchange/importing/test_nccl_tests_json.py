"""nccl-tests -J files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.importing.convert import measured
from bench.exchange.importing.nccl_tests_json import parse
from bench.model.units import GIGA, MICRO


def placed(micros: float, size: int = 8589934592, n: int = 96) -> dict[str, Any]:
    algbw = size / micros / 1e3
    return {
        "time": micros,
        "alg_bw": round(algbw, 6),
        "bus_bw": round(algbw * 2 * (n - 1) / n, 6),
        "nwrong": 0.0,
    }


def result(**more: Any) -> dict[str, Any]:
    return {
        "size": 8589934592,
        "count": 2147483648,
        "type": "float",
        "redop": "sum",
        "root": "    -1",
        "out_of_place": placed(43980.0),
        "in_place": placed(44094.0),
        "actual_iterations": 20,
        "experiment_name": "",
        **more,
    }


def content(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 3,
        "start_time": "2026-07-01 10:00:00",
        "args": ["./all_reduce_perf", "-b", "8G"],
        "env": ["HF_TOKEN=secret", "NCCL_ALGO=Ring", "PATH=/bin", 7],
        "nccl_version": 23007,
        "config": {
            "nthreads": 1,
            "minimum_bytes": 8589934592,
            "step_bytes": 1048576,
            "warmup_iters": 1,
            "iterations": 20,
            "blocking_collectives": "false",
            "devices": [
                {
                    "rank": k,
                    "group": 0,
                    "pid": 1,
                    "hostname": "n",
                    "device": k % 8,
                    "device_hex": "0",
                    "device_info": "H100",
                }
                for k in range(96)
            ],
        },
        "results": list(results),
        "out_of_bounds": {"count": 0, "okay": "true"},
        "average_bus_bandwidth": {"bandwidth": 386.060375, "okay": "unchecked"},
        "errors": [],
        "end_time": "2026-07-01 10:01:00",
        **more,
    }


WHOLE = json.dumps(content(result(), average_bus_bandwidth={"bandwidth": 386.060375, "okay": "unchecked"}))


def test_a_file_is_read():
    run = parse(WHOLE)
    assert (run.collective, run.ranks, run.listed, run.complete, run.problems) == (
        "all_reduce",
        96,
        96,
        True,
        (),
    )
    assert [row.placement for row in run.rows] == ["out", "in"]
    assert [row.root for row in run.rows] == [-1, -1]
    assert run.rows[0].seconds == pytest.approx(43980 * MICRO)
    assert run.rows[0].busbw == pytest.approx(386.560078 * GIGA)
    assert run.settings["step_bytes"] == "1048576"


def test_secrets_of_the_environment_are_left_out():
    run = parse(WHOLE)
    assert run.settings["env NCCL_ALGO"] == "Ring"
    assert "secret" not in repr(run)


def test_null_is_unchecked_and_null_is_absent():
    half = {"time": 44094.0, "alg_bw": 194.809602, "bus_bw": 385.560671, "nwrong": None}
    run = parse(json.dumps(content(result(out_of_place=None, in_place=half))))
    assert [(row.placement, row.wrong) for row in run.rows] == [("in", None)]


@pytest.mark.parametrize("odd", ['"nan"', "inf", "-inf"])
def test_what_is_no_number_is_no_measurement(odd):
    text = json.dumps(content(result())).replace("386.560078", odd)
    run = parse(text)
    assert len(run.rows) == 2
    assert any("1 figure without a time or a rate" in problem for problem in run.problems)
    assert not run.complete
    assert len(measured(run)) == 1


def test_launch_times_are_marked():
    half = {"cpu_time": 12.0, "alg_bw": 195.314566, "bus_bw": 386.560078, "nwrong": 0.0}
    run = parse(json.dumps(content(result(out_of_place=half))))
    assert run.rows[0].clock == "cpu"


def test_iterations_are_kept_in_seconds():
    times = {"out_of_place_per_iter": {"times_us": [1.0, 2.0, 3.0]}}
    run = parse(json.dumps(content(result(**times))))
    assert run.rows[0].iterations == pytest.approx((1e-6, 2e-6, 3e-6))
    assert measured(run)[0][1].isolated == pytest.approx((1e-6, 2e-6, 3e-6))


def test_errors_and_wrong_results_are_problems():
    run = parse(
        json.dumps(
            content(result(), errors=["unhandled cuda error"], out_of_bounds={"count": 2, "okay": "false"})
        )
    )
    assert run.failures == ("unhandled cuda error",)
    assert not run.complete
    assert any("out of bounds" in problem for problem in run.problems)


def test_a_killed_run_keeps_its_whole_rows():
    text = json.dumps(content(result(), result(size=1 << 20, count=1 << 18)))
    run = parse(text[: text.index('"size": 1048576') + 30])
    assert [row.size for row in run.rows] == [8589934592] * 2
    assert not run.complete
    assert run.ranks == 96
    assert any("cut or broken" in problem for problem in run.problems)


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_at_any_byte_is_incomplete(place):
    run = parse(WHOLE[:place])
    assert not run.complete or run.problems
    assert any("cut or broken" in problem for problem in run.problems)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["results", "config", "args", "env", "errors", "out_of_bounds", "average_bus_bandwidth", "nccl_version"]
)
ROW_KEYS = st.sampled_from(["size", "count", "type", "redop", "root", "out_of_place", "in_place"])


@settings(max_examples=40)
@given(KEYS, ROW_KEYS, values, values)
def test_no_content_crashes(key, row_key, value, other):
    changed = content(result(**{row_key: other}), **({key: value} if key != "results" else {}))
    run = parse(json.dumps(changed))
    assert run.complete or run.problems
    parse(json.dumps({key: value}))
    parse(json.dumps(value))


def test_a_run_whose_average_misses_its_limit_is_a_failure():
    changed = json.loads(WHOLE)
    changed["average_bus_bandwidth"]["okay"] = "false"
    run = parse(json.dumps(changed))
    assert run.faults == ("the average busbw is below 90 % of NCCL_TESTS_MIN_BW",)


@pytest.mark.parametrize("end", [None, ""])
def test_a_run_without_an_end_is_not_whole(end):
    run = parse(json.dumps({**json.loads(WHOLE), "start_time": "2026-07-09 15:52:13", "end_time": end}))
    assert any("before it wrote its end_time" in problem for problem in run.problems)
    assert not run.complete
