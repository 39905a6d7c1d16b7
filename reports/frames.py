"""A run as pandas frames: what the charts and tables are drawn from. Rates in GB/s, times in µs.

The charts' rows are in these units; tables and tiles convert where they are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.blame.suspects import Subject
from bench.judge.blame.transfers import answer, screened, transfers
from bench.judge.checks.screening import subject_of
from bench.judge.evidence import Evidence
from bench.judge.peaks import nodes_of, nodes_of_groups, peak_rows, scope_of, series_of
from bench.judge.wire import algorithm_used
from bench.model.collectives import collective
from bench.model.groups import Group
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Case, Rank
from bench.model.printable import plain
from bench.model.profile import Profile
from bench.model.stats import quantile_of_sorted
from bench.model.timings import Seconds
from bench.model.units import BITS, GIGA, MICRO, show_count, show_size
from bench.plan.phase_names import FIRST, SCREEN
from bench.store.rows import Row

from .many_nodes import accused_nodes, leaves_of, rings_frame
from .soak_frames import events_frame, memory_frame, soak_frame
from .watch_frames import inspected_frame, waiting_frame, watch_frame

ROW_COLUMNS = (
    "case", "phase", "collective", "series", "scope", "pair", "group", "source",
    "destination", "nodes", "ranks", "size", "size_text",
    "count", "dtype", "op", "root", "placement", "algorithm", "rail", "time", "algbw", "busbw", "low", "high",
    "n", "p50", "p95", "p99", "min", "max", "stdev", "wrong", "checked", "stop", "width", "calls", "warmup",
    "protocol",
)  # fmt: skip
ISOLATED = ("p50", "p95", "p99", "min", "max", "stdev")
PIECE = 2048  # rows
P2P = "p2p"  # how the names of collectives begin in which ranks send to single others
DIGITS = 6
TENS = np.array([float(f"1e{power}") for power in range(23)])  # those that a float holds exactly
OWN = "own"  # the rail of a case in which each rank uses its nearest rail
Indices = np.ndarray[Any, np.dtype[np.intp]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
PAIR_COLUMNS = ("source", "destination", "rail", "busbw", "gbps")
TOTAL_COLUMNS = ("node", "gbps", "rails", "note")
BEST_COLUMNS = ("series", "collective", "busbw", "size_text", "groups", "note", "floor")
BLAMED_COLUMNS = ("kind", "node", "peer", "rail", "text")


@dataclass(frozen=True)
class Frames:
    """What every chart gets.

    rows     ROW_COLUMNS: one a measured case and group
    curve    rows of all ranks together: the slowest group at each size, one placement
    pairs    PAIR_COLUMNS: point-to-point from node to node on one rail, slowest reading
    rings    node, rail, Gb/s: what each port reached in the fastest of its rings, where nodes were screened
    totals   TOTAL_COLUMNS: what the rails of each node carried at once
    measured the rows that ``rows`` was made from, at the same places
    best     BEST_COLUMNS: the highest busbw of each series; 0.0 where it was planned and not measured; its floor
    target   GB/s that a node's rails are sold for; NaN when the profile has none
    share    of the target that the profile wants at least; 0 when it does not say
    rail     GB/s that one rail must reach; NaN when the profile has no such bound
    nominal  GB/s that one rail is sold for; NaN when the profile has none
    blamed   BLAMED_COLUMNS: subjects that blame names or suspects, and those that it cannot distinguish from them
    nodes    node names, in the order of their ranks
    leaves   of many nodes, node → the name of its leaf; else empty
    accused  of many nodes those that a problem of the first page names; else empty
    soak, memory, events  of a soak, over its time: see ``reports.soak_frames``; events of a watch as well
    watch, waiting, inspected  of a watched job: see ``reports.watch_frames``
    kept     what several charts ask for and is made once
    """

    rows: pd.DataFrame
    curve: pd.DataFrame
    pairs: pd.DataFrame
    rings: pd.DataFrame
    totals: pd.DataFrame
    best: pd.DataFrame
    target: float
    share: float
    rail: float
    nominal: float
    blamed: pd.DataFrame
    nodes: tuple[str, ...]
    leaves: Mapping[str, str]
    accused: tuple[str, ...]
    measured: tuple[Row, ...]
    soak: pd.DataFrame
    memory: pd.DataFrame
    events: pd.DataFrame
    watch: pd.DataFrame
    waiting: pd.DataFrame
    inspected: pd.DataFrame
    kept: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)


def drawable(evidence: Evidence) -> Evidence:
    """The evidence of nodes whose names can be drawn and encoded; the same node has the same name everywhere."""
    run, ranks = evidence.run, tuple(replace(rank, node=plain(rank.node)) for rank in evidence.ranks)
    if ranks == evidence.ranks:
        return evidence
    facts = tuple(replace(node, name=plain(node.name)) for node in run.facts)
    manifest = replace(run.manifest, ranks=ranks)
    activity = tuple(replace(line, node=plain(line.node)) for line in run.activity)
    return Evidence(replace(run, manifest=manifest, facts=facts, activity=activity), evidence.profile)


def frames(evidence: Evidence) -> Frames:
    """All frames of a run; names in them are text that can be drawn, whatever a host is called."""
    evidence = drawable(evidence)
    run, profile, measured = evidence.run, evidence.profile, evidence.rows
    table = rows_frame(
        measured, evidence.ranks, lambda case: algorithm_used(case, evidence).protocol, evidence.rail_names
    )
    target = profile.rails.target
    return Frames(
        rows=table,
        curve=with_floors(curve_frame(table), evidence),
        pairs=pairs_frame(evidence),
        rings=rings_frame(evidence),
        totals=totals_frame(table),
        best=best_frame(evidence, table),
        target=target.value / GIGA if target else math.nan,
        share=max((limit.bound.value for limit in evidence.limits("wire_share")), default=0.0),
        rail=rail_floor(profile),
        nominal=profile.rails.rate.value / GIGA if profile.rails.rate else math.nan,
        blamed=blamed_frame(evidence),
        nodes=run.manifest.nodes,
        leaves=leaves_of(evidence),
        accused=accused_nodes(evidence),
        measured=measured,
        soak=soak_frame(evidence),
        memory=memory_frame(run),
        events=events_frame(evidence),
        watch=watch_frame(evidence),
        waiting=waiting_frame(evidence),
        inspected=inspected_frame(evidence),
    )


def rail_floor(profile: Profile) -> float:
    """GB/s that the profile wants of one rail point-to-point; NaN when it says nothing."""
    wanted = [limit.bound.value for limit in profile.limits if limit.quantity == "rail_rate"]
    return max(wanted) / GIGA if wanted else math.nan


def rows_frame(
    measured: Sequence[Row],
    ranks: tuple[Rank, ...],
    protocol: Callable[[Case], str] = lambda _: "",
    names: tuple[str, ...] = (),
) -> pd.DataFrame:
    """ROW_COLUMNS of measured rows, in their order; ``wrong`` is missing where nothing was compared.

    ``protocol``: of NCCL, "" where its log does not name it. ``names``: see ``Evidence.rail_names``.
    """
    where = {rank.rank: rank for rank in ranks}
    # of a large cluster there are some hundred cases and some thousand groups in a hundred thousand rows
    cases, groups = (
        {row.case.id: row.case for row in measured},
        {row.measurement.ranks: () for row in measured},
    )
    of_case, of_group = (
        _places(cases, [row.case.id for row in measured]),
        _places(groups, [row.measurement.ranks for row in measured]),
    )
    table = {
        **_of_cases([*cases.values()], protocol, of_case),
        **_of_groups([*cases.values()], [*groups], where, (of_case, of_group)),
        "rail": [rail_of(row.case, row.measurement.ranks, where, names) for row in measured],
        **_figures(measured),
    }
    rows: pd.DataFrame = pd.DataFrame({name: table[name] for name in ROW_COLUMNS})
    return rows


def _places(known: Mapping[Any, object], keys: list[Any]) -> Indices:
    """At which place of ``known`` each key stands."""
    place = {key: at for at, key in enumerate(known)}
    return np.array([place[key] for key in keys], dtype=np.intp)


def _taken(values: Sequence[object], places: Indices) -> Any:
    """The values at these places, as pandas keeps them."""
    return pd.Series(values).array.take(places)


def _of_cases(cases: list[Case], protocol: Callable[[Case], str], places: Indices) -> dict[str, Any]:
    """The columns that follow from the case of a row."""
    names = ("phase", "collective", "size", "count", "dtype", "op", "root", "placement", "algorithm")
    columns = {name: [getattr(case, name) for case in cases] for name in names}
    columns["case"] = [case.id for case in cases]
    columns["size_text"] = [show_size(case.size) for case in cases]
    columns["protocol"] = [protocol(case) for case in cases]
    return {name: _taken(values, places) for name, values in columns.items()}


def _of_groups(
    cases: list[Case], groups: list[Group], where: dict[int, Rank], places: tuple[Indices, Indices]
) -> dict[str, Any]:
    """The columns that follow from the group of a row, and from both. ``places``: of each row's case and group."""
    several = len({rank.node for rank in where.values()}) > 1
    nodes = [nodes_of(group, where) for group in groups]
    columns: dict[str, Sequence[object]] = {
        "group": [group_text(group, where, own) for group, own in zip(groups, nodes, strict=True)],
        "scope": [scope_of(own, several) for own in nodes],
        "source": [own[0] for own in nodes],
        "destination": [own[-1] for own in nodes],
        "nodes": [len(own) for own in nodes],
        "ranks": [len(group) for group in groups],
    }
    of_case, of_group = places
    one = np.array([len(own) == 1 for own in nodes], dtype=bool)[of_group]
    two = np.array([is_pair(P2P, *both) for both in zip(groups, nodes, strict=True)], dtype=bool)[of_group]
    far, inside = ([series_of(case, own, several) for case in cases] for own in (("", ""), ("",)))
    return {
        **{name: _taken(values, of_group) for name, values in columns.items()},
        "series": _taken([*far, *inside], of_case + one * len(cases)),
        "pair": two & np.array([case.collective.startswith(P2P) for case in cases], dtype=bool)[of_case],
    }


