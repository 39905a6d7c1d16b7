import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.probe import addresses, network
from trees import plant

SNMP = """Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 20 7195 3319 736 0 18 0
Udp: InDatagrams
Udp: 39
"""


def test_a_socket_rail_is_read(tmp_path):
    device = "sys/devices/pci0000:00/0000:00:03.0"
    plant(
        tmp_path,
        f"""
sys/class/net/bonding_masters = bond0
sys/class/net/eth3 -> ../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth3
{device}/virtio2/net/eth3/device -> ../../../virtio2
{device}/virtio2/net/eth3/operstate = up
{device}/virtio2/net/eth3/carrier = 1
{device}/virtio2/net/eth3/speed = 400000
{device}/virtio2/net/eth3/mtu = 9000
{device}/virtio2/net/eth3/address = 02:fc:00:00:00:01
{device}/virtio2/net/eth3/carrier_changes = 2
{device}/virtio2/net/eth3/statistics/tx_bytes = 483269
{device}/virtio2/net/eth3/statistics/rx_dropped = 0
{device}/numa_node = -1
""",
    )
    (rail,) = network.interfaces(tmp_path, {"eth3": ("10.0.3.1/24",)})
    assert (rail.name, rail.operstate, rail.carrier, rail.speed, rail.mtu) == ("eth3", "up", True, 50e9, 9000)
    assert (rail.mac, rail.addresses, rail.virtual) == ("02:fc:00:00:00:01", ("10.0.3.1/24",), False)
    assert dict(rail.statistics) == {"tx_bytes": 483269, "rx_dropped": 0, "carrier_changes": 2}
    assert rail.pci is not None
    assert (rail.pci.address, rail.pci.root, rail.pci.numa) == ("0000:00:03.0", "pci0000:00", None)
    assert [port.statistics for port in network.statistics(tmp_path)] == [rail.statistics]


def test_an_interface_that_is_down_says_neither_carrier_nor_speed(tmp_path):
    folder = tmp_path / "sys/class/net/eth0"
    (folder / "carrier").mkdir(parents=True)  # a read of it fails, as EINVAL does
    plant(tmp_path, "sys/class/net/eth0/operstate = down\nsys/class/net/eth0/speed = -1")
    (down,) = network.interfaces(tmp_path, {})
    assert (down.operstate, down.carrier, down.speed, down.addresses) == ("down", None, None, ())
    assert down.virtual is True


def test_addresses_that_were_not_asked_are_unknown_and_not_none(tmp_path):
    plant(tmp_path, "sys/class/net/eth0/operstate = up")
    assert network.interfaces(tmp_path)[0].addresses is None


TITLES = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
)
TABLE = TITLES + (
    "    lo:  840120    5210    0    0    0     0          0         0   840120    5210    0    0    0     0  0 0\n"
    "  eth0: 91827364   81726    1    2    0     0          0        17 18273645   71625    0    3    0     0  4 0\n"
)


def test_a_container_with_the_host_s_sys_reads_its_own_interfaces(tmp_path):
    """The host's /sys has an eth0 and an mlx5 port's ens1; the container has a lo and an eth0 of its own."""
    plant(
        tmp_path,
        """
sys/class/net/lo/ifindex = 1
sys/class/net/eth0/ifindex = 2
sys/class/net/eth0/statistics/tx_bytes = 999
sys/class/net/ens1/ifindex = 3
""",
    )
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / network.TABLE).write_text(TABLE)

    def own() -> list[tuple[int, str]]:
        return [(1, "lo"), (41, "eth0")]

    assert network.foreign(tmp_path, own)
    loopback, eth0 = network.interfaces(tmp_path, {"eth0": ("10.1.0.7/24",)}, own)
    assert (loopback.name, loopback.addresses, eth0.addresses) == ("lo", (), ("10.1.0.7/24",))
    assert (eth0.operstate, eth0.carrier, eth0.speed) == (None, None, None)
    assert dict(eth0.statistics) | {"rx_compressed": 0} == {
        "rx_bytes": 91827364, "rx_packets": 81726, "rx_errors": 1, "rx_dropped": 2, "rx_fifo_errors": 0,
        "rx_frame_errors": 0, "rx_compressed": 0, "multicast": 17, "tx_bytes": 18273645, "tx_packets": 71625,
        "tx_errors": 0, "tx_dropped": 3, "tx_fifo_errors": 0, "collisions": 0, "tx_carrier_errors": 4,
        "tx_compressed": 0,
    }  # fmt: skip
    assert [each.statistics for each in network.statistics(tmp_path, own)] == [
        loopback.statistics,
        eth0.statistics,
    ]


