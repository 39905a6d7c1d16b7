"""``is_possible`` says without words what ``conclude`` says with them, whatever the figure."""

import math

import pytest

from bench.judge.wire.readings import ROUNDING, conclude, is_possible, readings
from bench.model.bounds import UNKNOWN, WAYS, BoundError, ClusterShape, ceiling
from bench.model.collectives import COLLECTIVES, collective

FABRICS = (
    ClusterShape(1, 8, 1, math.inf, 450e9),
    ClusterShape(2, 8, 8, 50e9, 450e9),
    ClusterShape(2, 1, 1, 50e9),
    ClusterShape(3, 4, 8, 50e9, 900e9),
    ClusterShape(64, 8, 8, 50e9, 450e9),
    ClusterShape(1, 1, 1, 50e9),
)
ALGORITHMS = sorted({UNKNOWN, *(algorithm for _, algorithm in WAYS)})


@pytest.mark.parametrize(("times", "possible"), [(1.0, True), (1.0009, True), (1.0011, False), (2.0, False)])
def test_two_gpus_of_a_node_reach_what_nvlink_gives_and_no_more(times, possible):
    two = ClusterShape(1, 2, 1, math.inf, 450e9)
    top = ceiling("p2p", WAY, two) / collective("p2p").factor(2)
    assert is_possible("p2p", top * times, two) is possible


def test_on_one_rank_busbw_says_nothing_and_is_no_reason():
    assert is_possible("all_reduce", 9e15, ClusterShape(1, 1, 1, 50e9))


WAY = next(way for name, way in WAYS if name == "p2p")


def figures(name, algorithm, fabric):
    """algbw: no numbers, and around every limit."""
    yield from (math.nan, math.inf, -math.inf, -1.0, 0.0, 1.0, 1e9, 47e9, 300e9, 1e15)
    factor = collective(name).factor(fabric.ranks) if fabric.ranks > 1 else 0.0
    for one in (algorithm,) if algorithm != UNKNOWN else [way for known, way in WAYS if known == name]:
        try:
            top = ceiling(name, one, fabric)
        except BoundError:
            continue
        if factor and math.isfinite(top):
            for by in (1 - 1e-9, 1.0, 1 + ROUNDING / 2, 1 + ROUNDING, 1 + ROUNDING + 1e-9, 1.1):
                yield top / factor * by


def in_words(name, algbw, fabric, **how):
    seen = readings(name, algbw, fabric, **how)
    sharp = how["in_network"]
    return conclude(name, algbw, fabric, seen, in_network=sharp).kind != "error"


@pytest.mark.parametrize("name", sorted(COLLECTIVES))
def test_the_short_answer_is_the_long_one(name):
    tried = 0
    for fabric in FABRICS:
        for algorithm in ALGORITHMS:
            for sharp in (False, True):
                for algbw in figures(name, algorithm, fabric):
                    how = {"algorithm": algorithm, "in_network": sharp}
                    try:
                        wanted = in_words(name, algbw, fabric, **how)
                    except (BoundError, ValueError) as error:
                        with pytest.raises(type(error)):
                            is_possible(name, algbw, fabric, **how)
                        continue
                    assert is_possible(name, algbw, fabric, **how) is wanted, (fabric, algorithm, algbw)
                    tried += 1
    assert tried > 100
