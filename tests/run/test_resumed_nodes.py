"""Who of a run that goes on is here: left out on purpose, back again, or another cluster."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import runs
from bench.model.facts import Interface, Node
from bench.model.measurement import Rank
from bench.run.resume import ResumeRefused, unlike
from bench.run.resumed_nodes import as_they_are_now, command_without, lost_nodes, rejoin
from bench.store import SetAside, load
from bench.store.set_aside import without_set_aside

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


def test_a_node_that_was_lost_in_a_phase_is_set_aside_in_it(run):
    case = run.plan.phases[0].cases[-1]
    lost = replace(run, losses=(replace(run.losses[0], case=case.id),))
    found = rejoin(lost, LEFT, ["n2"])
    assert found is not None
    assert found.run.manifest.set_aside == (SetAside("n2", "n2", REASON, phase=case.phase),)


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


NOW = tuple(Node(name, interfaces=(Interface("eth1", operstate="up"),)) for name in ("n0", "n1", "n2", "n3"))
HERE = tuple(replace(rank, device="cpu") for rank in WHERE)
SETTINGS = {str(rank.rank): {"NCCL_IB_HCA": "mlx5"} for rank in WHERE}


def set_aside(run, state, rows):
    """The run whose n2 was set aside before measuring, eth1 of it then in that state; ``rows`` of the others."""
    then = tuple(
        replace(node, interfaces=(replace(node.interfaces[0], operstate=state),))
        if node.name == "n2"
        else node
        for node in NOW
    )
    aside = (SetAside("n2", "n2", "eth1 is down"),)
    manifest = replace(run.manifest, ranks=HERE, environment=SETTINGS, set_aside=aside)
    return without_set_aside(replace(run, manifest=manifest, facts=then, measurements=rows, losses=()))


def resumed(before):
    back = rejoin(before, HERE, [])
    assert back is not None
    run = as_they_are_now(before, back.run, HERE, NOW, SETTINGS)
    unlike(run, HERE, NOW, run.manifest.versions, SETTINGS)
    return run


def test_a_node_that_was_mended_takes_part_again_as_it_is_now(run):
    rows = tuple(row for row in run.measurements if not {4, 5} & {*row.ranks})
    assert resumed(set_aside(run, "down", rows)).whole.facts == NOW


def test_a_node_that_never_came_takes_part_when_it_is_there(run):
    whole = set_aside(run, "up", ()).whole
    environment = {rank: own for rank, own in SETTINGS.items() if rank not in ("4", "5")}
    never = replace(
        whole,
        facts=tuple(node for node in whole.facts if node.name != "n2"),
        manifest=replace(
            whole.manifest,
            ranks=tuple(replace(rank, device="") if rank.node == "n2" else rank for rank in HERE),
            environment=environment,
        ),
    )
    found = resumed(without_set_aside(never))
    assert (found.facts, found.manifest.environment, found.manifest.ranks) == (NOW, SETTINGS, HERE)


def test_a_node_with_measurements_must_be_what_it_was_when_it_is_back(run):
    assert any({4, 5} & {*row.ranks} for row in run.measurements)
    with pytest.raises(ResumeRefused, match="n2 eth1: state was down, is up"):
        resumed(set_aside(run, "down", run.measurements))


def test_a_node_that_was_never_set_aside_must_be_what_it_was(run):
    whole = set_aside(run, "down", ()).whole
    with pytest.raises(ResumeRefused, match="n2 eth1: state was down, is up"):
        resumed(replace(whole, manifest=replace(whole.manifest, set_aside=())))
