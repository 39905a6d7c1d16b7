"""torch's flight recorders: dumps as torch 2.3 to 2.14 write them, stand-ins for its functions, texts that are none."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measure.flight_recorder import SIZE, Flight, NotAFlight, behind, held, parse, switched_on
from bench.model import typed_json
from bench.model.lines import RecordedCall
from bench.supervise.hangs.rank_state import flight_of

ROOT = Path(__file__).parents[2]

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
# what torch 2.14.1+cu130 says before NCCL was used
UNUSED = b'{"comm_lib_version":"","nccl_comm_state":{},"pg_config":{},"pg_status":{},"version":"2.10"}'


def flight(number: int, done: bool = False, name: str = "all_reduce") -> Flight:
    entry = RecordedCall("0", number, name, done)
    return Flight((entry,), open=() if done else (entry,))


def nccl(count: int, done: int, **more: object) -> dict[str, object]:
    """A dump of NCCL's recorder: the host entered ``count`` all-reduces, the GPU is through with ``done``.

    The fields are those of dump_json in FlightRecorderDetail.hpp (torch 2.13).
    """
    entries = [
        {
            "record_id": at, "pg_id": 0, "process_group": ["0", "default_pg"], "thread_name": "rg-worker",
            "thread_id": "139863010188160", "collective_seq_id": at + 1, "p2p_seq_id": 0, "op_id": at + 1,
            "profiling_name": "nccl:all_reduce", "time_created_ns": 1795346997260234753 + at,
            "input_sizes": [[1024]], "input_dtypes": ["Float"], "output_sizes": [[1024]], "output_dtypes": ["Float"],
            "state": "completed" if at < done else "scheduled", "time_discovered_started_ns": 0,
            "time_discovered_completed_ns": 1795346997360234753 if at < done else 0, "retired": at < done,
            "timeout_ms": 600000, "is_p2p": False,
        } | more
        for at in range(count)
    ]  # fmt: skip
    status = {
        "last_enqueued_collective": str(count),
        "last_started_collective": "-1",
        "last_completed_collective": str(done),
    }
    return {
        "version": "2.10",
        "comm_lib_version": "2.27.7",
        "pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}},
        "pg_status": {"0": status},
        "entries": entries,
        "nccl_comm_state": {},
    }


def pickled(dump: dict[str, object]) -> bytes:
    """As torch's own pickler writes it: protocol 2, the group a tuple, times that are not known None."""
    entries = [
        {**row, "process_group": tuple(row["process_group"])} if "process_group" in row else row
        for row in dump["entries"]
    ]
    return pickle.dumps({**dump, "entries": entries}, protocol=2)


def torch_with(**functions: object) -> SimpleNamespace:
    """Of ``torch._C._distributed_c10d`` the functions that a version has; each gives what is said, or is called."""

    def ready(answer: object):
        return answer if callable(answer) else lambda includeCollectives, onlyActive: answer

    return SimpleNamespace(**{name: ready(answer) for name, answer in functions.items()})


def test_the_newest_entry_of_each_group_is_what_a_rank_entered_last():
    waits = RecordedCall("0", 2, "all_reduce", False)
    assert parse(RECORDED) == Flight((waits,), "2.10", (waits,))


def test_on_a_gpu_what_is_not_over_is_told_apart_from_what_the_host_entered():
    found = parse(json.dumps(nccl(9, done=6)))
    assert found.last == (RecordedCall("0", 9, "all_reduce", False),)
    assert found.open == (RecordedCall("0", 7, "all_reduce", False),)


def test_nccl_is_read_where_nccl_records_and_not_in_the_recorder_of_gloo():
    """Since 2.8 torch has both, and the generic one holds nothing of NCCL's."""
    torch = torch_with(_dump_nccl_trace_json=json.dumps(nccl(3, 2)).encode(), _dump_fr_trace_json=UNUSED)
    assert held(torch, "nccl").last == (RecordedCall("0", 3, "all_reduce", False),)


