"""Who is waited for, on three real ranks of gloo of which one is made slow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.judge.stragglers import stragglers
from bench.model import typed_json
from bench.model.measurement import Case, Measurement, Rank
from bench.model.verdict import Status

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).with_name("late_ranks.py")
RANKS = tuple(Rank(rank, f"n{rank}", 0) for rank in range(3))


def said(tmp_path, how, who=1, usual=None):
    """What is said of three ranks of which ``who`` sleeps; ``usual``: seconds that each case usually takes."""
    words = [sys.executable, str(SCRIPT)]
    ranks = [
        subprocess.Popen(
            [*words, str(rank), "3", str(tmp_path / "meet"), how, str(who)], stdout=subprocess.PIPE
        )
        for rank in range(3)
    ]
    try:
        told = [each.communicate(timeout=240)[0] for each in ranks]
    finally:
        for each in ranks:
            each.kill()
    assert [each.returncode for each in ranks] == [0, 0, 0]
    rows = [json.loads(line) for line in told[0].splitlines()]
    cases = {row["case"]["id"]: typed_json.load(Case, row["case"]) for row in rows}
    assert len(cases) == 4
    made = [typed_json.load(Measurement, row["row"]) for row in rows]
    return stragglers(made, cases, RANKS, dict.fromkeys(cases, usual) if usual else {})


def named(answer):
    return [(found.ranks, found.late) for found in answer.stragglers]


@pytest.mark.parametrize("who", [0, 2])
def test_a_rank_that_comes_late_into_every_call_is_named(tmp_path, who):
    answer = said(tmp_path, "coming", who, usual=0.02)
    assert named(answer) == [((who,), True)]
    assert (answer.status, answer.culprits) == (Status.FAIL, answer.stragglers)
    assert answer.stragglers[0].loss > 0.5  # of a call of some ms that waits 60


def test_a_rank_that_leaves_every_call_late_is_named(tmp_path):
    assert named(said(tmp_path, "leaving")) == [((1,), False)]


def test_of_ranks_of_which_none_is_slow_nobody_is_named(tmp_path):
    answer = said(tmp_path, "never")
    assert (named(answer), answer.status, answer.iterations) == ([], Status.PASS, 4 * 24)


def test_a_rank_slow_inside_its_calls_cannot_be_seen_and_nobody_else_is_named(tmp_path):
    answer = said(tmp_path, "inside", usual=0.02)
    assert named(answer) == []
    assert answer.systemwide
