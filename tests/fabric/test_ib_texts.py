from pathlib import Path

import pytest

from bench.fabric import devinfo, ibdev2netdev, ibstat, ibstatus, perfquery, sysinfo
from bench.fabric.lines import Refused
from bench.fabric.link import Link
from bench.units import BITS, GIGA

DATA = Path(__file__).parent / "data"
GBIT = GIGA / BITS


def text(name: str) -> str:
    return (DATA / name).read_text()


# ── ibstat ──────────────────────────────────────────────────────────────────────────────────────────────


def test_ibstat_of_a_host_with_mixed_link_layers():
    seen = ibstat.parse(text("ibstat-h100.txt"))
    rails = ("mlx5_0", "mlx5_10", "mlx5_11", "mlx5_3", "mlx5_4", "mlx5_5", "mlx5_6", "mlx5_9")
    assert ibstat.active_infiniband(seen) == rails
    assert seen.unparsed == ()
    first = seen.adapters[0]
    assert (first.name, first.type, first.firmware, first.port_count) == ("mlx5_0", "MT4129", "28.41.1000", 1)
    port = first.ports[0]
    assert (port.state, port.physical, port.base_lid, port.sm_lid) == ("Active", "LinkUp", 287, 1024)
    assert port.rate == 400 * GBIT
    assert port.guid == "0x58a2e103001b2576"


def test_a_port_that_is_down_has_a_rate_but_not_now():
    down = next(
        adapter for adapter in ibstat.parse(text("ibstat-h100.txt")).adapters if adapter.name == "mlx5_1"
    )
    assert down.ports[0].rate == 40 * GBIT
    assert down.ports[0].rate_now is None


def test_ibstat_in_noise_and_cut_in_a_port():
    seen = ibstat.parse(text("ibstat-noise.txt"))
    assert len(seen.warnings) == 4
    first, second = seen.adapters[0].ports
    assert (first.state, first.base_lid, first.rate) == ("Down", 38, 10 * GBIT)
    assert (second.number, second.state, second.rate) == (2, "Active", 56 * GBIT)
    assert (second.base_lid, second.link_layer) == (None, None)


@pytest.mark.parametrize(
    ("said", "rate"),
    [("400", 400), ("2.5", 2.5), ("10 (FDR10)", 10), ("200 (HDR)", 200), ("fast", None), ("", None)],
)
def test_ibstat_rates(said, rate):
    port = ibstat.parse(f"CA 'mlx5_0'\n\tPort 1:\n\t\tRate: {said}\n").adapters[0].ports[0]
    assert port.rate == (None if rate is None else rate * GBIT)


def test_what_ibstat_does_not_know_is_kept():
    seen = ibstat.parse("CA 'a'\n\tPort 1:\n\t\tState: Active\n\t\tMood: fine\n\t\tBase lid: many\n")
    assert seen.unparsed == ("Mood: fine", "Base lid: many")
    assert seen.adapters[0].ports[0].base_lid is None


def test_ibstat_of_one_port_and_of_a_simulator():
    seen = ibstat.parse("CA: 'mlx5_0'\nPort 1:\nState: Active\nRate: 104\nLink layer: IB\n")
    assert seen.adapters[0].ports[0].link_layer == "IB"
    assert ibstat.active_infiniband(seen) == ()


# ── ibstatus ────────────────────────────────────────────────────────────────────────────────────────────

IBSTATUS = """\
Infiniband device 'mlx5_0' port 1 status:
\tdefault gid:\t fe80:0000:0000:0000:8ae9:a4ff:fe9c:7f1a
\tbase lid:\t 0x30
\tsm lid:\t\t 0x0
\tstate:\t\t 4: ACTIVE
\tphys state:\t 5: LinkUp
\trate:\t\t 100 Gb/sec (4X EDR)
\tlink_layer:\t Ethernet

Infiniband device 'mlx5_1' port 1 status:
\tdefault gid:\t unknown
\tstate:\t\t 1: DOWN
\trate:\t\t unknown
"""


def test_ibstatus():
    first, second = ibstatus.parse(IBSTATUS).ports
    assert (first.hca, first.number, first.state, first.physical) == ("mlx5_0", 1, "ACTIVE", "LinkUp")
    assert (first.rate, first.link, first.link_layer) == (100 * GBIT, Link(4, "EDR"), "Ethernet")
    assert (first.base_lid, first.sm_lid) == (0x30, 0)
    assert (second.state, second.gid, second.rate, second.link_layer) == ("DOWN", None, None, None)


