"""Two run folders side by side, or several launches of each."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from bench.exchange.compare import Ratio, RunComparison, UnlikeRuns, compare, differing
from bench.model.printable import grid
from bench.model.profile import ProfileError, Rails, parse
from bench.model.units import show_rate, show_seconds
from bench.store import Run
from bench.store.rows import Row, rows

from .importing.run_folder import LAUNCHER

HEADER = ("case", "A", "B", "A busbw", "B busbw", "A/B", "interval", "B is")


def compare_runs(a: Sequence[Run], b: Sequence[Run], anyway: bool = False) -> RunComparison:
    """All cases of A and B by the pipelined time of the slowest rank, block by block; each side is a run or several.

    Raises compare.UnlikeRuns, which names the keys that differ, unless ``anyway``; NotComparable when the
    runs have no case in common.
    """
    by_content = any(run.manifest.launcher == LAUNCHER for run in (*a, *b))
    for side in (a, b):
        for run in side[1:]:
            unlike = differing(facts(side[0]), facts(run))
            if unlike and not anyway:
                raise UnlikeRuns(unlike)
    ours, theirs = _launches(a, by_content), _launches(b, by_content)
    counts = (len(a), len(b))
    found = compare(ours, theirs, facts(a[0]), facts(b[0]), anyway=anyway, launches=counts)
    busbw_a, busbw_b = _busbw(a, by_content), _busbw(b, by_content)
    ratios = tuple(
        replace(each, a_busbw=busbw_a.get(each.case), b_busbw=busbw_b.get(each.case)) for each in found.ratios
    )
    lines = [_line(ratio) for ratio in ratios]
    sides = [
        f"{side}: {run.path} ({run.manifest.profile_name})"
        for side, several in (("A", a), ("B", b))
        for run in several
    ]
    text = "\n".join([*sides, grid([HEADER, *lines], right=True), found.text])
    return replace(found, ratios=ratios, text=text)


def samples(run: Run, by_content: bool = False) -> dict[str, list[list[float]]]:
    """case -> one list of seconds a launch. ``by_content``: named by what was measured, whatever its phase."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for row in rows(run):
        blocks = [max(block) for block in row.measurement.pipelined if block]
        found[_name(row, by_content)].append(blocks)
    return dict(found)


def _launches(several: Sequence[Run], by_content: bool) -> dict[str, list[list[float]]]:
    """``samples`` of all runs of a side, with a list a launch."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for run in several:
        for name, parts in samples(run, by_content).items():
            found[name] += parts if len(several) == 1 else [[value for part in parts for value in part]]
    return dict(found)


def _busbw(several: Sequence[Run], by_content: bool) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for run in several:
        for row in rows(run):
            found[_name(row, by_content)].append(row.busbw)
    return {name: median(values) for name, values in found.items()}


def _name(row: Row, by_content: bool) -> str:
    """A case of several groups is one line a group: they may differ."""
    case = row.case
    parts = (case.collective, str(case.size), case.dtype, case.op, case.placement, case.algorithm, case.rail)
    name = "/".join(part for part in parts if part) if by_content else case.id
    ranks = row.measurement.ranks
    span = ",".join(map(str, ranks)) if len(ranks) < 3 else f"{ranks[0]}-{ranks[-1]}"
    return f"{name} [{span}]" if len(case.groups) > 1 else name


def facts(run: Run) -> dict[str, str]:
    """The keys of ``compare.ALIKE``; one that the run did not record is missing."""
    manifest = run.manifest
    devices = {
        rank.device.split(" ", 1)[-1] if " " in rank.device else rank.device for rank in manifest.ranks
    }
    each = Counter(rank.node for rank in manifest.ranks)
    threads = {variables.get("OMP_NUM_THREADS", "") for variables in manifest.environment.values()}
    known = {
        "backend": manifest.backend,
        "device": ", ".join(sorted(devices)),
        "nodes": str(len(manifest.nodes)),
        "ranks": str(len(manifest.ranks)),
        "ranks_per_node": ", ".join(str(count) for count in sorted(set(each.values()))),
        "rails": _rails(manifest.profile_text),
        "launcher": manifest.launcher,
        "threads": ", ".join(sorted(filter(None, threads))),
        "timing": "nccl-tests' mean" if manifest.launcher == LAUNCHER else "slowest rank of each block",
    }
    return {key: value for key, value in known.items() if value}


def _rails(profile_text: str) -> str:
    """``8 infiniband of 400 Gb/s``."""
    try:
        rails = parse(profile_text, "the run's profile").rails
    except ProfileError:
        rails = Rails()
    rate = rails.rate or rails.target
    return f"{rails.count} {rails.kind} of {rate.text}" if rails.count and rate else rails.kind


def _line(ratio: Ratio) -> tuple[str, ...]:
    bounded = math.isfinite(ratio.low) and math.isfinite(ratio.high)
    return (
        ratio.case,
        show_seconds(ratio.a),
        show_seconds(ratio.b),
        _rate(ratio.a_busbw),
        _rate(ratio.b_busbw),
        f"{ratio.ratio:.3f}" if math.isfinite(ratio.ratio) else "–",
        f"{ratio.low:.3f} to {ratio.high:.3f}" if bounded else "–",
        ratio.outcome,
    )


def _rate(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else show_rate(value)
