"""The lower half of the page: every row, what passed, the environment, how it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pandas as pd

from bench.model.units import show_share, show_size
from bench.model.verdict import Status

from .environment import NODE_COLUMNS, UNKNOWN, Values, differences, facts, gather, holders, node_rows, quoted
from .markup import Html, join, tag
from .pieces import Shown, badge, fold, section, verdict_table
from .summary import METHOD, moment, network, ordered
from .tables import Cell, number, table
from .traffic import carried, deltas, errors

MOST_PAIRS = 100  # rows of pairs that the page lists, the slowest; rows.csv has them all
ROW_HEAD = (
    "collective",
    "size",
    "count",
    "type",
    "redop",
    "root",
    "ranks",
    "time µs",
    "algbw GB/s",
    "busbw GB/s",
    "#wrong",
    "p50 µs",
    "p95 µs",
    "p99 µs",
    "n",
    "stop",
    "width",
    "rails of a node",
)


def rows_section(shown: Shown) -> Html:
    """Every row in nccl-tests' columns and ours; of the pairs of nodes the slowest."""
    run, f, profile = shown.run, shown.f, shown.profile
    paired = f.rows["pair"].to_numpy(dtype=bool)
    plain = f.rows[~paired]
    # only their rates are sorted: a large run has tens of thousands of rows of pairs, of many columns
    pairs = f.rows["busbw"][paired].sort_values(kind="stable", na_position="first")
    parts = []
    for phase, part in plain.groupby("phase", sort=False):
        listed = table(
            ROW_HEAD,
            (row_cells(row, network(f.measured[at], run, profile)) for at, row in _records(part)),
            f"Rows of phase {phase}",
            "dense",
        )
        parts.append(fold(f"{phase}: {len(part)} rows", listed, opened=len(plain) <= 200))
    if len(pairs):
        slowest = f.rows.loc[pairs.index[:MOST_PAIRS]]
        listed = table(
            ("pair", *ROW_HEAD),
            ((row["group"], *row_cells(row, "")) for _, row in _records(slowest)),
            "Pairs of nodes",
            "dense",
        )
        text = (
            f"pairs of nodes: {len(pairs)} rows"
            if len(pairs) <= MOST_PAIRS
            else f"pairs of nodes: the slowest {MOST_PAIRS} of {len(pairs)} rows"
        )
        parts.append(fold(text, listed))
    if not parts:
        parts.append(tag("p", "Nothing was measured."))
    about = tag(
        "p",
        "Columns as nccl-tests prints them, then single calls. 1 GB/s = 8 Gb/s. The last column is what must have "
        "crossed the rails of a node by the algorithm in force, or by each that it may have been, and NCCL's "
        "protocol where its log names it. "
        "All rows: rows.csv.",
        class_="soft",
    )
    return section("rows", "All rows", about, parts)


