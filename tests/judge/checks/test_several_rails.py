"""Blame where a GPU has two rails: it names both, says that it cannot tell which, and what would."""

from __future__ import annotations

from dataclasses import replace

import runs
from bench.model.measurement import Case, Measurement
from bench.model.profile import load
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.phase_names import AGAIN, FIRST, PINNED
from bench.store import Plan
from bench.store.rows import row_of
from made_nodes import judged, oci, seen

OCI = load("oci-h100")
LINE = 44e9
RAILS = {f"{name}/1": at // 2 for at, name in enumerate(OCI.rails.devices)}


def at_rate(case: Case, row: Measurement, rate: float) -> Measurement:
    return replace(row, pipelined=((case.size / rate,) * 2,) * 6, isolated=(case.size / rate,) * 12)


def slow_gpu(with_pinned: bool, machines=()):
    """Three nodes: what GPU 1 of n1 exchanges with others goes at half rate, and alone so does mlx5_4."""
    where = runs.ranks(3, 8)
    made, _ = acceptance(Job(OCI, where, "nccl", AcceptOptions(), tuple(RAILS), tuple(RAILS.values())), 1.0)
    (first,) = (phase for phase in made if phase.name == FIRST)
    rows = []
    for phase in made:
        if phase is not first and not (with_pinned and phase.name.startswith(PINNED)):
            continue
        for case in phase.cases:
            for row in runs.measured(case):
                mine = 9 in row.ranks and case.rail in ("own", "mlx5_4/1")
                rows.append(row_of(case, at_rate(case, row, LINE / 2 if mine else LINE)))
                if phase is first and case.collective == "p2p" and mine:
                    for turn in range(7):
                        name = f"{AGAIN}-{turn}"
                        again = replace(case, phase=name, id=f"{name}/{case.id}")
                        other = replace(row, case=again.id)
                        rows.append(row_of(again, at_rate(again, other, LINE / 2)))
    return seen(machines or [oci(at) for at in range(3)], rows=rows, plan=Plan((first,)))


def test_both_rails_are_named_and_the_pinned_pass_is_the_next_step():
    named = [
        verdict for verdict in judged("blame.rails", slow_gpu(False), OCI) if verdict.status is Status.FAIL
    ]
    assert [verdict.subject for verdict in named] == ["n1 rail mlx5_3/1+mlx5_4/1"]
    assert named[0].next_step.startswith(
        "mlx5_3/1, mlx5_4/1 are rails of one GPU, and these transfers do not show which of them it is"
    )
    assert "accept --pinned" in named[0].next_step
    assert not any("pinned" in text for text in named[0].evidence)


def test_what_each_rail_did_alone_stands_with_it():
    named = [
        verdict for verdict in judged("blame.rails", slow_gpu(True), OCI) if verdict.status is Status.FAIL
    ]
    (told,) = [verdict for verdict in named if verdict.subject == "n1 rail mlx5_3/1+mlx5_4/1"]
    assert "(below)" in told.next_step
    alone = [text for text in told.evidence if "alone, pinned" in text]
    assert [text.partition(" ")[0] for text in alone] == ["mlx5_3/1", "mlx5_4/1"]
    assert "44.00 GB/s" in alone[0]
    assert "22.00 GB/s" in alone[1]


def test_where_pci_does_not_tell_a_name_is_called_a_guess():
    """A virtual machine that hides the tree: NCCL deals out adapters that are equally near in another order."""
    blind = [replace(oci(at), gpus=tuple(replace(g, pci=None) for g in oci(at).gpus)) for at in range(3)]
    told = [
        verdict
        for verdict in judged("blame.rails", slow_gpu(False, blind), OCI)
        if verdict.status is Status.FAIL
    ]
    assert [verdict.subject for verdict in told] == ["n1 rail mlx5_3/1+mlx5_4/1"]
    assert told[0].next_step.startswith("mlx5_3/1+mlx5_4/1 is assigned by the GPUs' order, not by PCI")
    plain = [
        verdict for verdict in judged("blame.rails", slow_gpu(False), OCI) if verdict.status is Status.FAIL
    ]
    assert "not PCI" not in plain[0].next_step