def test_what_ibstatus_calls_unknown_is_said():
    assert ibstatus.parse(IBSTATUS).unparsed == ("default gid:\t unknown", "rate:\t\t unknown")


# ── ibv_devinfo ─────────────────────────────────────────────────────────────────────────────────────────

DEVINFO = """\
hca_id:\tmlx5_0
\ttransport:\t\t\tInfiniBand (0)
\tfw_ver:\t\t\t\t28.40.1000
\tnode_guid:\t\t\tc470:bd03:00cf:4964
\tvendor_id:\t\t\t0x02c9
\tvendor_part_id:\t\t\t4129
\tboard_id:\t\t\tMT_0000000838
\tphys_port_cnt:\t\t\t1
\tdevice_cap_flags:\t\t0x21361c36
\t\t\t\t\tBAD_PKEY_CNTR
\t\tport:\t1
\t\t\tstate:\t\t\tPORT_ACTIVE (4)
\t\t\tactive_mtu:\t\t4096 (5)
\t\t\tport_lid:\t\t48
\t\t\tlink_layer:\t\tInfiniBand
\t\t\tactive_width:\t\t4X (2)
\t\t\tactive_speed:\t\t100.0 Gbps (128)
\t\t\tphys_state:\t\tLINK_UP (5)
\t\t\tGID[  0]:\t\tfe80:0000:0000:0000:c470:bd03:00cf:4964
"""


def test_devinfo():
    seen = devinfo.parse(DEVINFO)
    adapter = seen.adapters[0]
    assert seen.unparsed == ()
    assert (adapter.name, adapter.firmware, adapter.board) == ("mlx5_0", "28.40.1000", "MT_0000000838")
    assert (adapter.node_guid, adapter.vendor_part_id) == ("0xc470bd0300cf4964", 4129)
    port = adapter.ports[0]
    assert (port.number, port.state, port.physical, port.lid) == (1, "PORT_ACTIVE", "LINK_UP", 48)
    assert (port.active_mtu, port.link, port.link.rate) == (4096, Link(4, "NDR"), 400 * GBIT)
    assert len(port.gids) == 1


def test_a_devinfo_excerpt_has_no_name_but_a_rate():
    excerpt = "state:\tPORT_ACTIVE (4)\nactive_width:\t2X (16)\nactive_speed:\t100.0 Gbps (128)"
    adapter = devinfo.parse(excerpt).adapters[0]
    assert adapter.name is None
    assert adapter.ports[0].link.rate == 200 * GBIT


def test_devinfo_does_not_take_ibstatus_for_its_own():
    with pytest.raises(Refused, match="not ibv_devinfo output"):
        devinfo.parse(IBSTATUS)


def test_an_unknown_speed_has_no_rate_and_is_said():
    seen = devinfo.parse("hca_id: a\n\tport: 1\n\tactive_width: 4X (2)\n\tactive_speed: invalid speed (0)\n")
    assert seen.adapters[0].ports[0].link.rate is None
    assert seen.unparsed == ("active_speed: invalid speed (0)",)


# ── ibdev2netdev ────────────────────────────────────────────────────────────────────────────────────────


def test_ibdev2netdev_in_a_document():
    seen = ibdev2netdev.parse(
        "   $ kubectl exec x -- ibdev2netdev\n\n      mlx5_0 port 1 ==> ens64np1 (Up)\r\n"
    )
    assert [(row.hca, row.port, row.netdev, row.up) for row in seen.rows] == [("mlx5_0", 1, "ens64np1", True)]
    assert seen.unparsed == ()


def test_ibdev2netdev_with_boards():
    seen = ibdev2netdev.parse(
        "0000:b8:00.1 mlx5_13 (MT4123 - MCX653106A-ECAT) ConnectX-6 VPI adapter card, 100Gb/s (HDR100, EDR "
        "IB and 100GbE), dual-port QSFP56 fw 20.26.4012 port 1 (ACTIVE) ==> ib4 (Up) (o2ib)\n"
        "0000:02:00.7 mlx5_4 (MT4116 - NA)  fw 12.23.1020 port 1 (DOWN  ) ==> enp2s0f4 (Down)\n"
        "mlx5_5 port 1 ==>  ()\n"
    )
    first, second, third = seen.rows
    assert (first.pci, first.type, first.board) == ("0000:b8:00.1", "MT4123", "MCX653106A-ECAT")
    assert (first.firmware, first.state, first.netdev, first.up) == ("20.26.4012", "ACTIVE", "ib4", True)
    assert (second.board, second.state, second.up) == (None, "DOWN", False)
    assert (third.netdev, third.up) == (None, None)


