"""On many nodes the rings of the screening follow the leaves that the fabric's tools said before the first phase."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

import runs
from bench import __version__
from bench.judge.blame.transfers import screened
from bench.judge.evidence import Evidence
from bench.judge.expected_plan import expected_phases, not_planned
from bench.judge.gpu_of_rank import foreseen
from bench.model.typed_json import to_json
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Memory
from bench.plan.phase_names import SCREEN
from bench.plan.screening import groups
from bench.probe.fabric.run_tools import ToolAnswer
from bench.run.options import Options
from bench.run.planning import make_plan, plan_by_fabric
from bench.store import FABRIC, LOGS, load
from made_nodes import LAMBDA, nodes, port

NODES, LEAVES = 72, 3
ROOM = Memory(1 << 40, "a GPU")


def discovered(leaf_of: Mapping[int, int]) -> str:
    """What ibnetdiscover says of switches, one for each rail of each leaf, with the nodes that hang on them."""
    lines = ["# Initiated from node 0010000000000100 port 0010000000000101", ""]
    for leaf in sorted(set(leaf_of.values())):
        for rail in range(1, 9):
            switch = f"00100000000{leaf:03x}{rail:02x}"
            lines.append(f'Switch\t64 "S-{switch}"\t\t# "leaf{leaf}-{rail}" enhanced port 0 lid {rail} lmc 0')
            for at, node in enumerate((node for node in leaf_of if leaf_of[node] == leaf), 1):
                guid = port(rail, node).gid.replace(":", "")[-16:]
                lines.append(f'[{at}]\t"H-{guid}"[1]({guid}) \t\t# "n{node} mlx5_{rail}" lid {at} 4xNDR')
            lines.append("")
    return "\n".join(lines)


def line(leaf_of: Mapping[int, int]) -> str:
    said = ToolAnswer(("ibnetdiscover",), Status.PASS, "", discovered(leaf_of), "")
    return json.dumps(to_json([said, replace(said, text=""), replace(said, text="")])) + "\n"


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The options and the folder of an acceptance run of nodes that are dealt out over the leaves in turn."""
    path = tmp_path_factory.mktemp("fabric") / "run"
    where, machines = runs.ranks(NODES, 8), nodes(NODES)
    options = Options(LAMBDA, path, ("railgauge", "accept"), accept=AcceptOptions())
    gpus = foreseen(where, machines, {})
    plan = make_plan(options, where, "nccl", ROOM, machines, gpus)
    runs.folder(
        path,
        [],
        [],
        where,
        LAMBDA,
        end=False,
        backend="nccl",
        plan=plan,
        nodes=machines,
        command=options.command,
    )
    return options, path


def heard(path, *readings: Mapping[int, int]):
    (path / LOGS).mkdir(exist_ok=True)
    (path / LOGS / FABRIC).write_text("".join(map(line, readings)))
    found = load(path)
    return replace(found, manifest=replace(found.manifest, versions={"railgauge": __version__}))


def rings(plan) -> list[tuple[str, ...]]:
    first = next(phase for phase in plan.phases if phase.name.startswith(SCREEN))
    case = next(case for case in first.cases if "/across" not in case.id)
    return sorted({tuple(f"n{rank // 8}" for rank in group) for group in case.groups})


def test_rings_are_leaves_and_judging_expects_them(planned):
    options, path = planned
    in_turn = {node: node % LEAVES for node in range(NODES)}
    # a later reading, after a cable was moved, changes nothing of what was planned
    run = heard(path, in_turn, dict.fromkeys(range(NODES), 0))
    plan = plan_by_fabric(options, run, ROOM)
    wanted = [tuple(f"n{node}" for node in range(leaf, NODES, LEAVES)) for leaf in range(LEAVES)]
    assert rings(plan) == sorted(wanted)
    run = replace(run, plan=plan)
    assert not_planned(run, expected_phases(run)) == {}
    assert {ring for ring in screened(Evidence(run, LAMBDA)).probes if len(ring) == NODES // LEAVES} == {
        *wanted
    }


def test_without_a_word_of_the_fabric_neighbours_are_taken_in_turn(planned):
    options, path = planned
    run = heard(path)
    assert plan_by_fabric(options, run, ROOM) is run.plan
    assert rings(run.plan) == sorted(groups([f"n{node}" for node in range(NODES)]))
    assert not_planned(run, expected_phases(run)) == {}
