"""The sections of the page: each function returns the values of its template, or None for no section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from bench.judge.wire import TargetReadings
from bench.model.counter_table import CounterRole
from bench.model.units import show_count, show_share
from bench.model.verdict import Status, Verdict
from bench.plan.phase_names import phase_words
from bench.store import Run

from .charts import CHARTS
from .environment import compared_nodes, compared_ranks, nodes_table
from .summary import (
    METHOD,
    NOT_PLANNED,
    Covered,
    PageInput,
    moment,
    network,
    ordered,
    read_target,
    unmeasured,
)
from .summary import coverage as covered
from .tables import Cell, ReportTable, code, number, rates, size, verdict_table
from .traffic import carried

View = Mapping[str, object]
MOST_PAIRS = 100  # rows of pairs that the page lists, the slowest; rows.csv has them all
MOST_EQUALS = 64  # groups of one case that it lists, the slowest
MOST_PASSED = 100  # verdicts of one check that it lists where they passed; verdicts.json has them all
EQUALS = ["collective", "series", "size", "dtype", "op", "placement", "algorithm", "ranks"]
ROW_HEAD = (
    "collective", "size", "count", "type", "redop", "root", "ranks", "time µs", "algbw GB/s", "busbw GB/s", "#wrong",
    "p50 µs", "p95 µs", "p99 µs", "n", "stop", "width", "rails of a node",
)  # fmt: skip


def coverage(shown: PageInput) -> View:
    """What was measured, out of how much; what was not, by name and reason."""
    missing = unmeasured(shown.run)
    counts = Counter(row.became for row in missing)
    words = (
        f"{counts[word]} {word}"
        for word in ("refused", "lost", "not reached", "left out", NOT_PLANNED)
        if counts[word]
    )
    return {
        "measured": coverage_table(covered(shown.judged)),
        "missing": unmeasured_table(shown.run),
        "counts": ", ".join(words),
        "opened": counts["lost"] or counts["refused"],
        "notes": shown.run.notes,
    }


def coverage_table(rows: Sequence[Covered]) -> ReportTable:
    lines = [
        (f"{row.measured:,} of {show_count(row.planned, row.what)}", _result(row), row.missing)
        for row in rows
    ]
    return ReportTable("Coverage", ("measured", "result", "missing"), lines)


def _result(row: Covered) -> str:
    if not row.planned:
        return "? nothing planned"
    return "✔ all planned" if row.measured == row.planned else f"✘ {row.planned - row.measured} not measured"


def unmeasured_table(run: Run) -> ReportTable:
    names = {case.id: case.words for case in run.plan.cases}
    lines = [(row.became, names.get(row.what, row.what), row.why) for row in unmeasured(run)]
    return ReportTable("Not measured", ("result", "what", "why"), lines)


def target(shown: PageInput) -> View | None:
    """Independent readings of what the rails of a node carried, side by side, and what they say together."""
    found = read_target(shown.judged)
    if found is None:
        return None
    return {"title": target_title(found), "found": found, "readings": readings_table(found)}


def target_title(found: TargetReadings) -> str:
    return f"Readings of the {found.target.text} target" if found.target else "Readings of the target"


def readings_table(found: TargetReadings) -> ReportTable:
    rows = [
        (row.name, *rates(row.rate, row.share), Cell(row.text, row.text, evidence=row.evidence))
        for row in found.readings
    ]
    head = ("reading", "Gb/s", "GB/s", "share of target", "from")
    return ReportTable("Readings of the target", head, rows, "stacked")


def charts(shown: PageInput, title: str, name: str) -> View | None:
    """The charts that belong to a section of CHARTS; None where none was drawn."""
    names = [chart.name for chart in CHARTS if chart.section == name and chart.name in shown.specs]
    return {"name": name, "title": title, "charts": figures(shown, names)} if names else None


def figures(shown: PageInput, names: Sequence[str]) -> list[tuple[str, str]]:
    """Each chart's name, and in words what it shows."""
    return [(name, shown.specs[name]["description"]) for name in names]


def rows(shown: PageInput) -> View:
    """Every row in nccl-tests' columns and ours; of the pairs of nodes the slowest."""
    f = shown.f
    paired = f.rows["pair"].to_numpy(dtype=bool)
    plain = f.rows[~paired]
    parts = []
    for phase, whole in plain.groupby("phase", sort=False):
        part = _slowest_equals(whole)
        lines = [row_cells(row, network(f.measured[at], shown.judged)) for at, row in _records(part)]
        words = phase_words(str(phase))
        table = ReportTable(f"Rows of {words}", ROW_HEAD, lines, "dense")
        of = f", of which the slowest {MOST_EQUALS} of each kind are here" if len(part) < len(whole) else ""
        parts.append((f"{words}: {show_count(len(whole), 'row')}{of}", table, len(plain) <= 200))
    # only their rates are sorted: a large run has tens of thousands of rows of pairs, of many columns
    pairs = f.rows["busbw"][paired].sort_values(kind="stable", na_position="first")
    if len(pairs):
        slowest = _records(f.rows.loc[pairs.index[:MOST_PAIRS]])
        table = ReportTable(
            "Pairs of nodes",
            ("pair", *ROW_HEAD),
            [(r["group"], *row_cells(r, "")) for _, r in slowest],
            "dense",
        )
        part_of = f"the slowest {MOST_PAIRS} of " if len(pairs) > MOST_PAIRS else ""
        parts.append((f"pairs of nodes: {part_of}{show_count(len(pairs), 'row')}", table, False))
    return {"parts": parts}


