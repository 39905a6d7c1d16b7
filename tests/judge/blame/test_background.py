"""What a run knows besides its transfers: leaves from the fabric, signs from facts and counters, GPUs inside."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import runs
from bench.judge.blame import Background, BlameRules, PairRate, blame
from bench.judge.blame.background import background, inside, symptoms
from bench.judge.counter_windows import over_the_run
from bench.judge.evidence import Evidence
from bench.judge.leaves import leaves
from bench.judge.rails_of_rank import rail_names
from bench.model.counters import Snapshot
from bench.model.facts import GpuToHca
from bench.model.profile import Rails
from bench.model.rails import own_rails
from bench.model.run_folder_lines import CounterLine
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.phase_names import INSIDE
from bench.probe.fabric.ask_all import SubnetAnswers, seen
from bench.probe.fabric.run_tools import ToolAnswer
from bench.store import FABRIC, LOGS, load
from bench.store.rows import row_of
from made_nodes import LAMBDA, around, counted, grow, interface, node, nodes, port, with_port

NAMES = tuple(f"mlx5_{at}/1" for at in range(1, 9))
ALONE = tuple((name,) for name in NAMES)
NODES = nodes(4)


def test_the_rail_of_a_gpu_is_the_adapter_behind_its_own_pci_switch():
    assert own_rails(node(0), LAMBDA.rails) == ALONE
    turned = node(0, gpus=tuple(reversed([replace(g, index=7 - g.index) for g in node(0).gpus])))
    assert own_rails(turned, LAMBDA.rails) == ALONE[::-1]


def test_where_the_tree_does_not_tell_the_order_of_the_rails_counts():
    blind = node(0, gpus=tuple(replace(g, pci=None) for g in node(0).gpus))
    assert own_rails(blind, LAMBDA.rails) == ALONE
    told = replace(
        blind,
        topology=tuple(
            GpuToHca(g, f"mlx5_{at}", "PIX" if at == 8 - g else "SYS") for g in range(8) for at in range(9)
        ),
    )
    assert own_rails(told, LAMBDA.rails) == ALONE[::-1]


def test_rails_are_called_as_more_than_half_of_the_nodes_call_them():
    lame = with_port(NODES[0], "mlx5_3", state="DOWN")
    assert rail_names(LAMBDA, runs.ranks(4, 8), [lame, *NODES[1:]]) == NAMES
    assert rail_names(LAMBDA, runs.ranks(2, 2)) == ("rail 0", "rail 1")
    assert rail_names(LAMBDA, runs.ranks(2, 2), NODES) == NAMES[:2]


def of_signs(machines, counters=(), rails=LAMBDA.rails, names=NAMES):
    run = runs.read_only(machines, counters)
    return [(s.node, s.rail, s.text) for s in symptoms(machines, rails, names, over_the_run(run))]


def test_healthy_nodes_show_no_sign():
    assert of_signs(NODES) == []


def test_a_link_that_is_down_or_slower_than_the_others_is_a_sign():
    down = with_port(NODES[1], "mlx5_3", state="DOWN")
    slow = with_port(NODES[2], "mlx5_5", rate=25e9)
    assert of_signs([NODES[0], down, slow, NODES[3]]) == [
        ("n1", "mlx5_3/1", "its state is DOWN"),
        ("n2", "mlx5_5/1", "its link runs at 200.0 Gb/s, the others at 400.0 Gb/s"),
    ]


def test_an_adapter_that_a_node_lacks_is_a_sign_of_its_port():
    """The profile names adapters, the run their ports."""
    lame = replace(NODES[1], ports=tuple(each for each in NODES[1].ports if each.hca != "mlx5_3"))
    rails = replace(LAMBDA.rails, devices=tuple(f"mlx5_{at}" for at in range(1, 9)))
    machines = [NODES[0], lame, *NODES[2:]]
    assert of_signs(machines, rails=rails) == [("n1", "mlx5_3/1", "the node has no such device")]


def test_interfaces_show_their_state_and_an_odd_mtu():
    rails = Rails(kind="socket", count=2, devices=("eth1", "eth2"))
    pods = [node(at, interfaces=(interface("eth1"), interface("eth2"))) for at in range(3)]
    pods[1] = replace(pods[1], interfaces=(interface("eth1", mtu=1000), interface("eth2", operstate="down")))
    assert of_signs(pods, rails=rails, names=("eth1", "eth2")) == [
        ("n1", "eth1", "its MTU is 1000, the others' 1500"),
        ("n1", "eth2", "its state is down"),
    ]
    assert of_signs([replace(pods[0], interfaces=())], rails=rails, names=("eth1", "eth2")) == [
        ("n0", "eth1", "the node has no such device"),
        ("n0", "eth2", "the node has no such device"),
    ]


def test_errors_of_the_link_itself_are_signs_and_losses_counted_by_the_sender_are_not():
    before = [counted(each) for each in NODES]
    after = list(before)
    after[1] = grow(after[1], "mlx5_3/1", "counters", seconds=1.0, symbol_error=7, port_xmit_discards=9)
    after[1] = grow(after[1], "mlx5_3/1", "hw_counters", local_ack_timeout_err=5, out_of_sequence=3)
    after[2] = grow(after[2], "mlx5_0/1", "counters", symbol_error=7)
    found = of_signs(NODES, around("rails", before, after))
    assert found == [("n1", "mlx5_3/1", "symbol_error grew by 7")]


def test_counters_that_are_missing_add_no_sign():
    assert of_signs(NODES, [CounterLine("x", "before", ())]) == []
    assert of_signs(NODES, [CounterLine("x", when, ()) for when in ("before", "after")]) == []


# ── leaves ──────────────────────────────────────────────────────────────────────────────────────────────


def discovered(machines) -> str:
    """ibnetdiscover's words of a fabric with a leaf for each rail."""
    lines = ["# Initiated from node 0010000000000100 port 0010000000000101", ""]
    for rail in range(1, 9):
        switch = f"00100000000008{rail:02x}"
        lines.append(f'Switch\t64 "S-{switch}"\t\t# "leaf{rail}" enhanced port 0 lid {rail} lmc 0')
        for at, machine in enumerate(machines, 1):
            guid = port(rail, at - 1).gid.replace(":", "")[-16:]
            lines.append(f'[{at}]\t"H-{guid}"[1]({guid}) \t\t# "{machine.name} mlx5_{rail}" lid {at} 4xNDR')
        lines.append("")
    return "\n".join(lines)


