"""Who took a job down, by how the supervisors left. Pure."""

from dataclasses import replace

import pytest

from bench.supervise.departures import (
    CUT,
    FAILED,
    ORPHANED,
    SIGNALLED,
    Departure,
    blamed,
    summary,
    with_last_heartbeat,
)
from bench.supervise.hangs.culprits import Position, RailState

NODES = ("n0", "n0", "n1", "n1", "n2", "n2")
SIGTERM = "told to end by SIGTERM"


def left(**ranks: str) -> list[Departure]:
    """``r4=CUT``: how rank 4 left, which is its text too."""
    return [Departure(int(name[1:]), NODES[int(name[1:])], how, f"{how}!") for name, how in ranks.items()]


@pytest.mark.parametrize(
    ("gone", "ending", "names", "reason"),
    [
        # a supervisor was killed; the launcher ends the others
        (left(r4=CUT), "", "n2 (rank 4)", "n2 (rank 4): its supervisor is gone: cut off!"),
        (
            left(r5=SIGNALLED, r4=CUT, r1=SIGNALLED),
            SIGTERM,
            "n2 (rank 4)",
            "n2 (rank 4): its supervisor is gone: cut off!",
        ),
        (left(r4=CUT, r5=CUT), "", "n2 (ranks 4-5)", "n2 (ranks 4-5): its supervisor is gone: cut off!"),
        # one failed by itself: the others' lines are cut by its end
        (left(r3=CUT, r2=FAILED), "", "n1 (rank 2)", "n1 (rank 2): its supervisor failed: failed!"),
        # the daemon of a node was killed: its ranks are orphans, and so is rank 0 once its launcher has given up
        (
            left(r4=ORPHANED, r5=ORPHANED),
            "",
            "n2 (ranks 4-5)",
            "the launcher's process above its supervisor is gone",
        ),
        (
            left(r4=ORPHANED, r1=ORPHANED, r2=SIGNALLED),
            "mpirun is gone",
            "n2 (rank 4)",
            "n2 (rank 4): the launcher's process",
        ),
        # the launcher itself was killed, and everything of it is gone or has told its ranks to end
        (left(r1=ORPHANED, r2=SIGNALLED, r4=SIGNALLED), "mpirun is gone", "", "mpirun is gone"),
        (left(r2=ORPHANED, r4=ORPHANED), "mpirun is gone", "", "mpirun is gone"),
        # a person or the batch system ended all of it, or one node of it
        (left(r2=SIGNALLED, r4=SIGNALLED), SIGTERM, "", SIGTERM),
        (
            left(r4=SIGNALLED, r5=SIGNALLED),
            "",
            "n2 (ranks 4-5)",
            "n2 (ranks 4-5): its supervisor left: told to end!",
        ),
    ],
)
def test_the_rank_that_left_first_is_named_and_those_that_follow_are_not(gone, ending, names, reason):
    found = blamed(gone, NODES, ending)
    assert found is not None
    assert found.names == names
    assert reason in found.reason


def test_nobody_is_blamed_where_nobody_left():
    assert blamed([], NODES, SIGTERM) is None
    assert summary({}) == ""


def test_a_job_whose_nodes_are_not_known_yet_names_the_rank():
    found = blamed([Departure(1, "a node", CUT, "it closed the connection")], ())
    assert found is not None and found.names == "a node (rank 1)"


def test_the_summary_groups_ranks_by_how_they_left():
    gone = {each.rank: each for each in left(r2=SIGNALLED, r3=SIGNALLED, r4=ORPHANED)}
    assert summary(gone) == "n2 (rank 4) orphaned, n1 (ranks 2-3) told to end"


def test_of_a_node_that_died_all_silent_ranks_are_named_though_one_line_breaks_first():
    found = blamed([Departure(4, "n2", CUT, "Connection timed out")], NODES)
    assert found is not None
    flat = {"eth1": RailState(17.5), "eth2": RailState(17.6)}
    left, other, well = (
        Position(rank, node, True, "timing", "p2p", 0, 3, silent=quiet, rails=flat)
        for rank, node, quiet in ((4, "n2", 17.8), (5, "n2", 17.7), (2, "n1", 16.0))
    )
    later = replace(left, silent=left.silent + 0.01)  # the same rank, seen a moment after
    told = with_last_heartbeat(found, [left], [later, other, well])
    assert told.names == "n2 (ranks 4-5)"
    assert told.reason == (
        "n2 (ranks 4-5): its supervisor is gone: Connection timed out; last heartbeat 17.8 s ago,"
        " in p2p, timing, call 3; eth1, eth2 bytes flat for 17.5 s"
    )
