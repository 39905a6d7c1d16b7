import pytest

from bench.model.counters import saturated, snapshot
from bench.model.facts import Gid, PciLink, PciPath
from bench.probe import infiniband
from trees import SWITCH, plant, planted, rail_machine

NDR_RAILS = tuple(f"mlx5_{number}" for number in (0, 1, 4, 5, 6, 7, 8, 9))


@pytest.fixture(scope="module")
def h100(tmp_path_factory):
    root = planted(tmp_path_factory.mktemp("h100"), "h100.txt")
    return {port.hca: port for port in infiniband.ports(root)}, root


def test_an_h100_host_has_eight_ndr_rails_and_an_ethernet_bond(h100):
    ports, _ = h100
    assert tuple(ports) == (*NDR_RAILS, "mlx5_bond_0")
    for name in NDR_RAILS:
        port = ports[name]
        assert (port.number, port.state, port.phys_state) == (1, "ACTIVE", "LinkUp")
        assert (port.rate, port.rate_text, port.link_layer) == (50e9, "400 Gb/sec (4X NDR)", "InfiniBand")
        assert (port.fw, port.hca_type, port.board) == ("28.41.1000", "MT4129", "MT_0000000838")
    bond = ports["mlx5_bond_0"]
    assert (bond.rate, bond.link_layer, bond.hca_type) == (25e9, "Ethernet", "MT41692")
    assert (bond.fw, bond.board) == ("32.38.3056", "MT_0000000884")


def test_every_counter_of_the_h100_host_is_read(h100):
    ports, root = h100
    for port in ports.values():
        assert len(port.counters) == 21
        assert len(port.hw_counters) == len(
            list((root / f"{infiniband.CLASS}/{port.hca}/ports/1/hw_counters").iterdir())
        )
        assert port.counters["port_xmit_wait"] == 2489603687
        assert port.counters["link_downed"] == (255 if port.hca == "mlx5_1" else 0)


def test_what_the_copy_does_not_hold_is_absent(h100):
    port = h100[0]["mlx5_0"]
    assert (port.lid, port.sm_lid, port.gid, port.pci, port.netdev, port.node_guid) == (None,) * 6


def test_counters_at_their_maximum_are_named(h100):
    stuck = saturated(snapshot(0, 0, infiniband.counters(h100[1]), (), {}))
    assert ("mlx5_1/1", "counters", "link_downed", 255) in stuck
    assert {name for _, _, name, _ in stuck} == {"link_downed", "excessive_buffer_overrun_errors"}


def test_a_snapshot_reads_the_same_counters_as_the_probe(h100):
    ports, root = h100
    quick = infiniband.counters(root)
    assert [(port.name, port.counters, port.hw_counters) for port in quick] == [
        (port.name, port.counters, port.hw_counters) for port in ports.values()
    ]


def test_an_hca_is_read_through_its_link_into_the_pci_tree(tmp_path):
    (port,) = infiniband.ports(planted(tmp_path, "qib0.txt"))
    assert (port.name, port.state, port.rate, port.lid, port.sm_lid) == ("qib0/1", "ACTIVE", 5e9, 0x12A, 1)
    bare = tuple(PciLink(address) for address in ("0000:43:00.0", "0000:40:03.0"))
    assert port.pci == PciPath("0000:43:00.0", "pci0000:40", 2, bare)
    assert dict(port.counters) == {}


VERBS = f"{SWITCH}/0000:12:01.0/0000:14:00.0/infiniband_verbs/uverbs3/dev = 231:195"


@pytest.mark.parametrize(
    ("more", "openable"),
    [
        ("", None),  # no such folder
        (VERBS, None),  # a copy of /sys without /dev
        (f"{VERBS}\ndev/null = ", False),  # as in a container that sees all adapters of its host
        (f"{VERBS}\ndev/infiniband/uverbs3 = ", True),
    ],
)
def test_an_adapter_can_be_opened_where_its_device_file_can(more, openable, tmp_path):
    (port,) = infiniband.ports(plant(plant(tmp_path, rail_machine()), more))
    assert port.openable is openable


def test_a_rail_is_read_with_its_guid_driver_interface_and_way(tmp_path):
    (port,) = infiniband.ports(plant(tmp_path, rail_machine()))
    assert (port.name, port.lid, port.sm_lid, port.netdev, port.driver) == (
        "mlx5_3/1",
        42,
        1,
        "ibs3",
        "mlx5_core",
    )
    assert port.guid == port.node_guid == "a088:c203:0012:3456"
    assert dict(port.counters) == {"port_xmit_data": 25}  # "N/A (no PMA)" is absent
    assert port.pci is not None
    assert port.pci.numa == 1
    assert [hop.address[5:] for hop in port.pci.hops] == ["14:00.0", "12:01.0", "11:00.0", "10:01.0"]
    assert [hop.width for hop in port.pci.hops] == [16, 16, 16, 8]


