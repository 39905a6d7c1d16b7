"""A node that was set aside and is back: which readings of its counters, rows and workers count."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.judge.checks import CHECKS, Evidence
from bench.judge.counter_windows import of_phase
from bench.model.counters import Snapshot
from bench.model.run_folder_lines import CounterLine, Joined, PhaseMark
from bench.store import Recorder, load

ALL, LEFT = ("n0", "n1", "n2"), ("n0", "n1")
WHERE = runs.ranks(3, 2)
(CASE,) = runs.cases(names=("all_reduce",), n=6)[:1]


def read(when, nodes, at, boot=0.0):
    """A reading in which the counter of each node is ``at``, and the clock; n2 was started ``boot`` s ago."""
    own = [
        Snapshot(
            float(at),
            boot if boot and node == "n2" else float(at),
            {"eth1": {"statistics": {"tx_bytes": at}}},
        )
        for node in nodes
    ]
    return CounterLine("collectives", when, tuple(own), nodes)


def with_counters(tmp_path, *lines):
    path = runs.folder(tmp_path / "run", where=WHERE, planned=[CASE])
    with Recorder(path, again=True) as recorder:
        for line in lines:
            recorder.counters(line.phase, line.when, line.snapshots, line.nodes)
    return load(path)


BEFORE_IT_CAME = (
    read("before", LEFT, 10),
    read("after", LEFT, 20),
    read("before", ALL, 30),
    read("after", ALL, 40),
)
BEFORE_IT_DIED = (
    read("before", ALL, 10),
    read("after", ALL, 20),
    read("before", LEFT, 30),
    read("after", LEFT, 40),
)


@pytest.mark.parametrize(
    ("lines", "together", "seconds"),
    [
        (BEFORE_IT_CAME, False, [30, 30, 10]),
        (BEFORE_IT_CAME, True, [10, 10, 10]),
        (BEFORE_IT_DIED, False, [30, 30, 10]),
        (BEFORE_IT_DIED, True, [10, 10, 10]),
    ],
)
def test_each_node_has_its_own_readings_and_bytes_those_of_all(tmp_path, lines, together, seconds):
    found, gaps = of_phase(with_counters(tmp_path, *lines), "collectives", together)
    assert not gaps
    assert [(each.node.name, each.seconds) for each in found] == list(zip(ALL, seconds, strict=True))


def test_a_node_that_was_started_anew_while_it_was_away_has_the_readings_since(tmp_path):
    died = (read("before", ALL, 100), read("before", LEFT, 130), read("after", LEFT, 140))
    back = (read("before", ALL, 150, boot=5.0), read("after", ALL, 160, boot=15.0))
    found, gaps = of_phase(with_counters(tmp_path, *died, *back), "collectives")
    assert not gaps and [each.seconds for each in found] == [10, 10, 10]


def test_a_reading_that_lacks_a_node_of_a_run_that_lost_none_is_a_gap(tmp_path):
    for lines in (
        (read("before", LEFT, 10), read("after", LEFT, 20)),
        (read("before", ALL, 10), read("after", LEFT, 20)),
    ):
        run = with_counters(tmp_path / lines[0].nodes[-1], *lines)
        assert of_phase(run, "collectives")[1], lines


def test_what_the_others_measured_without_it_is_no_row_of_the_whole(tmp_path):
    path = runs.folder(tmp_path / "run", where=WHERE, planned=[CASE], rows=runs.measured(CASE))
    left = runs.measured(replace(CASE, groups=((0, 1, 2, 3),)))
    with Recorder(path, again=True) as recorder:
        recorder.add(PhaseMark("collectives", "begin", cases=1))
        recorder.measurement(*left)
        recorder.counters("collectives", "before", read("before", LEFT, 1).snapshots, LEFT)
        recorder.counters("collectives", "after", read("after", ALL, 1).snapshots, ALL)
    run = load(path)
    assert [row.ranks for row in run.measurements] == [EVERY_RANK]
    assert run.earlier == frozenset(), "the rows are held against the counters of all"
    with Recorder(path, again=True) as recorder:
        recorder.add(PhaseMark("collectives", "begin", cases=1))
        recorder.measurement(*runs.measured(CASE))
    assert load(path).earlier == {CASE.id}


EVERY_RANK = tuple(rank.rank for rank in WHERE)


@pytest.mark.parametrize(("came", "wanted"), [((4, 6), []), ((6, 4), []), ((4,), ["phase collectives"])])
def test_as_many_workers_as_are_measured_came_up_once(tmp_path, came, wanted):
    run = load(runs.folder(tmp_path / "run", where=WHERE, planned=[CASE]))
    run = replace(run, joined=tuple(Joined("collectives", count) for count in came))
    found = CHECKS["coverage.ranks"](Evidence(run, runs.LOCAL))
    assert [each.subject for each in found if each.subject != "job"] == wanted
