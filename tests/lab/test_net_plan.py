"""The lab's pure half: names, addresses, tc and nft words, faults, MPI command lines, cgroup trees."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import cgroup, mpi, tell
from netlab.cli import main
from netlab.faults import FAULTS, plant
from netlab.plan import (
    SEGMENTS,
    SWITCH,
    Lab,
    LabError,
    Step,
    address,
    build,
    hosts,
    merged,
    parse_rate,
    prefix,
    qdisc,
    settle,
    shape,
    show_rate,
)

LAB = Lab(nodes=3, rails=2)
LARGEST = Lab(nodes=200, rails=64)


def lines(steps: tuple[Step, ...], tool: str, where: str) -> list[str]:
    return [line for step in steps if step[:2] == (tool, where) for line in step.text.splitlines()]


# names and addresses


def test_every_interface_of_the_largest_lab_has_an_address_of_its_own_in_the_benchmark_range() -> None:
    addresses = [address(node, rail) for node, rail in LARGEST.links()]
    assert len(set(addresses)) == len(addresses) == 200 * 65
    for text in addresses:
        first, second, third, fourth = map(int, text.split("."))
        assert (first, second) == (198, 18)
        assert 0 <= third <= 64
        assert 10 <= fourth <= 209


def test_interface_names_fit_the_kernel() -> None:
    assert max(len(f"{node}r{rail}") for node, rail in LARGEST.links()) <= 15


def test_names_of_one_lab_never_match_those_of_another() -> None:
    assert not prefix("lab1").startswith(prefix("lab"))
    assert not prefix("lab").startswith(prefix("lab1"))


def test_nodes_know_each_other_by_their_management_address() -> None:
    assert hosts(LAB).splitlines() == [
        "127.0.0.1 localhost",
        "198.18.0.10 n0",
        "198.18.0.11 n1",
        "198.18.0.12 n2",
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "a-b"}, "lab name 'a-b' is not 1 to 12 of a-z and 0-9"),
        ({"name": "../etc"}, "lab name"),
        ({"name": ""}, "lab name"),
        ({"nodes": 0}, "nodes is 0, wanted 1 to 200"),
        ({"nodes": 201}, "nodes is 201"),
        ({"rails": 0}, "rails is 0, wanted 1 to 64"),
        ({"mtu": 100}, "mtu is 100"),
    ],
)
def test_a_lab_that_cannot_be_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(LabError, match=re.escape(message)):
        Lab(**wrong)


# rates


@pytest.mark.parametrize(
    ("text", "rate"),
    [("200mbit", 25e6), ("2.5gbit", 312.5e6), ("64kbit", 8e3), ("1kbit", 125.0), ("none", None)],
)
def test_a_rate_is_read_as_tc_reads_it(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "200", "200mbps", "0mbit", "-1mbit", "nanmbit", "1e3mbit", "200 mbit", "NONE"]
)
def test_a_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="is not a rate"):
        parse_rate(text)


def test_a_rate_is_shown_as_it_was_written() -> None:
    assert [show_rate(parse_rate(text)) for text in ("200mbit", "2gbit", "none")] == [
        "200mbit",
        "2000mbit",
        "none",
    ]


def test_the_burst_holds_some_packets_and_the_queue_a_whole_message_at_every_rate() -> None:
    for rate in (125.0, 1e6, 25e6, 1.25e9):
        burst = re.search(r"burst (\d+) limit (\d+)", qdisc(rate))
        assert burst
        assert int(burst[1]) >= 3 * SEGMENTS * 1500
        assert int(burst[2]) >= int(burst[1]) + (1 << 20)


def test_a_burst_of_the_default_rate_is_little_beside_a_message_of_the_acceptance() -> None:
    assert LAB.rate
    burst = re.search(r"burst (\d+) ", qdisc(LAB.rate))
    assert burst
    assert int(burst[1]) < 0.04 * (1 << 20)


def test_a_rail_is_shaped_where_each_direction_starts() -> None:
    words = "root tbf rate 25000000bps burst 75000 limit 4269304"
    assert shape("n1", 2, 25e6) == (
        Step("tc", "n1", f"qdisc replace dev eth2 {words}"),
        Step("tc", SWITCH, f"qdisc replace dev n1r2 {words}"),
    )
    assert shape("n1", 2, 25e6, "rx") == (Step("tc", SWITCH, f"qdisc replace dev n1r2 {words}"),)
    assert shape("n1", 2, None, "tx") == (Step("tc", "n1", "qdisc replace dev eth2 root noqueue"),)


# building and settling


def test_every_cable_is_made_once_plugged_into_its_rail_and_brought_up() -> None:
    made = [line for node in LAB.node_names for line in lines(build(LAB), "ip", node)]
    plugged = lines(settle(LAB), "ip", SWITCH)
    for node, rail in LAB.links():
        cable = f"link add eth{rail} type veth peer name {node}r{rail} netns railgauge-lab-sw"
        assert made.count(cable) == 1
        assert plugged.count(f"link set {node}r{rail} mtu 1500 master sw{rail} up") == 1
        small = " gso_max_segs 4" if rail else ""
        assert lines(settle(LAB), "ip", node).count(f"link set eth{rail} mtu 1500{small} up") == 1


def test_nothing_leads_out_of_a_lab() -> None:
    words = " ".join(step.text for step in (*build(LAB), *settle(LAB)))
    assert " route " not in words
    assert " via " not in words
    assert "netns 1" not in words
    assert set(re.findall(r"netns (\S+)", words)) == {"railgauge-lab-sw"}
    assert set(re.findall(r"type (\S+)", words)) == {"bridge", "bridge_slave", "veth"}


def test_management_is_never_shaped_and_keeps_its_mtu() -> None:
    steps = settle(Lab(mtu=9000))
    assert "link set eth0 mtu 1500 up" in lines(steps, "ip", "n0")
    assert "link set eth1 mtu 9000 gso_max_segs 4 up" in lines(steps, "ip", "n0")
    assert not [
        line
        for node in LAB.node_names
        for line in lines(steps, "tc", node)
        if "eth0" in line and "tbf" in line
    ]


def test_a_tool_is_called_once_per_place_whatever_the_number_of_rails() -> None:
    for steps in (build(LARGEST), settle(LARGEST)):
        calls = [step[:2] for step in steps]
        assert len(calls) == len(set(calls)) <= 4 * 201


def test_merging_keeps_every_line_in_order() -> None:
    steps = [Step("ip", "a", "1"), Step("ip", "b", "2"), Step("tc", "a", "3"), Step("ip", "a", "4")]
    assert merged(steps) == (Step("ip", "a", "1\n4"), Step("ip", "b", "2"), Step("tc", "a", "3"))


# faults


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ("slow-rail n2 1", shape("n2", 1, 6.25e6)),
        ("slow-rail n2 1 25%", shape("n2", 1, 3.125e6)),
        ("slow-rail n2 1 50mbit", shape("n2", 1, 6.25e6)),
        ("slow-tx n2 1", shape("n2", 1, 6.25e6, "tx")),
        ("slow-rx n2 1", shape("n2", 1, 6.25e6, "rx")),
        ("rail-down n2 1", (Step("ip", SWITCH, "link set n2r1 down"),)),
        ("admin-down n2 1", (Step("ip", "n2", "link set eth1 down"),)),
        ("wrong-mtu n2 1 1400", (Step("ip", "n2", "link set eth1 mtu 1400"),)),
        ("slow-node n1", (*shape("n1", 1, 3.75e6), *shape("n1", 2, 3.75e6))),
        ("slow-cpu n1 0.5", (Step("cpu", "n1", "0.5"),)),
        ("frozen n1", (Step("freeze", "n1", "1"),)),
    ],
)
def test_a_fault_is_planted_on_its_node_and_rail_alone(words: str, steps: tuple[Step, ...]) -> None:
    kind, *rest = words.split()
    assert plant(LAB, kind, rest) == steps


def test_a_dead_node_has_lost_every_cable_and_its_processes() -> None:
    steps = plant(LAB, "dead", ["n1"])
    assert lines(steps, "ip", SWITCH) == [f"link set n1r{rail} down" for rail in (0, 1, 2)]
    assert steps[-1] == Step("freeze", "n1", "1")


def test_swapped_cables_are_unplugged_before_they_are_plugged_crosswise() -> None:
    assert lines(plant(LAB, "swapped-rails", ["n2", "2"]), "ip", SWITCH) == [
        "link set n2r2 down",
        "link set n2r1 down",
        "link set n2r2 master sw1 up",
        "link set n2r1 master sw2 up",
    ]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("lossy-rail n1 2", "numgen random mod 100000 <= 999 counter drop"),
        ("lossy-rail n1 2 0.1%", "numgen random mod 100000 <= 99 counter drop"),
        ("lossy-rail n1 2 100%", "numgen random mod 100000 <= 99999 counter drop"),
        ("lossy-rail n1 2 0.0001%", "numgen random mod 100000 <= 0 counter drop"),
        ("black-hole n1 2 1400", "meta length > 1400 counter drop"),
    ],
)
def test_packets_are_dropped_at_both_ends_of_one_cable(words: str, rule: str) -> None:
    kind, *rest = words.split()
    steps = plant(LAB, kind, rest)
    assert [step[:2] for step in steps] == [("nft", SWITCH), ("nft", "n1")]
    for step, device in zip(steps, ("n1r2", "eth2"), strict=True):
        assert rule in step.text.splitlines()
        assert f"type filter hook ingress device {device} priority 0;" in step.text.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("slow", "fault 'slow' is unknown; known: slow-rail, slow-tx"),
        ("slow-rail", "usage: slow-rail NODE RAIL [RATE=50%]"),
        ("slow-rail n2", "usage: slow-rail"),
        ("slow-rail n2 1 50% more", "usage: slow-rail"),
        ("frozen n1 1", "usage: frozen NODE"),
        ("slow-rail n3 1", "node 'n3' is not in lab 'lab', which has: n0, n1, n2"),
        ("slow-rail n2 0", "rail '0' is not in lab 'lab', which has: 1 to 2"),
        ("slow-rail n2 ²", "rail '²' is not in lab"),
        ("slow-rail n2 1 nan%", "is not a share"),
        ("slow-rail n2 1 0%", "is not a share"),
        ("slow-rail n2 1 101%", "is not a share"),
        ("slow-rail n2 1 fast", "is not a rate"),
        ("lossy-rail n2 1 1", "loss '1' is not a share; write it in percent"),
        ("wrong-mtu n2 1 nan", "is not a number from 576 to 65000"),
        ("slow-cpu n2 0", "cores '0' is not a number from 0.01 to 1024"),
        ("swapped-rails n2 1 1", "cannot be swapped with itself"),
        ("swapped-rails n2 1 9", "rail '9' is not in lab"),
    ],
)
def test_a_fault_that_is_not_understood_is_refused_with_what_would_be(words: str, message: str) -> None:
    kind, *rest = words.split()
    with pytest.raises(LabError, match=re.escape(message)):
        plant(LAB, kind, rest)


def test_a_lab_of_one_rail_has_no_second_to_swap_with() -> None:
    with pytest.raises(LabError, match="cannot be swapped with itself"):
        plant(Lab(rails=1), "swapped-rails", ["n0", "1"])


def test_a_share_of_an_unshaped_rail_is_not_known() -> None:
    with pytest.raises(LabError, match="give a rate"):
        plant(Lab(rate=None), "slow-rail", ["n0", "1"])


def test_every_link_fault_is_undone_by_settling() -> None:
    """Whatever a fault sets on a device, ``settle`` sets again: heal needs no memory of what was planted."""
    healthy = settle(LAB)
    for fault in FAULTS.values():
        words = ["n2"] * (not fault.everywhere) + ["1"] * fault.on_rail
        for step in plant(LAB, fault.name, words):
            if step.tool == "nft":
                assert "delete table netdev drops" in lines(healthy, "nft", step.where)
            elif step.tool in ("ip", "tc"):
                words_ = step.text.splitlines()[-1].split()
                device = words_[words_.index("dev") + 1 if "dev" in words_ else 2]
                mended = [*lines(healthy, step.tool, step.where), *lines(healthy, "mend", step.where)]
                again = [line for line in mended if device in line.split()]
                assert any(line.startswith(" ".join(words_[:1])) for line in again), (fault.name, device)


# MPI


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs to …", "Open MPI 5"),
        ("mpirun (Open MPI) 4.1.4", "Open MPI 4"),
        ("orterun (OpenRTE) 4.1.4", "Open MPI 4"),
        ("HYDRA build details:\n    Version:                                 5.0.2", "MPICH"),
    ],
)
def test_an_mpirun_is_known_by_its_version(text: str, name: str) -> None:
    assert mpi.recognise(text).name == name


@pytest.mark.parametrize("text", ["", "\n", "mpirun (Open MPI) 1.10.7", "srun: slurm 22.05.8"])
def test_an_unknown_mpirun_is_an_error_that_lists_the_known(text: str) -> None:
    with pytest.raises(LabError, match="known: Open MPI 5, Open MPI 4, MPICH"):
        mpi.recognise(text)


@pytest.mark.parametrize("kind", mpi.FLAVOURS, ids=lambda kind: kind.name)
def test_ranks_are_spread_over_the_nodes_and_mpi_stays_on_management(kind: mpi.Flavour) -> None:
    words, environment = mpi.launch(
        kind, "/x/mpirun", Path("/run/l"), ["n0", "n2"], 4, ["FOO"], ["true", "{x}"]
    )
    assert words[0] == "/x/mpirun"
    assert words[-2:] == ["true", "{x}"]
    assert "n0:4,n2:4" in words
    assert words[words.index("-n") + 1] == "8"
    assert "/run/l/rsh" in [*words, *environment.values()]
    assert "eth0" in [*words, *environment.values()]
    assert ("-x" in words) == (kind.name != "MPICH")
    assert not [word for word in (*words[:-1], *environment.values()) if "{" in word]


# cgroups

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""


def test_version_1_comes_first_as_it_owns_the_controller() -> None:
    assert cgroup.mounted(V1, "cpu") == [
        cgroup.Tree(Path("/sys/fs/cgroup/cpu,cpuacct"), False),
        cgroup.Tree(Path("/sys/fs/cgroup/unified"), True),
    ]
    assert cgroup.mounted("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "freeze") == [
        cgroup.Tree(Path("/sys/fs/cgroup"), True)
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "cgroup\n", "cgroup /x\n", "proc /proc proc rw 0 0\n"])
def test_no_hierarchy_is_told_as_such(text: str) -> None:
    assert cgroup.find("freeze", "g", text) == "no cgroup freezer is mounted"
    assert cgroup.find("cpu", "g", text) == "no cgroup cpu is mounted"


def test_a_hierarchy_that_gives_no_power_is_left_as_found(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory")
    for power, file in (("freeze", "cgroup.freeze"), ("cpu", "cpu.max")):
        assert cgroup.find(power, "g", f"cgroup2 {tmp_path} cgroup2 rw 0 0") == f"{tmp_path} has no {file}"
    assert not (tmp_path / "g").exists()


def test_version_2_is_asked_for_the_cpu_and_written_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "g").mkdir()
    for file in ("cgroup.freeze", "cpu.max"):
        (tmp_path / "g" / file).write_text("")
    mounts = f"cgroup2 {tmp_path} cgroup2 rw 0 0"
    tree = cgroup.find("cpu", "g", mounts)
    assert tree == cgroup.find("freeze", "g", mounts) == cgroup.Tree(tmp_path, True)
    assert isinstance(tree, cgroup.Tree)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    cgroup.limit_cpu(tree, "g", 0.2)
    cgroup.freeze(tree, "g", True)
    assert (tmp_path / "g/cpu.max").read_text() == "20000 100000"
    assert (tmp_path / "g/cgroup.freeze").read_text() == "1"
    cgroup.limit_cpu(tree, "g", None)
    cgroup.thaw(tree, tmp_path / "g")
    assert (tmp_path / "g/cpu.max").read_text() == "max 100000"
    assert (tmp_path / "g/cgroup.freeze").read_text() == "0"


def test_version_1_is_written_in_its_words() -> None:
    tree = cgroup.Tree(Path("/x"), False)
    assert cgroup.cpu_text(tree, 0.2) == "20000"
    assert cgroup.cpu_text(tree, None) == "-1"


# stat

LINKS = """[
{"ifname":"lo","flags":["LOOPBACK","UP"],"operstate":"UNKNOWN","mtu":65536,"stats64":{"tx":{"bytes":1,"dropped":0},"rx":{"bytes":1,"dropped":0}}},
{"ifname":"eth1","flags":["BROADCAST","UP"],"operstate":"UP","mtu":1500,"stats64":{"tx":{"bytes":7,"dropped":1},"rx":{"bytes":8,"dropped":2}}},
{"ifname":"eth2","flags":["NO-CARRIER","UP"],"operstate":"DOWN","mtu":1500,"stats64":{"tx":{"bytes":0,"dropped":0},"rx":{"bytes":0,"dropped":0}}},
{"ifname":"eth3","flags":["BROADCAST"],"operstate":"DOWN","mtu":1500,"stats64":{"tx":{"bytes":0,"dropped":0},"rx":{"bytes":0,"dropped":0}}}
]"""


def test_a_pulled_cable_and_an_interface_switched_off_look_different() -> None:
    links = {link.name: link for link in tell.parse_links("n1", LINKS)}
    assert links["eth1"] == tell.Interface("n1", "eth1", "up", True, 1500, 7, 8, 1, 2)
    assert links["eth2"].carrier is False
    assert links["eth3"].carrier is None
    assert "lo" not in links


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"ifname":"eth1"}]', '{"a":1}', "[null]"])
def test_links_that_are_not_understood_are_an_error_and_not_an_empty_table(text: str) -> None:
    with pytest.raises(LabError, match="not understood"):
        tell.parse_links("n1", text)


def test_retransmissions_are_read_by_name() -> None:
    text = "Ip: a b\nIp: 1 2\nTcp: InSegs RetransSegs\nTcp: 5 42\nTcpExt: x\n"
    assert tell.parse_retransmissions(text) == 42


@pytest.mark.parametrize(
    "text", ["", "Tcp: InSegs\nTcp: 5\n", "Tcp: RetransSegs\n", "Tcp: InSegs RetransSegs\nTcp: 5\n"]
)
def test_missing_retransmissions_are_an_error_and_not_zero(text: str) -> None:
    with pytest.raises(LabError, match="RetransSegs"):
        tell.parse_retransmissions(text)


# the command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "nosuchlab", "stat"], "lab 'nosuchlab' is not up; next: ci/lab/net --name nosuchlab up"),
        (["exec", "n1"], "exec has no command; usage"),
        (["up", "--rate", "fast"], "is not a rate"),
        (["--name", "a-b", "down"], "a-b"),
    ],
)
def test_a_wrong_command_says_why_and_what_next(
    words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_a_command_keeps_its_own_options(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["exec", "--", "ls", "-x"])
    assert caught.value.code == 2
    assert "node" in capsys.readouterr().err
