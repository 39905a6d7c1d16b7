"""Causes stand first, what follows from them is beneath them, and no verdict is lost or shown twice."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.problems import Problem, places, problems, steps
from bench.model.measurement import Case
from bench.model.verdict import Status, Verdict

NODES = ("n1", "n2", "n3")
INTERFACES = ("eth1", "eth2")
FAIL, ERROR, PASS = Status.FAIL, Status.INCONCLUSIVE, Status.PASS
BLAME = Verdict("blame.rails", "n2 rail mlx5_4/1", FAIL, "half of the rate is missing", next_step="reseat")
TRANSFER = Verdict(
    "limits.rail_rate", "n1 to n2 on mlx5_4/1", FAIL, "190 Gb/s", "370 Gb/s", next_step="see blame"
)
RING = Verdict("limits.busbw", "all_reduce", FAIL, "180 GB/s", "340 GB/s", case="ring/all_reduce/8")
LINK = Verdict("rails.rate", "n2 mlx5_4/1", FAIL, "link runs at 200 Gb/s", next_step="change the cable")


GIB = 1 << 30
CASES = {
    f"{how}/{name}/{size}": Case(
        f"{how}/{name}/{size}", how, name, size * GIB, 1, ((0, 1),), placement="in", algorithm=how
    )
    for how in ("ring", "auto")
    for name in ("all_reduce", "all_gather")
    for size in (4, 8)
}


def found(*verdicts):
    return problems(verdicts, partial(places, nodes=NODES, interfaces=INTERFACES), CASES)


def test_transfers_and_collectives_follow_from_the_port_that_blame_names():
    (cause,) = found(RING, TRANSFER, BLAME).causes
    assert cause.verdict == BLAME
    assert [(each.check, each.next_step) for each in cause.symptoms] == [
        ("limits.busbw", ""),
        ("limits.rail_rate", ""),
    ]


def test_what_a_node_lacks_stands_before_its_settings():
    memlock = Verdict("host.memlock", "n1", FAIL, "locked memory is limited to 8 MiB")
    gone = Verdict("gpus.count", "n1", FAIL, "0 GPUs")
    assert [each.verdict.check for each in found(memlock, gone).first] == ["gpus.count", "host.memlock"]
    assert [each.check for each in found(memlock, gone).apart] == ["gpus.count", "host.memlock"]


def test_an_interface_is_a_port_too():
    blame, transfer = replace(BLAME, subject="n2 rail eth1"), replace(TRANSFER, subject="n1 to n2 on eth1")
    seen = found(blame, transfer, replace(transfer, subject="n1 to n2 on eth2"))
    assert [each.subject for each in seen.causes[0].symptoms] == ["n1 to n2 on eth1"]
    assert [each.subject for each in seen.failures] == ["n1 to n2 on eth2"]
    assert found(replace(LINK, subject="n2 eth1")).causes


def test_what_failed_on_the_port_stands_before_a_suspicion_of_it():
    suspected = replace(BLAME, status=ERROR)
    (cause,) = found(suspected, LINK, TRANSFER).causes
    assert (cause.verdict, cause.related, cause.status) == (LINK, (suspected,), FAIL)


def test_what_failed_stands_before_a_suspicion_from_which_more_follows():
    suspected = replace(BLAME, status=ERROR)
    broken = replace(LINK, subject="n1 mlx5_7/1")
    seen = found(suspected, TRANSFER, broken)
    assert [(each.verdict, len(each.symptoms)) for each in seen.causes] == [(broken, 0), (suspected, 1)]


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
    same = [
        Verdict("coverage.losses", name, ERROR, "lost", evidence=(f"e{at}",), case=name)
        for at, name in enumerate(("case0", "auto/all_reduce/8", "case2"))
    ]
    (one,) = found(*same).inconclusive
    assert one.subject == "case0; all_reduce, 8 GiB, float32, in place; case2"
    assert (one.evidence, one.case) == (("e0", "e1", "e2"), "")
    (one,) = found(same[0], replace(same[1], subject=same[0].subject)).inconclusive
    assert one.case == "case0"


def test_subjects_that_do_not_fit_into_a_line_stand_in_the_evidence():
    (one,) = found(*(Verdict("host.acs", f"n{at}", ERROR, "unknown") for at in range(12))).inconclusive
    assert one.subject.endswith("n7 and 4 more") and one.evidence == ("n8", "n9", "n10", "n11")


def test_the_verdicts_that_did_not_pass_add_up_to_the_problems():
    gpu = replace(GPU_COPY, check="limits.device_copies", subject="n1 GPU 6, copy_device")
    lost = [Verdict("coverage.losses", f"case{at}", ERROR, "lost", next_step="resume") for at in range(3)]
    transfers = (TRANSFER, replace(TRANSFER, evidence=("again",)))  # they differ in no column
    seen = found(BLAME, *transfers, GPU_COPY, gpu, GPU_SLOW, *lost)
    assert [each.follows for each in seen.causes] == [
        "2 verdicts follow from it",
        "1 verdict follows from it",
    ]
    assert seen.summary == "2 problems, 1 inconclusive finding"
    assert seen.tally == (
        "9 verdicts did not pass: 2 problems, 1 inconclusive finding, 3 that follow from them, "
        "1 in the same places, 2 like them or with the same next step"
    )
    assert found(BLAME).tally == "" and found(BLAME).summary == "1 problem"
    mixed = found(BLAME, TRANSFER, *lost).tally
    assert "1 problem, 1 inconclusive finding, 1 that follow from it" in mixed
    assert found(BLAME, TRANSFER).tally == "2 verdicts did not pass: 1 problem, 1 that follow from it"


def test_a_problem_counts_what_follows():
    (cause,) = found(BLAME, TRANSFER).causes
    assert cause.follows == "1 verdict follows from it"
    assert found(BLAME).causes[0].follows == ""


SHARE = Verdict(
    "wire.share",
    "ring/all_reduce/8",
    FAIL,
    "busbw 182 GB/s",
    "at least 85 % of 3200.0 Gb/s",
    value=0.46,
    bound=0.85,
    case="ring/all_reduce/8",
)
SLOW = replace(BLAME, measured="runs at 49 % of its peers' rate", value=0.51)


def test_the_sentence_says_the_consequence_with_its_cause():
    """Of the slowest collective, as the tile beside it does."""
    gather = replace(SHARE, subject="a row", case="ring/all_gather/4", measured="busbw 160 GB/s", value=0.4)
    (cause,) = found(SLOW, gather, SHARE).causes
    assert cause.sentence == (
        "all_gather reaches 40.0 % of 3200 Gb/s, because n2 rail mlx5_4/1 runs at 49 % of its peers' rate"
    )


def test_the_consequence_is_read_as_the_target_is_as_a_ring_at_the_largest_message():
    names = [("all_gather/4", 0.3), ("all_gather/8", 0.4), ("all_reduce/8", 0.41)]
    rings = [replace(SHARE, case=f"ring/{name}", measured=f"{share}", value=share) for name, share in names]
    tree = replace(SHARE, case="auto/all_reduce/8", measured="a tree", value=0.2)
    (cause,) = found(SLOW, *rings, tree).causes
    assert cause.sentence.startswith("all_gather reaches 40.0 % of 3200 Gb/s, because ")
    assert found(SLOW, *rings[1:], tree).causes[0].sentence.startswith("all_gather reaches 40.0 % ")
    assert found(SLOW, tree).causes[0].sentence.startswith("all_reduce reaches 20.0 % ")


def test_a_verdict_of_a_version_that_did_not_say_the_case_names_it_by_its_subject():
    (cause,) = found(SLOW, replace(SHARE, case="")).causes
    assert cause.sentence.startswith("all_reduce reaches 46.0 % of 3200 Gb/s, because ")
    assert found(SLOW, replace(SHARE, case="", subject="a row")).causes[0].result == ""


def test_every_series_of_a_night_that_is_worse_has_its_figure_the_worst_first():
    def series(name, share):
        return Verdict(
            "drift.level", f"c1 {name}", FAIL, f"regression, {share} worse", "at least 1 GB/s", next_step="find it",
            value=1 - share, bound=1.0,
        )  # fmt: skip

    nights = [series("a", 0.1), series("b", 0.3), series("c", 0.2), series("d", 0.15)]
    (one,) = found(*nights[:3]).listed
    assert one.sentence == ("c1 b: regression, 0.3 worse; c: 0.2 worse; a: 0.1 worse")
    (many,) = found(*nights).listed
    assert many.sentence == "c1 b: regression, 0.3 worse; 3 more findings like it"


def test_of_series_the_one_furthest_from_its_bound_comes_first_be_it_above_or_below():
    """A time is worse above its bound; a series without a figure or without a bound comes last."""
    series = {"rate": (0.7, 1.0), "time": (1.5, 1.0), "no figure": (None, 1.0), "no bound": (9.0, None)}
    nights = [
        Verdict(
            "drift.level", f"c1 {name}", FAIL, f"{name} is worse", next_step="x", value=value, bound=bound
        )
        for name, (value, bound) in series.items()
    ]
    for listed in (nights, nights[::-1]):
        (one,) = found(*listed).listed
        assert one.sentence.startswith("c1 time: time is worse") and one.verdict.evidence[0].startswith(
            "c1 rate"
        )


def test_a_figure_says_whose_it_is_where_several_subjects_stand_before_it():
    hot = [Verdict("gpus.hot", f"n{n}", FAIL, f"9{n} °C", next_step="cool") for n in (1, 2)]
    (one,) = found(*hot).listed
    assert one.sentence == "n1, n2: 91 °C (n1); 1 more finding like it"


def test_without_a_share_of_the_target_the_sentence_says_the_bus_bandwidth():
    ring = replace(RING, value=180e9, bound=340e9)
    assert (
        found(SLOW, ring)
        .causes[0]
        .sentence.startswith("all_reduce reaches 180.0 GB/s of 340.0 GB/s, because n2 ")
    )
    assert found(LINK).causes[0].sentence == "n2 mlx5_4/1: link runs at 200 Gb/s"


def test_a_figure_just_below_its_bound_is_slight_and_stands_after_what_is_broken():
    near = replace(RING, value=338.3e9, bound=340e9)
    assert [each.slight for each in map(Problem, (near, replace(near, value=170e9), RING, LINK))] == [
        True,
        False,
        False,
        False,
    ]
    assert Problem(near).sentence == "all_reduce: 180 GB/s, 99.5 % of the floor"
    broken = replace(LINK, subject="n3")
    assert [each.verdict for each in found(near, broken).first] == [broken, near]


@pytest.mark.parametrize(("missing", "slight"), [(0.0, True), (0.0499, True), (0.05, False), (0.06, False)])
def test_what_misses_a_twentieth_is_no_slight_failure(missing, slight):
    """``SLOW`` misses a share of its peers' rate, which stands in its verdict as it is."""
    assert Problem(replace(SLOW, value=missing)).slight is slight
    assert Problem(replace(SLOW, value=0.01), (replace(SLOW, value=missing),)).slight is slight


