"""Whose fault it is that nodes do not reach each other: who stands out among the broken pairs, and nobody else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.model.facts import Interface, Node
from bench.run import reachability_trial
from bench.run.reachability_trial import UnreachedAddress, culprits

NAMES = ("n0", "n1", "n2", "n3")
TO_N2 = [
    UnreachedAddress(each, "n2", "eth1", "10.0.1.12", "no answer within 1 s") for each in ("n0", "n1", "n3")
]
FROM_N2 = [
    UnreachedAddress("n2", each, "eth1", f"10.0.1.1{each[1]}", "no answer within 1 s")
    for each in ("n0", "n1")
]


def test_the_node_that_all_broken_pairs_share_is_named_with_the_rail_and_the_addresses():
    (found,) = culprits(TO_N2 + FROM_N2, NAMES)
    assert (found.node, found.subject, found.failed) == ("n2", "n2 eth1", True)
    assert found.evidence == (
        "eth1: 10.0.1.12 is not reached from n0, n1, n3 (no answer within 1 s)",
        "eth1: it does not reach 10.0.1.10 of n0, 10.0.1.11 of n1 (no answer within 1 s)",
    )


def test_two_sick_nodes_are_named_one_after_the_other():
    to_n5 = [
        UnreachedAddress(f"n{each}", "n5", "eth2", "10.0.2.15", "Connection refused")
        for each in (0, 1, 2, 3, 4)
    ]
    found = culprits(TO_N2 + to_n5, [*NAMES, "n4", "n5"])
    assert [each.node for each in found] == ["n5", "n2"]


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ([], NAMES),
        (TO_N2[:1], NAMES),
        (TO_N2[:1], ("n0", "n2")),
        (TO_N2[:1] + FROM_N2[1:], tuple(f"n{at}" for at in range(9))),
    ],
    ids=["none", "one pair of four", "the only pair", "two pairs of many"],
)
def test_nobody_is_named_where_no_node_stands_out(broken, names):
    assert culprits(broken, names) == []


def test_the_other_node_of_two_with_one_address_is_named_by_a_single_broken_pair(monkeypatch):
    def node(name: str, address: str) -> Node:
        return Node(name, interfaces=(Interface("eth2", addresses=(f"{address}/24",)),))

    nodes = (*(node(f"n{at}", f"10.0.2.1{at}") for at in (0, 1, 3)), node("n2", "10.0.2.10"))
    live = SimpleNamespace(nodes=nodes, leads={"n0": 0, "n1": 2, "n3": 6})  # n2 is set aside
    broken = [UnreachedAddress("n1", "n0", "eth2", "10.0.2.10", "no answer within 1 s")]
    monkeypatch.setattr(reachability_trial, "_try_all_pairs", lambda _: broken)
    (found,) = reachability_trial.sick_nodes(live)
    assert (found.node, found.subject, found.failed) == ("n0", "n0 eth2", False)
    assert found.reason == "eth2: 10.0.2.10 is on n2 too, and not reached from n1 (no answer within 1 s)"
    broken += [UnreachedAddress(each, "n1", "eth1", "10.0.1.11", "refused") for each in ("n3",)]
    assert [each.node for each in reachability_trial.sick_nodes(live)] == ["n0"]
