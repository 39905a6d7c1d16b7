"""From what both processes said to bytes per second, or to the cause in one line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_nodes
from bench.measure.perftest.outcome import explained, outcome
from bench.measure.perftest.results import PerftestResults, of_lines
from bench.model import typed_json
from bench.model.run_folder_lines import PerftestSkipped, PerftestTool, PerftestTransfer
from said import DOWN, ECHO, MEMLOCK, RETRY, TABLE, ended, table, transfer

NODES = {node.name: node for node in made_nodes.nodes(2)}
SAME = {name: PerftestTool(name, "6.24") for name in NODES}


def why(**changes):
    seen = outcome(transfer(**changes))
    assert math.isnan(seen.rate)
    return explained(seen.cause, NODES, SAME)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"receiver": "n0"}, "it went from n0 to itself"),
        ({"client": ended(table(49e9, "mlx5_0"))}, "its table is of mlx5_0, and mlx5_1 was asked for"),
        ({"server": ended("Completion with error at server\n", 1)}, "the receiving side ended with an error"),
    ],
)
def test_a_whole_table_of_something_else_gives_no_rate(changes, said):
    assert said in why(**changes)


def test_a_whole_run_gives_its_rate_and_mtu():
    seen = outcome(transfer(49.5e9, mtu=2048))
    assert seen.rate == pytest.approx(49.5e9, rel=1e-4)
    assert (seen.mtu, seen.cause) == (2048, None)


@pytest.mark.parametrize(
    ("client", "server", "said"),
    [
        (ended("Couldn't connect to 10.0.0.2:4711\n", 1), ended(DOWN, 1), "n1 mlx5_1/1: the port is Down"),
        (ended(DOWN, 1), ended(ECHO, 1), "n0 mlx5_1/1: the port is Down"),
        (ended(ECHO, 1), ended(MEMLOCK, 1), "n1 mlx5_1/1: memory could not be registered"),
        (ended(MEMLOCK, 1), ended(ECHO, 1), "n0 mlx5_1/1: memory could not be registered"),
        (ended("IB device mlx5_9 not found\n", 1), ended(ECHO, 1), "there is no device mlx5_9"),
        (ended("x: unrecognized option '--bind'\n", 1), ended(ECHO, 1), "does not know --bind"),
        (
            ended("Current implementation is not compatible with versions older than 5.70\n", 1),
            ended(ECHO, 1),
            "older than 5.70",
        ),
        (ended("initializing CUDA\ncuInit(0) returned 999\n", 1), ended(ECHO, 1), "cuInit(0) ended with error 999"),
        (ended("cuCtxCreate_v2() error=2\n", 1), ended(ECHO, 1), "cuCtxCreate_v2 ended with error 2"),
        (ended("Couldn't connect to 10.0.0.2:4711\n", 1), ended("", None), "no TCP connection to 10.0.0.2:4711"),
        (ended(TABLE, None), ended(TABLE, None), "no answer before its deadline"),
        (ended(ECHO, 1), ended("oops\nsomething new\n", 2), "ended with status 1"),
        (ended("", 0), ended("", 0), "it printed no table of results"),
        (ended("perftest: cannot be started: [Errno 13]", 127), ended(""), "cannot be started"),
        (
            ended("ib_write_bw: error while loading shared libraries: libpci.so.3: cannot open\n", 127),
            ended(""),
            "libpci.so.3 is not installed",
        ),
    ],
)  # fmt: skip
def test_the_cause_is_told_in_one_line(client, server, said):
    text = why(client=client, server=server)
    assert said in text
    assert "\n" not in text


def test_a_server_that_did_not_come_up_is_the_cause():
    assert why(server=ended(DOWN, 1), started=False) == "n1 mlx5_1/1: the port is Down"


ZERO = " 524288     {count}            0.00               0.000000\t\t   0.000000\n"


def test_no_message_in_all_that_time_is_a_rate_of_zero():
    """As a shaped rail of the verbs lab said it, with status 0."""
    seen = outcome(transfer(client=ended(TABLE + ZERO.format(count=0), 0)))
    assert (seen.rate, seen.cause.line) == (0.0, "n0 mlx5_1/1: nothing came through")


def test_no_acknowledgement_after_all_retries_is_a_rate_of_zero_with_its_cause():
    seen = outcome(transfer(client=ended(RETRY, 1), server=ended("", None)))
    assert seen.rate == 0.0
    assert "no acknowledgement came back after all retries" in seen.cause.line


@pytest.mark.parametrize(
    ("text", "code"),
    [(ZERO.format(count=900), 0), (ZERO.format(count=0), 1), (ZERO.format(count=0), None), ("", 0)],
)
def test_a_zero_of_a_broken_clock_or_a_failed_run_is_no_result(text, code):
    assert math.isnan(outcome(transfer(client=ended(TABLE + text, code))).rate)


def test_a_table_of_a_run_that_failed_afterwards_does_not_count():
    assert "status 1" in why(client=ended(table(49e9) + "Failed to close connection\n", 1))


def test_two_tables_are_not_one_result():
    assert math.isnan(outcome(transfer(client=ended(table(49e9) * 2))).rate)


def test_too_little_locked_memory_is_named_with_its_limit():
    nodes = {**NODES, "n1": made_nodes.with_host(NODES["n1"], memlock=64 << 10, memlock_unlimited=False)}
    seen = outcome(transfer(client=ended(ECHO, 1), server=ended(MEMLOCK, 1)))
    assert explained(seen.cause, nodes, SAME).endswith("locked memory is limited to 64 KiB there (ulimit -l)")
    assert "ulimit" not in explained(seen.cause, NODES, SAME)


def test_gpu_memory_that_cannot_be_registered_names_the_way():
    seen = outcome(transfer(client=ended(MEMLOCK, 1), server=ended(ECHO, 1), gpu="3"))
    assert "of GPU 3, by nvidia_peermem" in explained(seen.cause, NODES, SAME)


def test_different_versions_are_told_with_a_failure():
    seen = outcome(transfer(client=ended(ECHO, 1), server=ended("", None)))
    other = {"n0": PerftestTool("n0", "6.06"), "n1": PerftestTool("n1", "6.24")}
    assert explained(seen.cause, NODES, other).endswith("; perftest is 6.06 on n0, 6.24 on n1")


@given(st.text(max_size=300), st.text(max_size=300), st.one_of(st.none(), st.integers(-15, 255)))
def test_no_text_crashes_or_is_taken_for_a_result(client, server, code):
    seen = outcome(transfer(client=ended(client, code), server=ended(server, 1)))
    assert math.isnan(seen.rate)
    assert explained(seen.cause, NODES, SAME)


@given(st.integers(0, len(table(49.5e9)) - 2))
def test_a_cut_text_is_no_result(length):
    assert (
        math.isnan(outcome(transfer(client=ended(table(49.5e9)[:length]))).rate) or length > len(TABLE) + 40
    )


def test_a_transfer_comes_back_from_its_line():
    one = transfer(gpu="3", again=True)
    none = transfer(server=ended(DOWN, 1), started=False)
    tool = PerftestTool("n0", "6.06", ("use_cuda",))
    lines = [typed_json.decode(type(line), typed_json.encode(line)) for line in (one, none, tool)]
    record = of_lines(lines)
    assert record == PerftestResults((tool,), (one, none))
    assert record.able == ("n0",)
    assert of_lines([PerftestSkipped("one node")]).left == "one node"


@pytest.mark.parametrize(
    ("kind", "line"), [(PerftestTool, {}), (PerftestTransfer, {"round": "x"}), (PerftestSkipped, {})]
)
def test_a_damaged_line_is_an_error(kind, line):
    with pytest.raises(typed_json.Misfit):
        typed_json.load(kind, line)


@given(
    st.dictionaries(
        st.sampled_from(["round", "sender", "receiver", "server", "client", "again"]),
        st.none() | st.integers() | st.text(),
    )
)
def test_no_line_crashes(fields):
    with pytest.raises(typed_json.Misfit):
        typed_json.load(PerftestTransfer, fields)


def test_memory_is_gpu_memory_on_both_sides_or_host_memory():
    assert transfer(gpu="1").memory == "GPU memory"
    assert transfer().memory == "host memory"
    assert isinstance(transfer(), PerftestTransfer)
