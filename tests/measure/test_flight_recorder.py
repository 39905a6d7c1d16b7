"""torch's flight recorders: dumps that torch 2.4 to 2.13 wrote, stand-ins for its functions, texts that are none."""

import gzip
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

from bench.measure.flight_recorder import SIZE, Flight, NotAFlight, held, parse, switched_on
from bench.model import typed_json
from bench.model.run_folder_lines import RecordedCall
from bench.supervise.hangs.rank_state import flight_of
from flight_dumps import DUMPS, dump

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


AHEAD = dump(
    "hang_ahead_rank0_2.11.json"
)  # the second all_reduce is not over, the host has entered the fourth


def whole(name: str) -> bytes:
    return gzip.decompress((DUMPS / f"{name}.gz").read_bytes())


def torch_with(**functions: object) -> SimpleNamespace:
    """Of ``torch._C._distributed_c10d`` the functions that a version has; each gives what is said, or is called."""

    def ready(answer: object):
        return answer if callable(answer) else lambda includeCollectives, onlyActive: answer

    return SimpleNamespace(**{name: ready(answer) for name, answer in functions.items()})


def test_the_newest_entry_of_each_group_is_what_a_rank_entered_last():
    waits = RecordedCall("0", 2, "all_reduce", False)
    assert parse(RECORDED) == Flight((waits,), (waits,), {"": (0, 1)})


def test_on_a_gpu_what_is_not_over_is_told_apart_from_what_the_host_entered():
    found = parse(AHEAD)
    assert found.last == (RecordedCall("0", 4, "all_reduce", False),)
    assert found.open == (RecordedCall("0", 2, "all_reduce", False),)
    assert found.groups == {"0": (0, 1)}


def test_nccl_is_read_where_nccl_records_and_not_in_the_recorder_of_gloo():
    """Since 2.8 torch has both, and the generic one holds nothing of NCCL's."""
    torch = torch_with(_dump_nccl_trace_json=AHEAD, _dump_fr_trace_json=UNUSED)
    assert held(torch, "nccl") == parse(AHEAD)


def test_gloo_is_read_in_the_generic_recorder_and_nccl_is_left_alone():
    def never(**_: object) -> bytes:
        raise AssertionError("asks CUDA of a job on CPUs")

    torch = torch_with(_dump_nccl_trace_json=never, _dump_fr_trace_json=RECORDED.encode())
    assert held(torch, "gloo").last == (RecordedCall("0", 2, "all_reduce", False),)


def test_where_both_hold_something_both_are_told_and_a_group_of_both_is_nccl():
    gloo = json.loads(RECORDED)
    gloo["entries"] += [gloo["entries"][0] | {"process_group": ["1", "side"], "record_id": 9}]
    over = dump("hang_coll_rank1_2.11.json")
    torch = torch_with(_dump_nccl_trace_json=over, _dump_fr_trace_json=json.dumps(gloo).encode())
    found = held(torch, "nccl")
    assert found.last == (*parse(over).last, RecordedCall("1", 1, "all_reduce", True))
    assert found.open == (), "gloo's wait in group 0 is not NCCL's"


def test_a_torch_that_has_only_the_pickle_is_read_as_well():
    def pickled(includeCollectives: bool, includeStackTraces: bool, onlyActive: bool) -> bytes:
        assert includeCollectives and not includeStackTraces and not onlyActive
        return whole("flight_v241.pickle")

    assert held(torch_with(_dump_nccl_trace=pickled), "nccl") == parse(whole("flight_v241.json"))


@pytest.mark.parametrize("version", ["v241", "2.11"])
def test_torch_says_the_same_in_json_and_pickle(version):
    assert parse(whole(f"flight_{version}.pickle")) == parse(whole(f"flight_{version}.json"))


@pytest.mark.parametrize(
    ("version", "messages", "collectives"), [("v241", 311, 0), ("v271", 36, 739), ("2.11", 36, 814)]
)
def test_messages_that_start_together_are_one_call_that_is_over_when_their_end_is(
    version, messages, collectives
):
    """Each send and receive of a batch stays "scheduled" for ever. torch 2.4 counts messages as collectives, of which
    ranks make unlike numbers, so that its collectives have none.
    """
    assert parse(whole(f"flight_{version}.pickle")) == Flight(
        (
            RecordedCall("0", messages, "recv 0<-1, send 0->1", True, (1,)),
            RecordedCall("0", collectives, "_all_gather_base", True),
        ),
        groups={"0": (0, 1)},
    )


def test_an_exchange_that_is_not_over_is_open_with_the_ranks_of_the_job_that_it_is_with():
    assert parse(dump("hang_p2p_rank0_2.11.json")).open == (
        RecordedCall("0", 4, "recv 0<-1, send 0->1", False, (1,)),
    )
    # torch numbers ranks within the group: 2 of [1, 2, 3] is rank 3 of the job
    assert parse(dump("hang_ring_rank3_2.11.json")).open[0] == (
        RecordedCall("1", 2, "recv 3<-2, send 3->1", False, (1, 2))
    )


def test_the_end_of_messages_that_the_recorder_no_longer_keeps_is_no_call():
    rows = json.loads(dump("hang_p2p_rank0_2.11.json"))
    rows["entries"] = rows["entries"][2:3]
    assert parse(json.dumps(rows)).last == ()


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
    given_up = json.loads(AHEAD)
    given_up["entries"][1]["retired"] = True
    assert parse(json.dumps(given_up)).open == (RecordedCall("0", 2, "all_reduce", False),)


def test_what_the_worker_tells_arrives_as_it_was():
    found = parse(dump("hang_ring_rank3_2.11.json"))
    assert flight_of(json.loads(json.dumps(typed_json.to_json(found)))) == found


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
