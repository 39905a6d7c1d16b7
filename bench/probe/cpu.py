"""This process's CPU quota and how often it ran out: ``cpu.max``, ``cpu.stat`` of its cgroups, versions 1 and 2.

Source: Linux, Documentation/scheduler/sched-bwc.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from bench.probe import sysfs

_LINE = re.compile(r"^(nr_periods|nr_throttled|throttled_usec|throttled_time) ([0-9]{1,20})$", re.MULTILINE)


def throttled(root: Path) -> dict[str, int]:
    """nr_periods, nr_throttled and throttled_usec of the cgroup, this process's own or one above, that was
    throttled most; empty where no cgroup limits the CPU.
    """
    found = [
        counts
        for folder in _folders(root)
        if (counts := parse_cpu_stat(sysfs.text(folder / "cpu.stat") or "")).get("nr_periods")
    ]
    return max(found, key=lambda counts: counts["nr_throttled"], default={})


def quota(root: Path) -> float | None:
    """Cores that this process and all beside it in its cgroup may use together: the tightest of its cgroups; None
    where none limits them.
    """
    found = [cores for folder in _folders(root) if (cores := _cores(folder)) is not None]
    return min(found, default=None)


def _cores(folder: Path) -> float | None:
    text = sysfs.text(folder / "cpu.max")
    if text is None:
        text = " ".join(sysfs.text(folder / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return parse_quota(text)


def parse_quota(text: str) -> float | None:
    """Cores of ``30000 100000`` (µs of work in so many µs); None of ``max 100000``, ``-1 100000`` and anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,15}) ([1-9][0-9]{0,15})", text.strip())
    return int(match[1]) / int(match[2]) if match else None


def parse_cpu_stat(text: str) -> dict[str, int]:
    """The three counts, µs; empty where one is missing (a cgroup without a quota may have none of them)."""
    counts = {name: int(count) for name, count in _LINE.findall(text)}
    if "throttled_time" in counts:  # version 1 counts ns
        counts["throttled_usec"] = counts.pop("throttled_time") // 1000
    return counts if {"nr_periods", "nr_throttled", "throttled_usec"} <= set(counts) else {}


def parse_cgroups(text: str) -> list[tuple[str, str]]:
    """(folder below /sys/fs/cgroup, path in it) of the hierarchies of /proc/self/cgroup that may limit the CPU."""
    found = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or ".." in path:  # ".." lies above this namespace and cannot be read from here
            continue
        if controllers == "":
            found += [("", path), ("unified", path)]
        elif "cpu" in controllers.split(","):
            found += [(controllers, path), ("cpu", path)]
    return found


def _folders(root: Path) -> list[Path]:
    folders = []
    for top, path in parse_cgroups(sysfs.text(root / "proc/self/cgroup") or ""):
        inside = PurePosixPath(path.lstrip("/"))
        folders += [root / "sys/fs/cgroup" / top / part for part in (inside, *inside.parents)]
    return list(dict.fromkeys(folders))
