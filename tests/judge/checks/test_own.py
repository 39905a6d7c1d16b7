"""The adapter that each GPU uses, by NCCL's channels, against the PCI tree."""

from __future__ import annotations

from dataclasses import replace

from bench.model.lines import Joined, WorkerGpu
from bench.model.verdict import Status
from bench.store import Phase, Plan
from made_nodes import LAMBDA, nodes, seen, status, worst_words

USING = " ".join(f"[{at}]mlx5_{at + 1}:1/IB" for at in range(8))


def said(rank: int, device: int, proxy: str = "") -> str:
    head = f"n{rank // 8}:{1000 + rank}:{1000 + rank} [{rank % 8}] NCCL INFO"
    other = (rank + 8) % 16
    return (
        f"{head} NET/IB : Using {USING} [RO]; OOB eth0:10.0.0.1<0>\n"
        f"{head} Channel 00/0 : {rank}[{rank % 8}] -> {other}[{other % 8}] [send] via NET/IB/{device}{proxy}/GDRDMA\n"
    )


def run(tmp_path, device=lambda rank: rank % 8, proxy=lambda rank: "", gone=(), machines=None):
    (tmp_path / "logs").mkdir()
    for rank in range(16):
        if rank not in gone:
            (tmp_path / "logs" / f"evidence.{rank}.log").write_text(said(rank, device(rank), proxy(rank)))
    plan = Plan((Phase("evidence", "", ()),))
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


def test_a_rank_without_a_log_is_could_not_tell(tmp_path):
    assert status("rails.own", run(tmp_path, gone=(4,))) is Status.INCONCLUSIVE


def test_an_unknown_pci_tree_is_could_not_tell(tmp_path):
    blind = tuple(replace(each, gpus=tuple(replace(g, pci=None) for g in each.gpus)) for each in nodes(2))
    assert status("rails.own", run(tmp_path, machines=blind)) is Status.INCONCLUSIVE


def test_a_run_without_the_log_says_why():
    evidence = seen(nodes(2), plan=Plan((), skipped=(("evidence", "left out for want of time"),)))
    assert status("rails.own", evidence) is Status.SKIP
    assert status("rails.own", seen(nodes(1)), LAMBDA) is Status.SKIP


def test_a_rank_whose_worker_has_another_gpu_is_held_to_that_gpus_adapter(tmp_path):
    evidence = run(tmp_path, lambda rank: 7 - rank % 8)
    gpus = {str(rank): WorkerGpu(uuid=f"GPU-{7 - rank % 8}") for rank in range(16)}
    turned = replace(evidence, run=replace(evidence.run, joined=(Joined("evidence", gpus=gpus),)))
    assert status("rails.own", evidence) is Status.FAIL
    assert status("rails.own", turned) is Status.PASS