def test_gloo_is_read_in_the_generic_recorder_and_nccl_is_left_alone():
    def never(**_: object) -> bytes:
        raise AssertionError("asks CUDA of a job on CPUs")

    torch = torch_with(_dump_nccl_trace_json=never, _dump_fr_trace_json=RECORDED.encode())
    assert held(torch, "gloo").last == (RecordedCall("0", 2, "all_reduce", False),)


def test_where_both_hold_something_both_are_told_and_a_group_of_both_is_nccl():
    gloo = json.loads(RECORDED)
    gloo["entries"] += [gloo["entries"][0] | {"process_group": ["1", "side"], "record_id": 9}]
    torch = torch_with(
        _dump_nccl_trace_json=json.dumps(nccl(5, 5)).encode(), _dump_fr_trace_json=json.dumps(gloo).encode()
    )
    found = held(torch, "nccl")
    assert found.last == (RecordedCall("0", 5, "all_reduce", True), RecordedCall("1", 1, "all_reduce", True))
    assert found.open == (), "gloo's wait in group 0 is not NCCL's"


def test_a_torch_that_has_only_the_pickle_is_read_as_well():
    def dump(includeCollectives: bool, includeStackTraces: bool, onlyActive: bool) -> bytes:
        assert includeCollectives and not includeStackTraces and not onlyActive
        return pickled(nccl(3, 1))

    assert held(torch_with(_dump_nccl_trace=dump), "nccl") == parse(json.dumps(nccl(3, 1)))


def test_the_pickle_of_torch_2_3_has_no_arguments_and_one_count():
    old = nccl(4, 2)
    for at, row in enumerate(old["entries"]):
        for later in ("process_group", "collective_seq_id", "p2p_seq_id", "is_p2p", "timeout_ms"):
            del row[later]
        row["seq_id"] = at + 1
    found = held(torch_with(_dump_nccl_trace=lambda: pickled(old | {"version": "1.4"})), "nccl")
    assert found.last == (RecordedCall("0", 4, "all_reduce", False),)
    assert found.open == (RecordedCall("0", 3, "all_reduce", False),)


def test_a_recorder_that_fails_leaves_the_other():
    def broken(**_: object) -> bytes:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    torch = torch_with(_dump_nccl_trace_json=broken, _dump_fr_trace_json=RECORDED.encode())
    assert held(torch, "nccl").last == (RecordedCall("0", 2, "all_reduce", False),)
    assert held(torch_with(), "nccl") == held(None, "gloo") == Flight()


def test_a_pickle_that_asks_for_a_call_gets_none(tmp_path):
    class Asks:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(NotAFlight, match="asks for"):
        parse(pickle.dumps({"entries": [Asks()]}, protocol=2))
    assert not (tmp_path / "made").exists()


def test_a_call_that_ran_into_the_time_limit_is_not_over():
    dump = nccl(1, 0, retired=True)
    assert parse(json.dumps(dump)).open == (RecordedCall("0", 1, "all_reduce", False),)


def test_messages_that_start_together_are_over_when_the_entry_that_ends_them_is():
    """The single messages of a group stay "scheduled" for ever; the last entry with their number is the group's."""
    sent = nccl(3, 0, is_p2p=True, p2p_seq_id=7)
    for row, name in zip(sent["entries"], ("send 0->1", "recv 0<-1", "coalesced"), strict=True):
        row["profiling_name"] = f"nccl:{name}"
    sent["entries"][2] |= {"state": "completed", "retired": True}
    assert parse(json.dumps(sent)) == Flight((RecordedCall("0", 7, "coalesced", True, True),), "2.10")


def test_a_long_dump_is_read_whole():
    assert parse(json.dumps(nccl(20_000, 0)))


def test_what_the_worker_tells_arrives_as_it_was():
    found = parse(json.dumps(nccl(9, done=6)))
    assert flight_of(json.loads(json.dumps(typed_json.to_json(found)))) == Flight(found.last, open=found.open)