def _figures(measured: Sequence[Row]) -> dict[str, Any]:
    """The columns that were measured."""
    found = [row.measurement for row in measured]
    moved = np.array([row.case.size * collective(row.case.collective).factor(row.ranks) for row in measured])
    counts, isolated = _isolated(measured)
    slowest, quickest = (
        np.array([getattr(row, name) for row in measured]) for name in ("slowest", "quickest")
    )
    return {
        "time": rounded_all(np.array([row.seconds for row in measured]) / MICRO),
        "algbw": rounded_all(np.array([row.algbw for row in measured]) / GIGA),
        "busbw": rounded_all(np.array([row.busbw for row in measured]) / GIGA),
        "low": rounded_all(moved / slowest / GIGA),
        "high": rounded_all(moved / quickest / GIGA),
        "n": counts,
        **{name: rounded_all(each / MICRO) for name, each in zip(ISOLATED, isolated.T, strict=True)},
        "wrong": pd.array([row.wrong for row in measured], dtype="Int64"),
        "checked": [each.checked for each in found],
        "stop": [each.stop for each in found],
        "width": rounded_all(np.array([each.precision for each in found], dtype=float)),
        "calls": [each.calls for each in found],
        "warmup": [each.warmup for each in found],
    }


def _isolated(rows: Sequence[Row]) -> tuple[list[int], Floats]:
    """Of each row how many isolated iterations it has, and ISOLATED of them in seconds, as of ``stats.summary``.

    The rows of as many calls go together: sorted by themselves, those of 1250 nodes take as long as all else here.
    """
    samples = [Seconds.of(row.measurement.isolated) for row in rows]
    counts = [*map(len, samples)]
    figures = np.full((len(rows), len(ISOLATED)), math.nan)
    for n in {*counts} - {0}:
        every = [place for place, count in enumerate(counts) if count == n]
        # piece by piece: of a large run they are tens of MB, and what is derived three times as much
        for at in (every[first : first + PIECE] for first in range(0, len(every), PIECE)):
            values = np.frombuffer(b"".join([samples[place].data for place in at])).reshape(-1, n)
            # wider sums, so that calls that took the same have no deviation
            mean = values.sum(axis=1, dtype=np.longdouble).astype(float) / n
            squares = ((values - mean[:, None]) ** 2).sum(axis=1, dtype=np.longdouble).astype(float)
            values = np.sort(values, axis=1)
            shares = [quantile_of_sorted(values.T, share) for share in (0.5, 0.95, 0.99)]
            figures[at] = np.column_stack(
                [*shares, values[:, 0], values[:, -1], np.sqrt(squares / max(1, n - 1))]
            )
    return counts, figures


