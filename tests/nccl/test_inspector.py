"""What NCCL's Inspector writes, read by collective and size."""

import json

import pytest

from bench.model.activity import InspectedCalls
from bench.nccl.inspector import inspected

# NCCL, plugins/profiler/inspector/README.md, "Output Example" and "Output Example Verbose", each on one line as
# inspector_json.cc writes them
PLAIN = json.dumps(
    {
        "header": {"id": "0x7f8c496ae9f661", "rank": 2, "n_ranks": 8, "nnodes": 1},
        "metadata": {
            "inspector_output_format_version": "v4.0",
            "git_rev": "",
            "rec_mechanism": "profiler_plugin",
            "dump_timestamp_us": 1748030377748202,
            "hostname": "example-hostname",
            "pid": 1639453,
        },
        "coll_perf": {
            "coll": "AllReduce",
            "coll_sn": 1407,
            "coll_msg_size_bytes": 17179869184,
            "coll_exec_time_us": 61974,
            "coll_algobw_gbs": 277.210914,
            "coll_busbw_gbs": 485.119099,
        },
    }
)


def test_a_call_is_read_with_its_size_ranks_and_bandwidth():
    assert inspected([PLAIN]) == (
        InspectedCalls("AllReduce", 17179869184, 8, 1, 1, 485.119099e9, 485.119099e9),
    )


def test_where_the_number_of_nodes_is_not_told_it_is_0():
    (found,) = inspected([PLAIN.replace('"nnodes": 1', '"other": 1')])
    assert found.nodes == 0


@pytest.mark.parametrize(("rate", "calls"), [("0.0", 1), ("-0.1", 0), ("NaN", 0), ("Infinity", 0)])
def test_a_rate_is_a_figure_from_nothing_on(rate, calls):
    assert sum(each.calls for each in inspected([PLAIN.replace("485.119099", rate)])) == calls


def test_calls_of_one_kind_are_taken_together_by_their_middle_and_their_slowest():
    (found,) = inspected(PLAIN.replace("485.119099", text) for text in ("300.0", "100.0", "400.0"))
    assert (found.calls, found.busbw, found.least) == (3, 300e9, 100e9)


@pytest.mark.parametrize(
    "line",
    [
        "",
        PLAIN[:-40],
        PLAIN.replace("485.119099", '"nan"'),  # json.cc writes what is no number so
        PLAIN.replace("485.119099", "-1"),
        PLAIN.replace("17179869184", "-1"),
        PLAIN.replace("17179869184", "1e400"),
        PLAIN.replace("coll_perf", "p2p_perf"),
        "[]",
        "[" * 100_000,
    ],
)
def test_what_is_not_understood_is_left_out(line):
    assert inspected([line]) == ()
