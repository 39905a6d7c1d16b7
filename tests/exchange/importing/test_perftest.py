"""perftest tables and --out_json files."""

# ruff: noqa: E501  the rows are as wide as perftest prints them

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.importing.imported_rows import ImportRefused
from bench.exchange.importing.perftest import measured
from bench.measure.perftest.output import parse, parse_json
from bench.store.rows import row_of

DATA = Path(__file__).with_name("data")
BW = " #bytes     #iterations    BW peak[{unit}]    BW average[{unit}]   MsgRate[Mpps]\n"
LAT = " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] \n"


def table(unit: str, row: str) -> str:
    return "                    RDMA_Write BW Test\n" + BW.format(unit=unit) + row + "\n"


@pytest.mark.parametrize(
    ("unit", "row", "average"),
    [
        (
            "MB/sec",
            " 65536      5000             45000.00           44000.00		   0.704000",
            44000 * 2**20,
        ),
        (
            "MiB/sec",
            " 65536      5000             45000.00           44000.00		   0.704000",
            44000 * 2**20,
        ),
        ("Gb/sec", " 65536      5000             395.00             392.10		   0.747871", 392.1e9 / 8),
    ],
)
def test_the_unit_comes_from_the_header(unit, row, average):
    (run,) = parse(table(unit, row))
    assert run.rows[0].average == pytest.approx(average)
    assert (run.tool, run.valid, run.problems) == ("ib_write_bw", True, ())


def test_a_slow_link_is_believed_although_few_digits_are_printed():
    text = (
        "                    RDMA_Write BW Test\n"
        " #bytes     #iterations    BW peak[MiB/sec]    BW average[MiB/sec]   MsgRate[Mpps]\n"
        " 4096       90               0.00               {}              0.000029\n"
    )
    (run,) = parse(text.format("0.11"))
    assert run.problems == ()
    (run,) = parse(text.format("0.13"))
    assert "disagree" in run.problems[0]


def test_a_unit_that_the_message_rate_contradicts_is_named():
    (run,) = parse(
        table("Gb/sec", " 65536      5000             45000.00           44000.00		   0.704000")
    )
    assert any("disagree" in problem for problem in run.problems)


def test_both_ends_in_one_file_are_two_tables():
    runs = parse((DATA / "ib-two-tables.txt").read_text())
    assert len(runs) == 2
    for run in runs:
        assert run.facts == {
            "device": "ib0",
            "qps": "1",
            "connection": "RC",
            "mtu": "4096",
            "link_type": "IB",
        }
        assert run.rows[0].average * 8 / 1e9 == pytest.approx(201.8, abs=0.01)
        assert run.rows[0].size == 8388608


def test_gpu_memory_is_noticed():
    (run,) = parse((DATA / "ib-gpu.txt").read_text())
    assert run.gpu_memory
    assert run.facts["device"] == "mlx5_3"
    assert run.valid


def test_latencies_are_seconds():
    row = " 2       1000          1.90           5.77         1.96     	       1.97        	0.05   		2.10    		5.77   "
    (run,) = parse("                    RDMA_Write Latency Test\n" + LAT + row + "\n")
    assert run.tool == "ib_write_lat"
    assert run.rows[0].latency["t_typical"] == pytest.approx(1.96e-6)
    assert run.rows[0].latency["percentile_99.9"] == pytest.approx(5.77e-6)
    assert run.valid


def test_latencies_are_read_by_their_header():
    """Before 3.0 a latency table ended with t_typical; -D prints an average and a rate."""
    (run,) = parse((DATA / "ib-latency-2014-died.txt").read_text())
    assert (run.tool, len(run.rows), run.facts["device"]) == ("ib_read_lat", 12, "mlx4_0")
    assert run.rows[0].latency == {
        name: pytest.approx(value)
        for name, value in (("t_min", 2.29e-6), ("t_max", 15.78e-6), ("t_typical", 2.34e-6))
    }
    text = " #bytes        #iterations       t_avg[usec]    tps average\n 2             1000              0.85           1176470.59\n"
    (run,) = parse(text)
    assert run.rows[0].latency == {"t_avg": pytest.approx(0.85e-6)}


def test_a_run_that_died_keeps_the_sizes_before():
    (run,) = parse((DATA / "ib-died.txt").read_text())
    assert [len(run.rows), run.rows[-1].size] == [16, 65536]
    assert run.faults == ("Completion with error at client", "Failed status 10: wr_id 0 syndrom 0x88")
    assert not run.valid
    assert len(measured(run)) == 16


def test_what_never_began_is_no_fault_of_the_link():
    (run,) = parse("ib_write_bw: command not found\n")
    assert run.failures and not run.faults


@pytest.mark.parametrize(
    "row",
    [
        " 65536      5000             0.00               0.00		   0.000000",
        " 65536      5000             inf                inf		   inf",
        " 65536      5000             -nan               -nan		   -nan",
        " 65536      0                392.00             392.00		   0.747871",
    ],
)
def test_zero_infinite_and_nan_are_no_results(row):
    (run,) = parse(table("Gb/sec", row))
    assert len(run.rows) == 1
    assert not run.rows[0].valid
    assert not run.valid
    assert any("no results" in problem for problem in run.problems)


def test_a_latency_of_a_broken_clock_is_no_result():
    (run,) = parse(
        LAT
        + " 2       1000          0.00           0.00         0.00           -nan         inf     0.00   0.00\n"
    )
    assert not run.valid


def test_an_empty_table_is_no_result():
    (run,) = parse(table("Gb/sec", "---------------"))
    assert not run.valid
    assert any("data path is dead" in problem for problem in run.problems)