def rounded(value: float) -> float:
    """Six significant digits: more would be noise, and would make golden files depend on the machine."""
    return float(f"{value:.6g}")


def rounded_all(values: Floats) -> Floats:
    """``rounded`` of each; where a product of floats cannot tell which way, as half-way between two, by ``rounded``."""
    with np.errstate(all="ignore"):
        places = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        small = np.abs(places) < len(TENS)
        scale = TENS[np.where(small, np.abs(places), 0).astype(int)]
        # whole numbers below 10⁶ and powers of ten are exact, so that one division gives the float next to the decimal
        scaled = np.where(places < 0, values / scale, values * scale)
        digits = np.rint(scaled)
        found: Floats = np.where(places < 0, digits * scale, digits / scale)
        clear = np.abs(np.abs(scaled - digits) - 0.5) > 1e-3
        sure = small & clear & (np.abs(digits) < 10**DIGITS) & (np.abs(digits) >= 10 ** (DIGITS - 1))
    for at in np.flatnonzero(~sure & ~np.isnan(values)):
        found[at] = rounded(float(values[at]))
    return found


def is_pair(name: str, ranks: tuple[int, ...], nodes: tuple[str, ...]) -> bool:
    """Whether a row is one pair of nodes exchanging point-to-point."""
    return name.startswith(P2P) and len(ranks) == 2 and len(nodes) == 2