def look(machines) -> SubnetAnswers:
    text = discovered(machines)
    said = ToolAnswer(("ibnetdiscover",), Status.PASS, "", text, "")
    return SubnetAnswers(said, replace(said, text=""), replace(said, text=""))


def test_the_leaf_of_every_rail_is_read_from_the_fabric():
    found = leaves(NODES, NAMES, seen(look(NODES)))
    assert len(found) == 32
    assert {leaf for (_, rail), leaf in found.items() if rail == "mlx5_3/1"} == {"leaf3"}


def test_no_fabric_and_unknown_guids_give_no_leaves():
    assert leaves(NODES, NAMES, None) == {}
    blind = [replace(each, ports=tuple(replace(p, gid=None) for p in each.ports)) for each in NODES]
    assert leaves(blind, NAMES, seen(look(NODES))) == {}


@pytest.mark.parametrize("text", ["", "no json\n", "{}\n", '[{"command": 3}]\n'])
def test_a_damaged_record_of_the_fabric_gives_no_leaves_and_breaks_nothing(tmp_path, text):
    folder = runs.folder(tmp_path / "run", where=runs.ranks(2, 8), profile=LAMBDA, nodes=NODES[:2])
    (folder / LOGS / FABRIC).write_text(text)
    assert background(Evidence(load(folder), LAMBDA)).leaves == {}


