"""Host files of four kinds, and lines that must not reach a command line."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.launch.hosts import NAME, HostEntry, HostsError, expand, parse_hosts, read_hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        # Open MPI, DeepSpeed
        ("node1 slots=8\nnode2 slots=4 max_slots=8\n", [("node1", 8), ("node2", 4)]),
        ("node1  slots=8 max-slots=8 # the first\n\n# all\nnode2\tslots=8\r\n", [("node1", 8), ("node2", 8)]),
        # MPICH
        ("node1:8\nnode2:8", [("node1", 8), ("node2", 8)]),
        # Slurm
        ("node[08-10]", [("node08", 0), ("node09", 0), ("node10", 0)]),
        ("node[1-2,5]:4", [("node1", 4), ("node2", 4), ("node5", 4)]),
        ("r[1-2]n[1-2] slots=8", [("r1n1", 8), ("r1n2", 8), ("r2n1", 8), ("r2n2", 8)]),
        ("a[1-2],b,c[7]x", [("a1", 0), ("a2", 0), ("b", 0), ("c7x", 0)]),
        # PBS: the same name once a slot
        ("n1\nn1\nn2\nn2\nn2\n", [("n1", 2), ("n2", 3)]),
        # plain
        ("n1\nn2.cluster.example\n10.0.0.3\nGPU_Node-7", [
            ("n1", 0), ("n2.cluster.example", 0), ("10.0.0.3", 0), ("GPU_Node-7", 0)]),
    ],
)  # fmt: skip
def test_a_host_file_is_read(text, hosts):
    assert parse_hosts(text, "hosts") == tuple(HostEntry(*host) for host in hosts)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-oProxyCommand=touch${IFS}x", "cannot begin with '-'"),
        ("--help", "cannot begin with '-'"),
        ("n1;reboot", "not a host name"),
        ("n1 ; reboot", "is unknown"),
        ("n1 -x LD_PRELOAD=/tmp/x.so", "is unknown"),
        ("$(reboot)", "not a host name"),
        ("`reboot`", "not a host name"),
        ("n1|tee", "not a host name"),
        ("n1&", "not a host name"),
        ("n1>x", "not a host name"),
        ("n1\\", "not a host name"),
        ("'n1'", "not a host name"),
        ("root@n1", "not a host name"),
        ("n1/../x", "not a host name"),
        ("<script>", "not a host name"),
        ("n1\x00", "not a host name"),
        ("n1\x0breboot", "is unknown"),
        ("n1\u2028reboot", "is unknown"),
        ("n1\x1b[2J", "not"),
        ("nöde1", "not a host name"),
        ("n1-", "not a host name"),
        ("n1,,n2", "not a host name"),
        ("n1,-n2", "cannot begin with '-'"),
        ("x" * 254, "not a host name"),
        ("n1:0", "slots must be a number"),
        ("n1:-1", "slots must be a number"),
        ("n1:8:8", "not a host name"),
        ("n1 slots=", "slots must be a number"),
        ("n1 slots=1e3", "slots must be a number"),
        ("n1 slots=٣", "slots must be a number"),
        ("n1:8 slots=8", "given twice"),
        ("n[2-1]", "ends before it begins"),
        ("n[a-b]", "is not a range"),
        ("n[]", "is not a range"),
        ("n[1-2", "not a host name"),
        ("n1-2]", "not a host name"),
        ("n[1-999999999]", "more than 20000"),
        ("n[1-200]m[1-200]", "more than 20000"),
        ("[1-2]-", "not a host name"),
        ("fd00::1", "an IPv6 address"),
        ("::1 slots=8", "an IPv6 address"),
        ("[fd00::1]:8", "an IPv6 address"),
        ("[fd00::1]", "an IPv6 address"),
        ("fe80::1%eth0", "an IPv6 address"),
        ("n1,fd00::1", "an IPv6 address"),
        ("::ffff:10.0.0.1", "an IPv6 address"),
        ("8", "neither a host name nor a complete IPv4 address"),
        ("10.1", "neither a host name nor a complete IPv4 address"),
        ("10.0.0.300:8", "neither a host name nor a complete IPv4 address"),
        ("10.0.0.[254-256]", "neither a host name nor a complete IPv4 address"),
    ],
)
def test_a_line_that_is_no_host_is_refused_in_one_printable_line_with_file_and_number(line, why):
    with pytest.raises(HostsError) as refused:
        parse_hosts(f"good1\n{line}\ngood2\n", "my.hosts")
    text = str(refused.value)
    assert text.startswith("my.hosts line 2: ") and why in text
    assert text.isprintable() and text.isascii() and len(text) < 250


def test_a_name_that_stands_twice_with_slots_is_refused():
    with pytest.raises(HostsError, match="line 2: n1 is listed a second time"):
        parse_hosts("n1:8\nn1:8\n", "hosts")
    with pytest.raises(HostsError, match="second time"):
        parse_hosts("n1 slots=4\nn1\n", "hosts")


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n"])
def test_a_file_without_hosts_is_an_error(text):
    with pytest.raises(HostsError, match="names no host"):
        parse_hosts(text, "hosts")


def test_a_mark_before_the_first_name_is_no_part_of_it(tmp_path):
    (tmp_path / "hosts").write_bytes(b"\xef\xbb\xbfn1 slots=2\r\nn2\r\n")
    assert [(host.name, host.line) for host in read_hosts(tmp_path / "hosts")] == [("n1", 1), ("n2", 2)]


def test_a_file_that_is_missing_or_far_too_long_is_an_error(tmp_path):
    with pytest.raises(HostsError, match="No such file"):
        read_hosts(tmp_path / "none")
    (tmp_path / "long").write_bytes(b"n1\n" * 400_000)
    with pytest.raises(HostsError, match="not a host file"):
        read_hosts(tmp_path / "long")


def test_a_pipe_is_no_host_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HostsError, match="not a regular file"):
        read_hosts(tmp_path / "pipe")


def test_the_nodes_of_a_slurm_job_are_expanded_in_order():
    assert expand("node[001-003,007],login") == ("node001", "node002", "node003", "node007", "login")


@settings(max_examples=300)
@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("n1[]-,:= ;$`|\n\"'", max_size=40))
def test_whatever_a_file_holds_only_names_come_out(text):
    try:
        hosts = parse_hosts(text, "hosts")
    except HostsError:
        return
    assert hosts
    for host in hosts:
        assert NAME.fullmatch(host.name) and not host.name.startswith("-") and host.slots >= 0


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "," * 200_000, "a," * 100_000, "[" * 200_000, "[1,2],[" * 30_000]
)
def test_a_long_line_is_read_in_time_that_is_linear_in_it(text):
    with pytest.raises(HostsError):  # a square would take minutes to hours
        expand(text)
