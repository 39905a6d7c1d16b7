"""From rows of the rails phases to a name: pairs of nodes, rails, directions, and what is measured again."""

from dataclasses import replace

import pytest

import runs
from bench.judge.blame import transfers as paths
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.measurement import Extra, Measurement
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Job, acceptance, pair_cases
from bench.plan.phase_names import AGAIN, FIRST, REPEATED
from bench.store import Phase, load
from bench.store.rows import row_of

MADE = runs.two_rails()
BOUNDED = runs.two_rails(runs.RAIL_BOUND)
RATE = 1.2e9


def rails_phase(where, **asked) -> Phase:
    phases, _ = acceptance(Job(MADE, where, "gloo", AcceptOptions(**asked)), 1.0)
    return next(phase for phase in phases if phase.name == FIRST)


def measured(case, where, slow=None, dead=None) -> list[Measurement]:
    """Every group of a case at RATE; transfers that ``slow`` or ``dead`` (node, rail) takes part in differ."""
    made = []
    for number, group in enumerate(case.groups):
        ends = {(where[rank].node, MADE.rails.devices[where[rank].local_rank]) for rank in group}
        rate = RATE * (1 + 0.001 * (number % 3)) * (0.5 if slow in ends else 1.0)
        row = runs.measured(case, seconds=case.size / rate)[number]
        if dead in ends:
            row = replace(
                row, pipelined=(), isolated=(), wrong=(None, None), checked=0, extra=Extra(failed="no route")
            )
        made.append(row)
    return made


def run_of(tmp_path, nodes=4, slow=None, dead=None, again=True):
    where = runs.ranks(nodes, 2)
    planned = list(rails_phase(where).cases)
    done = [row for case in planned for row in measured(case, where, slow, dead)]
    first = runs.folder(tmp_path / "first", done, planned, where, profile=MADE)
    if again:
        for number, look in enumerate(paths.retests(Evidence(load(first), MADE))):
            more = pair_cases(AGAIN, f"test-{number}", look.pairs, MADE, "gloo", look.ways)
            planned += more
            done += [row for case in more for row in measured(case, where, slow, dead)]
    return load(runs.folder(tmp_path / "whole", done, planned, where, profile=MADE))


def blamed(run, profile=MADE):
    return [v for v in judge(run, profile).verdicts if v.check == "blame.rails"]


def test_every_pair_is_measured_on_every_rail_in_both_directions():
    where = runs.ranks(5, 2)
    transfers = {
        (where[a].node, where[b].node, where[a].local_rank)
        for case in rails_phase(where).cases
        if case.collective == "p2p"
        for a, b in case.groups
    }
    assert transfers == {
        (f"n{a}", f"n{b}", r) for a in range(5) for b in range(5) if a != b for r in range(2)
    }


def test_a_transfers_rate_and_retransmissions_come_from_its_row():
    where = runs.ranks(2, 2)
    case = next(case for case in rails_phase(where).cases if case.collective == "p2p")
    rows = [row_of(case, row) for row in runs.measured(case, extra=Extra(retransmits=(180, 0)))]
    found = paths.pair_rates(rows, where, MADE.rails.devices, FIRST)
    assert {(rate.direction, rate.retransmits) for rate in found} == {("ab", 180.0)}
    assert {rate.rate for rate in found} == {row.algbw for row in rows}


def test_a_transfer_among_three_ranks_is_no_pair():
    where = runs.ranks(3, 1)
    case = next(case for case in rails_phase(runs.ranks(2, 2)).cases if case.collective == "p2p")
    case = replace(case, groups=((0, 1), (0, 1, 2)))
    rows = [row_of(case, row) for row in runs.measured(case)]
    assert [row.ranks for row in rows] == [2, 3]
    assert len(paths.pair_rates(rows, where, MADE.rails.devices, FIRST)) == 1


def test_no_node_is_in_two_pairs_of_a_round():
    where = runs.ranks(6, 2)
    for case in rails_phase(where).cases:
        ranks = [rank for group in case.groups for rank in group]
        assert len(ranks) == len(set(ranks))


def test_a_healthy_cluster_blames_nobody_and_needs_no_second_look(tmp_path):
    run = run_of(tmp_path)
    assert not any(case.phase == AGAIN for case in run.plan.cases)
    assert [v.status for v in blamed(run)] == [Status.PASS]


def test_a_slow_port_is_named_after_a_second_look_and_nobody_else(tmp_path):
    run = run_of(tmp_path, slow=("n2", "eth1"))
    (verdict,) = blamed(run)
    assert verdict.status is Status.FAIL
    assert verdict.subject == "n2 rail eth1"
    assert verdict.value == pytest.approx(0.5, abs=0.02)


def test_without_the_second_look_a_suspect_is_not_named(tmp_path):
    verdicts = blamed(run_of(tmp_path, slow=("n2", "eth1"), again=False))
    assert {v.status for v in verdicts} == {Status.INCONCLUSIVE}


def test_a_rail_that_answers_nobody_is_named_as_such(tmp_path):
    verdicts = blamed(run_of(tmp_path, dead=("n1", "eth2")))
    named = [v for v in verdicts if v.status is Status.FAIL]
    assert [v.subject for v in named] == ["n1 rail eth2"]
    assert "nothing gets through" in named[0].measured


def test_a_bound_on_a_rail_is_held_against_every_transfer(tmp_path):
    def of(run):
        return [v for v in judge(run, BOUNDED).verdicts if v.check == "limits.rail_rate"]

    assert [v.status for v in of(run_of(tmp_path / "good"))] == [Status.PASS]
    bad = of(run_of(tmp_path / "bad", slow=("n2", "eth1")))
    assert {v.status for v in bad} == {Status.FAIL}
    assert all("n2" in v.subject and "eth1" in v.subject for v in bad)


