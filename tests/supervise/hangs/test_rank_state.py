"""From what supervisors reported to the positions of ranks."""

from bench.model.measurement import Case, Rank
from bench.model.run_folder_lines import LastSeen
from bench.supervise.hangs.rank_state import RankState, heartbeats, positions, record

RANKS = (Rank(0, "n0", 0), Rank(1, "n1", 0))
CASE = Case("c", "p", "all_gather", 8, 2, ((0, 1),))
BEAT = {"case": "c", "stage": "timing", "calls": 6, "age": 0.5, "state": "S", "links": {"eth1": [3.0, True]}}


def test_what_was_told_ages_while_a_supervisor_is_silent():
    states = {
        0: RankState(beat=BEAT, last_heard=90.0),
        1: RankState(beat=BEAT, last_heard=92.0, ready={"kind": "ready"}),
    }
    chief, other = positions(states, RANKS, {"c": (3, CASE)}, now=100.0)
    assert (other.silent, other.age, other.joined) == (8.0, 8.5, True)
    assert other.rails["eth1"].flat == 11.0
    assert (other.collective, other.order, other.calls, other.group) == ("all_gather", 3, 6, (0, 1))
    assert (chief.silent, chief.age) == (0.0, 0.5)  # the listener cannot miss itself


def test_a_rank_that_never_spoke_has_no_heartbeat():
    (position,) = positions({1: RankState(last_heard=0.0)}, RANKS, {}, now=4.0)
    assert (position.age, position.joined, position.stage, position.order) == (None, False, "starting", -1)


def test_the_stage_of_a_failure_is_that_of_the_failure():
    failed = {"error": "ValueError", "text": "planted", "at": {"case": "c", "stage": "checking", "calls": 2}}
    old = {**BEAT, "case": "", "stage": "meeting"}
    (position,) = positions(
        {1: RankState(beat=old, last_heard=0.0, failed=failed)}, RANKS, {"c": (0, CASE)}, now=0.0
    )
    assert (position.collective, position.order) == ("all_gather", 0)
    assert (position.error, position.stage, position.calls) == ("ValueError: planted", "checking", 2)


def test_a_record_of_all_goes_into_the_journal():
    states = {1: RankState(beat=BEAT, last_heard=92.0)}
    assert record(positions(states, RANKS, {"c": (3, CASE)}, now=100.0)) == (
        LastSeen(1, "timing", 3, 6, 8.5, "S", {"eth1": (11.0, True)}),
    )


def test_heartbeats_are_told_by_node():
    states = {0: RankState(beat=BEAT, last_heard=90.0), 1: RankState(beat=BEAT, last_heard=92.0)}
    assert heartbeats(positions(states, RANKS, {}, now=100.0)) == "n0 0.0 s, n1 8.0 s ago"
    assert heartbeats([]) == ""
