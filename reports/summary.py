"""Texts and figures that the page and Markdown share: status, coverage, readings, method."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import combinations
from math import comb
from typing import Any

from bench.judge.evidence import Evidence, derived
from bench.judge.merge_alike import MOST
from bench.judge.peaks import nodes_of
from bench.judge.wire import TargetReadings, of_row, of_target
from bench.model.late_dataclass import dataclass
from bench.model.profile import Profile
from bench.model.titles import Titles
from bench.model.units import show_count, show_seconds, show_size, show_some
from bench.model.verdict import Status, Verdict, counted, overall
from bench.plan.phase_names import BUDGET, GIVEN_UP, phase_words
from bench.store import IMPORTED, Run
from bench.store.rows import Row

from .frames import Frames, is_pair

MOST_NAMES = 3  # nodes that the heading lists
# a status is a mark and words; colour only repeats them
MARKS = {Status.PASS: "✔", Status.FAIL: "✘", Status.INCONCLUSIVE: "?", Status.NOT_APPLICABLE: "–"}


@dataclass(frozen=True)
class PageInput:
    """What every section of the page is drawn from.

    specs  name → Vega-Lite specification of each chart that the page carries
    """

    judged: Evidence
    f: Frames
    specs: Mapping[str, dict[str, Any]]

    @property
    def run(self) -> Run:
        return self.judged.run

    @property
    def profile(self) -> Profile:
        return self.judged.profile


def headline(run: Run) -> tuple[Status, str]:
    """The overall status, and the counts in words."""
    statuses = [verdict.status for verdict in run.verdicts]
    return overall(statuses), counted(statuses)


def ordered(verdicts: tuple[Verdict, ...], *wanted: Status) -> list[Verdict]:
    """Verdicts of these statuses, in the order of the statuses, then as judged."""
    return [verdict for status in wanted for verdict in verdicts if verdict.status is status]


@dataclass(frozen=True)
class Covered:
    """``measured`` of ``planned``; ``what`` is a singular; ``missing`` names some that are not measured."""

    what: str
    measured: int
    planned: int
    missing: str = ""


@derived
def coverage(evidence: Evidence) -> tuple[Covered, ...]:
    """Ranks, nodes, pairs of nodes, collectives and cases: measured out of how many."""
    run = evidence.run
    ranks = run.manifest.ranks
    where = {rank.rank: rank for rank in ranks}
    used = {rank for row in run.measurements for rank in row.ranks}
    used_nodes = {where[rank].node for rank in used if rank in where}
    planned_names = dict.fromkeys(case.collective for case in run.plan.cases)
    groups = Counter(row.case for row in run.measurements)
    done = [case for case in run.plan.cases if case.groups and groups[case.id] >= len(case.groups)]
    finished = {case.id for case in done}
    open_ids = [case.id for case in run.plan.cases if case.id not in finished]
    open_ids += [row.case for row in run.plan.refused]
    words = {case.id: case.words for case in run.plan.cases}
    missing = show_some([words.get(name, name) for name in open_ids], MOST)
    names = {case.collective for case in run.plan.cases if groups[case.id]}
    given_up = [text for name, text in run.plan.skipped if name == GIVEN_UP]
    # of a plan cut to a budget, "all" is not all of an acceptance
    left = " within the budget" if given_up else ""
    rows = [
        Covered("rank", len(used & set(where)), len(ranks),
                show_some([f"{r.rank} on {r.node}" for r in ranks if r.rank not in used], MOST)),
        Covered("node", len(used_nodes), len(run.manifest.nodes),
                show_some([node for node in run.manifest.nodes if node not in used_nodes], MOST)),
        Covered(f"collective{left}", len(names), len(planned_names),
                show_some([name for name in planned_names if name not in names], MOST)),
        Covered(f"case{left}", len(done), len(run.plan.cases) + len(run.plan.refused), missing),
    ]  # fmt: skip
    if given_up:
        rows.append(Covered("phase left out for the budget", 0, len(given_up), "; ".join(given_up)))
    return tuple(rows + _pairs(run))


def _pairs(run: Run) -> list[Covered]:
    nodes = run.manifest.nodes
    if len(nodes) < 2:
        return []
    where = {rank.rank: rank for rank in run.manifest.ranks}
    names = {case.id: case.collective for case in run.plan.cases}
    place = {node: at for at, node in enumerate(nodes)}
    pairs = {
        tuple(sorted(ends, key=lambda node: place.get(node, -1)))
        for case, ranks in {(row.case, row.ranks) for row in run.measurements if len(row.ranks) == 2}
        if case in names and is_pair(names[case], ranks, ends := nodes_of(ranks, where))
    }
    every = comb(len(nodes), 2)
    missing = (f"{a} and {b}" for a, b in combinations(nodes, 2) if (a, b) not in pairs)
    listed = show_some(missing, MOST, count=every - len(pairs))
    return [Covered("pair of nodes", len(pairs), every, listed)]


NOT_PLANNED = "not planned"


@dataclass(frozen=True)
class Unmeasured:
    """A case or phase without a figure: the result, and why."""

    what: str
    became: str
    why: str


def unmeasured(run: Run) -> tuple[Unmeasured, ...]:
    """Cases that were refused for lack of memory, lost, left out or not reached."""
    rows = [
        Unmeasured(
            r.case,
            "refused",
            f"needs {show_size(r.needed)} a rank, {show_size(r.available)} available on {r.where}",
        )
        for r in run.plan.refused
    ]
    rows += [
        Unmeasured(r.case, "lost", r.reason + (f"; {r.culprit}" if r.culprit else "")) for r in run.losses
    ]
    rows += [
        Unmeasured(phase_words(name), "left out" if name in (GIVEN_UP, BUDGET) else NOT_PLANNED, why)
        for name, why in run.plan.skipped
    ]
    known = {row.case for row in run.measurements} | {row.case for row in run.losses}
    rows += [
        Unmeasured(c.id, "not reached", "the run stopped before it")
        for c in run.plan.cases
        if c.id not in known
    ]
    return tuple(rows)


def read_target(evidence: Evidence) -> TargetReadings | None:
    """The readings of the target side by side; None where there is nothing to read (one node, no target)."""
    found = of_target(evidence)
    return None if found.status is Status.NOT_APPLICABLE and not found.readings else found


def network(row: Row, evidence: Evidence) -> str:
    """What crossed a node's rails in a row, with the algorithm used (or each that may have been used); the protocol."""
    found = of_row(row, evidence)
    if found is None:
        return ""
    if found.shape.nodes < 2:
        return found.protocol_text
    known = "" if found.used.known else "algorithm unknown: "
    parts = (f"{known}{found.network_text}", found.protocol_text, f"ceiling {found.ceiling_text}")
    return "; ".join(part for part in parts if part)


