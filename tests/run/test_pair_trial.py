"""Whose fault it is that nodes do not reach each other: who stands out among the broken pairs, and nobody else."""

from __future__ import annotations

import pytest

from bench.run.pair_trial import UnreachedAddress, culprits

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
