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


def measured(folder, idle_from, every=0):
    """The measurement of each collective in place."""
    words = [sys.executable, str(SCRIPT)]
    ranks = [
        subprocess.Popen([*words, str(rank), str(folder / "meet"), str(idle_from), str(every)], stdout=-1)
        for rank in range(2)
    ]
    try:
        told = [each.communicate(timeout=240)[0] for each in ranks]
    finally:
        for each in ranks:
            each.kill()
    assert [each.returncode for each in ranks] == [0, 0]
    rows = [typed_json.load(Measurement, json.loads(line)) for line in told[0].splitlines()]
    assert len(rows) == 5
    return {row.case.split("/")[1]: row for row in rows}


@pytest.mark.parametrize("idle_from", [0, 40])
def test_timed_calls_that_do_nothing_are_wrong(tmp_path, idle_from):
    found = measured(tmp_path, idle_from)
    # two are verified before timing
    first = {
        name: min((each.repetition for each in row.mismatches), default=-1) for name, row in found.items()
    }
    assert all(any(row.wrong) and first[name] >= 2 for name, row in found.items()), first


# call 7 is the second of three that are timed by themselves
def test_each_seventh_of_few_large_calls_that_does_nothing_is_wrong(tmp_path):
    found = measured(tmp_path, NEVER, every=7)
    assert {name: {each.repetition for each in row.mismatches} for name, row in found.items()} == {
        name: {6} for name in found
    }


def test_timed_calls_in_place_are_right(tmp_path):
    found = measured(tmp_path, NEVER)
    assert {name for name, row in found.items() if any(row.wrong)} == set()