def group_text(ranks: tuple[int, ...], where: dict[int, Rank], nodes: tuple[str, ...]) -> str:
    """``n1:3 → n2:3`` (node:local rank); ``n1, 8 ranks``; ``16 ranks on 2 nodes``."""
    if len(ranks) == 2 and len(nodes) == 2:
        return " → ".join(
            f"{where[r].node}:{where[r].local_rank}" if r in where else f"rank {r}" for r in ranks
        )
    if len(nodes) == 1:
        return f"{nodes[0]}, {show_count(len(ranks), 'rank')}"
    return f"{show_count(len(ranks), 'rank')} on {show_count(len(nodes), 'node')}"


def rail_of(case: Case, ranks: tuple[int, ...], where: dict[int, Rank], names: tuple[str, ...] = ()) -> str:
    """The rail pinned by the case, or those of the local rank that both ends share; else empty."""
    if case.rail not in ("", OWN):
        return case.rail
    if not case.collective.startswith(P2P) or len(ranks) != 2:
        return ""
    locals_ = {where[r].local_rank for r in ranks if r in where}
    if len(locals_) != 1:
        return ""
    at = locals_.pop()
    return names[at] if at < len(names) else str(at)


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with a figure that may be quoted: the evidence phase is slowed by NCCL's log."""
    known: pd.DataFrame = table[table["busbw"].notna() & (table["phase"] != "evidence")]
    return known


def quoted_placement(table: pd.DataFrame) -> pd.DataFrame:
    """The rows out of place where both were measured: their figure is the one usually quoted."""
    has_out = table.groupby("series")["placement"].transform(lambda column: (column == "out").any())
    wanted: pd.DataFrame = table[(table["placement"] == "out") | ~has_out.astype(bool)]
    return wanted


def curve_frame(table: pd.DataFrame) -> pd.DataFrame:
    """The slowest group of each series and size, without pairs of nodes; sorted by series and size.

    The evidence phase runs with NCCL's log on and is left out, as in every figure.
    ``low`` and ``high`` become the slowest and fastest block of any group.
    """
    known: pd.DataFrame = quoted_placement(quoted(table[~table["pair"]]))
    if known.empty:
        return known
    known = known.sort_values(["series", "size", "busbw", "case", "group"], kind="stable")
    grouped = known.groupby(["series", "size"], sort=True)
    worst = grouped.head(1).set_index(["series", "size"])
    worst = worst.assign(low=grouped["low"].min(), high=grouped["high"].max(), groups=grouped.size())
    rows: pd.DataFrame = (
        worst.reset_index().sort_values(["series", "size"], kind="stable").reset_index(drop=True)
    )
    return rows


def with_a_shape(curve: pd.DataFrame) -> pd.DataFrame:
    """The series of a curve with at least three sizes: one or two points have no shape."""
    known: pd.DataFrame = curve[curve.groupby("series")["size"].transform("nunique") > 2]
    return known


