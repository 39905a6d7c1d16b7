"""The CPU quota: texts of cpu.stat and /proc/self/cgroup of both versions, on a tree of paper."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.probe.cpu import parse_cgroups, parse_cpu_stat, parse_quota, quota, throttled

V1 = "nr_periods 188\nnr_throttled 177\nthrottled_time 20512345678\n"
V2 = "usage_usec 9\nuser_usec 5\nnr_periods 188\nnr_throttled 177\nthrottled_usec 20512345\nnr_bursts 0\n"
TOLD = {"nr_periods": 188, "nr_throttled": 177, "throttled_usec": 20512345}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (V1, TOLD),
        (V2, TOLD),
        ("usage_usec 9\nuser_usec 5\nsystem_usec 4\n", {}),
        ("nr_periods 188\nnr_throttled 177\n", {}),
        ("nr_periods x\nnr_throttled 1\nthrottled_usec 1\n", {}),
        ("", {}),
    ],
)
def test_both_versions_tell_the_same_and_half_a_text_tells_nothing(text, told):
    assert parse_cpu_stat(text) == told


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_no_text_crashes_the_parsers(text):
    parse_cpu_stat(text)
    parse_cgroups(text)
    assert (parse_quota(text) or 1.0) > 0


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("30000 100000", 0.3),
        ("400000 100000\n", 4.0),
        ("max 100000", None),
        ("-1 100000", None),
        ("30000", None),
        ("30000 0", None),
        ("", None),
    ],
)
def test_a_quota_is_told_in_cores_and_no_quota_is_none(text, cores):
    assert parse_quota(text) == cores


def test_the_tightest_quota_above_a_process_is_its_own(tmp_path):
    root = machine(tmp_path, "3:cpu,cpuacct:/a/b\n0::/c/d\n", {})
    for name, text in {
        "cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/a/cpu.cfs_quota_us": "150000",
        "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        "c/d/cpu.max": "200000 100000",
        "c/cpu.max": "max 100000",
    }.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert quota(root) == 1.5


def test_where_no_cgroup_limits_the_cpu_there_is_no_quota(tmp_path):
    assert quota(machine(tmp_path, "0::/\n", {"": V2})) is None


def machine(root: Path, cgroups: str, stats: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroups)
    for folder, text in stats.items():
        path = root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.stat").write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroups", "folder", "text"),
    [
        ("0::/job/step\n", "job/step", V2),
        ("0::/job/step\n", "job", V2),
        ("3:cpu,cpuacct:/job\n0::/\n", "cpu,cpuacct/job", V1),
        ("3:cpu:/job\n", "cpu/job", V1),
        ("2:cpuacct:/x\n0::/job\n", "unified/job", V2),
    ],
)
def test_the_quota_may_stand_at_this_process_or_above(tmp_path, cgroups, folder, text):
    assert throttled(machine(tmp_path, cgroups, {folder: text})) == TOLD


def test_the_cgroup_that_was_throttled_most_is_told(tmp_path):
    mild = V2.replace("nr_throttled 177", "nr_throttled 1")
    assert throttled(machine(tmp_path, "0::/job/step\n", {"job/step": mild, "job": V2})) == TOLD


@pytest.mark.parametrize("cgroups", ["", "0::/\n", "0::/../other\n", "nonsense\n"])
def test_no_quota_is_nothing(tmp_path, cgroups):
    assert throttled(machine(tmp_path, cgroups, {})) == {}
