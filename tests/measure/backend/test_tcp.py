import os
import socket
from pathlib import Path

import pytest

pytest.importorskip("torch")  # the package it stands in needs it

from bench.measure.backend.tcp_retransmits import retransmitted

pytestmark = pytest.mark.torch


def test_the_connections_of_an_interface_are_counted_and_no_descriptor_is_lost(tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    (tmp_path / "file").write_text("x")
    with server, client, (tmp_path / "file").open() as file:
        assert file
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(50):
            assert retransmitted("lo") >= 0
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        client.sendall(b"still open")
        assert os.fstat(client.fileno())


def test_an_interface_that_is_not_there_cannot_be_told():
    assert retransmitted("nosuch0") is None
