from pathlib import Path

import pytest

from bench.model.units import BITS, GIGA
from bench.probe.fabric import devinfo
from bench.probe.fabric.link import Link
from bench.probe.fabric.pasted_text import Refused

DATA = Path(__file__).parent / "data"
GBIT = GIGA / BITS


def text(name: str) -> str:
    return (DATA / name).read_text()


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
        devinfo.parse(text("ibstat-h100.txt"))


def test_an_unknown_speed_has_no_rate_and_is_said():
    seen = devinfo.parse("hca_id: a\n\tport: 1\n\tactive_width: 4X (2)\n\tactive_speed: invalid speed (0)\n")
    assert seen.adapters[0].ports[0].link.rate is None
    assert seen.unparsed == ("active_speed: invalid speed (0)",)


# ── all ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tool", [devinfo])
def test_text_of_another_tool_is_refused(tool):
    with pytest.raises(Refused, match=r"not \w+ output: no line like .* it starts with"):
        tool.parse(text("topo-rocm-smi.txt"))


def test_an_empty_text_says_nothing():
    assert devinfo.parse("").adapters == ()


@pytest.mark.parametrize("dress", [
    lambda said: said.replace("\n", "\r\n"),
    lambda said: "".join(f"   {line}\n" for line in said.splitlines()),
    lambda said: "".join(f"> {line}\n" for line in said.splitlines()),
    lambda said: "".join(f"[1,0]<stdout>:{line}\n" for line in said.splitlines()),
    lambda said: "".join(f"\x1b[32m{line}\x1b[0m\n" for line in said.splitlines()),
    lambda said: f"\ufeff```text\n{said}\n```\n",
])  # fmt: skip
def test_what_surrounds_a_text_changes_nothing(dress):
    assert devinfo.parse(dress(DEVINFO)).adapters == devinfo.parse(DEVINFO).adapters