def test_a_cause_is_slight_only_where_all_that_follows_is():
    little = replace(SLOW, value=0.03)
    assert Problem(little).slight
    assert not Problem(little, symptoms=(SHARE,)).slight


def test_what_calls_for_the_same_step_is_one_problem():
    grew = [
        Verdict("growth.errors", "n2 mlx5_4/1", FAIL, f"grew by {n} in phase {n}", next_step="reseat")
        for n in (5, 7, 9)
    ]
    (cause,) = found(BLAME, *grew).causes
    (one,) = cause.related
    assert one.measured == "grew by 5 in phase 5; 2 more findings like it"
    assert one.evidence == ("n2 mlx5_4/1: grew by 7 in phase 7", "n2 mlx5_4/1: grew by 9 in phase 9")
    hot = [Verdict("gpus.hot", f"n{n}", FAIL, f"{n} °C", next_step="cool") for n in (1, 2)]
    assert [each.subject for each in found(*hot, replace(hot[0], check="other")).failures] == ["n1, n2", "n1"]


def test_a_step_that_stands_above_is_not_said_twice():
    first, second = (
        BLAME,
        replace(BLAME, subject="n1 rail mlx5_7/1", measured="a third of the rate is missing"),
    )
    listed = found(first, second, LINK).listed
    assert list(steps(listed)) == ["reseat", "the same as for n2 rail mlx5_4/1"]
    assert list(steps([Problem(RING), Problem(RING)])) == ["", ""]