@pytest.mark.parametrize(
    ("torch", "environ", "wanted"),
    [
        (torch_with(_dump_fr_trace_json=UNUSED), {}, {"TORCH_FR_BUFFER_SIZE": SIZE}),
        (torch_with(_dump_nccl_trace_json=UNUSED), {}, {"TORCH_NCCL_TRACE_BUFFER_SIZE": SIZE}),
        (torch_with(_dump_fr_trace_json=UNUSED), {"TORCH_NCCL_TRACE_BUFFER_SIZE": "0"}, {}),
        (torch_with(_dump_nccl_trace_json=UNUSED), {"TORCH_FR_BUFFER_SIZE": "7"}, {}),
    ],
)
def test_the_recorder_is_switched_on_by_the_name_that_this_torch_knows_unless_somebody_said(
    torch, environ, wanted
):
    assert switched_on(environ, torch) == wanted


READS_LATE = """
import os
import time
import torch, torch.distributed as dist
import torch._C._distributed_c10d as c10d
from bench.measure import flight_recorder as flight
if not hasattr(c10d, "_dump_fr_trace_json"):
    raise SystemExit("SKIP")
os.environ["TORCH_FR_BUFFER_SIZE"] = "3"  # after the import, as in a worker that a fork server forked
store = dist.TCPStore("127.0.0.1", 0, 1, True)
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
for _ in range(5):
    dist.all_reduce(torch.ones(4))
rows = flight._data(c10d._dump_fr_trace_json(includeCollectives=True, onlyActive=False))["entries"]
for _ in range(600):  # a call may be noted as over between the two dumps
    same = flight.held(c10d, "gloo") == flight._first(c10d, ["_dump_fr_trace"])
    if same and all(entry.done for entry in flight.held(c10d, "gloo").last):
        break
    time.sleep(0.1)
print(len(rows), same, flight.held(c10d, "gloo").last)
"""


@pytest.mark.torch
def test_this_torch_reads_the_size_when_a_group_is_made_and_says_the_same_in_json_and_pickle():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READS_LATE],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if "SKIP" in done.stderr:
        pytest.skip("this torch has no generic recorder")
    assert done.stdout.startswith("3 True (RecordedCall(group='0', number=5, name='all_reduce', done=True"), (
        done.stderr
    )


def test_a_message_is_counted_by_itself():
    row = json.loads(RECORDED)["entries"][0] | {
        "is_p2p": True,
        "p2p_seq_id": 7,
        "profiling_name": "nccl:send 0->1",
    }
    # of NCCL's, retired alone says that it was given up
    assert parse(json.dumps({"entries": [row]})).last == (RecordedCall("0", 7, "send 0->1", False, True),)


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


def test_a_gpu_that_stands_in_an_earlier_call_than_the_host_is_told():
    stuck = {rank: parse(json.dumps(nccl(9, 6))) for rank in range(2)}
    assert behind(stuck) == "all have entered all_reduce 9; not over: all_reduce 7 of all"
    one = {0: parse(json.dumps(nccl(9, 7))), 1: parse(json.dumps(nccl(9, 6)))}
    assert behind(one) == "all have entered all_reduce 9; not over: all_reduce 7 of rank 1"


def test_what_silent_ranks_entered_is_not_claimed():
    """A stopped process tells nothing of what it entered."""
    assert behind({0: flight(35)}, silent=[1]) == "rank 0 entered all_reduce 35; rank 1 told nothing"
    stuck = {0: parse(json.dumps(nccl(9, 6)))}
    assert behind(stuck, [1, 2]) == (
        "rank 0 entered all_reduce 9; not over: all_reduce 7 of rank 0; rank 1, 2 told nothing"
    )
    assert behind({0: flight(35, done=True)}, [1]) == behind({}, [0, 1]) == ""


def test_nobody_is_behind_by_the_numbers_of_messages():
    def sent(number: int, done: bool) -> Flight:
        entry = RecordedCall("0", number, "send 0->1", done, True)
        return Flight((entry,), open=() if done else (entry,))

    assert behind({0: sent(9, True), 1: sent(4, True)}) == ""
    assert behind({0: sent(9, False), 1: sent(4, True)}) == "not over: rank 0 in send 0->1 9"


def test_nothing_is_said_where_nothing_hangs_or_nothing_was_recorded():
    assert behind({}) == ""
    assert behind({0: Flight(), 1: Flight()}) == ""
    assert behind({0: flight(6, done=True), 1: flight(6, done=True)}) == ""