def test_two_nodes_without_a_bound_are_compared_with_nothing_and_say_so(tmp_path):
    (verdict,) = blamed(run_of(tmp_path, nodes=2))
    assert verdict.status is Status.NOT_APPLICABLE
    assert "two nodes" in verdict.measured


def test_two_nodes_with_a_bound_pass(tmp_path):
    (verdict,) = blamed(run_of(tmp_path, nodes=2), BOUNDED)
    assert verdict.status is Status.PASS


def of_bound(run):
    return [v for v in judge(run, BOUNDED).verdicts if v.check == "limits.rail_rate"]


def disturbed_run(tmp_path, repeats=(), fault=None, also=()):
    """Four nodes; n1 to n0 on eth2 is at half its rate at first and not alone; ``repeats``: whether it is again.

    ``fault`` is a slow (node, rail) besides; ``also``: other ranks whose transfer is disturbed.
    """
    where = runs.ranks(4, 2)
    planned, hit = list(rails_phase(where).cases), {(3, 1), *also}

    def rows_of(case, slow_down):
        made = measured(case, where, fault)
        return [
            replace(row, pipelined=tuple(tuple(2 * s for s in block) for block in row.pipelined))
            if slow_down and row.ranks in hit and case.collective == "p2p"
            else row
            for row in made
        ]

    assert (where[3].node, where[3].local_rank, where[1].node) == ("n1", 1, "n0")
    done = [row for case in planned for row in rows_of(case, True)]
    first = load(runs.folder(tmp_path / "first", done, planned, where, profile=BOUNDED))
    for number, look in enumerate(paths.retests(Evidence(first, BOUNDED))):
        alone = pair_cases(AGAIN, f"test-{number}", look.pairs, BOUNDED, "gloo", look.ways)
        planned += alone
        done += [row for case in alone for row in rows_of(case, False)]
    seen = load(runs.folder(tmp_path / "seen", done, planned, where, profile=BOUNDED))
    slow = paths.unexplained(Evidence(seen, BOUNDED))
    for number, again in enumerate(repeats):
        for case in slow:
            more = replace(case, phase=REPEATED, id=f"{REPEATED}/{number}/{case.id}")
            planned.append(more)
            done += rows_of(more, again)
    whole = load(runs.folder(tmp_path / "whole", done, planned, where, profile=BOUNDED))
    return slow, whole


def test_a_slow_transfer_of_nobodys_fault_is_measured_again_in_its_round(tmp_path):
    slow, _ = disturbed_run(tmp_path)
    assert [(case.collective, (3, 1) in case.groups, len(case.groups)) for case in slow] == [("p2p", True, 4)]


def test_a_transfer_that_was_slow_once_is_not_below_the_bound_and_that_is_told(tmp_path):
    (verdict,) = of_bound(disturbed_run(tmp_path, repeats=[False] * paths.REPEATS)[1])
    assert verdict.status is Status.PASS
    assert "n1 to n0 on eth2 was slow" in verdict.evidence[0]


@pytest.mark.parametrize(("also", "port"), [((5, 3), "n1 rail eth2"), ((1, 3), "n0 rail eth2"), ((7, 5), "")])
def test_a_port_is_excused_once_and_not_again_and_again(tmp_path, also, port):
    found = of_bound(disturbed_run(tmp_path, repeats=[False] * paths.REPEATS, also=[also])[1])
    if not port:
        assert [verdict.status for verdict in found] == [Status.PASS]
        return
    assert {verdict.status for verdict in found} == {Status.INCONCLUSIVE}
    (named,) = (verdict for verdict in found if verdict.subject == port)
    assert named.measured.startswith(
        "2 of its transfers were slow at first, and were not when the same load was repeated"
    )
    assert len(named.evidence) == 2


def test_a_transfer_that_stays_slow_under_the_same_load_fails(tmp_path):
    (verdict,) = of_bound(disturbed_run(tmp_path, repeats=[True, True, False, False])[1])
    assert (verdict.status, verdict.subject) == (Status.FAIL, "n1 to n0 on eth2")


@pytest.mark.parametrize("repeats", [[], [False], [False] * (paths.REPEATS - 1)])
def test_a_slow_transfer_that_was_not_measured_again_often_enough_fails(tmp_path, repeats):
    (verdict,) = of_bound(disturbed_run(tmp_path, repeats=repeats)[1])
    assert verdict.status is Status.FAIL


def test_what_a_named_fault_explains_is_not_measured_again(tmp_path):
    slow, _ = disturbed_run(tmp_path, fault=("n1", "eth2"))
    assert slow == []


def test_without_a_bound_nothing_is_too_slow(tmp_path):
    run = disturbed_run(tmp_path)[1]
    assert paths.unexplained(Evidence(run, MADE)) == []


def test_what_is_dead_is_tried_both_ways_at_once_and_less_often(tmp_path):
    where = runs.ranks(4, 2)
    planned = list(rails_phase(where).cases)
    done = [row for case in planned for row in measured(case, where, dead=("n1", "eth2"))]
    first = load(runs.folder(tmp_path, done, planned, where, profile=MADE))
    looks = paths.retests(Evidence(first, MADE))
    assert {look.ways for look in looks if any(3 in pair for pair in look.pairs)} == {"both"}
    assert sum(look.pairs.count((1, 3)) for look in looks) == paths.RETRIES_DEAD_PAIR
