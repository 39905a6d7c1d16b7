"""A job listens on outward addresses at ports of one range alone, which a packet filter can name."""

from __future__ import annotations

import errno
import ipaddress
import socket
from datetime import timedelta

import pytest

from bench.probe.addresses import addresses
from bench.probe.reachability import listen
from bench.probe.tcp_ports import listen_at, to_try

OUTWARD = [
    str(each)
    for texts in addresses().values()
    for each in (ipaddress.ip_interface(text).ip for text in texts)
    if not (each.is_loopback or each.is_link_local)
]
needs_address = pytest.mark.skipif(not OUTWARD, reason="this machine has no address but the loopback")


@pytest.fixture
def pair():
    """Two ports in a row, free a moment ago on the first outward address."""
    for first in range(28_000, 28_400, 2):
        try:
            for port in (first, first + 1):
                socket.create_server((OUTWARD[0], port), family=_family(OUTWARD[0])).close()
        except OSError:
            continue
        return (first, first + 1)
    raise AssertionError("no two free ports")


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@needs_address
def test_an_outward_address_is_listened_on_within_the_range_alone(pair):
    with listen_at(OUTWARD[0], pair) as one, listen_at(OUTWARD[0], pair) as other:
        assert {one.getsockname()[1], other.getsockname()[1]} == set(pair)
        with pytest.raises(OSError, match=r"every port of \d+-\d+ is in use.*--ports FIRST-LAST") as full:
            listen_at(OUTWARD[0], pair)
        assert full.value.errno == errno.EADDRINUSE
        assert listen([OUTWARD[0]], "job n0", pair) == {}


@needs_address
def test_the_workers_store_listens_within_the_range(pair):
    dist = pytest.importorskip("torch.distributed")
    from bench.measure.backend.tcp_store import opened

    store = opened(dist, OUTWARD[0], 2, timedelta(seconds=60), pair)
    assert store.port in pair


def test_on_the_loopback_the_kernel_chooses():
    with listen_at("127.0.0.1", (28_500, 28_501)) as one:
        assert one.getsockname()[1] not in (28_500, 28_501)


def test_an_address_of_another_machine_is_no_full_range():
    with pytest.raises(OSError, match="assign") as other:
        listen_at("203.0.113.7", (28_000, 28_001))
    assert other.value.errno == errno.EADDRNOTAVAIL


def test_every_port_of_the_range_is_tried_once():
    assert sorted(to_try((29_600, 29_699))) == list(range(29_600, 29_700))
