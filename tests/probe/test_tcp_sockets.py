"""Who listens and what waits in TCP sockets: the kernel's own table, and lines of it that are odd."""

import os
import socket
from pathlib import Path

from bench.probe.tcp_sockets import (
    ListeningPort,
    SocketQueue,
    listeners,
    listeners_in,
    queues_in,
    socket_queues,
)

# /proc/net/tcp of Linux 6.1, x86-64: a listener, a sender with unsent data, its reader, and a connection at rest
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:A3D5 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 4441 1 0000000000000000 100 0 0 10 0
   1: 0A0112C6:C350 0B0112C6:A3D5 01 00276F0C:00000000 04:00000034 00000000     0        0 4442 2 0000000000000000 20 4 30 10 -1
   2: 0A0112C6:A3D5 0B0112C6:C350 01 00000000:0005FFFF 00:00000000 00000000     0        0 4443 3 0000000000000000 20 4 30 10 -1
   3: 0A0112C6:A3D6 0B0112C6:C351 01 00000000:00000000 00:00000000 00000000     0        0 4444 3 0000000000000000 20 4 30 10 -1
"""  # noqa: E501
SIX = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 0000000000000000FFFF00000A0112C6:C350 0000000000000000FFFF00000B0112C6:A3D5 01 00000010:00000000 00:00000000 0
   1: B80D012000000000000000000A000000:C350 B80D012000000000000000000B000000:A3D5 01 00000010:00000000 00:00000000 0
"""


def test_connections_that_hold_data_are_listed_by_their_addresses():
    assert list(queues_in(TABLE)) == [
        SocketQueue("198.18.1.10", "198.18.1.11", 0x276F0C, 0),
        SocketQueue("198.18.1.10", "198.18.1.11", 0, 0x5FFFF),
    ]


def test_little_data_is_left_out():
    assert [each.unsent for each in queues_in(TABLE, 1 << 20)] == [0x276F0C]


def test_ipv4_in_ipv6_is_ipv4():
    assert [each.local for each in queues_in(SIX)] == ["198.18.1.10", "2001:db8::a"]


def test_lines_that_are_cut_short_or_odd_are_left_out():
    whole = TABLE.splitlines()
    odd = "\n".join(
        [whole[0], whole[2][:40], whole[2].replace("00276F0C", "zz"), whole[2].replace("0A0112C6", "0A")]
    )
    assert list(queues_in(odd)) == []
    assert list(queues_in("")) == []


def test_a_listening_port_is_read_and_a_connected_one_is_not():
    none = "0" * 32
    six = f"  sl  local_address\n   0: {none}:0016 {none}:0000 0A 0 0 0 1000"
    assert list(listeners_in(TABLE)) == [ListeningPort(0xA3D5, 0)]
    assert list(listeners_in(six)) == [ListeningPort(22, 1000)]
    assert list(listeners_in("head\n3: cut\n0: 00:zz 0:0 0A 0 0 0 0\n0: 00:16 0:0 0A 0 0 0")) == []


def test_a_real_listener_is_seen_with_its_user():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ListeningPort(server.getsockname()[1], os.geteuid()) in listeners(Path("/"))


def test_a_real_connection_whose_reader_sleeps_is_seen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        reader, _ = server.accept()
        with sender, reader:
            sender.setblocking(False)
            sent = 0
            while True:
                try:
                    sent += sender.send(bytes(1 << 16))
                except BlockingIOError:
                    break
            found = socket_queues(Path("/"), 1)
            assert any(each.unsent for each in found if each.remote == each.local == "127.0.0.1")
            assert any(each.unread for each in found)
    assert sent
