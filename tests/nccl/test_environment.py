"""Conf files and environment as NCCL merges them, and the variables that spoil a measurement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nccl.distortions import RULES, distortions, integer, without_rule
from bench.nccl.environment import Setting, conf_files, conf_settings, effective

OLD = (2, 18, 6)
MIDDLE = (2, 28, 9)
NEW = (2, 30, 7)
USER = "/home/u/.nccl.conf"
ETC = "/etc/nccl.conf"
HCA = "NCCL_IB_HCA"


def value(environ, files, version=MIDDLE, name=HCA):
    return effective(environ, {USER: None, ETC: None, **files}, version, "/home/u").value(name)


def notes(environ, files, version=MIDDLE):
    found = effective(environ, {USER: None, ETC: None, **files}, version, "/home/u").notes
    return " | ".join(note.text for note in found)


def test_the_environment_wins_then_the_users_file_then_etc():
    files = {USER: f"{HCA}=user\n", ETC: f"{HCA}=etc\n"}
    assert value({HCA: "env"}, files) == "env"
    assert value({}, files) == "user"
    assert value({}, {ETC: f"{HCA}=etc\n"}) == "etc"
    assert value({}, {}) is None


def test_the_origin_of_a_value_is_told():
    found = effective({"NCCL_DEBUG": "INFO"}, {USER: f"#\n{HCA}=x\n", ETC: None}, MIDDLE, "/home/u")
    assert found.find(HCA) == Setting(HCA, "x", USER, 2)
    assert found.find("NCCL_DEBUG") == Setting("NCCL_DEBUG", "INFO", "environment")


def test_an_exported_empty_variable_hides_the_file():
    assert value({HCA: ""}, {ETC: f"{HCA}=^=mlx5_0\n"}) == ""
    assert "exported empty variable" in notes({HCA: ""}, {ETC: f"{HCA}=^=mlx5_0\n"})


def test_the_first_line_of_a_file_counts():
    assert value({}, {ETC: f"{HCA}=a\n{HCA}=b\n"}) == "a"
    assert "does not count" in notes({}, {ETC: f"{HCA}=a\n{HCA}=b\n"})


LINES = [
    # text, version, what the file defines
    ("NCCL_IB_HCA=^=mlx5_0\n", MIDDLE, {HCA: "^=mlx5_0"}),
    ("NCCL_IB_HCA=^=mlx5_0", MIDDLE, {HCA: "^=mlx5_0"}),
    ("NCCL_IB_HCA = x\n", MIDDLE, {"NCCL_IB_HCA ": " x"}),
    ("export NCCL_IB_HCA=x\n", MIDDLE, {"export NCCL_IB_HCA": "x"}),
    ("NCCL_IB_HCA='x'\n", MIDDLE, {HCA: "'x'"}),
    ("NCCL_IB_HCA=x # y\n", MIDDLE, {HCA: "x # y"}),
    ("NCCL_IB_HCA=^=mlx5_0\r\n", MIDDLE, {HCA: "^=mlx5_0\r"}),
    ("NCCL_IB_HCA=^=mlx5_0\r\n", NEW, {HCA: "^=mlx5_0"}),
    ("#A=1\n", (2, 26, 2), {}),
    ("#A=1\n", (2, 26, 1), {"#A": "1"}),
    ("#A=1\n", OLD, {"#A": "1"}),
    (" #A=1\n", MIDDLE, {" #A": "1"}),
    ("NCCL_IB_HCA\n=x\n\n", MIDDLE, {}),
    ("A=" + "v" * 2000, MIDDLE, {"A": "v" * 1023}),
    ("K" * 2000 + "=v", MIDDLE, {"K" * 1023: "v"}),
    ("A=1\0B=2\nC=3\n", MIDDLE, {"A": "1", "C": "3"}),
    # fgets hands out 4095 bytes at a time: the rest of a long line is a line
    ("#" + "x" * 4094 + "A=1\n", NEW, {"A": "1"}),
    ("#" + "x" * 4094 + "A=1\n", MIDDLE, {}),
]


@pytest.mark.parametrize(("text", "version", "defined"), LINES)
def test_a_line_is_read_as_nccl_reads_it(text, version, defined):
    assert {s.name: s.value for s in conf_settings(ETC, text, version)} == defined


QUIRKS = [
    ("NCCL_IB_HCA=x\r\n", "carriage return"),
    ("NCCL_IB_HCA=x \n", "blank is part"),
    ("NCCL_IB_HCA = x\n", "no blank around"),
    ("export NCCL_IB_HCA=x\n", "leave out 'export'"),
    ("NCCL_IB_HCA='x'\n", "quotes are part"),
    ("NCCL_IB_HCA=x # y\n", "comment is part"),
    ("NCCL_IB_HCA\n", "has no '='"),
    ("=x\n", "no name before"),
    ("\ufeffNCCL_IB_HCA=x\n", "byte-order mark"),
    ("A=" + "v" * 2000 + "\n", "may be cut"),
    ("A=1\rB=2\n", "end no line"),
]


@pytest.mark.parametrize(("text", "words"), QUIRKS)
def test_a_quirk_is_named(text, words):
    assert words in notes({}, {ETC: text})


def test_a_plain_file_has_no_notes():
    assert notes({}, {ETC: "# rails\nNCCL_IB_HCA=^=mlx5_0\n\nNCCL_DEBUG=WARN\n"}) == ""


def test_the_old_versions_comment_is_named():
    assert "is no comment" in notes({}, {ETC: "#NCCL_A=1\n"}, OLD)


def test_a_long_line_is_named_from_2_30_3():
    assert "another line" in notes({}, {ETC: "#" + "x" * 4095}, NEW)
    assert notes({}, {ETC: "#" + "x" * 4094 + "\n"}, NEW) == "", "a line that just fits is read whole"


@pytest.mark.parametrize(
    ("environ", "version", "files"),
    [
        ({}, MIDDLE, (USER, ETC)),
        ({"NCCL_CONF_FILE": "/x"}, MIDDLE, ("/x", ETC)),
        ({"NCCL_CONF_FILE": "~/x"}, MIDDLE, ("~/x", ETC)),
        ({"NCCL_CONF_FILE": ""}, MIDDLE, (USER, ETC)),
        ({"NCCL_CONF_FILE": "/x"}, (2, 23, 4), ("/x", ETC)),
        ({"NCCL_CONF_FILE": "/x"}, (2, 23, 3), (USER, ETC)),
        ({"HOME": "/other"}, (2, 30, 2), (USER, ETC)),
        ({"HOME": "/other"}, (2, 30, 3), ("/other/.nccl.conf", ETC)),
        ({}, NEW, (ETC,)),
    ],
)
def test_the_files_are_those_nccl_opens(environ, version, files):
    assert conf_files(environ, "/home/u", version) == files


def test_no_home_is_no_user_file():
    assert conf_files({}, None, MIDDLE) == (ETC,)


def test_a_file_nobody_looked_at_is_told():
    found = effective({}, {}, MIDDLE, "/home/u")
    assert [note.origin for note in found.notes] == [USER, ETC]


def test_the_environment_gives_away_nothing_but_nccl():
    found = effective(
        {"AWS_SECRET": "x", "NCCL_DEBUG": "INFO"}, {USER: "", ETC: "AWS_SECRET=y\n"}, MIDDLE, "/home/u"
    )
    assert [setting.name for setting in found.settings] == ["NCCL_DEBUG"]


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from([OLD, (2, 23, 4), MIDDLE, NEW]))
def test_no_file_crashes_the_reader(user, etc, version):
    found = effective({"HOME": "/home/u"}, {USER: user, ETC: etc}, version, "/home/u")
    assert all(setting.name and "=" not in setting.name for setting in found.settings)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("", None),
        ("yes", 0),
        ("true", 0),
        (" 0x1F", 31),
        ("010", 8),
        ("08", 0),
        ("0x", 0),
        ("-1", -1),
        ("9223372036854775807", (1 << 63) - 1),
        ("9223372036854775808", None),
        ("9" * 5000, None),
    ],
)
def test_a_number_is_read_as_strtoll_reads_it(text, number):
    assert integer(text) == number


SPOILT = [
    ("NCCL_IB_DISABLE", "1", "fail"),
    ("NCCL_NET", "Socket", "fail"),
    ("NCCL_P2P_DISABLE", "1", "fail"),
    ("NCCL_P2P_LEVEL", "LOC", "fail"),
    ("NCCL_P2P_LEVEL", "PHB", "warn"),
    ("NCCL_SHM_DISABLE", "1", "fail"),
    ("NCCL_NET_GDR_LEVEL", "0", "fail"),
    ("NCCL_NET_GDR_LEVEL", "SYS", "warn"),
    ("NCCL_DMABUF_ENABLE", "0", "warn"),
    ("NCCL_NVLS_ENABLE", "0", "fail"),
    # strtoll makes 0 of it
    ("NCCL_NVLS_ENABLE", "yes", "fail"),
    ("NCCL_PXN_DISABLE", "1", "fail"),
    ("NCCL_ALGO", "Ring", "warn"),
    ("NCCL_PROTO", "^LL128", "warn"),
    ("NCCL_MAX_NCHANNELS", "4", "warn"),
    ("NCCL_IB_GID_INDEX", "3", "warn"),
    ("NCCL_IB_RAIL_POLICY", "CX9_FLIP", "warn"),
    ("NCCL_TOPO_FILE", "/t.xml", "warn"),
    ("NCCL_HOSTID", "a", "fail"),
    ("NCCL_MULTI_RANK_GPU_ENABLE", "1", "fail"),
    ("NCCL_DEBUG", "trace", "fail"),
    ("NCCL_DEBUG_SUBSYS", "INIT,COLL", "fail"),
    ("TORCH_DISTRIBUTED_DEBUG", "DETAIL", "fail"),
    ("TORCH_NCCL_NAN_CHECK", "1", "fail"),
    ("TORCH_NCCL_BLOCKING_WAIT", "true", "fail"),
    ("CUDA_LAUNCH_BLOCKING", "1", "fail"),
]


@pytest.mark.parametrize(("name", "text", "severity"), SPOILT)
def test_a_variable_that_spoils_a_measurement_is_named(name, text, severity):
    found = list(distortions({name: text}))
    assert [(one.name, one.severity) for one in found] == [(name, severity)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NCCL_IB_DISABLE", "0"),
        ("NCCL_IB_DISABLE", "true"),
        ("NCCL_NET", "IB"),
        ("NCCL_NVLS_ENABLE", "2"),
        ("NCCL_ALGO", ""),
        ("NCCL_DEBUG", "INFO"),
        ("NCCL_DEBUG_SUBSYS", "INIT,NET,ENV"),
        ("NCCL_IB_HCA", "^=mlx5_0"),
        ("PATH", "/bin"),
    ],
)
def test_a_harmless_value_is_silent(name, text):
    assert list(distortions({name: text})) == []


def test_a_variable_that_no_rule_speaks_of_is_named():
    named = {"NCCL_COLLNET_ENABLE": "1", "LD_PRELOAD": "/opt/x.so"}
    known = {
        "NCCL_ALGO": "Ring",
        "NCCL_SOCKET_IFNAME": "eth0",
        "PATH": "/bin",
        "NCCL_NET": "IB",
        "NCCL_MINE": "1",
    }
    assert [each.name for each in without_rule({**known, **named}, ["NCCL_MINE"])] == [*named]
    assert [each.name for each in without_rule({**known, **named}, nccl=False)] == ["LD_PRELOAD"]


def test_what_the_plan_sets_is_no_distortion():
    assert list(distortions({"NCCL_ALGO": "Ring"}, planned={"NCCL_ALGO"})) == []


@given(st.text(max_size=40))
def test_every_rule_takes_any_text(text):
    for rule in RULES:
        assert rule.applies(text) in (True, False)


@pytest.mark.parametrize(("version", "value"), [((2, 30, 2), "x\r"), ((2, 30, 3), "x"), ((2, 30, 4), "x")])
def test_a_carriage_return_belongs_to_the_value_before_2_30_3(version, value):
    (setting,) = conf_settings(USER, f"{HCA}=x\r\n", version)
    assert setting.value == value