def test_readings_that_disagree_follow_from_a_slow_rail_and_else_stand_by_themselves():
    odd = Verdict("wire.target", "rails", ERROR, "rails point-to-point is the odd one", next_step="see how")
    assert found(SLOW, odd).causes[0].symptoms and not found(SLOW, odd).inconclusive
    assert found(odd).inconclusive == (odd,)
    assert found(replace(SLOW, status=ERROR), odd).inconclusive == (odd,)


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
    assert {each.status for each in seen.failures} <= {FAIL}
    assert {each.status for each in seen.inconclusive} <= {ERROR}
    bad = [each for each in verdicts if each.status in (FAIL, ERROR)]
    assert {(each.check, each.status, each.measured) for each in shown} == {
        (each.check, each.status, each.measured) for each in bad
    }
    subjects = " ".join(each.subject for each in shown)
    assert all(each.subject in subjects for each in bad)


GPU_COPY = Verdict(
    "limits.host_copies",
    "n1 GPU 6, copy_to_host",
    FAIL,
    "busbw 6.00 GB/s",
    value=6e9,
    bound=12e9,
    next_step="see pcie",
)
GPU_SLOW = Verdict(
    "limits.equals", "n1 GPU 6, copy_device", ERROR, "1 MiB take 259 µs", next_step="measure again"
)


