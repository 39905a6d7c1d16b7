from collections import Counter
from pathlib import Path

import pytest

from bench.probe.fabric import linkinfo, netdiscover, queryerrors
from bench.probe.fabric.link import End, Link, link
from bench.probe.fabric.pasted_text import UnknownToolOutput

DATA = Path(__file__).parent / "data"


def text(name: str) -> str:
    return (DATA / name).read_text()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("4xHDR", Link(4, "HDR")),
        ("4x EDR", Link(4, "EDR")),
        ("400 Gb/sec (4X NDR)", Link(4, "NDR")),
        ("4X 53.125 Gbps", Link(4, "HDR")),
        ("2X 106.25 Gbps", Link(2, "NDR")),
        ("4X 212.5 Gbps", Link(4, "XDR")),
        ("4X 25.78125 Gbps", Link(4, "EDR")),
        ("4X 10.0 Gbps", Link(4, "QDR")),
        ("4X 10.0 Gbps (FDR10)", Link(4, "FDR10")),
        ("12X 2.5 Gbps", Link(12, "SDR")),
        ("4x ???", Link(4, "")),
        ("4X undefined (64)", Link(4, "")),
        ("", Link(None, "")),
    ],
)
def test_spellings_of_a_link(said, wanted):
    assert link(said) == wanted


def test_a_link_of_unknown_speed_has_no_rate():
    assert Link(4, "").rate is None
    assert Link(None, "NDR").rate is None
    assert Link(4, "NDR").rate == 50e9
    assert (Link(4, "NDR").text, Link(4, "").text) == ("4X NDR (400.0 Gb/s)", "4X unknown speed")


# ── ibnetdiscover ───────────────────────────────────────────────────────────────────────────────────────


def test_a_topology_file():
    seen = netdiscover.parse(text("ibnetdiscover.healthy.txt"))
    assert Counter({row.near.guid: row.near.kind for row in seen.rows}.values()) == {"SW": 5, "CA": 6}
    assert (len(seen.rows), seen.unparsed, seen.unanswered) == (36, (), ())
    assert seen.origin == "0x0010000000000101"
    port = next(row for row in seen.rows if row.near.name == "leaf2" and row.near.port == 2)
    assert port.near == End("SW", "0x0020000000000200", "leaf2", 4, 2)
    assert port.far == End("CA", "0x0010000000010201", "node1 mlx5_2", 9, 1)
    assert port.link == Link(4, "HDR")
    back = next(row for row in seen.rows if row.near.name == "node1 mlx5_2")
    assert (back.near, back.far) == (port.far, port.near)


def test_chassis_ports_and_full_info():
    seen = netdiscover.parse(
        'Switch\t36 "S-0002c90200404148"\t\t# "MF0;sw:IS5030/U1" enhanced port 0 lid 1 lmc 0\n'
        '[1][ext 3]\t"H-0002c90300a1b2c0"[1](2c90300a1b2c1) \t\t# "n1 HCA-1" lid 7 4xQDR s=4 w=2 v=4\n'
    )
    assert (seen.rows[0].far.guid, seen.rows[0].link) == ("0x0002c90300a1b2c1", Link(4, "QDR"))


def test_what_does_not_answer_is_kept_with_its_route():
    seen = netdiscover.parse(text("ibnetdiscover.silent.txt") + text("ibnetdiscover.silent.err.txt"))
    assert len(seen.unanswered) == 4
    assert netdiscover.path(seen.unanswered[0]) == (0, 1, 34, 3)
    assert netdiscover.path("bad status 110") == ()


# ── iblinkinfo ──────────────────────────────────────────────────────────────────────────────────────────


def test_links_line_by_line():
    seen = linkinfo.parse(text("iblinkinfo.slow.txt"))
    assert (seen.unparsed, seen.unanswered) == ((), ())
    states = Counter((row.state, row.link.text) for row in seen.rows if row.far)
    assert states == {
        ("Active", "4X HDR (200.0 Gb/s)"): 32,
        ("Active", "1X HDR (50.00 Gb/s)"): 2,
        ("Active", "4X EDR (100.0 Gb/s)"): 2,
    }
    down = [row for row in seen.rows if row.far is None]
    assert {(row.state, row.physical, row.link.rate) for row in down} == {("Down", "Polling", None)}


@pytest.mark.parametrize(
    ("line", "state", "link"),
    [
        ('7 3[ 5] ==( 4X 10.0 Gbps (FDR10) Active/ LinkUp)==> 9 1[ ] "a" ( )', "Active", Link(4, "FDR10")),
        ('7 3[  ] ==( 4X 106.25 Gbps Initialize/ LinkUp)==> 9 1[ ] "a" ( )', "Initialize", Link(4, "NDR")),
        ('7 3[  ] ==(  Down/PortConfigurationTraining)==>  [  ] "" ( )', "Down", Link(None, "")),
        ('7 3[  ] ==( 4X 25.78125 Gbps Active/ LinkUp)==>  "Port not available"', "Active", Link(4, "EDR")),
    ],
)
def test_states_of_a_link(line, state, link):
    row = linkinfo.parse(f'0x2 "leaf" {line}\n').rows[0]
    assert (row.state, row.link, row.near.port) == (state, link, 3)


# ── ibqueryerrors ───────────────────────────────────────────────────────────────────────────────────────


def test_error_counters_by_port():
    seen = queryerrors.parse(text("ibqueryerrors.faults.txt"))
    assert seen.unparsed == ()
    by_port = {(port.name, port.port): dict(port.counters) for port in seen.ports}
    assert by_port["leaf2", 2] == {"SymbolErrorCounter": 4711}
    assert by_port["leaf2", None] == {"SymbolErrorCounter": 4711}
    assert (seen.summary.ports, seen.summary.failures) == (327, 0)


def test_counters_with_units_thresholds_and_failures():
    seen = queryerrors.parse(
        'Errors for "n1 HCA-1"\n'
        "   GUID 0x1 port 1: [PortXmitDiscards == 20046 (19.576K)] [PortXmitWait == 5]\n"
        '       Link info:      7   1[  ] ==( 4X 106.25 Gbps Active/ LinkUp)==>  0x2 1 1[  ] "sw" ( )\n'
        "\n## Summary: 2 nodes checked, 1 bad nodes found\n"
        "##          3 ports checked, 1 ports have errors beyond threshold\n"
        "## Thresholds: [SymbolErrorCounter = 10]\n##          4 PMA query failures\n## Suppressed:\n"
    )
    assert seen.ports[0].counters == (("PortXmitDiscards", 20046), ("PortXmitWait", 5))
    assert (seen.summary.ports, seen.summary.failures, seen.unparsed) == (3, 4, ())


def test_without_the_summary_nothing_is_known_of_the_others():
    cut = text("ibqueryerrors.faults.txt").partition("## Summary")[0]
    assert queryerrors.parse(cut).summary is None


@pytest.mark.parametrize("tool", [netdiscover, linkinfo, queryerrors])
def test_text_of_another_tool_is_refused(tool):
    with pytest.raises(UnknownToolOutput, match=r"not \w+ output: no line like"):
        tool.parse(text("ibstat-h100.txt"))


def test_an_empty_text_says_nothing():
    assert netdiscover.parse("").rows == ()
    assert linkinfo.parse("\n").rows == ()
    assert queryerrors.parse("").summary is None
