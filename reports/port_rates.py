"""The rate that each port reached, and its column in a map of rails: its node's, or on many nodes its leaf's."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .frames import Frames

SLOW = 0.02  # below the median by this share: with a number; a nightly change must reach it, too
NOBODY = "nobody"  # stands where blame names none; an empty text would be null in a CSV file
MOST_ALONE = 40  # nodes named in a failure that have a column beside those of the leaves


def port_rates(f: Frames) -> pd.DataFrame:
    """node, rail, gbps, change (share from the median of all) and ``blame`` of each port; see ``node_rails``.

    Where rings of nodes were measured and no pairs, the fastest ring of a port: it is at least as fast.
    """
    if "ports" not in f.kept:
        rates = node_rails(f.pairs, f.blamed) if len(f.pairs) else with_change(f.rings)
        f.kept["ports"] = marked_rails(rates, f.blamed)
    return f.kept["ports"]


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
    rates = table["gbps"].astype(float)  # an empty column has no type of its own
    found: pd.DataFrame = table.assign(change=(rates / rates.median() - 1).round(5), gbps=rates.round(3))
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
