"""Who of a run that goes on is here: left out on purpose, back again, or another cluster."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import runs
from bench.model.measurement import Rank
from bench.run.rejoin import command_without, lost_nodes, rejoin
from bench.store import SetAside, load

WHERE = runs.ranks(4, 2)
LEFT = tuple(replace(rank, rank=at) for at, rank in enumerate(rank for rank in WHERE if rank.node != "n2"))
REASON = "n2 (ranks 4-5): its supervisor is gone"


@pytest.fixture
def run(tmp_path):
    runs.folder(tmp_path / "run", where=WHERE, end=False)
    line = {"kind": "loss", "case": "x", "reason": REASON, "culprit": "n2 (ranks 4-5)", "died": True}
    with (tmp_path / "run" / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps({**line, "nodes": ["n2"], "time": 1.0}) + "\n")
    return load(tmp_path / "run")


def test_a_node_that_is_left_out_is_set_aside_and_the_others_keep_their_numbers(run):
    found = rejoin(run, LEFT, ["n2"])
    assert found is not None and found.changed and found.numbers == (0, 1, 2, 3, 6, 7)
    assert found.run.manifest.nodes == ("n0", "n1", "n3")
    assert found.run.manifest.set_aside == (SetAside("n2", "n2", REASON),)


def test_a_node_that_is_back_takes_part_again(run):
    aside = rejoin(run, LEFT, ["n2"])
    assert aside is not None
    back = rejoin(aside.run, WHERE, [])
    assert back is not None and back.changed
    assert back.run.manifest.nodes == ("n0", "n1", "n2", "n3") and back.run.manifest.set_aside == ()


def test_a_node_that_stays_away_stays_aside_without_being_named_again(run):
    aside = rejoin(run, LEFT, ["n2"])
    assert aside is not None
    again = rejoin(aside.run, LEFT, [])
    assert again is not None and not again.changed and again.run.manifest.nodes == ("n0", "n1", "n3")


@pytest.mark.parametrize(
    ("here", "without"),
    [
        (LEFT, []),
        (LEFT, ["n1"]),
        (WHERE[:-1], []),
        ((*WHERE, Rank(8, "n4", 0)), []),
        (tuple(reversed(WHERE)), []),
    ],
    ids=["not on purpose", "another one", "one rank less", "one node more", "another order"],
)
def test_other_nodes_than_expected_are_another_cluster(run, here, without):
    assert rejoin(run, here, without) is None


def test_the_command_that_goes_on_names_the_other_nodes_with_their_ranks(run):
    assert lost_nodes(run) == ("n2",)
    assert command_without(run.manifest, ("n2",), "runs/x") == (
        "mpirun -n 6 --host n0:2,n1:2,n3:2 railgauge resume runs/x --without n2"
    )