# ── perfquery ───────────────────────────────────────────────────────────────────────────────────────────

PERFQUERY = """\
# Port extended counters: Lid 2052 port 1 (CapMask: 0x5300 CapMask2: 0x0000002)
PortSelect:......................1
CounterSelect:...................0x0000
PortXmitData:....................178791657177235
PortUnicastRcvPkts:..............387648134400
CounterSelect2:..................0x00000000
SymbolErrorCounter:..............0
LinkDownedCounter:...............1
PortXmitDiscards:................20046
PortXmitWait:....................41864608
QP1Dropped:......................none
# PortRcvErrorDetails counters: Lid 2052 port 255
PortLocalPhysicalErrors:.........2
"""


def test_perfquery():
    first, second = perfquery.parse(PERFQUERY).blocks
    assert (first.kind, first.lid, first.port) == ("Port extended", 2052, 1)
    assert perfquery.errors(first) == (("LinkDownedCounter", 1), ("PortXmitDiscards", 20046))
    assert perfquery.data_bytes(first, "PortXmitData") == 4 * 178791657177235
    assert (second.kind, second.port) == ("PortRcvErrorDetails", perfquery.ALL_PORTS)


def test_an_absent_counter_is_not_zero():
    block = perfquery.parse(PERFQUERY).blocks[0]
    assert block.get("SymbolErrorCounter") == 0
    assert block.get("VL15Dropped") is None
    assert perfquery.data_bytes(block, "PortRcvData") is None
    assert block.get("QP1Dropped") is None
    assert perfquery.parse(PERFQUERY).unparsed == ("QP1Dropped:......................none",)


def test_perfquery_of_the_simulator():
    block = perfquery.parse(text("perfquery.txt")).blocks[0]
    assert (block.lid, block.port, len(block.counters), perfquery.errors(block)) == (1, 1, 8, ())


# ── SuperBench ──────────────────────────────────────────────────────────────────────────────────────────


def test_sysinfo_is_read_by_the_same_parsers():
    seen = sysinfo.parse(text("sysinfo-mi100.json"))
    assert [(a.name, a.ports[0].state, a.ports[0].link_layer) for a in seen.status.adapters] == [
        ("mlx5_0", "Down", "Ethernet"),
        ("mlx5_1", "Active", "InfiniBand"),
    ]
    assert [(a.name, a.ports[0].state, a.ports[0].link) for a in seen.info.adapters] == [
        ("mlx5_0", "PORT_DOWN", Link(4, "QDR")),
        ("mlx5_1", "PORT_ACTIVE", Link(4, "HDR")),
    ]


@pytest.mark.parametrize("broken", ["{", "[]", "{}", '{"ib_device_status": 3}', "null", "[" * 100_000])
def test_a_json_of_something_else_is_refused(broken):
    with pytest.raises(Refused, match="not a sysinfo JSON"):
        sysinfo.parse(broken)


# ── all ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tool", [ibstat, ibstatus, devinfo, ibdev2netdev, perfquery])
def test_text_of_another_tool_is_refused(tool):
    with pytest.raises(Refused, match=r"not \w+ output: no line like .* it starts with"):
        tool.parse(text("topo-rocm-smi.txt"))


def test_an_empty_text_says_nothing():
    assert ibstat.parse("").adapters == ()
    assert ibstatus.parse("\n").ports == ()
    assert devinfo.parse("").adapters == ()
    assert ibdev2netdev.parse(" \r\n").rows == ()
    assert perfquery.parse("").blocks == ()


@pytest.mark.parametrize("dress", [
    lambda said: said.replace("\n", "\r\n"),
    lambda said: "".join(f"   {line}\n" for line in said.splitlines()),
    lambda said: "".join(f"> {line}\n" for line in said.splitlines()),
    lambda said: "".join(f"[1,0]<stdout>:{line}\n" for line in said.splitlines()),
    lambda said: "".join(f"\x1b[32m{line}\x1b[0m\n" for line in said.splitlines()),
    lambda said: f"\ufeff```text\n{said}\n```\n",
])  # fmt: skip
def test_what_surrounds_a_text_changes_nothing(dress):
    plain = text("ibstat-h100.txt")
    assert ibstat.parse(dress(plain)).adapters == ibstat.parse(plain).adapters
    assert ibstatus.parse(dress(IBSTATUS)).ports == ibstatus.parse(IBSTATUS).ports
    assert devinfo.parse(dress(DEVINFO)).adapters == devinfo.parse(DEVINFO).adapters
    assert perfquery.parse(dress(PERFQUERY)).blocks == perfquery.parse(PERFQUERY).blocks
