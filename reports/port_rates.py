"""What each port, a rail of a node, reached; and where a map shows it: of many nodes a leaf has one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bench.judge.blame.background import background
from bench.judge.blame.transfers import ring_rates
from bench.judge.evidence import Evidence
from bench.judge.problems import places_in, problems_of
from bench.model.units import BITS, GIGA
from bench.plan.screening import MOST_IN_PAIRS, groups

if TYPE_CHECKING:
    from .frames import Frames

SLOW = 0.02  # below the median by this share: with a number; a nightly change must reach it, too
NOBODY = "nobody"  # stands where blame names none; an empty text would be null in a CSV file
MOST_NODES = MOST_IN_PAIRS  # that have a column each; of more, a leaf has one
MOST_ALONE = 40  # nodes named in a failure that have a column beside those of the leaves
PORT_COLUMNS = ("node", "rail", "gbps")


def port_rates(f: Frames) -> pd.DataFrame:
    """node, rail, gbps, change (share from the median of all) and ``blame`` of each port; see ``node_rails``.

    Where rings of nodes were measured and no pairs, the fastest ring of a port: it is at least as fast.
    """
    return marked_rails(node_rails(f.pairs, f.blamed) if len(f.pairs) else with_change(f.rings), f.blamed)


def rings_frame(evidence: Evidence) -> pd.DataFrame:
    """PORT_COLUMNS: what each port reached in the fastest of its rings. Empty where no rings were measured, or few
    nodes, of which each is in one ring: that is slow for all of them.
    """
    best: dict[tuple[str, str], float] = {}
    measured = evidence.rows if len(evidence.manifest.nodes) > MOST_NODES else ()
    for ring, rates in ring_rates(measured, evidence.ranks, evidence.rail_names).items():
        for rail, rate in rates.items():
            for node in ring:
                best[node, rail] = max(rate, best.get((node, rail), 0.0))
    rows = [(node, rail, rate * BITS / GIGA) for (node, rail), rate in best.items()]
    table: pd.DataFrame = pd.DataFrame(rows, columns=list(PORT_COLUMNS))
    return table


def leaves_of(evidence: Evidence) -> dict[str, str]:
    """Node → its leaf: the switch, where the fabric told it and all rails hang on one; else its neighbours in order.

    Empty where each node has a column of its own.
    """
    nodes = evidence.manifest.nodes
    if len(nodes) <= MOST_NODES:
        return {}
    known = background(evidence).leaves
    members: dict[tuple[str, ...], list[str]] = {}
    for number, group in enumerate(groups(nodes)):
        for node in group:
            on = tuple(known.get((node, rail), "") for rail in evidence.rail_names)
            members.setdefault(on if all(on) else (str(number),), []).append(node)
    return {node: _leaf(on, own) for on, own in members.items() for node in own}


def _leaf(switches: tuple[str, ...], nodes: Sequence[str]) -> str:
    one = len(set(switches)) == 1 and not switches[0].isdigit()
    return switches[0] if one else f"{nodes[0]} – {nodes[-1]}"


def accused_nodes(evidence: Evidence) -> tuple[str, ...]:
    """The nodes that a problem of the first page names, alone or in pairs: of a ring that is slow nobody is named."""
    if len(evidence.manifest.nodes) <= MOST_NODES:
        return ()
    places = places_in(evidence.run)
    named = [{node for node, _ in places(each.verdict.subject)} for each in problems_of(evidence.run).first]
    return tuple(dict.fromkeys(node for nodes in named if len(nodes) <= 2 for node in sorted(nodes)))


def columns(f: Frames, table: pd.DataFrame) -> dict[str, str]:
    """Node → the column of a map that shows it, in the order of the columns.

    Of many nodes: first those that a failure names, then the leaves of the others, each by its slowest port.
    """
    if not f.leaves:
        return {node: node for node in f.nodes}
    least = table.groupby("node")["change"].min().to_dict()
    by_rate = sorted(f.nodes, key=lambda node: float(least.get(node, 0.0)))
    named = {*f.blamed["node"], *f.blamed["peer"]}
    accused = [node for node in by_rate if node in named] + [node for node in by_rate if node in f.accused]
    alone = {*list(dict.fromkeys(accused))[:MOST_ALONE]}
    first = {node: node for node in by_rate if node in alone}
    return first | {node: f.leaves[node] for node in by_rate if node not in alone}


def in_columns(table: pd.DataFrame, column: Mapping[str, str]) -> pd.DataFrame:
    """The slowest row of each column and rail, with its ``column``."""
    placed = table.assign(column=table["node"].map(column)).sort_values("change", kind="stable")
    worst: pd.DataFrame = placed.drop_duplicates(["column", "rail"])
    return worst


def node_rails(pairs: pd.DataFrame, blamed: pd.DataFrame) -> pd.DataFrame:
    """node, rail, gbps (median over its partners), change (share from the median of all).

    All rails are sold alike, so that one median tells of a slow rail as well as of a slow node; on two
    nodes the median of one rail would be the reading itself. Partners that are blamed do not count, where others are
    left: among three nodes one slow port would else make its rail look slow on all of them.
    """
    ends = pd.concat(
        [
            pairs.assign(node=pairs["source"], partner=pairs["destination"]),
            pairs.assign(node=pairs["destination"], partner=pairs["source"]),
        ],
        ignore_index=True,
    )
    own = marked_rails(ends, blamed)["blame"] != NOBODY
    partner = marked_rails(ends.assign(node=ends["partner"]), blamed)["blame"] != NOBODY
    medians = ends.assign(fair=ends["gbps"].where(own | ~partner)).groupby(["node", "rail"], sort=True)
    found = medians[["fair", "gbps"]].median().reset_index()
    return with_change(found[["node", "rail"]].assign(gbps=found["fair"].fillna(found["gbps"])))


def with_change(table: pd.DataFrame) -> pd.DataFrame:
    """A table with gbps, with ``change``: the share from the median of all."""
    change = (table["gbps"] / table["gbps"].median() - 1).round(5)
    found: pd.DataFrame = table.assign(change=change, gbps=table["gbps"].round(3))
    return found


def marked_rails(table: pd.DataFrame, blamed: pd.DataFrame) -> pd.DataFrame:
    """A table with node and rail, with ``blame``: the finding on the node, port or GPU, else NOBODY."""
    known = blamed[blamed["kind"].isin(("node", "port", "gpu"))]
    texts = dict(zip(as_texts(known, "node", "rail"), map(str, known["text"]), strict=True))
    places = as_texts(table, "node", "rail")
    blame = [texts.get((node, rail)) or texts.get((node, ""), NOBODY) for node, rail in places]
    marked: pd.DataFrame = table.assign(blame=blame)
    return marked


def as_texts(table: pd.DataFrame, *names: str) -> list[tuple[str, ...]]:
    """The rows of these columns as texts."""
    # a column of Arrow takes a microsecond for each of its values where it is walked as it is
    return list(zip(*(map(str, table[name].to_numpy(dtype=object)) for name in names), strict=True))
