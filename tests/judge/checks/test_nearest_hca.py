"""The adapter that each GPU uses, by NCCL's channels, against the PCI tree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.model.run_folder_lines import Joined, WorkerGpu
from bench.model.verdict import Status
from bench.store import Phase, Plan
from made_nodes import LAMBDA, judged, nodes, seen, status, with_port, worst_words

USING = " ".join(f"[{at}]mlx5_{at + 1}:1/IB" for at in range(8))


MERGED = " ".join(
    f"[{at}]={{[{2 * at}] mlx5_{2 * at + 1}:1/IB, [{2 * at + 1}] mlx5_{2 * at + 2}:1/IB}}" for at in range(4)
)


def said(rank: int, device: int, proxy: str = "", using: str = USING) -> str:
    head = f"n{rank // 8}:{1000 + rank}:{1000 + rank} [{rank % 8}] NCCL INFO"
    other = (rank + 8) % 16
    return (
        f"{head} NET/IB : Using {using} [RO]; OOB eth0:10.0.0.1<0>\n"
        f"{head} Channel 00/0 : {rank}[{rank % 8}] -> {other}[{other % 8}] [send] via NET/IB/{device}{proxy}/GDRDMA\n"
    )


def run(
    tmp_path,
    device=lambda rank: rank % 8,
    proxy=lambda rank: "",
    gone=(),
    machines=None,
    using=USING,
    across=None,
):
    (tmp_path / "logs").mkdir()
    for rank in range(16):
        if rank not in gone:
            (tmp_path / "logs" / f"evidence.{rank}.log").write_text(
                said(rank, device(rank), proxy(rank), using)
            )
    names = ["evidence"]
    if across:
        names.append("cross")
        for rank in range(16):
            (tmp_path / "logs" / f"cross.{rank}.log").write_text(said(rank, device(rank), across(rank)))
    plan = Plan(tuple(Phase(name, "", ()) for name in names))
    return seen(machines or nodes(2), phases=["evidence"], plan=plan, path=tmp_path)


def test_every_gpu_on_the_adapter_behind_its_own_switch_passes(tmp_path):
    assert status("rails.own", run(tmp_path)) is Status.PASS


def test_a_gpu_that_uses_a_farther_adapter_fails_and_both_are_named(tmp_path):
    evidence = run(tmp_path, lambda rank: 5 if rank == 2 else rank % 8)
    assert status("rails.own", evidence) is Status.FAIL
    words = worst_words("rails.own", evidence)
    assert "rank 2 (n0 GPU 2): uses mlx5_6, and mlx5_3 is nearer" in words


def test_a_channel_that_goes_by_another_gpu_is_not_held_against_this_one(tmp_path):
    evidence = run(
        tmp_path, lambda rank: 5 if rank == 2 else rank % 8, lambda rank: "(5)" if rank == 2 else ""
    )
    assert status("rails.own", evidence) is Status.INCONCLUSIVE
    assert "no channel of its own" in worst_words("rails.own", evidence)


def test_a_merged_device_is_all_of_its_adapters(tmp_path):
    """NCCL 2.20 to 2.23 merges ports: device 1 is mlx5_3 and mlx5_4, which a GPU of either is next to."""
    (tmp_path / "well").mkdir()
    assert (
        status("rails.own", run(tmp_path / "well", lambda rank: rank % 8 // 2, using=MERGED)) is Status.PASS
    )
    (tmp_path / "odd").mkdir()
    evidence = run(tmp_path / "odd", lambda rank: 3 if rank == 2 else rank % 8 // 2, using=MERGED)
    assert "rank 2 (n0 GPU 2): uses mlx5_7+mlx5_8, and mlx5_3 is nearer" in worst_words("rails.own", evidence)


@pytest.mark.parametrize(
    ("proxy", "outcome", "words"),
    [
        ("", Status.PASS, ""),
        ("(5)", Status.INCONCLUSIVE, "rank 2 (n0 GPU 2), across the rails: sends by way of rank 5 (PXN)"),
    ],
)
def test_transfers_across_the_rails_go_by_no_other_gpu(tmp_path, proxy, outcome, words):
    """By PXN they use the receiver's rail at both ends, and say nothing of a swapped one."""
    evidence = run(tmp_path, across=lambda rank: proxy if rank == 2 else "")
    assert status("rails.own", evidence) is outcome
    assert words in (worst_words("rails.own", evidence) if words else "")


