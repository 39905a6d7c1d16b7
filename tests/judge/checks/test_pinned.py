"""One rail at a time: the counters say which rail moved, NCCL's log says which one it used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import runs
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.profile import Profile, Rails, Sweep
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Job, acceptance
from bench.store import Plan
from bench.store.rows import row_of
from made_nodes import (
    LAMBDA,
    around,
    counted,
    grow,
    interface,
    judged,
    nodes,
    seen,
    status,
    with_port,
    worst_words,
)

RAIL, OTHER = "mlx5_3/1", "mlx5_4/1"
SECONDS = 1.0
DEVICES = tuple(f"mlx5_{at}/1" for at in range(1, 9))


def pinned_plan(machines: Sequence[Node]) -> Plan:
    """The pass on RAIL alone, of a real plan."""
    made, _ = acceptance(Job(LAMBDA, runs.ranks(len(machines), 8), "nccl", AcceptOptions(), DEVICES), 1.0)
    return Plan(tuple(phase for phase in made if phase.name == "pinned-2"))


def moved(shot: Snapshot, rail: str, count: float) -> Snapshot:
    """``count`` bytes more on a rail, half each way."""
    words = int(count / 8)
    return grow(shot, rail, "counters", port_xmit_data=words, port_rcv_data=words)


def alone(change=lambda shot, count: moved(shot, RAIL, count), machines=None, measured=True, path=None):
    """Evidence of the pass; ``change`` puts on the first node what its counters say of ``count`` bytes."""
    machines = machines or nodes(2)
    plan = pinned_plan(machines)
    rows = [row_of(case, each) for case in plan.cases for each in runs.measured(case)] if measured else []
    # 2 calls to check, 4 to warm up, 6 blocks of 4 and 12 alone; both directions at once
    count = sum(2 * row.case.size * (4 + 6 * 4 + 12) for row in rows)
    before = [counted(each) for each in machines]
    after = [moved(shot, RAIL, count) for shot in before]
    after[0] = change(before[0], count)
    after = [Snapshot(shot.time + SECONDS, shot.monotonic + SECONDS, shot.readings) for shot in after]
    more = {"path": path} if path else {}
    return seen(
        machines,
        counters=around("pinned-2", before, after),
        phases=["pinned-2"],
        plan=plan,
        rows=rows,
        **more,
    )


def test_the_intended_rail_alone_moving_passes():
    assert status("rails.alone", alone()) is Status.PASS


def test_another_rail_moving_instead_is_named_and_is_no_pass():
    evidence = alone(lambda shot, count: moved(shot, OTHER, count))
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    words = worst_words("rails.alone", evidence)
    assert "n0 mlx5_3/1: moved only 0 B" in words
    assert "mlx5_4/1 moved" in words


def test_another_rail_moving_as_well_is_named_and_is_no_pass():
    evidence = alone(lambda shot, count: moved(moved(shot, RAIL, count), OTHER, count / 2))
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    assert "but mlx5_4/1 moved" in worst_words("rails.alone", evidence)


def test_the_chatter_of_a_subnet_manager_on_another_rail_is_no_fault():
    evidence = alone(lambda shot, count: moved(moved(shot, RAIL, count), OTHER, 400_000))
    assert status("rails.alone", evidence) is Status.PASS


def test_less_than_what_was_sent_is_no_pass():
    evidence = alone(lambda shot, count: moved(shot, RAIL, count / 2))
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    assert "no other rail moved instead" in worst_words("rails.alone", evidence)


def test_missing_counters_are_could_not_tell():
    bare = tuple(
        replace(each, ports=tuple(replace(port, counters={}) for port in each.ports)) for each in nodes(2)
    )
    evidence = alone(lambda shot, count: shot, machines=nodes(2))
    lines = around("pinned-2", [counted(each) for each in bare], [counted(each) for each in bare])
    evidence = replace(evidence, run=replace(evidence.run, counters=tuple(lines)))
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    assert "are not known" in worst_words("rails.alone", evidence)


def test_a_pinned_rail_that_is_none_of_the_nodes_rails_does_not_pass():
    """RAIL has become a port of another kind: its bytes are those of no rail."""
    machines = [with_port(each, "mlx5_3", link_layer="Ethernet") for each in nodes(2)]
    evidence = alone(lambda shot, count: moved(shot, RAIL, count), machines=machines)
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    assert "mlx5_3/1 is none of the node's rails" in worst_words("rails.alone", evidence)


def test_no_counters_at_all_and_no_phase_begun_are_could_not_tell():
    evidence = alone()
    assert (
        status("rails.alone", replace(evidence, run=replace(evidence.run, counters=())))
        is Status.INCONCLUSIVE
    )
    never = replace(evidence.run, phases=(), counters=())
    assert status("rails.alone", replace(evidence, run=never)) is Status.INCONCLUSIVE


def test_a_pass_of_which_nothing_was_measured_is_could_not_tell():
    evidence = alone(lambda shot, count: moved(shot, RAIL, 1e9), measured=False)
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE
    assert "nothing was measured" in worst_words("rails.alone", evidence)


def test_a_counter_that_stopped_at_its_maximum_is_could_not_tell():
    evidence = alone(
        lambda shot, count: grow(shot, RAIL, "counters", port_xmit_data=(1 << 32) - 1, port_rcv_data=10**9)
    )
    assert status("rails.alone", evidence) is Status.INCONCLUSIVE


def test_a_run_without_pinned_passes_says_why():
    evidence = seen(nodes(2), plan=Plan((), skipped=(("pinned", "not asked for: --no-pinned"),)))
    (verdict,) = judged("rails.alone", evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "--no-pinned" in verdict.measured


LINE = (
    "n{node}:{pid}:{pid} [{at}] NCCL INFO NCCL_IB_HCA set to ={hca}:1\n"
    "n{node}:{pid}:{pid} [{at}] NCCL INFO NET/IB : Using [0]{hca}:1/IB [RO]; OOB eth0:10.0.0.{node}<0>\n"
    "n{node}:{pid}:{pid} [{at}] NCCL INFO Using network IB\n"
)


def logged(tmp_path, hca=lambda rank: "mlx5_3", leave_out=()):
    """The logs that pinned workers leave, as NCCL 2.19 to 2.28 write them."""
    (tmp_path / "logs").mkdir()
    for rank in range(16):
        if rank not in leave_out:
            text = LINE.format(node=rank // 8, pid=1000 + rank, at=rank % 8, hca=hca(rank))
            (tmp_path / "logs" / f"pinned-2.{rank}.log").write_text(text)
    return alone(path=tmp_path)


def test_a_log_that_names_the_pinned_rail_alone_on_every_rank_passes(tmp_path):
    assert status("rails.pinned", logged(tmp_path)) is Status.PASS


def test_a_rank_that_used_another_rail_fails(tmp_path):
    evidence = logged(tmp_path, lambda rank: "mlx5_30" if rank == 5 else "mlx5_3")
    assert status("rails.pinned", evidence) is Status.FAIL
    assert "mlx5_30" in worst_words("rails.pinned", evidence)


@pytest.mark.parametrize("gone", [(3,), tuple(range(16))])
def test_a_rank_without_a_log_is_could_not_tell(tmp_path, gone):
    assert status("rails.pinned", logged(tmp_path, leave_out=gone)) is Status.INCONCLUSIVE


def test_a_real_log_of_eight_rails_is_no_pinned_pass(tmp_path):
    real = Path(__file__).parents[2] / "nccl" / "data" / "005-nebius-h100-2node-sharp-pxn-2.19.3.txt"
    (tmp_path / "logs").mkdir()
    for rank in range(16):
        (tmp_path / "logs" / f"pinned-2.{rank}.log").write_text(real.read_text())
    evidence = alone(path=tmp_path)
    assert status("rails.pinned", evidence) is Status.FAIL
    assert "mlx5_0" in worst_words("rails.pinned", evidence)


# ── interfaces ──────────────────────────────────────────────────────────────────────────────────────────

PODS = Profile(
    name="pods",
    title="",
    source="",
    text="",
    rails=Rails(kind="socket", count=2, devices=("eth1", "eth2"), management="eth0"),
    sweep=Sweep(pair_sizes=(1 << 20,)),
)


def pod(number: int) -> Node:
    return Node(f"n{number}", interfaces=tuple(interface(name) for name in ("eth0", "eth1", "eth2")))


def over_interfaces(moving: str, also: str = "", share: float = 1.0):
    """The pass on eth2 over three nodes; every node's counters say that ``moving`` moved."""
    machines, where = [pod(at) for at in range(3)], runs.ranks(3, 2)
    made, _ = acceptance(Job(PODS, where, "gloo", AcceptOptions(pinned=True), ("eth1", "eth2")), 1.0)
    plan = Plan(tuple(phase for phase in made if phase.name == "pinned-1"))
    assert {rank % 2 for case in plan.cases for group in case.groups for rank in group} == {1}
    rows = [row_of(case, each) for case in plan.cases for each in runs.measured(case)]
    before, after = [counted(each) for each in machines], []
    for machine, shot in zip(machines, before, strict=True):
        ends = [where[rank].node for row in rows for rank in row.measurement.ranks]
        count = (1 << 20) * 40 * ends.count(machine.name)
        shot = grow(shot, moving, "statistics", seconds=1.0, tx_bytes=count, rx_bytes=count)
        if also:
            more = int(share * count)
            shot = grow(shot, also, "statistics", tx_bytes=more, rx_bytes=more)
        after.append(shot)
    lines = around("pinned-1", before, after)
    return seen(machines, backend="gloo", each=2, counters=lines, phases=["pinned-1"], plan=plan, rows=rows)


