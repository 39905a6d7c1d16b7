"""The first page says what is broken, where and what to do, by the checks' own verdicts."""

import pytest

import made_runs
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.verdict import Status
from reports.first_page import MOST, rail_map, verdict
from reports.frames import frames
from reports.summary import Shown

FAIL, ERROR, PASS = Status.FAIL, Status.INCONCLUSIVE, Status.PASS


@pytest.fixture(scope="module")
def judged():
    made = made_runs.cluster(4)
    run = judge(made.run, made.profile).run
    return Shown(Evidence(run, made.profile), frames(Evidence(run, made.profile)), {})


def test_the_first_page_names_the_faulty_port_first_by_the_checks_own_verdicts(judged):
    view = verdict(judged)
    first, hardware, symptoms = view["problems"][0]
    assert hardware == "GUID 0x0001000a · firmware 28.43.2026"
    assert first.verdict.subject == "node002 mlx5_10/1" and first.status is FAIL
    assert sum(row[-1].text == "limits.rail_rate" for row in symptoms.rows) == 6
    assert not any("mlx5_10/1" in each.verdict.subject for each, *_ in view["problems"][1:])
    assert len(view["problems"]) == MOST


def test_the_map_marks_the_faulty_port_and_counts_the_others(judged):
    seen = rail_map(judged)
    assert len(seen.cells) == 32
    bad = {words.split(":")[0] for _, _, bad, words in seen.cells if bad}
    assert bad == {"node002 mlx5_10/1", "node002 mlx5_5/1"}
    assert seen.good == 30 and seen.worst[2].startswith("node002 mlx5_10/1")


def test_the_map_of_three_nodes_does_not_mark_the_partners_of_a_faulty_port():
    made = made_runs.cluster(3)
    seen = Evidence(judge(made.run, made.profile).run, made.profile)
    cells = rail_map(Shown(seen, frames(seen), {})).cells
    bad = {words.split(":")[0] for _, _, bad, words in cells if bad and "mlx5_10/1" in words}
    assert bad == {"node002 mlx5_10/1"}


def test_the_tiles_answer_share_exclusion_correctness_and_coverage(judged):
    tiles = {tile.title: tile for tile in verdict(judged)["tiles"]}
    assert list(tiles) == ["Share of 3200 Gb/s", "mlx5_0 excluded", "Results", "Coverage"]
    assert tiles["Results"].answer == "0 wrong elements" and tiles["Results"].status is PASS
    assert tiles["Coverage"].answer == "all that was planned"
    assert tiles["mlx5_0 excluded"].status is FAIL


def test_what_was_not_checked_or_not_measured_is_no_good_answer():
    def tiles_of(made):
        values = verdict(
            Shown(Evidence(made.run, made.profile), frames(Evidence(made.run, made.profile)), {})
        )
        return {tile.title: tile for tile in values["tiles"]}

    tiles = tiles_of(made_runs.nothing_measured())
    assert (tiles["Results"].answer, tiles["Results"].status) == ("unchecked", ERROR)
    assert tiles["Coverage"].status is ERROR
    tiles = tiles_of(made_runs.gloo(wrong=True))
    assert tiles["Results"].status is FAIL
