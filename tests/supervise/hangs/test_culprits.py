"""Who is named when nothing moves, by positions of paper."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.supervise.hangs.culprits import (
    Position,
    RailState,
    name_ranks,
    nodes_in,
    of_failure,
    of_hang,
    unreachable,
)

NODES = ("n0", "n0", "n1", "n1", "n2", "n2")
EVERYONE = tuple(range(6))
FINE = {"eth1": RailState(0.5, True), "eth2": RailState(0.5, True)}
FLAT = {"eth1": RailState(21.0, True), "eth2": RailState(21.0, True)}


def positions(**changes: Position) -> list[Position]:
    """Six ranks on three nodes, all in call 6 of an all_gather; ``r4={...}`` changes rank 4."""
    usual = [
        Position(
            rank,
            node,
            joined=True,
            stage="timing",
            collective="all_gather",
            order=3,
            calls=6,
            group=EVERYONE,
            age=0.4,
            rails=FLAT,
        )
        for rank, node in enumerate(NODES)
    ]
    return [replace(each, **changes.get(f"r{each.rank}", {})) for each in usual]


def test_ranks_are_named_by_their_nodes():
    assert name_ranks(positions()[4:]) == "n2 (ranks 4-5)"
    assert name_ranks([positions()[4]]) == "n2 (rank 4)"
    assert name_ranks([positions()[i] for i in (0, 3, 5)]) == "n0 (rank 0), n1 (rank 3), n2 (rank 5)"
    assert name_ranks([Position(rank, "n9") for rank in (8, 9, 10, 15)]) == "n9 (ranks 8-10, 15)"
    assert name_ranks([Position(rank, f"n{rank}") for rank in range(20)]).endswith(
        "n7 (rank 7), 12 more nodes"
    )


def test_a_node_that_says_nothing_is_named_with_its_last_heartbeat_and_the_call_it_never_entered():
    gone = {"calls": 5, "silent": 8.1, "age": 8.5}
    found = of_hang(positions(r4=gone, r5=gone), 20)
    assert found.names == "n2 (ranks 4-5)"
    assert found.reason == (
        "no progress for 20 s: n2 (ranks 4-5) never entered all_gather call 6 (timing); the others are in"
        " all_gather, timing, call 6; its supervisor is silent too: last heartbeat 8.1 s ago"
    )


def test_a_stopped_worker_is_named_though_its_supervisor_speaks():
    found = of_hang(positions(r5={"age": 9.0, "state": "T"}), 20)
    assert found.names == "n2 (rank 5)"
    assert "last heartbeat 9.0 s ago; its process is stopped (SIGSTOP)" in found.reason
    assert "eth1, eth2 bytes flat for 21.0 s" in found.reason


def test_a_rank_that_is_behind_is_named_though_its_heart_beats():
    found = of_hang(positions(r5={"calls": 5, "age": 0.3}), 20)
    assert found.names == "n2 (rank 5)"
    assert "n2 (rank 5) never entered all_gather call 6" in found.reason
    assert "last heartbeat 0.3 s ago" in found.reason


def test_a_rank_that_is_a_case_behind_is_further_back_than_one_with_fewer_calls():
    found = of_hang(positions(r1={"order": 2, "calls": 90, "collective": "all_reduce"}, r2={"calls": 1}), 20)
    assert found.names == "n0 (rank 1)"


def test_a_pulled_cable_is_named_where_all_wait_in_the_same_call():
    down = {"rails": {"eth1": RailState(21.0, False), "eth2": RailState(0.2, True)}}
    found = of_hang(positions(r4=down, r5=down), 20)
    assert found.names == "n2 (ranks 4-5)"
    assert "n2 eth1 has no link" in found.reason
    assert "eth1 bytes flat for 21.0 s" in found.reason


def test_nobody_is_named_where_all_wait_in_the_same_call_and_nothing_is_seen():
    found = of_hang(positions(), 20)
    assert found.names == ""
    assert "all are in all_gather, timing, call 6, and none came out" in found.reason


def test_a_rail_that_is_down_everywhere_is_nobodys():
    down = {f"r{rank}": {"rails": {"eth1": RailState(9.0, False)}} for rank in EVERYONE}
    assert of_hang(positions(**down), 20).names == ""


def test_all_silent_is_the_listeners_own_trouble():
    found = of_hang(positions(**{f"r{rank}": {"silent": 30.0} for rank in EVERYONE}), 20)
    assert found.names == ""


def test_those_who_did_not_join_are_named():
    late = {"joined": False, "stage": "joining", "order": -1, "collective": "", "calls": 0}
    found = of_hang(positions(r4=late, r5=late), 180)
    assert found.names == "n2 (ranks 4-5)"
    assert "did not join (in joining)" in found.reason


def test_a_pair_that_never_ends_is_told_as_a_pair():
    stuck = {"order": 2, "collective": "p2p", "group": (0, 4)}
    found = of_hang(positions(r0=stuck, r4=stuck), 20)
    assert found.names == "n0 and n2"
    assert "together, and it does not end" in found.reason


def test_a_killed_worker_comes_before_the_errors_of_its_peers():
    echo = {"error": "RuntimeError: Connection reset by peer"}
    found = of_failure(positions(r0=echo, r1=echo, r5={"ended": True, "status": -9}))
    assert found is not None
    assert found.names == "n2 (rank 5)"
    assert found.reason.startswith("n2 (rank 5): its worker was killed by SIGKILL")
    assert found.died


def test_an_error_of_its_own_comes_before_an_echo():
    found = of_failure(
        positions(r0={"error": "RuntimeError: Timed out waiting"}, r3={"error": "ValueError: planted"})
    )
    assert found is not None
    assert found.names == "n1 (rank 3)"
    assert not found.died
    assert "ValueError: planted" in found.reason


def test_an_echo_alone_is_told_with_the_link_that_is_down():
    down = {"rails": {"eth1": RailState(9.0, False)}}
    found = of_failure(positions(r0={"error": "RuntimeError: Connection closed by peer"}, r4=down))
    assert found is not None
    assert found.reason.startswith("n2 eth1 has no link; n0 (rank 0): its worker failed")
    assert found.names == "n2 (rank 4)"


def test_a_link_that_is_down_is_not_blamed_for_what_has_nothing_to_do_with_it():
    down = {"rails": {"eth1": RailState(9.0, False)}}
    found = of_failure(positions(r0={"error": "ValueError: planted"}, r4=down))
    assert found is not None
    assert found.names == "n0 (rank 0)"


def test_nothing_broken_is_none():
    assert of_failure(positions()) is None
    assert of_failure(positions(r1={"ended": True, "status": 0})) is None


def test_who_cannot_be_told_to_end_is_said_to_be_unreachable():
    gone = [replace(position, silent=12.3) for position in positions()[4:]]
    assert "n2 (ranks 4-5) does not answer: last heartbeat 12.3 s ago" in unreachable(gone)
    assert "may still be there" in unreachable(gone)


def test_a_rank_is_well_while_its_heart_beats_or_when_it_ended_as_it_should():
    fine = positions()[4]
    assert fine.well(3.0)
    assert replace(fine, ended=True, status=0, silent=99.0).well(3.0)
    for change in (
        {"age": 3.1},
        {"age": None},
        {"silent": 3.1},
        {"error": "x"},
        {"ended": True, "status": -9},
    ):
        assert not replace(fine, **change).well(3.0)


ANY = st.builds(
    Position,
    rank=st.integers(0, 99),
    node=st.sampled_from(["n0", "n1", "", "n2 (rank"]),
    joined=st.booleans(),
    stage=st.sampled_from(["", "starting", "timing", "connecting over eth1", "leaving", "nonsense"]),
    collective=st.sampled_from(["", "p2p", "all_gather"]),
    order=st.integers(-1, 5),
    calls=st.integers(0, 10),
    group=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    silent=st.floats(0, 1e6),
    age=st.none() | st.floats(0, 1e6),
    ended=st.booleans(),
    status=st.none() | st.integers(-70, 255),
    error=st.sampled_from(["", "ValueError: x", "Connection reset"]),
    words=st.sampled_from(["", "last words"]),
    state=st.sampled_from(["", "T", "S", "?"]),
    rails=st.dictionaries(
        st.sampled_from(["eth1", "mlx5_3/1"]),
        st.builds(RailState, st.floats(0, 1e6), st.none() | st.booleans()),
        max_size=2,
    ),
)


@settings(max_examples=150)
@given(st.lists(ANY, max_size=6))
def test_whatever_was_heard_there_is_a_sentence_and_a_culprit_is_one_of_them(found):
    verdict = of_hang(found, 20.0)
    assert verdict.reason
    assert not verdict.names or any(each.node in verdict.names for each in found)
    again = of_failure(found)
    unplugged = [position for position in found if any(rail.up is False for rail in position.rails.values())]
    assert again is None or again.names in {name_ranks([position]) for position in found} | {
        name_ranks(unplugged)
    }


def test_the_nodes_in_a_list_of_names_are_found_again():
    assert nodes_in(name_ranks([positions()[i] for i in (0, 3, 5)])) == ("n0", "n1", "n2")
    assert nodes_in("gpu-1.example (rank 3) and gpu-2.example (ranks 4-5)") == (
        "gpu-1.example",
        "gpu-2.example",
    )
    assert nodes_in("") == ()