def with_floors(curve: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The curve with ``floor``: GB/s that the profile wants of a series at a size; NaN where it wants nothing."""
    nodes, several = nodes_of_groups(evidence), evidence.node_count > 1
    floors = {
        (
            series_of(row.case, nodes(row.measurement.ranks), several),
            row.case.size,
        ): limit.bound.value
        for limit in sorted(evidence.limits("busbw"), key=lambda limit: limit.bound.value)
        for row in evidence.rows_of(limit)
    }
    at = zip(curve["series"], curve["size"], strict=True) if len(curve) else ()
    found: pd.DataFrame = curve.assign(floor=[rounded(floors.get(key, math.nan) / GIGA) for key in at])
    return found


def best_frame(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """BEST_COLUMNS: each series at its best size; a planned series without any figure stands with 0.0."""
    nodes, several = nodes_of_groups(evidence), evidence.node_count > 1
    floors = {
        series_of(row.case, nodes(row.measurement.ranks), several): limit.bound.value
        for limit in sorted(evidence.limits("busbw"), key=lambda limit: limit.bound.value)
        for row in evidence.rows_of(limit)
    }
    found: dict[str, tuple[Any, ...]] = {}
    for top in sorted(peak_rows(evidence), key=lambda top: top.series):
        size, groups = show_size(top.row.case.size), top.groups
        lost = int(table.loc[table["series"] == top.series, "busbw"].isna().sum())
        note = f"at {size}" + (f", slowest of {groups} groups" if groups > 1 else "")
        note += f", {lost} without a figure" if lost else ""
        rate = rounded(top.row.busbw / GIGA)
        floor = rounded(floors.get(top.series, math.nan) / GIGA)
        found[top.series] = (top.series, top.row.case.collective, rate, size, groups, note, floor)
    for case in evidence.run.plan.cases:
        for group in islice(case.groups, 1):
            series = series_of(case, nodes(group), several)
            found.setdefault(series, (series, case.collective, 0.0, "", 0, "", math.nan))
    best: pd.DataFrame = pd.DataFrame(list(found.values()), columns=list(BEST_COLUMNS))
    return best


def pairs_frame(evidence: Evidence) -> pd.DataFrame:
    """PAIR_COLUMNS of the rails phase, one direction at a time; 0 where nothing got through.

    The same transfers that blame reasons about; of several readings the slowest stands. A transfer without
    a figure that did not fail either is left out: it was not measured.
    """
    found = [
        (each.a, each.b, each.rail, rounded(each.rate / GIGA), rounded(each.rate * BITS / GIGA))
        for each in transfers(evidence, FIRST)
        if not each.again and each.a != each.b and math.isfinite(each.rate)
    ]
    table = pd.DataFrame(found, columns=list(PAIR_COLUMNS))
    table = table.sort_values(["source", "destination", "rail", "busbw"], kind="stable")
    pairs: pd.DataFrame = table.drop_duplicates(["source", "destination", "rail"]).reset_index(drop=True)
    return pairs


def blamed_frame(evidence: Evidence) -> pd.DataFrame:
    """BLAMED_COLUMNS: a row a node, port or path; empty where no rails were measured."""
    found: dict[Subject, str] = {}
    if any(row.case.phase == FIRST for row in evidence.rows):
        for row in answer(evidence).blames:
            word = "named" if row.confirmed else "suspected"
            for subject in (row.subject, *row.alternatives):
                found.setdefault(subject, f"{word}: {row.text}")
    if any(row.case.phase.startswith(SCREEN) for row in evidence.rows):
        for each in screened(evidence).findings:
            subject = Subject(each.kind, each.node, each.peer, each.rail, name=each.name)
            found.setdefault(subject, f"named: {subject_of(each)}")
    marked = [(each.kind, each.node, each.peer, each.rail, text) for each, text in found.items()]
    table: pd.DataFrame = pd.DataFrame(marked, columns=list(BLAMED_COLUMNS))
    return table


def totals_frame(table: pd.DataFrame) -> pd.DataFrame:
    """TOTAL_COLUMNS: what the rails of each node carried at once each way, the median over its partners.

    Both directions at once where that was measured. A pair without a figure carried nothing.
    """
    wanted = ["collective", "case", "source", "destination", "busbw"]
    rails = table.loc[table["pair"] & (table["phase"] == FIRST), wanted]
    both = rails[rails["collective"] == "p2p_bidirectional"]
    rails = rails if both.empty else both
    ends = pd.concat([rails.assign(node=rails["source"]), rails.assign(node=rails["destination"])])
    sums = ends.groupby(["node", "case"], sort=True)["busbw"].agg(["sum", "size"]).reset_index()
    nodes = (
        sums.groupby("node", sort=True).agg(gbps=("sum", "median"), rails=("size", "median")).reset_index()
    )
    nodes["rails"] = nodes["rails"].astype(int)
    most = int(nodes["rails"].max()) if len(nodes) else 0
    notes = ["" if count == most else f"only {count} of {most} rails" for count in nodes["rails"]]
    rates = [rounded(value * BITS) for value in nodes["gbps"]]
    totals: pd.DataFrame = nodes.assign(gbps=rates, note=notes)[list(TOTAL_COLUMNS)]
    return totals