def test_both_ports_of_an_hca_are_read_and_each_has_its_interface(tmp_path):
    device = "sys/devices/pci0000:00/0000:00:02.0/0000:05:00.0"
    hca = f"{device}/infiniband/mlx4_0"
    plant(
        tmp_path,
        f"""
{hca}/ports/2/state = 1: DOWN
{hca}/ports/1/state = 4: ACTIVE
{hca}/ports/10/state = 2: INIT
{hca}/ports/1/gid_attrs/ndevs/0 = roce1
{hca}/ports/junk/state = 4: ACTIVE
{hca}/device -> ../../../0000:05:00.0
{device}/net/eth1/dev_port = 1
{device}/net/eth0/dev_port = 0
sys/class/infiniband/mlx4_0 -> ../../{hca.removeprefix("sys/")}
""",
    )
    ports = infiniband.ports(tmp_path)
    assert [(port.number, port.state, port.netdev) for port in ports] == [
        (1, "ACTIVE", "roce1"),
        (2, "DOWN", "eth1"),
        (10, "INIT", None),
    ]
    # a snapshot needs the interface of RoCE ports alone: their drivers count pauses
    assert [port.netdev for port in infiniband.counters(tmp_path)] == ["roce1", None, None]


def test_a_counter_the_kernel_refuses_is_absent(tmp_path):
    folder = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/counters"
    (folder / "symbol_error").mkdir(parents=True)  # a read of it fails, as EINVAL does
    (folder / "link_downed").write_text("0\n")
    (folder / "port_rcv_errors").write_text("-1\n")
    (folder / "port_rcv_data").write_text("18446744073709551615\n")
    (port,) = infiniband.ports(tmp_path)
    assert dict(port.counters) == {"link_downed": 0, "port_rcv_data": 2**64 - 1}


def test_a_soft_roce_port_without_device_or_counters_is_a_port(tmp_path):
    port = "sys/class/infiniband/mlx5_2/ports/1"
    plant(
        tmp_path,
        f"{port}/state = 4: ACTIVE\n{port}/link_layer = Ethernet\n{port}/gid_attrs/ndevs/0 = r2\n"
        f"{port}/gids/0 = 0000:0000:0000:0000:0000:0000:0000:0000\n{port}/hw_counters/sent_pkts = 3200",
    )
    (found,) = infiniband.ports(tmp_path)
    assert (found.netdev, found.pci, found.gid, found.guid) == ("r2", None, None, None)
    assert (dict(found.counters), dict(found.hw_counters)) == ({}, {"sent_pkts": 3200})


def test_hcas_are_in_order_of_number(tmp_path):
    for number in (10, 2, 0):
        plant(tmp_path, f"sys/class/infiniband/mlx5_{number}/ports/1/state = 4: ACTIVE")
    assert [port.hca for port in infiniband.ports(tmp_path)] == ["mlx5_0", "mlx5_2", "mlx5_10"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("400 Gb/sec (4X NDR)", 50e9),
        ("200 Gb/sec (2X NDR)", 25e9),
        ("2.5 Gb/sec (1X SDR)", 0.3125e9),
        ("25 Gb/sec (1X EDR)", 3.125e9),
        ("10 Gb/sec (4X)", 1.25e9),
        ("Gb/sec", None),
        ("400", None),
        ("", None),
        ("-1 Gb/sec", None),
    ],
)
def test_rate(text, rate):
    assert infiniband.parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("4: ACTIVE", "ACTIVE"),
        ("5: ACTIVE_DEFER", "ACTIVE_DEFER"),
        ("4: PortConfigurationTraining", "PortConfigurationTraining"),
        ("7: <unknown>", "<unknown>"),
        ("ACTIVE", None),
        ("4:", None),
        ("", None),
    ],
)
def test_state(text, state):
    assert infiniband.parse_state(text) == state


def test_partition_keys_and_gids_are_read_by_index(tmp_path):
    # Linux, Documentation/ABI/stable/sysfs-class-infiniband: pkeys/<n>, gids/<n>, gid_attrs/types/<n>
    port = f"{infiniband.CLASS}/mlx5_0/ports/1"
    empty = "0000:0000:0000:0000:0000:0000:0000:0000"
    plant(
        tmp_path,
        f"{port}/pkeys/0 = 0xffff\n{port}/pkeys/1 = 0x8001\n{port}/pkeys/2 = 0x0000\n{port}/gids/0 = {empty}\n"
        f"{port}/gids/10 = 0000:0000:0000:0000:0000:ffff:0a00:0001\n{port}/gid_attrs/types/10 = RoCE v2\n"
        f"{port}/gid_attrs/ndevs/10 = eth1",
    )
    found = infiniband.ports(tmp_path)[0]
    assert found.pkeys == (0xFFFF, 0x8001)
    assert found.gids == (Gid(10, "0000:0000:0000:0000:0000:ffff:0a00:0001", "RoCE v2", "eth1"),)


def test_tables_that_are_not_there_are_not_empty(tmp_path):
    plant(tmp_path, f"{infiniband.CLASS}/mlx5_0/ports/1/state = 4: ACTIVE")
    assert (infiniband.ports(tmp_path)[0].pkeys, infiniband.ports(tmp_path)[0].gids) == (None, None)