def test_a_rank_that_logged_nothing_across_the_rails_is_inconclusive(tmp_path):
    evidence = run(tmp_path, across=lambda rank: "")
    (tmp_path / "logs/cross.2.log").unlink()
    assert status("rails.own", evidence) is Status.INCONCLUSIVE


def test_a_device_whose_adapters_nccl_does_not_list_is_inconclusive(tmp_path):
    evidence = run(tmp_path, lambda rank: 8 if rank == 2 else rank % 8)
    assert status("rails.own", evidence) is Status.INCONCLUSIVE
    assert "a network device whose adapters NCCL does not list" in worst_words("rails.own", evidence)


def test_a_rank_without_a_log_is_could_not_tell(tmp_path):
    assert status("rails.own", run(tmp_path, gone=(4,))) is Status.INCONCLUSIVE


def test_an_unknown_pci_tree_is_could_not_tell(tmp_path):
    blind = tuple(replace(each, gpus=tuple(replace(g, pci=None) for g in each.gpus)) for each in nodes(2))
    assert status("rails.own", run(tmp_path, machines=blind)) is Status.INCONCLUSIVE


def test_a_gpu_that_is_not_in_the_facts_does_not_pass(tmp_path):
    (tmp_path / "few").mkdir()
    few = [replace(each, gpus=each.gpus[:7]) for each in nodes(2)]
    assert status("rails.own", run(tmp_path / "few", machines=few)) is Status.INCONCLUSIVE
    bare = run(tmp_path, machines=nodes(1))
    other = replace(bare.manifest.ranks[7], node="n9")
    lost = replace(bare.manifest, ranks=(*bare.manifest.ranks[:7], other))
    assert status("rails.own", replace(bare, run=replace(bare.run, manifest=lost))) is Status.INCONCLUSIVE


def test_an_adapter_whose_place_is_not_known_is_no_fault_and_no_pass(tmp_path):
    """rank 2 uses mlx5_6, whose way over PCI nobody knows: it may be the nearer one."""
    machines = [with_port(each, "mlx5_6", pci=None) for each in nodes(2)]
    evidence = run(tmp_path, lambda rank: 5 if rank in (2, 10) else rank % 8, machines=machines, gone=(5, 13))
    verdicts = {v.subject: v.status for v in judged("rails.own", evidence) if "GPU 2" in v.subject}
    assert set(verdicts.values()) == {Status.INCONCLUSIVE}


def test_a_merged_device_of_which_one_place_is_not_known_is_no_fault_and_no_pass(tmp_path):
    """rank 2 uses mlx5_5 and mlx5_6 as one device; the way of the second is not known."""
    machines = [with_port(each, "mlx5_6", pci=None) for each in nodes(2)]
    evidence = run(
        tmp_path, lambda rank: 2 if rank in (2, 10) else rank % 8 // 2, using=MERGED, machines=machines
    )
    verdicts = {v.subject: v.status for v in judged("rails.own", evidence) if "GPU 2" in v.subject}
    assert set(verdicts.values()) == {Status.INCONCLUSIVE}


def test_a_run_without_the_log_says_why():
    evidence = seen(nodes(2), plan=Plan((), skipped=(("evidence", "left out for want of time"),)))
    assert status("rails.own", evidence) is Status.NOT_APPLICABLE
    assert status("rails.own", seen(nodes(1)), LAMBDA) is Status.NOT_APPLICABLE


def test_a_rank_whose_worker_has_another_gpu_is_held_to_that_gpus_adapter(tmp_path):
    evidence = run(tmp_path, lambda rank: 7 - rank % 8)
    gpus = {str(rank): WorkerGpu(uuid=f"GPU-{rank - 2 * (rank % 8) + 7}") for rank in range(16)}
    turned = replace(evidence, run=replace(evidence.run, joined=(Joined("evidence", gpus=gpus),)))
    assert status("rails.own", evidence) is Status.FAIL
    assert status("rails.own", turned) is Status.PASS
