"""ci/speed's own judgement: reached, missed, or open because the noise spans the goal."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "speed"))

from rows import MISSED, REACHED, UNSURE, at_least, at_most, table


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.995, 0.99, 1.0, REACHED),
        (0.98, 0.95, 1.01, UNSURE),
        (0.97, 0.96, 0.98, MISSED),
        (0.97, None, None, MISSED),
        (math.nan, None, None, MISSED),
    ],
)
def test_a_ratio_that_should_be_large(value, low, high, verdict):
    assert at_least("fidelity", "x", value, 0.99, low=low, high=high).verdict == verdict


def test_a_ratio_that_should_be_small():
    assert at_most("overhead", "x", 0.1, 0.15).verdict == REACHED
    assert at_most("overhead", "x", 0.2, 0.15).verdict == MISSED
    assert at_most("overhead", "x", math.nan, 0.15).verdict == MISSED


def test_every_figure_is_a_line_of_the_table():
    lines = table([at_most("overhead", "not measuring", 0.1, 0.15, note="4 ranks")]).splitlines()
    assert len(lines) == 2
    assert "reached  4 ranks" in lines[1]