def test_a_container_with_nothing_but_a_loopback_is_another_namespace(tmp_path):
    """Each namespace has a lo, with the index 1."""
    plant(tmp_path, "sys/class/net/lo/ifindex = 1\nsys/class/net/eth0/ifindex = 2")
    assert network.foreign(tmp_path, lambda: [(1, "lo")])


def test_an_interface_that_went_away_between_the_looks_is_no_other_namespace(tmp_path):
    plant(tmp_path, "sys/class/net/lo/ifindex = 1")
    answers = iter([[(1, "lo"), (9, "veth7")], [(1, "lo")]])
    assert not network.foreign(tmp_path, lambda: next(answers))


@pytest.mark.parametrize("text", ["", TITLES, TABLE.replace(" lo:", " lo: 7").replace("eth0:", "eth0: x")])
def test_a_broken_interface_table_has_no_counters(text):
    assert network.parse_table(text) == {}


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("400000", 50e9),
        ("1000", 125e6),
        ("-1", None),
        ("0", None),
        ("4294967295", None),
        ("65535", None),
        ("", None),
        ("up", None),
    ],
)
def test_speed(text, speed):
    assert network.parse_speed(text) == speed


def test_tcp_retransmissions_are_read(tmp_path):
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / network.SNMP).write_text(SNMP)
    assert network.tcp(tmp_path) == {
        "InSegs": 7195,
        "OutSegs": 3319,
        "RetransSegs": 736,
        "InErrs": 0,
        "OutRsts": 18,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Tcp:",
        "Tcp: RetransSegs",
        "Tcp: RetransSegs\nTcp: 1 2",
        "Tcp: RetransSegs\nTcp: x",
        SNMP.replace("Tcp", "Udp"),
    ],
)
def test_a_broken_table_has_no_counters(text):
    assert network.parse_snmp(text) == {}


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────


def message(kind: int, body: bytes) -> bytes:
    raw = struct.pack("=LHHLL", 16 + len(body), kind, 2, 1, 0) + body
    return raw + bytes(-len(raw) % 4)


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def address(index: int, prefix: int, *attributes: bytes) -> bytes:
    return message(20, struct.pack("=BBBBL", 2, prefix, 0, 0, index) + b"".join(attributes))


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


ANSWER = (
    address(
        2, 24, attribute(1, packed("10.0.0.1")), attribute(2, packed("10.0.0.1")), attribute(3, b"eth0\0")
    )
    + address(3, 32, attribute(1, packed("10.9.9.9")), attribute(2, packed("10.0.1.1")))
    + address(3, 64, attribute(1, packed("fe80::1")))
    + address(4, 24, attribute(3, b"no address\0"))
    + message(3, bytes(4))
)


def test_addresses_of_an_rtnetlink_answer():
    # of a point-to-point link the near end, not the far one
    assert addresses.parse(ANSWER) == ((2, "10.0.0.1/24"), (3, "10.0.1.1/32"), (3, "fe80::1/64"))


@given(st.integers(0, len(ANSWER)))
def test_a_cut_answer_gives_the_addresses_before_the_cut(end):
    whole = addresses.parse(ANSWER)
    assert whole[: len(addresses.parse(ANSWER[:end]))] == addresses.parse(ANSWER[:end])


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_answer_crashes_or_hangs(noise, at):
    assert all(isinstance(index, int) for index, _ in addresses.parse(ANSWER[:at] + noise))


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        ([("down", True), ("down", True), ("up", True)], ("up", True)),
        ([("up", False), ("down", False)], ("down", False)),
        ([("down", False), ("up", True)], ("down", False)),
        ([("unknown", True), ("up", True)], ("unknown", True)),
        ([("down", True)] * network.LOOKS + [("up", True)], ("down", True)),
    ],
    ids=["it came up", "it went down", "it is down", "a driver that tells no state", "it stays so"],
)
def test_readings_that_contradict_each_other_are_read_again(readings, wanted, monkeypatch):
    monkeypatch.setattr(network, "PAUSE", 0.0)
    left = list(readings)
    assert network.settled(lambda: left.pop(0)) == wanted
