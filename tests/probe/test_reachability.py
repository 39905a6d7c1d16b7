"""An address counts as reached when the node that is meant answers there, and nobody else."""

from __future__ import annotations

import socket

import pytest

from bench.probe.reachability import Target, Try, listen, reach


def test_who_answers_with_the_expected_greeting_is_reached_and_the_own_address_is_told():
    ports = listen(["127.0.0.1", "127.0.0.2"], "job n0")
    targets = [Target(address, port, "job n0") for address, port in ports.items()]
    assert reach(targets) == [Try("127.0.0.1", "")] * 2 or reach(targets)[0].source.startswith("127.")


def test_an_address_of_another_machine_cannot_be_listened_on():
    assert listen(["192.0.2.1"], "job n0") == {}


def test_another_node_of_the_job_at_an_address_is_named():
    port = listen(["127.0.0.1"], "job n3")["127.0.0.1"]
    assert reach([Target("127.0.0.1", port, "job n2")]) == [Try("", "n3 answers at this address")]


@pytest.mark.parametrize("greeting", ["other n2", "SSH-2.0-OpenSSH_9.6", "job"])
def test_a_stranger_at_an_address_is_no_node_of_this_job(greeting):
    port = listen(["127.0.0.1"], greeting)["127.0.0.1"]
    assert reach([Target("127.0.0.1", port, "job n2")]) == [Try("", "another program answers there")]


def test_nobody_at_an_address_is_told_with_the_kernels_reason():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert reach([Target("127.0.0.1", port, "job n2")]) == [Try("", "Connection refused")]


def test_who_takes_the_connection_and_says_nothing_is_not_reached():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        tried = reach([Target("127.0.0.1", mute.getsockname()[1], "job n2")])
    assert tried == [Try("", "no answer within 1 s")]
