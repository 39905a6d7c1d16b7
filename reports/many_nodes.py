"""The page of many nodes shows rings instead of pairs, leaves instead of nodes, and the nodes that failed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.judge.blame.background import background
from bench.judge.blame.transfers import ring_rates
from bench.judge.evidence import Evidence
from bench.judge.problems import places_in, problems_of
from bench.model.units import BITS, GIGA
from bench.plan.screening import MOST_IN_PAIRS, groups

MOST_NODES = MOST_IN_PAIRS  # that have a column each; of more, a leaf has one
PORT_COLUMNS = ("node", "rail", "gbps")


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
