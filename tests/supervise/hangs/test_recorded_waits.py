"""Who has not entered the call that others wait in: dumps of jobs that hung, and recordings made by hand."""

import pytest

from bench.measure.flight_recorder import Flight, parse
from bench.model.run_folder_lines import RecordedCall
from bench.supervise.hangs.recorded_waits import describe_waits
from flight_dumps import dump

WITHOUT_RANK_1 = "rank 1 has not entered {}, in which rank 0 waits (its last call was all_reduce 1)"
ALL_ENTERED = "all ranks have entered all_reduce 2; it is not over on ranks 0-1"
IN_THE_RING = (
    "rank 2 has not entered recv 3<-2, send 3->1, in which rank 3 waits (its last call was recv 2<-1, send 2->3); "
    "rank 2 has not entered all_reduce 3, in which ranks 0-1, 3 wait (its last call was recv 2<-1, send 2->3)"
)


def hung(name: str, ranks: int) -> dict[int, Flight]:
    return {rank: parse(dump(f"hang_{name}_rank{rank}_2.11.json")) for rank in range(ranks)}


def flight(*calls: RecordedCall) -> Flight:
    return Flight(calls, tuple(call for call in calls if not call.done))


def reduced(number: int, done: bool = False) -> Flight:
    return flight(RecordedCall("0", number, "all_reduce", done))


def sent(rank: int, peer: int, done: bool) -> Flight:
    return flight(RecordedCall("0", 7, f"send {rank}->{peer}", done, (peer,)))


@pytest.mark.parametrize(
    ("name", "ranks", "text"),
    [
        ("coll", 2, WITHOUT_RANK_1.format("all_reduce 2")),
        ("ahead", 2, WITHOUT_RANK_1.format("all_reduce 2")),
        ("p2p", 2, WITHOUT_RANK_1.format("recv 0<-1, send 0->1")),
        ("ring", 4, IN_THE_RING),
        ("stuck", 2, ALL_ENTERED),
    ],
)
def test_the_rank_that_is_not_in_the_call_is_named(name, ranks, text):
    assert describe_waits(hung(name, ranks)) == text


@pytest.mark.parametrize("name", ["coll", "p2p", "stuck"])
def test_a_rank_that_is_not_heard_of_is_not_said_to_be_absent(name):
    """A stopped process tells nothing of what it entered."""
    del (flights := hung(name, 2))[1]
    call = "recv 0<-1, send 0->1" if name == "p2p" else "all_reduce 2"
    assert describe_waits(flights, silent=[1]) == f"rank 0 waits in {call}; nothing is recorded of rank 1"


def test_several_ranks_that_lack_are_named_together():
    flights = {0: reduced(13), 4: reduced(13), 5: reduced(12, done=True), 6: reduced(12, done=True)}
    assert describe_waits(flights) == (
        "ranks 5-6 have not entered all_reduce 13, in which ranks 0, 4 wait (their last call was all_reduce 12)"
    )


def test_a_rank_that_has_made_no_call_in_the_group_is_not_in_it():
    """It has no entry there at all: who is of the group is what torch says of the group."""
    waits = Flight(reduced(1).last, reduced(1).open, {"0": (0, 1)})
    other = flight(RecordedCall("1", 5, "broadcast", True))
    assert describe_waits({0: waits, 1: other}).startswith(
        "rank 1 has not entered all_reduce 1, in which rank 0"
    )


def test_a_call_that_only_some_came_out_of_is_told_with_those_who_did_not():
    flights = {0: reduced(6), 1: reduced(6, done=True)}
    assert describe_waits(flights) == "all ranks have entered all_reduce 6; it is not over on rank 0"


def test_a_stuck_exchange_is_told_before_the_call_in_which_others_wait_for_its_ranks():
    everyone = Flight(reduced(6).last, reduced(6).open, {"0": (0, 1, 2, 3)})
    flights = {0: sent(0, 1, False), 1: sent(1, 0, False), 2: everyone, 3: everyone}
    assert describe_waits(flights) == (
        "all ranks have entered send 0->1; it is not over on rank 0; "
        "all ranks have entered send 1->0; it is not over on rank 1"
    )


def test_a_sender_that_waits_elsewhere_may_have_sent():
    """A small message leaves its sender before it arrives."""
    waits = RecordedCall("0", 6, "all_reduce", False)
    sender = Flight((*sent(1, 0, True).last, waits), (waits,), {"0": (0, 1)})
    assert describe_waits({0: sent(0, 1, False), 1: sender}) == "rank 0 waits in send 0->1"


def test_of_collectives_without_a_number_only_who_waits_is_told():
    """torch 2.4 counts messages among a group's collectives: what one rank calls 9 may be another's 7."""
    assert describe_waits({0: reduced(0), 1: reduced(0, done=True)}) == "rank 0 waits in all_reduce"
    assert describe_waits({0: reduced(0), 1: reduced(0)}) == "ranks 0-1 wait in all_reduce"


def test_a_collective_between_exchanges_is_told_of_torch_2_4():
    """As torch 2.4.1 recorded it, when rank 1 was stopped between two exchanges."""
    exchange = RecordedCall("0", 1411, "recv 0<-1, send 0->1", True, (1,))
    waits = flight(exchange, RecordedCall("0", 0, "_all_gather_base", False))
    said = "rank 0 waits in _all_gather_base; nothing is recorded of rank 1"
    assert describe_waits({0: waits}, silent=[1]) == said


def test_nothing_is_said_where_nothing_hangs_or_nothing_was_recorded():
    assert describe_waits({}) == describe_waits({}, [0, 1]) == ""
    assert describe_waits({0: Flight(), 1: Flight()}) == ""
    assert describe_waits({0: reduced(6, done=True), 1: reduced(6, done=True)}) == ""
    assert describe_waits({0: reduced(35, done=True)}, [1]) == ""