def moment(seconds: float | None) -> str:
    """``2026-11-21 05:37:52 UTC``; "unknown" for a missing or invalid time."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "unknown"


def duration(run: Run) -> str:
    """How long the run took; a run without its completion record says so."""
    if run.ended is None:
        return "not completed: interrupted or killed"
    return show_seconds(max(0.0, run.ended - run.manifest.started))


VERSIONS = ("railgauge", "torch", "nccl", "mpi", "driver", "python")  # those that the head of a report names


def identity(run: Run) -> list[tuple[str, str]]:
    """When the run was measured, by which versions, and its id."""
    m = run.manifest
    versions = [f"{name} {m.versions[name]}" for name in VERSIONS if name in m.versions]
    return [
        ("Measured", f"{moment(m.started)}, {duration(run)}"),
        ("By", " · ".join(versions)),
        ("Run", m.id),
    ]


# what a report is of, by the command that measured
KINDS = {
    "accept": "acceptance report",
    "nightly": "report of a night",
    "soak": "report of a soak",
    "watch": "report of a watched job",
    "import": "report of imported results",
}


def kind_of(run: Run) -> str:
    """What the report is of: ``acceptance report``."""
    if run.manifest.launcher == IMPORTED:
        return KINDS["import"]
    return KINDS.get("".join(run.manifest.command[1:2]), "report of a measurement")


def heading_of(run: Run, titles: Titles) -> str:
    """The title that was given, else the nodes: ``Nodes n0, n1``, of more than three ``64 nodes: n0 to n63``."""
    nodes = run.manifest.nodes
    if titles.title or len(nodes) > MOST_NAMES:
        return titles.title or f"{len(nodes)} nodes: {nodes[0]} to {nodes[-1]}"
    return f"Node{'s' if len(nodes) > 1 else ''} {', '.join(nodes)}"


def about(shown: PageInput, titles: Titles) -> str:
    """What stands below the heading: the site, how many ranks, and the profile that it is held against."""
    m, profile = shown.run.manifest, shown.profile
    where = f"{show_count(len(m.ranks), 'rank')} on {show_count(len(m.nodes), 'node')}"
    parts = (titles.site, where, m.backend, f"held against profile {profile.name}: {profile.title}")
    return " · ".join(filter(None, parts))


METHOD = (
    "Each case has two times. Pipelined: calls back to back in one interval, divided by their number; "
    "a block lasts as long as its slowest rank, and the median block is reported (comparable with nccl-tests). "
    "Isolated: each call after a barrier, as long as the longest time of a rank; p50, p95 and p99 are of these calls.",
    "algbw is size ÷ pipelined time; busbw is algbw × the collective's factor, both as nccl-tests counts them. "
    "Sizes are the bytes of a rank's larger buffer. 1 GB/s = 10⁹ B/s = 8 Gb/s; 1 KiB = 2¹⁰ B.",
    "Measuring stops when the 95 % confidence interval of the isolated median is narrower than the requested share "
    "of it (precision), when the time budget of the case is spent (budget), or at a fixed count (count).",
    "Wrong elements are counted in a separate pass, on data that differ by rank, index and repetition; "
    "“unchecked” means that nothing was compared, which is not the same as 0.",
)