def test_a_run_folder_tells_leaves_signs_and_names(tmp_path):
    machines = [NODES[0], with_port(NODES[1], "mlx5_3", state="DOWN"), NODES[2], NODES[3]]
    folder = runs.folder(tmp_path / "run", where=runs.ranks(4, 8), profile=LAMBDA, nodes=machines)
    asked = [{**vars(said), "status": said.status.value} for said in look(machines).answers]
    (folder / LOGS / FABRIC).write_text(json.dumps(asked) + "\n")
    found = background(Evidence(load(folder), LAMBDA))
    assert found.rails == NAMES
    assert found.leaves["n2", "mlx5_8/1"] == "leaf8"
    assert [sign.text for sign in found.symptoms] == ["its state is DOWN"]


# ── inside, and what blame makes of it ──────────────────────────────────────────────────────────────────


def rows_inside(slow=()):
    where = runs.ranks(2, 8)
    made, _ = acceptance(Job(LAMBDA, where, "nccl", AcceptOptions(), NAMES), 1.0)
    cases = next(phase.cases for phase in made if phase.name == INSIDE)
    found = []
    for case in cases:
        for row in runs.measured(case):
            rate = 100e9 if set(row.ranks) & set(slow) else 300e9
            found.append(row_of(case, replace(row, pipelined=((case.size / rate,) * 2,) * 6)))
    return found, where


def test_a_gpu_is_judged_by_its_best_neighbours_so_that_a_bad_one_spoils_nobody():
    rows, where = rows_inside(slow={11})
    found = {(each.node, each.gpu): each.rate for each in inside(rows, where, NAMES, {})}
    assert len(found) == 16
    assert found["n1", "3"] == pytest.approx(100e9)
    assert all(rate == pytest.approx(300e9) for key, rate in found.items() if key != ("n1", "3"))


def test_a_port_whose_gpu_is_slow_inside_its_node_is_the_gpus_fault(tmp_path):
    rows, _ = rows_inside(slow={11})
    folder = runs.folder(tmp_path / "run", where=runs.ranks(2, 8), profile=LAMBDA, nodes=NODES[:2])
    known = background(Evidence(load(folder), LAMBDA))
    in_node = tuple(inside(rows, runs.ranks(2, 8), NAMES, {}))
    besides = replace(known, nodes=("n0", "n1", "n2"), inside=in_node)
    line = 46e9
    pairs = [("n0", "n1"), ("n0", "n2"), ("n1", "n2")]
    transfers = [
        PairRate(
            0, a, b, rail, way, line * (0.5 if "n1" in (a, b) and rail == "mlx5_4/1" else 1.0), again=again
        )
        for a, b in pairs
        for rail in NAMES
        for way in ("ab", "ba")
        for again in (False, True, True, True)
    ]
    (row,) = blame(transfers, BlameRules(nominal=line), besides).named
    assert (row.subject.kind, row.subject.node, row.subject.name) == ("gpu", "n1", "3")


def test_a_sign_on_one_of_two_rivals_tells_them_apart_and_without_it_the_question_is_said():
    lame = with_port(NODES[1], "mlx5_3", rate=25e9)
    line, pair = 46e9, ("n0", "n1")
    rows = [
        PairRate(0, *pair, rail, way, line * (0.5 if rail == "mlx5_3/1" else 1.0), again=again)
        for rail in NAMES
        for way in ("ab", "ba")
        for again in (False, True, True, True)
    ]
    plain = known_of([NODES[0], NODES[1]])
    (row,) = blame(rows, BlameRules(nominal=line), plain).named
    assert "cannot tell n0 rail mlx5_3/1 from" in row.text
    assert "cross-rail" in row.next_step
    (row,) = blame(rows, BlameRules(nominal=line), known_of([NODES[0], NODES[2], lame], pair)).named
    assert row.text == "n1 rail mlx5_3/1"


def known_of(machines, names=("n0", "n1")):
    return Background(names, NAMES, symptoms=tuple(symptoms(machines, LAMBDA.rails, NAMES, ())))


def test_snapshots_of_a_reset_counter_are_no_sign():
    first = [counted(NODES[0])]
    first[0] = grow(first[0], "mlx5_3/1", "counters", symbol_error=9)
    last = [Snapshot(first[0].time + 1, first[0].monotonic + 1, counted(NODES[0]).readings)]
    assert of_signs(NODES[:1], around("rails", first, last)) == []
