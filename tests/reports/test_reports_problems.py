"""Causes stand first, what follows from them is beneath them, and no verdict is lost or shown twice."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_runs
from bench.judge.verdicts import judge
from bench.model.verdict import Status, Verdict
from reports.first_page import MOST, rail_map, verdict
from reports.frames import frames
from reports.problems import in_short, places, problems
from reports.summary import Shown

NODES = ("n1", "n2", "n3")
FAIL, ERROR, PASS = Status.FAIL, Status.INCONCLUSIVE, Status.PASS
BLAME = Verdict("blame.rails", "n2 rail mlx5_4/1", FAIL, "half of the rate is missing", next_step="reseat")
TRANSFER = Verdict(
    "limits.rail_rate", "n1 to n2 on mlx5_4/1", FAIL, "190 Gb/s", "370 Gb/s", next_step="see blame"
)
RING = Verdict("limits.busbw", "all_reduce", FAIL, "180 GB/s", "340 GB/s")
LINK = Verdict("rails.rate", "n2 mlx5_4/1", FAIL, "link runs at 200 Gb/s", next_step="change the cable")


def found(*verdicts, names=()):
    return problems(verdicts, NODES, dict(names))


def test_transfers_and_collectives_follow_from_the_port_that_blame_names():
    (cause,) = found(RING, TRANSFER, BLAME).causes
    assert cause.verdict == BLAME
    assert [(each.check, each.next_step) for each in cause.symptoms] == [
        ("limits.busbw", ""),
        ("limits.rail_rate", ""),
    ]


def test_what_failed_on_the_port_stands_before_a_suspicion_of_it():
    suspected = replace(BLAME, status=ERROR)
    (cause,) = found(suspected, LINK, TRANSFER).causes
    assert (cause.verdict, cause.related, cause.status) == (LINK, (suspected,), FAIL)


def test_a_transfer_of_another_port_does_not_follow():
    other = replace(TRANSFER, subject="n1 to n2 on mlx5_5/1")
    seen = found(BLAME, other)
    assert [each.symptoms for each in seen.causes] == [()]
    assert seen.failures == (other,)


def test_every_port_of_a_node_that_blame_names_follows():
    node = replace(BLAME, subject="n2")
    assert found(node, TRANSFER).causes[0].symptoms
    assert not found(replace(node, subject="n3"), TRANSFER).causes[0].symptoms


def test_a_suspicion_explains_no_failure_of_the_whole_cluster():
    seen = found(replace(BLAME, status=ERROR), RING)
    assert seen.failures == (RING,)
    assert [each.verdict.check for each in seen.first] == ["limits.busbw", "blame.rails"]


@pytest.mark.parametrize(
    ("status", "subject"),
    [(ERROR, "n1 to n2 on mlx5_4/1"), (FAIL, "n1 mlx5_3/1, n2 mlx5_4/1"), (FAIL, "n1, n2, n3 on mlx5_4/1")],
)
def test_what_says_more_than_the_cause_does_not_follow_from_it(status, subject):
    more = Verdict("rails.width", subject, status, "is unknown")
    seen = found(BLAME, more)
    assert seen.causes[0].symptoms == () and more in (*seen.failures, *seen.inconclusive)


def test_what_fails_for_another_reason_stands_by_itself():
    wrong = Verdict("correctness.wrong", "all_reduce", FAIL, "3 wrong elements")
    assert found(BLAME, wrong).failures == (wrong,)


def test_verdicts_that_differ_in_their_subject_alone_are_one():
    same = [Verdict("coverage.losses", f"case{at}", ERROR, "lost", evidence=(f"e{at}",)) for at in range(3)]
    (one,) = found(*same, names={"case1": "all_reduce, 8 GiB"}.items()).inconclusive
    assert one.subject == "case0; all_reduce, 8 GiB; case2"
    assert one.evidence == ("e0", "e1", "e2")


def test_subjects_that_do_not_fit_into_a_line_stand_in_the_evidence():
    (one,) = found(*(Verdict("host.acs", f"n{at}", ERROR, "unknown") for at in range(12))).inconclusive
    assert one.subject.endswith("n7 and 4 more") and one.evidence == ("n8", "n9", "n10", "n11")


def test_a_report_in_short_counts_what_follows():
    text = [each.measured for each in in_short(found(BLAME, TRANSFER))]
    assert text == ["half of the rate is missing; 1 verdict follows from it"]


def test_places_are_nodes_with_ports():
    assert places("n1 to n2 on mlx5_4/1", NODES) == {("n1", "mlx5_4/1"), ("n2", "mlx5_4/1")}
    assert places("n1, n9 and 3 more", NODES) == {("n1", "")}
    assert places("all_reduce", NODES) == frozenset()


@given(
    st.lists(
        st.builds(
            Verdict,
            st.sampled_from(["blame.rails", "rails.rate", "limits.busbw", "host.facts"]),
            st.sampled_from(["n1 mlx5_4/1", "n1 to n2 on mlx5_4/1", "n2", "all_reduce", "n3 rank 4"]),
            st.sampled_from(list(Status)),
            st.sampled_from(["a", "b"]),
        ),
        max_size=12,
    )
)
def test_no_verdict_is_lost_and_none_is_shown_that_passed(verdicts):
    seen = found(*verdicts)
    shown = [
        each for problem in seen.first for each in (problem.verdict, *problem.related, *problem.symptoms)
    ]
    shown += seen.inconclusive
    bad = [each for each in verdicts if each.status in (FAIL, ERROR)]
    assert {(each.check, each.status, each.measured) for each in shown} == {
        (each.check, each.status, each.measured) for each in bad
    }
    subjects = " ".join(each.subject for each in shown)
    assert all(each.subject in subjects for each in bad)


@pytest.fixture(scope="module")
def judged():
    made = made_runs.cluster(4)
    run = judge(made.run, made.profile)
    return Shown(run, made.profile, frames(run, made.profile), {})


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


def test_the_tiles_answer_share_exclusion_correctness_and_coverage(judged):
    tiles = {tile.title: tile for tile in verdict(judged)["tiles"]}
    assert list(tiles) == ["Share of 3200 Gb/s", "mlx5_0 excluded", "Results", "Coverage"]
    assert tiles["Results"].answer == "0 wrong elements" and tiles["Results"].status is PASS
    assert tiles["Coverage"].answer == "complete"
    assert tiles["mlx5_0 excluded"].status is FAIL


def test_what_was_not_checked_or_not_measured_is_no_good_answer():
    def tiles_of(made):
        values = verdict(Shown(made.run, made.profile, frames(made.run, made.profile), {}))
        return {tile.title: tile for tile in values["tiles"]}

    tiles = tiles_of(made_runs.nothing_measured())
    assert (tiles["Results"].answer, tiles["Results"].status) == ("unchecked", ERROR)
    assert tiles["Coverage"].status is ERROR
    tiles = tiles_of(made_runs.gloo(wrong=True))
    assert tiles["Results"].status is FAIL
