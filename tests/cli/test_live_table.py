"""The table of the rails on a terminal: one node by devices, several by nodes, what is odd in colour."""

import io

from rich.console import Console

import runs
from bench.cli.live_table import LiveTable, closing_lines
from bench.judge.watched import DeviceLoad
from bench.model.activity import DeviceActivity, NodeActivity
from bench.model.facts import Interface, Node
from bench.model.profile import parse
from bench.probe.link_bytes import LinkBytes

RAILS = parse(runs.TWO_RAILS.replace("count = 2", 'count = 2\nexcluded = ["eth0"]'), "made").rails


def node(name):
    return Node(name, interfaces=tuple(Interface(each, "up") for each in ("eth0", "eth1", "eth2")))


def drawn(table):
    console = Console(
        file=io.StringIO(), width=120, force_terminal=True, color_system="standard", no_color=False
    )
    console.print(table.render())
    return console.file.getvalue()


def line(text, word):
    (found,) = (each for each in text.splitlines() if word in each)
    return found


RED, YELLOW = "\x1b[31m", "\x1b[33m"
EVEN = {"eth1": DeviceActivity(10**9, 10**9, True), "eth2": DeviceActivity(10**9, 10**9, True, 0.9)}


def test_one_node_has_a_line_a_device_and_marks_what_is_down_or_excluded():
    table = LiveTable(RAILS, [node("n0")])
    table.update(1.0, "n0", NodeActivity(1.0, 20, {**EVEN, "eth0": DeviceActivity(10**8, 0, True)}))
    text = drawn(table)
    assert "1.00 GB/s" in line(text, "eth1")
    assert "90.0 %" in line(text, "eth2")
    assert YELLOW in line(text, "excluded ")
    table.update(2.0, "n0", NodeActivity(1.0, 20, {**EVEN, "eth1": DeviceActivity(0, 0, False)}))
    text = drawn(table)
    assert RED in line(text, "DOWN")
    assert "2 s: n0 eth1: its link went down" in text
    assert "n0 eth0: is excluded and carries 0.100 GB/s" in text


def test_several_nodes_have_a_line_each_and_the_rail_that_carries_less_stands_out():
    table = LiveTable(RAILS, [node("n0"), node("n1")])
    table.update(1.0, "n0", NodeActivity(1.0, 20, EVEN))
    table.update(1.0, "n1", NodeActivity(1.0, 20, {**EVEN, "eth1": DeviceActivity(10**8, 0, True)}))
    text = drawn(table)
    assert YELLOW not in line(text, "n0 ")
    assert f"{YELLOW}0.100 GB/s" in line(text, "n1 ")
    assert "eth0 ✗" in text


def test_our_own_runs_show_the_difference_of_two_looks():
    table = LiveTable(RAILS, [node("n0")])
    table.look(1.0, "n0", {"eth1": LinkBytes(1000, 0, True, "up")})
    assert table.now == {}
    table.look(3.0, "n0", {"eth1": LinkBytes(4 * 10**9 + 1000, 0, True, "up")})
    assert "2.00 GB/s" in line(drawn(table), "eth1")


def test_names_cannot_command_the_terminal():
    table = LiveTable(RAILS, [node("n0\x1b[2J"), node("n1")])
    table.update(1.0, "n0\x1b[2J", NodeActivity(1.0, 20, EVEN))
    assert "\x1b[2J" not in drawn(table)


def test_the_closing_lines_leave_out_what_carried_nothing():
    used = DeviceLoad("n0", "eth1", 10.0, 100, DeviceActivity(10**10, 0, True, 0.25))
    idle = DeviceLoad("n0", "eth2", 10.0, 100, DeviceActivity(0, 0, True))
    _, only = closing_lines([used, idle])
    assert only.split() == ["n0", "eth1", "1.00", "GB/s", "0", "GB/s", "25.0", "%"]
    assert closing_lines([idle]) == []
