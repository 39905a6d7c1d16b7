"""What is timed is verified in place too: on two real ranks of gloo, calls that do nothing while the clock runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.model import typed_json
from bench.model.measurement import Measurement

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).with_name("idle_ranks.py")
NEVER = 1 << 30
IN_PLACE = ("all_reduce", "broadcast", "all_gather", "reduce_scatter", "reduce")


def measured(tmp_path, name, idle_from, every=0):
    words = [sys.executable, str(SCRIPT)]
    ranks = [
        subprocess.Popen(
            [*words, str(rank), str(tmp_path / "meet"), name, str(idle_from), str(every)], stdout=-1
        )
        for rank in range(2)
    ]
    try:
        told = [each.communicate(timeout=240)[0] for each in ranks]
    finally:
        for each in ranks:
            each.kill()
    assert [each.returncode for each in ranks] == [0, 0]
    return typed_json.load(Measurement, json.loads(told[0]))


@pytest.mark.parametrize("idle_from", [0, 40])
@pytest.mark.parametrize("name", IN_PLACE)
def test_timed_calls_that_do_nothing_are_wrong(tmp_path, name, idle_from):
    row = measured(tmp_path, name, idle_from)
    assert any(row.wrong)
    first = min(each.repetition for each in row.mismatches)
    assert first >= 2  # those that are verified before timing


# call 7 is the second of three that are timed by themselves
@pytest.mark.parametrize("name", IN_PLACE)
def test_each_seventh_of_few_large_calls_that_does_nothing_is_wrong(tmp_path, name):
    row = measured(tmp_path, name, NEVER, every=7)
    assert any(row.wrong)
    assert min(each.repetition for each in row.mismatches) == 6


@pytest.mark.parametrize("name", IN_PLACE)
def test_timed_calls_in_place_are_right(tmp_path, name):
    assert not any(measured(tmp_path, name, NEVER).wrong)
