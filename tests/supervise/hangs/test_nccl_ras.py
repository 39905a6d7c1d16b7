"""NCCL's RAS: text and JSON after the user guide's samples (NCCL 2.24 to 2.31), and a server of paper."""

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.supervise.hangs import nccl_ras
from bench.supervise.hangs.nccl_ras import MOST, SWITCH, VARIABLE, RasAnswer, RasFindings, ask, parse

FINE = """
Job summary
===========

  Nodes  Processes         GPUs  Processes     GPUs
(total)   per node  per process    (total)  (total)
      4          8            1         32       32

Communicators... (0.00s)
=============

Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors
    #  in group  per comm  per node  per comm  in group
    0         8         4         1         4        32   RUNNING      OK
"""
STOPPED = """
Communicators... (2.05s)
=============

Group     Comms     Nodes     Ranks     Ranks     Ranks    Status  Errors
    #  in group  per comm  per node  per comm  in group
    0         1         4       7-8        32        32   RUNNING  INCOMPLETE

Errors
======

INCOMPLETE
  Missing communicator data from 1 job process
  Process 3487984 on node 172.16.64.213 managing GPU 5

#0-0 (cf264af53edbe986) INCOMPLETE
  Missing communicator data from 1 rank
  The missing rank: 21

Warnings
========

TIMEOUT
  Encountered 2 communication timeouts while gathering communicator data
"""
MISMATCH = """
Warnings
========

#0-0 (27a079b828ff1a75) MISMATCH
  Communicator ranks have different collective operation counts
  30 ranks have launched up to operation 6650
  2 ranks have launched up to operation 6649
  Rank 0 -- GPU 0 managed by process 483072 on node 172.16.64.210
  Rank 2 -- GPU 2 managed by process 483074 on node 172.16.64.210
"""
JSON = """
{ "nccl_version": "2.29.1", "communicators_count": 1, "communicators": [ {
  "hash": "0xae94423cfbb2ef4a", "size": 4, "ranks_count": 3, "missing_ranks_count": 1,
  "ranks": [
   {"rank": 0, "host": "n0", "pid": 1, "cuda_dev": 0, "collective_counts": {"AllGather": 5, "AllReduce": 9}},
   {"rank": 1, "host": "n0", "pid": 2, "cuda_dev": 1, "collective_counts": {"AllGather": 5, "AllReduce": 9}},
   {"rank": 2, "host": "n1", "pid": 3, "cuda_dev": 0, "collective_counts": {"AllGather": 4, "AllReduce": 9}}],
  "missing_ranks": [ {"rank": 3, "host": "n1", "pid": 4, "cuda_dev": 1,
    "status": {"unresponsive": true, "considered_dead": false}} ] } ],
  "ras": {"collection_time_sec": 0.000, "timeouts_count": 0} }
"""


def test_a_healthy_job_has_nothing_to_tell():
    assert parse(FINE) == RasFindings(text=FINE)
    assert parse(FINE).summary == ""


def test_a_process_that_does_not_answer_is_named_with_its_node_and_rank():
    found = parse(STOPPED)
    assert found.lost == ("pid 3487984 on 172.16.64.213, GPU 5",)
    assert found.missing == (21,)
    assert found.summary == "no answer from pid 3487984 on 172.16.64.213, GPU 5; ranks missing: 21"


def test_ranks_that_launched_less_are_named():
    found = parse(MISMATCH)
    assert [rank for rank, _ in found.late] == [0, 2]
    assert found.summary.startswith("rank 0 (GPU 0 of 172.16.64.210) has launched up to operation 6649")


def test_json_says_the_same_and_the_outliers_are_ours_to_find():
    found = parse(JSON)
    assert found.missing == (3,)
    assert found.lost == ("pid 4 on n1, GPU 1",)
    assert found.late == ((2, "has launched 4 AllGather, most 5"),)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"communicators": 7}', '{"communicators": [7, {"ranks": [7]}]}', "?"]
)
def test_what_is_not_understood_is_kept_and_blames_nobody(text):
    assert parse(text) == RasFindings(text=text)


def test_ranges_of_missing_ranks_are_counted_and_absurd_ones_are_not():
    assert parse("The missing ranks: 3, 5-7").missing == (3, 5, 6, 7)
    assert parse("The missing ranks: 0-999999999").missing == ()


@settings(max_examples=100)
@given(
    st.text(max_size=300) | st.lists(st.sampled_from((STOPPED + MISMATCH + JSON).splitlines())).map("\n".join)
)
def test_no_text_crashes_the_parser(text):
    assert isinstance(parse(text).summary, str)


def served(answer: bytes, ends: threading.Event | None = None) -> tuple[str, threading.Thread]:
    """An address where one client is given ``answer``, and is kept until ``ends``; what it asked is not looked at."""
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(60)

    def serve() -> None:
        with door, door.accept()[0] as line:
            line.recv(100)
            line.sendall(answer)
            if ends:
                ends.wait(60)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"127.0.0.1:{door.getsockname()[1]}", thread


def test_the_answer_is_read_to_its_end():
    address, thread = served(STOPPED.encode() * 50)
    assert ask({VARIABLE: address}, 60) == RasAnswer(STOPPED * 50)
    thread.join(60)


def test_what_has_come_when_time_is_up_counts_to_its_last_whole_line():
    ends = threading.Event()
    address, thread = served(STOPPED.encode() + b"  The missing ranks: 3", ends)
    found = ask({VARIABLE: address}, 1)
    ends.set()
    thread.join(60)
    assert found.text == STOPPED, "half a line may name another rank"
    assert found.cut.startswith("timed out")
    assert parse(found.text).missing == (21,)


def test_a_job_without_ras_does_not_ask_that_of_another_job():
    with pytest.raises(OSError, match="this job has no RAS"):
        ask({VARIABLE: "127.0.0.1:1", SWITCH: "0"}, 1)


def test_no_service_is_an_oserror_at_once():
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = f"127.0.0.1:{door.getsockname()[1]}"
    with pytest.raises(OSError, match=r"\w"):
        ask({VARIABLE: address}, 1)


def test_a_service_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as door, pytest.raises(OSError, match="timed out"):
        ask({VARIABLE: f"127.0.0.1:{door.getsockname()[1]}"}, 0.05)


def test_an_address_without_a_port_is_said():
    with pytest.raises(OSError, match="no port"):
        ask({VARIABLE: "localhost"}, 1)


def test_an_answer_cannot_name_more_ranks_than_any_job_has():
    lines = (f"The missing ranks: {at}00000-{at}65534\n" for at in range(1, 9))
    assert len(parse("".join(lines)).missing) == MOST
    assert len(parse("Process 1 on node " + "n" * 250 + " managing GPU 1").lost[0]) == 200


def test_a_port_that_another_user_holds_is_not_asked(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        table, mine = Path("/proc/net/tcp").read_text(), f":{port:04X} 00000000:0000 0A"
        (row,) = [line for line in table.splitlines() if mine in line]
        assert nccl_ras._others("localhost", port) == ""
        words = row.split()
        words[7] = str(os.geteuid() + 1)
        (tmp_path / "proc/net").mkdir(parents=True)
        (tmp_path / "proc/net/tcp").write_text(table.replace(row, " ".join(words)))
        monkeypatch.setattr(nccl_ras, "LIVE", tmp_path)
        with pytest.raises(OSError, match=rf"port {port} of this machine is held by another user"):
            ask({VARIABLE: f"127.0.0.1:{port}"}, 1)
        assert nccl_ras._others("10.0.0.1", port) == ""  # of another machine nobody can tell