def _slowest_equals(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of a phase; of many that differ in their group alone the slowest, and those without a figure."""
    place = part.groupby(EQUALS, sort=False)["busbw"].rank(method="first", na_option="top")
    kept: pd.DataFrame = part[place <= MOST_EQUALS]
    return kept


def _records(part: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place, row): a Series for each row would take longer than all else on the page."""
    rows = cast("list[dict[str, Any]]", part.to_dict("records"))
    return zip((int(str(at)) for at in part.index), rows, strict=True)


def row_cells(row: Mapping[str, Any], reading: str) -> tuple[Cell | str, ...]:
    """The cells of ROW_HEAD."""
    series = row["series"] + (f", {row['placement']} of place" if row["placement"] == "out" else ", in place")
    wrong = Cell("unchecked", -1, True) if pd.isna(row["wrong"]) else number(float(row["wrong"]), 9)
    if wrong.text not in ("unchecked", "0"):
        wrong = Cell(f"✘ {wrong.text}", wrong.key, True, "bad")
    width = show_share(row["width"]) if 0 <= row["width"] < 10 else "unknown"
    return (
        series, Cell(row["size_text"], row["size"], True), number(row["count"], 15), row["dtype"], row["op"],
        number(row["root"]), number(row["ranks"]), number(row["time"], 5), number(row["algbw"]), number(row["busbw"]),
        wrong, *(number(row[name]) for name in ("p50", "p95", "p99", "n")), row["stop"],
        Cell(width, -1 if pd.isna(row["width"]) else row["width"], True), reading,
    )  # fmt: skip


def traffic(shown: PageInput) -> View:
    """Bytes over every port in every phase, error counters that increased: evidence for the rails and the exclusion."""
    found, gaps = shown.judged.windows, shown.judged.gaps
    head = ("phase", "port", "least of all nodes", "most of all nodes", "nodes with a reading")
    ports = [
        (phase_words(row.phase), Cell(row.port, row.port, kind="code", soft="excluded" if row.excluded else ""),
         size(row.least), size(row.most), f"{row.known} of {row.of}")
        for row in carried(shown.judged)
    ]  # fmt: skip
    grown = [
        (
            phase_words(each.phase),
            each.node.name,
            code(row.subject),
            code(row.counter),
            number(row.growth or 0, 12),
        )
        for each in found
        for row in each.moved.grown(CounterRole.ERROR)
    ]
    return {
        "gaps": [f"{gap.subject}: {gap.reason}" for gap in gaps],
        "ports": ReportTable("Bytes by port", head, ports, "dense") if found else None,
        "grown": ReportTable(
            "Error counters that increased", ("phase", "node", "port", "counter", "increase"), grown
        ),
    }


def passed(shown: PageInput) -> View | None:
    """What passed and what is not applicable, counted by check."""
    good = ordered(shown.run.verdicts, Status.PASS, Status.NOT_APPLICABLE)
    found: dict[tuple[Status, str], list[Verdict]] = {}
    for verdict in good:
        found.setdefault((verdict.status, verdict.check), []).append(verdict)
    parts = [
        (
            status,
            check,
            len(of_check),
            verdict_table(of_check[:MOST_PASSED]),
        )
        for (status, check), of_check in found.items()
    ]
    return {"parts": parts} if parts else None


def environment(shown: PageInput) -> View:
    """Versions, nodes, and every difference between nodes and between ranks."""
    return {
        "nodes": compared_nodes(shown.judged),
        "ranks": compared_ranks(shown.judged),
        "probed": nodes_table(shown.run.facts),
        "versions": versions_table(shown.run),
    }


def versions_table(run: Run) -> ReportTable:
    return ReportTable("Versions", ("what", "version"), sorted(run.manifest.versions.items()))


def method(shown: PageInput) -> View:
    """How it was measured: command, profile, phases, and what the figures mean."""
    run, profile, m = shown.run, shown.profile, shown.run.manifest
    properties = [
        ("command", " ".join(m.command)),
        ("profile", f"{profile.name}: {profile.source}"),
        *([("measured for", m.profile_name)] if profile.name != m.profile_name else []),
        ("launcher", m.launcher),
        ("backend", m.backend),
        ("started", moment(m.started)),
        ("ended", moment(run.ended)),
        ("settings", _pairs(dict(m.settings.items()), " = ", ", ") or "none"),
    ]
    phases = [
        (phase.name, phase.title, number(len(phase.cases)), code(_pairs(phase.environment)))
        for phase in run.plan.phases
    ]
    bounds = [
        (limit.collective, limit.quantity, limit.bound.text, limit.algorithm or "any", limit.bound.source,
         limit.bound.confidence)
        for limit in profile.limits
    ]  # fmt: skip
    return {
        "method": METHOD,
        "properties": properties,
        "phases": ReportTable("Phases", ("phase", "what", "cases", "environment"), phases),
        "bounds": ReportTable(
            "Bounds", ("collective", "quantity", "bound", "algorithm", "source", "confidence"), bounds
        ),
        "profile": m.profile_text or profile.text,
    }


def _pairs(values: Mapping[str, Any], equals: str = "=", between: str = " ") -> str:
    return between.join(f"{key}{equals}{value}" for key, value in sorted(values.items()))