def test_a_peak_that_was_not_looked_for_is_unknown():
    (run,) = parse(
        table("Gb/sec", " 65536      5000             0.00               392.10		   0.747871")
    )
    assert math.isnan(run.rows[0].peak)
    assert run.valid


def test_service_levels_and_cpu_columns_are_read_by_the_header():
    header = " #bytes    #sl      #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n"
    (run,) = parse(
        header + " 65536    3           5000           395.00            392.10                  0.747871\n"
    )
    assert (run.rows[0].iterations, run.valid) == (5000, True)
    (run,) = parse(table("Gb/sec", " 65536  5000   395.00  392.10  0.747871   99.12"))
    assert run.valid


def test_a_result_below_the_limit_is_a_failure():
    row = " 65536      5000             395.00             392.10		   0.747871"
    (run,) = parse(table("Gb/sec", row) + "Error: BW result is below bw limit\n")
    assert run.failures == ("Error: BW result is below bw limit",)
    assert not run.valid


def test_the_invalid_json_of_4_5_is_read_and_its_unit_follows_from_the_rate():
    run = parse_json((DATA / "perftest-4.5.json.txt").read_text())
    assert (run.tool, run.unit, run.valid, run.problems) == ("ib_write_bw", "MiB/sec", True, ())
    assert run.facts == {"device": "rv1", "link_type": "Ethernet", "mtu": "1024", "qps": "1"}
    assert run.rows[0].average == pytest.approx(25.31 * 2**20)


def valid_json(**results: object) -> str:
    info = {
        "test": "RDMA_Write_BW_Test",
        "Device": "mlx5_1",
        "Mtu": 4096,
        "Link_type": "IB",
        "cuda_device": 0,
    }
    return json.dumps({"test_info": info, "results": results})


def test_valid_json_is_read():
    run = parse_json(
        valid_json(MsgSize=65536, n_iterations=5000, BW_peak=395.0, BW_average=392.1, MsgRate=0.747871)
    )
    assert (run.unit, run.gpu_memory, run.valid) == ("Gb/sec", True, True)
    assert run.rows[0].average == pytest.approx(392.1e9 / 8)


def test_a_given_unit_that_the_rate_contradicts_is_named():
    text = valid_json(MsgSize=65536, n_iterations=5000, BW_peak=395.0, BW_average=392.1, MsgRate=0.747871)
    assert any(
        "size × message rate says Gb/sec" in problem for problem in parse_json(text, "MiB/sec").problems
    )


@pytest.mark.parametrize("value", ["0.0", "Infinity", "NaN", "-nan"])
def test_a_broken_clock_in_json_is_no_result(value):
    text = valid_json(MsgSize=65536, n_iterations=5000, BW_peak=395.0, BW_average=392.1, MsgRate=0.747871)
    run = parse_json(text.replace("392.1", value).replace("0.747871", value))
    assert not run.valid
    assert run.problems


def test_latency_json_is_seconds():
    run = parse_json(
        valid_json(MsgSize=2, n_iterations=1000, t_typical=1.96, t_avg=1.97, **{"percentile_99.9": 5.77})
    )
    assert run.rows[0].latency["percentile_99.9"] == pytest.approx(5.77e-6)
    assert run.valid


OLD = (DATA / "perftest-4.5.json.txt").read_text()


@settings(max_examples=60)
@given(st.integers(0, len(OLD) - 3))
def test_cut_json_is_no_result(place):
    run = parse_json(OLD[:place])
    assert not run.valid
    assert "the JSON is cut" in run.problems


GPU = (DATA / "ib-gpu.txt").read_text()


@settings(max_examples=40)
@given(st.integers(0, len(GPU)))
def test_cut_text_never_invents(place):
    (whole,) = parse(GPU)
    for run in parse(GPU[:place]):
        for row in run.rows[:-1]:
            assert row in whole.rows


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            [
                BW.format(unit="Gb/sec"),
                LAT,
                " 65536 ",
                "5000 ",
                "nan ",
                "1e999 ",
                "\n",
                "{",
                "MsgSize: 3\n",
                "BW_average: x\n",
            ]
        )
        | st.text(max_size=10),
        max_size=12,
    ).map("".join)
)
def test_no_text_crashes(text):
    for run in (*parse(text), parse_json(text)):
        assert run.valid or run.problems


# --- conversion


def test_a_bandwidth_becomes_the_seconds_of_a_message():
    (run,) = parse((DATA / "ib-gpu.txt").read_text())
    case, measurement = measured(run)[-1]
    assert (case.collective, case.rail, case.size) == ("p2p", "mlx5_3", run.rows[-1].size)
    row = row_of(case, measurement)
    assert row.busbw == pytest.approx(run.rows[-1].average)
    assert row.wrong is None


def test_both_directions_share_the_bandwidth():
    text = table("Gb/sec", " 65536      5000             790.00             784.20		   1.495742")
    (run,) = parse(text.replace("BW Test", "Bidirectional BW Test"))
    ((case, measurement),) = measured(run, rail="mlx5_1")
    assert (case.collective, case.rail) == ("p2p_bidirectional", "mlx5_1")
    assert row_of(case, measurement).busbw == pytest.approx(392.1e9 / 8)


def test_a_latency_becomes_an_isolated_sample():
    (run,) = parse(LAT + " 2       1000          1.90           5.77         1.96  1.97  0.05  2.10  5.77\n")
    ((_, measurement),) = measured(run)
    assert (measurement.pipelined, measurement.isolated) == ((), (pytest.approx(1.96e-6),))


def test_no_result_is_refused():
    (run,) = parse(table("Gb/sec", " 65536      5000             0.00               0.00		   0.000000"))
    with pytest.raises(ImportRefused, match="no results"):
        measured(run)
