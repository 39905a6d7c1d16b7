"""What rank 0 keeps of torch's recorders and NCCL's RAS when a phase stands still."""

import json
import socket
import threading

from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model.typed_json import encode
from bench.store.line_classes import KIND
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.hangs.rank_state import RankState, flight_of
from bench.supervise.hangs.recordings import nccl_settings
from bench.supervise.limits import Limits
from bench.supervise.supervisor import Supervisor
from test_nccl_ras import MISMATCH, served

ENTRY = {"group": "0", "number": 7, "name": "all_reduce", "done": False}


class Lines:
    """A recorder of paper."""

    def __init__(self) -> None:
        self.kept: list[dict] = []

    def add(self, line: object) -> None:
        self.kept.append({"kind": KIND[type(line)], **json.loads(encode(line))})


def coordinator(backend: str, base: dict[str, str]) -> Coordinator:
    order = WorkOrder("p", (), 0, 2, 0, backend, "", 60.0, TimingRules(), 1)
    chief = Coordinator(
        Control(),
        Supervisor(Control(), lambda what: {}, base),
        Lines(),
        Limits(),
        lambda *_: None,
        order=order,
    )
    chief.phase = "collectives"
    chief._states = {
        rank: RankState(flight=flight_of({"last": [{**ENTRY, "number": 9}], "open": [ENTRY]}))
        for rank in range(2)
    }
    return chief


def test_ras_is_asked_where_the_profile_puts_it():
    """The workers' environment, not that of the supervisor's own process."""
    address, thread = served(MISMATCH.encode())
    chief = coordinator("nccl", {"NCCL_RAS_ADDR": "127.0.0.1:1"})
    told = chief._recordings({"NCCL_RAS_ADDR": address})
    thread.join(60)
    assert "torch's recorder: all ranks have entered all_reduce 7; it is not over on ranks 0-1" in told
    assert "NCCL's RAS: rank 0 (GPU 0 of 172.16.64.210) has launched" in told
    assert [line["kind"] for line in chief.recorder.kept] == ["flight", "flight", "ras"]
    assert chief.recorder.kept[0]["open"][0]["number"] == 7
    assert chief.recorder.kept[2]["text"] == MISMATCH


def test_what_a_job_in_trouble_said_of_itself_in_time_is_kept(monkeypatch):
    ends = threading.Event()
    address, thread = served(MISMATCH.encode(), ends)
    monkeypatch.setattr("bench.supervise.hangs.nccl_ras.ask.__defaults__", (1.0,))
    chief = coordinator("nccl", {"NCCL_RAS_ADDR": address})
    told = chief._recordings({})
    ends.set()
    thread.join(60)
    assert "NCCL's RAS: rank 0" in told
    assert chief.recorder.kept[-1]["error"].startswith("timed out")


def test_a_rank_without_a_recording_is_named_as_one():
    chief = coordinator("gloo", {})
    chief._states[1] = RankState()
    assert chief._recordings({}).endswith("; nothing is recorded of rank 1")


def test_without_a_service_the_reason_is_kept_and_gloo_is_not_asked():
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = f"127.0.0.1:{door.getsockname()[1]}"
    chief = coordinator("nccl", {"NCCL_RAS_ADDR": address})
    assert "RAS" not in chief._recordings({})
    assert chief.recorder.kept[-1]["error"]
    chief = coordinator("gloo", {"NCCL_RAS_ADDR": address})
    chief._recordings({})
    assert {line["kind"] for line in chief.recorder.kept} == {"flight"}


def test_a_conf_file_says_where_too(tmp_path):
    conf = tmp_path / "nccl.conf"
    conf.write_text("NCCL_RAS_ADDR=127.0.0.1:7\nNCCL_RAS_ENABLE=1\n")
    found = nccl_settings({"NCCL_CONF_FILE": str(conf), "NCCL_RAS_ENABLE": "0"})
    assert (found["NCCL_RAS_ADDR"], found["NCCL_RAS_ENABLE"]) == ("127.0.0.1:7", "0")


def test_the_recorder_of_a_worker_that_raised_is_kept_and_not_believed():
    """After an illegal access torch cannot ask any event: the calls of that rank look open from the first one on."""
    chief = coordinator("gloo", {})
    chief._states[1].failed = {
        "error": "AcceleratorError",
        "text": "an illegal memory access was encountered",
    }
    chief._states[1].flight = flight_of({"last": [{**ENTRY, "number": 9}], "open": [{**ENTRY, "number": 1}]})
    assert (
        chief._recordings({})
        == "; torch's recorder: rank 0 waits in all_reduce 7; nothing is recorded of rank 1"
    )
    assert [line["kind"] for line in chief.recorder.kept] == ["flight", "flight"]