def test_an_interface_that_moves_alone_passes_and_what_is_on_management_does_not_matter():
    assert status("rails.alone", over_interfaces("eth2"), PODS) is Status.PASS
    assert status("rails.alone", over_interfaces("eth2", "eth0"), PODS) is Status.PASS


def test_another_interface_moving_instead_or_as_well_is_named():
    assert "eth1 moved" in worst_words("rails.alone", over_interfaces("eth1"), PODS)
    assert status("rails.alone", over_interfaces("eth1"), PODS) is Status.INCONCLUSIVE
    assert "but eth1 moved" in worst_words("rails.alone", over_interfaces("eth2", "eth1", 0.5), PODS)
    assert status("rails.alone", over_interfaces("eth2", "eth1", 0.001), PODS) is Status.PASS


def pods_logged(tmp_path, used):
    """Pinned passes over interfaces with NCCL; ``used``: rank → the interface that its log names."""
    machines, where = [pod(at) for at in range(3)], runs.ranks(3, 2)
    made, _ = acceptance(Job(PODS, where, "nccl", AcceptOptions(pinned=True), ("eth1", "eth2")), 1.0)
    plan = Plan(tuple(phase for phase in made if phase.name == "pinned-1"))
    (tmp_path / "logs").mkdir()
    for rank in range(6):
        head = f"n{rank // 2}:{100 + rank}:{100 + rank} [{rank % 2}] NCCL INFO "
        text = f"{head}NET/Socket : Using [0]{used(rank)}:10.0.0.{rank}<0>\n{head}Using network Socket\n"
        (tmp_path / "logs" / f"pinned-1.{rank}.log").write_text(text)
    return seen(machines, each=2, phases=["pinned-1"], plan=plan, path=tmp_path)


def test_a_worker_pinned_to_an_interface_is_held_to_its_own_log(tmp_path):
    assert status("rails.pinned", pods_logged(tmp_path, lambda rank: "eth2"), PODS) is Status.PASS


def test_a_pinned_worker_on_another_interface_is_named(tmp_path):
    evidence = pods_logged(tmp_path, lambda rank: "eth0" if rank == 4 else "eth2")
    assert status("rails.pinned", evidence, PODS) is Status.FAIL
    assert "rank 4 (n2): NCCL uses the excluded eth0" in worst_words("rails.pinned", evidence, PODS)
