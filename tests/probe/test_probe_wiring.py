"""Words on rails: only this job's are believed; a rail that cannot be asked is said."""

from __future__ import annotations

import json
import socket

import pytest

from bench.model.run_folder_lines import HeardBroadcasts
from bench.probe.rail_wiring import _word, hear_broadcasts


def word_of(data: bytes) -> tuple[str, str] | None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        there.send(data)
        return _word(here, "job")


def test_a_word_of_this_job_tells_node_and_rail():
    assert word_of(json.dumps({"railgauge": "job", "node": "n1", "rail": "eth2"}).encode()) == ("n1", "eth2")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"3",
        b'"railgauge"',
        b"{}",
        b'{"railgauge": "other", "node": "n1", "rail": "eth2"}',
        b'{"railgauge": "job"}',
        b'{"railgauge": "job", "node": "n1"}',
        b'{"railgauge": "job", "node": "' + b"n" * 600 + b'", "rail": "x"}',
    ],
)
def test_anything_else_is_no_word(data):
    assert word_of(data) is None


def test_a_rail_that_does_not_exist_is_said_and_breaks_nothing():
    found = hear_broadcasts(["no-such-dev"], "job", seconds=0.0)
    assert found.heard == ()
    assert set(found.silent) == {"no-such-dev"}
    assert hear_broadcasts([], "job", seconds=0.0) == HeardBroadcasts((), {})