def test_what_one_gpu_is_slow_in_is_one_problem_in_words():
    (problem,) = found(
        GPU_COPY, replace(GPU_COPY, check="limits.device_copies", subject="n1 GPU 6, copy_device"), GPU_SLOW
    ).listed
    assert problem.sentence == "n1 GPU 6, copies to the host: 6.00 GB/s, 50.0 % of the floor"
    assert [each.check for each in problem.related] == ["limits.device_copies"]
    assert [each.check for each in problem.symptoms] == ["limits.equals"]


def test_another_gpu_is_another_problem():
    other = replace(GPU_COPY, subject="n1 GPU 7, copy_to_host")
    seen = found(GPU_COPY, other, replace(GPU_SLOW, subject="n1 GPU 5, copy_device"))
    assert len(seen.causes) == 2 and [each.subject for each in seen.inconclusive] == [
        "n1 GPU 5, copies in its memory"
    ]


LACKS = Verdict("coverage.cases", "pinned-3", ERROR, "0 of 2 cases measured", "all 2", next_step="resume")


def test_what_is_missing_for_one_reason_is_one_finding_led_by_the_ranks():
    ranks = Verdict("coverage.ranks", "job", ERROR, "15 of 16 ranks measured", "all 16", next_step="resume")
    (one,) = found(LACKS, replace(LACKS, subject="rails", wanted="all 3"), ranks).inconclusive
    assert (
        one.subject == "job"
        and one.measured == "15 of 16 ranks measured; 2 more findings with the same next step"
    )
    assert "each rail alone, 3: 0 of 2 cases measured" in one.evidence


def test_failures_of_unlike_checks_stay_apart_though_they_call_for_the_same_step():
    one = Verdict("versions.nccl", "all nodes", FAIL, "differs", "the same", next_step="install it")
    assert len(found(one, replace(one, check="versions.torch")).failures) == 2


def test_a_phase_is_called_by_what_it_measures():
    (one,) = found(LACKS).listed
    assert one.sentence == "each rail alone, 3: 0 of 2 cases measured"
