"""Transfers between GPUs, nobody pinned: whose rails the counters say carried them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import runs
from bench.judge.wire.counters import calls
from bench.model.counters import Snapshot
from bench.model.profile import Profile, load
from bench.model.verdict import Status
from bench.plan import Job, acceptance
from bench.plan.phase_names import FIRST
from bench.store import Plan
from bench.store.rows import row_of
from made_nodes import LAMBDA, around, counted, grow, judged, nodes, oci, seen, status, with_port, worst_words

OCI = load("oci-h100")
SINGLE = tuple((f"mlx5_{at}/1",) for at in range(1, 9))
PAIRS = tuple(tuple(f"{name}/1" for name in OCI.rails.devices[2 * at : 2 * at + 2]) for at in range(8))


def measured(
    change=None,
    machines=None,
    own: Sequence[Sequence[str]] = SINGLE,
    want: Profile = LAMBDA,
    of=8,
    extra=None,
):
    """The first phase over ``machines``: each GPU's bytes on ``own``, evenly.

    ``change``: a rail of the first node → the rails that its bytes are counted on instead.
    ``of``: so many GPUs a node are measured. ``extra``: bytes more on rails of the first node.
    """
    machines = machines or nodes(2)
    where = runs.ranks(len(machines), 8)
    made, _ = acceptance(Job(want, where, "nccl"), 1.0)
    (phase,) = (phase for phase in made if phase.name == FIRST)
    rows = [row_of(case, each) for case in phase.cases for each in runs.measured(case)]
    rows = [row for row in rows if all(where[rank].local_rank < of for rank in row.measurement.ranks)]
    sums: dict[tuple[str, str], float] = {}
    for row in rows:
        ways = 2 if row.case.collective == "p2p_bidirectional" else 1
        for rank in row.measurement.ranks:
            rails = own[where[rank].local_rank]
            for rail in rails:
                count = ways * row.case.size * calls(row.measurement, 0) / len(rails)
                to = change(rail) if change and where[rank].node == machines[0].name else (rail,)
                for each in to:
                    key = where[rank].node, each
                    sums[key] = sums.get(key, 0.0) + count / len(to)
    for rail, count in (extra or {}).items():
        sums[machines[0].name, rail] = sums.get((machines[0].name, rail), 0.0) + count
    before = [counted(each) for each in machines]
    after = []
    for machine, shot in zip(machines, before, strict=True):
        for (name, rail), count in sums.items():
            if name == machine.name:
                words = int(count / 8)
                shot = grow(shot, rail, "counters", port_xmit_data=words, port_rcv_data=words)
        after.append(Snapshot(shot.time + 1.0, shot.monotonic + 1.0, shot.readings))
    return seen(
        machines,
        counters=around(FIRST, before, after),
        phases=[FIRST],
        plan=Plan((phase,)),
        rows=rows,
    )


def test_bytes_on_the_rails_of_their_own_gpus_pass():
    assert status("rails.intended", measured()) is Status.PASS
    assert status("rails.intended", measured(of=3)) is Status.PASS


def test_another_rail_that_moves_a_gpus_bytes_is_named():
    evidence = measured(lambda rail: ("mlx5_6/1",) if rail == "mlx5_3/1" else (rail,))
    assert status("rails.intended", evidence) is Status.INCONCLUSIVE
    words = worst_words("rails.intended", evidence)
    assert "n0 mlx5_3/1: moved only 0 B in phase “all rails between all nodes”" in words
    assert "mlx5_6/1 moved" in words
    assert "that no GPU next to it did" in words
    assert "n1" not in words


def test_a_share_of_the_bytes_on_a_rail_that_no_measured_gpu_has_is_named():
    evidence = measured(lambda rail: (rail, "mlx5_8/1") if rail == "mlx5_1/1" else (rail,), of=3)
    assert status("rails.intended", evidence) is Status.INCONCLUSIVE
    assert "n0 mlx5_1/1: moved only" in worst_words("rails.intended", evidence)
    assert "mlx5_8/1 moved" in worst_words("rails.intended", evidence)


def test_a_rail_that_moves_much_beside_the_measured_ones_is_named():
    evidence = measured(of=3, extra={"mlx5_8/1": 1e12})
    assert status("rails.intended", evidence) is Status.INCONCLUSIVE
    assert "mlx5_8/1 moved" in worst_words("rails.intended", evidence)


def test_a_node_whose_counters_are_silent_does_not_pass():
    silent = [
        replace(each, ports=tuple(replace(port, counters={}) for port in each.ports)) for each in nodes(2)
    ]
    evidence = measured()
    lines = around(FIRST, *[[counted(each) for each in silent]] * 2)
    blind = replace(evidence, run=replace(evidence.run, counters=tuple(lines)))
    vars(blind)["rows"] = evidence.rows
    assert status("rails.intended", blind) is Status.INCONCLUSIVE
    assert "mlx5_1/1 has no byte counter" in worst_words("rails.intended", blind)


def test_two_rails_of_one_gpu_are_judged_together_however_nccl_shares_them():
    machines = [oci(0), oci(1)]
    even = measured(machines=machines, own=PAIRS, want=OCI)
    assert status("rails.intended", even, OCI) is Status.PASS
    one = measured(lambda rail: ("mlx5_0/1",) if rail == "mlx5_1/1" else (rail,), machines, PAIRS, OCI)
    assert status("rails.intended", one, OCI) is Status.PASS
    astray = measured(lambda rail: ("mlx5_3/1",) if rail in PAIRS[0] else (rail,), machines, PAIRS, OCI)
    assert status("rails.intended", astray, OCI) is Status.INCONCLUSIVE
    words = worst_words("rails.intended", astray, OCI)
    assert "n0 mlx5_0/1+mlx5_1/1: moved only 0 B" in words
    assert "mlx5_3/1 moved" in words


def test_rails_that_the_order_of_the_ports_would_give_are_not_the_gpus():
    """One port a GPU in order, as they were called before: the counters do not agree."""
    devices = tuple((f"{name}/1",) for name in OCI.rails.devices[:8])
    evidence = measured(machines=[oci(0), oci(1)], own=devices, want=OCI)
    assert status("rails.intended", evidence, OCI) is Status.INCONCLUSIVE


def test_unknown_rails_and_missing_counters_are_could_not_tell():
    lame = with_port(nodes(2)[1], "mlx5_3", state="DOWN")
    evidence = measured(machines=[nodes(1)[0], lame])
    assert "mlx5_3/1: none of the node's rails" in worst_words("rails.intended", evidence)
    bare = measured()
    bare = replace(bare, run=replace(bare.run, counters=()))
    assert status("rails.intended", bare) is Status.INCONCLUSIVE
    silent = replace(bare, run=replace(bare.run, phases=()))
    assert status("rails.intended", silent) is Status.NOT_APPLICABLE


@pytest.mark.parametrize("name", ["local", "lambda-on-demand"])
def test_without_rails_or_without_such_transfers_it_says_why(name):
    assert status("rails.intended", measured(), load(name)) is Status.NOT_APPLICABLE
    (verdict,) = judged("rails.intended", seen(nodes(1), plan=Plan((), skipped=((FIRST, "one node"),))))
    assert (verdict.status, verdict.measured) == (Status.NOT_APPLICABLE, "one node")