def _records(part: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place, row): a Series for each row would take longer than all else on the page."""
    rows = cast("list[dict[str, Any]]", part.to_dict("records"))
    return zip((int(str(at)) for at in part.index), rows, strict=True)


def row_cells(row: Mapping[str, Any], reading: str) -> tuple[Cell, ...]:
    """The cells of ROW_HEAD."""
    series = row["series"] + (f", {row['placement']} of place" if row["placement"] == "out" else ", in place")
    wrong = Cell("unchecked", -1, True) if pd.isna(row["wrong"]) else number(float(row["wrong"]), 9)
    if wrong.shown not in ("unchecked", "0"):
        wrong = Cell(tag("strong", f"✘ {wrong.shown}", class_="bad"), wrong.key, True)
    share = show_share(row["width"]) if 0 <= row["width"] < 10 else "unknown"
    return (
        Cell(series),
        Cell(row["size_text"], row["size"], True),
        number(row["count"], 15),
        Cell(row["dtype"]),
        Cell(row["op"]),
        number(row["root"]),
        number(row["ranks"]),
        number(row["time"], 5),
        number(row["algbw"]),
        number(row["busbw"]),
        wrong,
        number(row["p50"]),
        number(row["p95"]),
        number(row["p99"]),
        number(row["n"]),
        Cell(row["stop"]),
        Cell(share, -1 if pd.isna(row["width"]) else row["width"], True),
        Cell(reading),
    )


def passed_section(shown: Shown) -> Html | None:
    """What passed and what does not apply, counted by check."""
    good = ordered(shown.run.verdicts, Status.PASS, Status.SKIP)
    if not good:
        return None
    counts = Counter((verdict.check, verdict.status) for verdict in good)
    parts = []
    for (check, status), count in counts.items():
        part = [verdict for verdict in good if (verdict.check, verdict.status) == (check, status)]
        parts.append(fold([badge(status), f" {check}: {count}"], verdict_table(part)))
    return section("passed", "What passed, and what does not apply", parts)


def traffic_section(shown: Shown) -> Html:
    """Bytes over every port in every phase, error counters that grew: evidence for the rails and the exclusion."""
    moved = deltas(shown.run)
    if not moved:
        text = "No port counters were recorded: what each carried, or whether an excluded one was silent, is unknown."
        return section("traffic", "What the ports carried", tag("p", f"? {text}"))
    rows = [
        (
            row.phase,
            Cell([tag("code", row.port), " (excluded)" if row.excluded else ""], row.port),
            _bytes(row.least),
            _bytes(row.most),
            f"{row.told} of {row.of}",
        )
        for row in carried(moved, shown.profile)
    ]
    grown = [
        (row.phase, row.node, tag("code", row.port), tag("code", row.counter), number(row.growth, 12))
        for row in errors(moved)
    ]
    return section(
        "traffic",
        "What the ports carried",
        tag(
            "p", f"✘ {len(grown)} error counters grew:" if grown else "✔ no error counter that was read grew."
        ),
        table(("phase", "node", "port", "counter", "grew by"), grown, "Error counters that grew")
        if grown
        else None,
        fold(
            f"Bytes sent by port and phase: {len(rows)} rows",
            table(
                ("phase", "port", "least of all nodes", "most of all nodes", "nodes that told"),
                rows,
                "Bytes by port",
                "dense",
            ),
        ),
    )


def _bytes(count: int | None) -> Cell:
    return Cell("not told", "", True) if count is None else Cell(show_size(count), count, True)


def environment_section(shown: Shown) -> Html:
    """Versions, nodes, and every difference between nodes and between ranks."""
    run = shown.run
    versions = [(name, value) for name, value in sorted(run.manifest.versions.items())]
    known = facts(run.facts)
    variables = gather({f"rank {rank}": values for rank, values in run.manifest.environment.items()})
    nodes = (
        table(NODE_COLUMNS, node_rows(run.facts), "Nodes")
        if run.facts
        else tag("p", "No facts of any node were recorded.")
    )
    parts = [
        tag("h3", "Differences between nodes"),
        _differences(known, "nodes", len(run.facts)),
        tag("h3", "Differences between ranks"),
        _differences(variables, "ranks", len(run.manifest.environment)),
        tag("h3", "Nodes"),
        nodes,
        tag("h3", "Versions"),
        table(("what", "version"), versions, "Versions"),
        fold(f"The same on all ranks: {_same(variables)} variables", _agreed(variables)),
        fold(f"The same on all nodes: {_same(known)} facts", _agreed(known)),
    ]
    return section("environment", "Environment", parts)


def _same(rows: Iterable[Values]) -> int:
    return sum(row.same for row in rows)


def _differences(rows: tuple[Values, ...], who: str, count: int) -> Html:
    found = differences(rows)
    if not count:
        return tag("p", f"? nothing was recorded about the {who}, so this cannot be told")
    if not found:
        return tag(
            "p",
            f"✔ none in {len(rows)} recorded values over {count} {who}"
            if count > 1
            else f"only one of the {who} was there to compare",
        )
    lines = [
        (
            tag("code", row.key),
            tag("code", quoted(value)),
            f"{len(names)} of {row.of}",
            holders(names, row.of),
        )
        for row in found
        for value, names in row.values
    ]
    return table(("what", "value", "on", who), lines, f"Differences between {who}")


def _agreed(rows: Iterable[Values]) -> Html:
    same = [row for row in rows if row.same]
    known = [
        (tag("code", row.key), tag("code", row.values[0][0])) for row in same if row.values[0][0] != UNKNOWN
    ]
    unknown = [row.key for row in same if row.values[0][0] == UNKNOWN]
    return join(
        [
            table(("what", "value"), known, "The same everywhere"),
            tag(
                "p",
                f"{len(unknown)} are unknown everywhere: ",
                tag("code", ", ".join(unknown)),
                class_="soft",
            )
            if unknown
            else None,
        ]
    )


def method_section(shown: Shown) -> Html:
    """How it was measured: command, profile, phases, and what the figures mean."""
    run, profile, m = shown.run, shown.profile, shown.run.manifest
    settings = ", ".join(f"{key} = {value}" for key, value in sorted(m.settings.items()))
    facts_of = (
        ("command", tag("code", " ".join(m.command))),
        ("profile", f"{profile.name}: {profile.source}"),
        *([("measured for", m.profile_name)] if profile.name != m.profile_name else []),
        ("launcher", m.launcher),
        ("backend", m.backend),
        ("started", moment(m.started)),
        ("ended", moment(run.ended)),
        ("settings", settings or "none"),
    )
    phases = [
        (
            phase.name,
            phase.title,
            number(len(phase.cases)),
            tag("code", _pairs(phase.environment)) if phase.environment else "",
        )
        for phase in run.plan.phases
    ]
    bounds = [
        (
            limit.collective,
            limit.quantity,
            limit.bound.text,
            limit.algorithm or "any",
            limit.bound.source,
            limit.bound.confidence,
        )
        for limit in profile.limits
    ]
    return section(
        "method",
        "How it was measured",
        [tag("p", text) for text in METHOD],
        tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in facts_of]),
        table(("phase", "what", "cases", "environment"), phases, "Phases") if phases else None,
        fold(
            f"Bounds of the profile: {len(bounds)}",
            table(("collective", "quantity", "bound", "algorithm", "source", "confidence"), bounds, "Bounds"),
        ),
        fold("The profile as used", tag("pre", m.profile_text or profile.text)),
    )


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()))
