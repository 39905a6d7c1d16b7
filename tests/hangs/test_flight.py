"""torch's flight recorder: a dump of torch 2.13 over gloo, and texts that are none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.hangs.flight import Entry, Flight, NotAFlight, behind, parse

# two all-reduces of two gloo ranks, torch 2.13.0+cpu, cut to the fields that are not addresses or times
RECORDED = """
{"comm_lib_version":"","entries":[
{"collective_seq_id":1,"input_dtypes":["Float"],"input_sizes":[[4]],"is_p2p":false,"op_id":1,"p2p_seq_id":0,"pg_id":0,
 "process_group":["0","default_pg"],"profiling_name":"gloo:all_reduce","record_id":0,"retired":true,"state":"scheduled",
 "timeout_ms":1800000},
{"collective_seq_id":2,"input_dtypes":["Float"],"input_sizes":[[4]],"is_p2p":false,"op_id":2,"p2p_seq_id":0,"pg_id":0,
 "process_group":["0","default_pg"],"profiling_name":"gloo:all_reduce","record_id":1,"retired":false,"state":"scheduled",
 "timeout_ms":1800000}],
"nccl_comm_state":{},"pg_config":{"":{"desc":"","name":"","ranks":"[0, 1]"}},
"pg_status":{"0":{"last_completed_collective":"1","last_enqueued_collective":"2","last_started_collective":"-1"}},
"version":"2.10"}
"""


def flight(number: int, done: bool = False, name: str = "all_reduce") -> Flight:
    return Flight((Entry("0", number, name, done),))


def test_the_newest_entry_of_each_group_is_what_a_rank_entered_last():
    assert parse(RECORDED) == Flight((Entry("0", 2, "all_reduce", False),), "2.10")


def test_a_message_is_counted_by_itself():
    row = json.loads(RECORDED)["entries"][0] | {
        "is_p2p": True,
        "p2p_seq_id": 7,
        "profiling_name": "nccl:send 0->1",
    }
    assert parse(json.dumps({"entries": [row]})).last == (Entry("0", 7, "send 0->1", True),)


def test_a_recorder_that_is_off_holds_nothing():
    assert parse('{"entries": [], "version": "2.10"}').last == ()
    assert parse('{"version": "2.10"}').last == ()


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", '{"entries": 7}', '{"entries": [7]}', '{"entries": [{}]}', RECORDED[:200]]
)
def test_what_is_no_dump_is_refused_and_says_why(text):
    with pytest.raises(NotAFlight, match=r"\w"):
        parse(text)


@settings(max_examples=100)
@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(json.dumps)
)
def test_no_text_crashes_the_parser(text):
    try:
        parse(text)
    except NotAFlight:
        return


def test_the_rank_that_entered_less_is_told():
    assert behind({0: flight(13), 4: flight(13), 5: flight(12, done=True)}) == (
        "rank 5 entered all_reduce 12 last, the others all_reduce 13"
    )


def test_all_in_the_same_call_are_told_with_those_who_came_out():
    assert behind({0: flight(6), 1: flight(6)}) == "all have entered all_reduce 6"
    assert behind({0: flight(6), 1: flight(6, done=True)}).endswith("rank 1 came out of it")


def test_nothing_is_said_where_nothing_hangs_or_nothing_was_recorded():
    assert behind({}) == ""
    assert behind({0: Flight(), 1: Flight()}) == ""
    assert behind({0: flight(6, done=True), 1: flight(6, done=True)}) == ""
