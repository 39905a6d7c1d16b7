"""One wrong element fails its case; what nobody compared is no PASS."""

from dataclasses import replace

import pytest

import runs
from bench.judge.verdicts import judge
from bench.model.measurement import Mismatch
from bench.model.verdict import Status
from bench.store import load


def judged(tmp_path, **changes):
    planned = runs.cases(names=("all_reduce",), n=4)
    rows = [row for case in planned for row in runs.measured(case)]
    rows[0] = replace(rows[0], **changes)
    run = load(runs.folder(tmp_path / "run", rows, planned, runs.ranks(2)))
    return [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.check == "correctness"]


def test_results_that_every_rank_compared_pass(tmp_path):
    (verdict,) = judged(tmp_path)
    assert verdict.status is Status.PASS
    assert "9 of 126 calls verified" in verdict.measured


@pytest.mark.parametrize(
    "changes",
    [
        {"wrong": (0, None, None, None)},  # three ranks compared nothing
        {"checked": 1},
        {"checked": 0, "wrong": (None,) * 4},
        {"verified": 4, "made": 90},  # so many calls would have compared more elements
    ],
)
def test_results_that_some_rank_did_not_compare_are_inconclusive(tmp_path, changes):
    (verdict,) = judged(tmp_path, **changes)
    assert verdict.status is Status.INCONCLUSIVE
    assert "1 of 3 rows" in verdict.measured


def test_the_first_wrong_element_is_named_with_its_call(tmp_path):
    first = Mismatch(2, 617, 411, 5.0, 4.0)
    (verdict,) = [
        each
        for each in judged(tmp_path, wrong=(0, 0, 1, 0), mismatches=(first,))
        if each.status is Status.FAIL
    ]
    assert "1 wrong element on rank 2 (n1); first in call 412 at rank 2 index 617" in verdict.measured


def wrong(tmp_path, name, found):
    planned = runs.cases(names=(name,), n=4)
    rows = [row for case in planned for row in runs.measured(case)]
    rows[0] = replace(rows[0], wrong=(1,) * 4, mismatches=tuple(found))
    run = load(runs.folder(tmp_path / "run", rows, planned, runs.ranks(2)))
    (verdict,) = [
        each
        for each in judge(run, runs.LOCAL).verdicts
        if each.check == "correctness" and each.status is Status.FAIL
    ]
    return verdict, planned[0].count


def test_who_sent_wrong_data_is_named_and_not_who_received_it(tmp_path):
    count = runs.cases(names=("all_gather",), n=4)[0].count
    verdict, _ = wrong(
        tmp_path, "all_gather", [Mismatch(rank, 2 * count + 5, 9, 1.0, 0.0) for rank in range(4)]
    )
    assert "sent by rank 2 (n1) and received by rank 0 (n0), rank 1 (n0)" in verdict.measured
    assert verdict.next_step.startswith("take n1 out")


def test_one_receiver_of_wrong_data_is_named_beside_who_sent_it(tmp_path):
    verdict, _ = wrong(tmp_path, "broadcast", [Mismatch(3, 5, 9, 1.0, 0.0)])
    assert "sent by rank 0 (n0) and received by rank 3 (n1)" in verdict.measured
    assert verdict.next_step.startswith("take n0 and n1 out")


def test_of_a_reduction_those_are_meant_that_were_wrong_first(tmp_path):
    later = [Mismatch(rank, 617, 40, 1.0, 0.0) for rank in (0, 2, 3)]
    verdict, _ = wrong(tmp_path, "all_reduce", [Mismatch(1, 617, 3, 1.0, 0.0), *later])
    assert "on rank 1 (n0); first in call 4" in verdict.measured
    assert verdict.next_step.startswith("take n0 out")


@pytest.mark.parametrize(
    ("bad", "told", "step"),
    [
        (None, "on all 4 ranks alike; first", "measure pairs of ranks"),
        ((), "on all 4 ranks alike; none of 2 rows of pairs of them was; first", "suspect what reduces"),
        ((2,), "alike; wrong too between ranks 1 and 2; first", "take out the node"),
    ],
)
def test_where_all_ranks_are_wrong_alike_pairs_tell_more_and_nobody_is_named(tmp_path, bad, told, step):
    """``bad``: ranks that are wrong in the pairs of the same run; None: no pair was verified."""
    planned = runs.cases(names=("all_reduce",), n=4)
    pairs = [
        replace(planned[0], id=f"rails/{a}-{b}", collective="p2p", groups=((a, b),))
        for a, b in ((0, 3), (1, 2))
    ]
    rows = [row for case in planned for row in runs.measured(case)]
    rows[0] = replace(
        rows[0], wrong=(1,) * 4, mismatches=tuple(Mismatch(rank, 617, 3, 1.0, 0.0) for rank in range(4))
    )
    for row in (each for case in pairs for each in runs.measured(case)):
        wrong = tuple(None if bad is None else int(rank in bad) for rank in row.ranks)
        rows.append(replace(row, wrong=wrong))
    run = load(runs.folder(tmp_path / "run", rows, [*planned, *pairs], runs.ranks(2)))
    found = [each for each in judge(run, runs.LOCAL).verdicts if each.check == "correctness"]
    verdict = next(each for each in found if each.case == planned[0].id)
    assert told in verdict.measured
    assert verdict.next_step.startswith(step)
