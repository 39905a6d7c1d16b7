"""What else explains a slow or silent rail: a throttled CPU, another MTU, full packets that vanish, who was lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.blame import Blame, Subject
from bench.judge.checks.throttling_and_mtu import explained, held_back, swallowed
from bench.judge.findings import Finding
from bench.model.counters import CPU, Snapshot
from bench.model.facts import Node
from bench.model.measurement import Case, Extra, Measurement
from bench.model.profile import Profile, Rails
from bench.model.verdict import Status
from bench.store import Loss
from bench.store.rows import Row, row_of
from made_nodes import around, counted, grow, interface, judged, nodes, port, seen, status, worst_words

SOCKETS = Profile(
    name="sockets",
    title="",
    source="",
    text="",
    rails=Rails(kind="socket", count=2, devices=("eth1", "eth2"), management="eth0"),
)
ROCE = replace(SOCKETS, rails=Rails(kind="roce", count=1))


def pods(**mtu: int) -> list[Node]:
    """Three nodes with two rails; ``n2_eth1=1000`` gives one another MTU."""
    return [
        Node(
            f"n{number}",
            interfaces=tuple(
                interface(name, mtu=mtu.get(f"n{number}_{name}", 1500)) for name in ("eth0", "eth1", "eth2")
            ),
        )
        for number in range(3)
    ]


def quota(shot: Snapshot, periods: int, throttled: int, waited: int = 0) -> Snapshot:
    readings = {
        **shot.readings,
        CPU: {CPU: {"nr_periods": periods, "nr_throttled": throttled, "throttled_usec": waited}},
    }
    return replace(shot, readings=readings)


def limited(*counts: tuple[int, int, int] | None):
    """A run of three nodes whose quota told (periods, throttled, µs) in phase rails; None: no quota."""
    machines = pods()
    before = [counted(machine) for machine in machines]
    after = [grow(shot, "eth1", "statistics", 10.0, tx_bytes=1) for shot in before]
    for place, told in enumerate(counts):
        if told:
            before[place], after[place] = quota(before[place], 0, 0), quota(after[place], *told)
    return seen(machines, backend="gloo", each=2, counters=around("rails", before, after), phases=["rails"])


# the CPU's quota


def test_a_throttled_node_fails_by_its_name_with_what_the_kernel_counted():
    evidence = limited(None, None, (188, 177, 20_500_000))
    assert worst_words("growth.throttling", evidence, SOCKETS).startswith(
        "n2 cpu: its CPU is throttled: nr_throttled rose by 177 in 188 periods of its quota"
    )
    assert "20.5 s" in worst_words("growth.throttling", evidence, SOCKETS)
    assert status("growth.throttling", evidence, SOCKETS) is Status.FAIL


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (None, Status.NOT_APPLICABLE),
        ((188, 0, 0), Status.PASS),
        ((188, 18, 9), Status.PASS),
        ((188, 19, 9), Status.FAIL),
        ((19, 19, 9), Status.PASS),
        ((0, 0, 0), Status.PASS),
    ],
)
def test_a_quota_that_is_touched_now_and_then_is_no_fault(told, wanted):
    assert status("growth.throttling", limited(told, told, told), SOCKETS) is wanted


def test_counters_that_nobody_recorded_do_not_say_that_there_is_no_quota():
    evidence = seen(pods(), backend="gloo", each=2, phases=["rails"])
    assert status("growth.throttling", evidence, SOCKETS) is Status.INCONCLUSIVE


def test_a_run_without_measurements_is_not_judged():
    assert status("growth.throttling", seen(pods(), backend="gloo", each=2), SOCKETS) is Status.NOT_APPLICABLE


BLAMED = Finding("n2 rail eth1", False, "runs at 60.0 % of its peers' rate", step="reseat")


def blame(subject: Subject, *others: Subject) -> Blame:
    return Blame(subject, 0.4, 1.0, True, (), "", alternatives=others)


def test_a_rail_of_a_throttled_node_is_not_blamed_for_it():
    evidence = limited(None, None, (188, 177, 20_500_000))
    assert held_back(evidence) == {"n2"}
    found = explained(BLAMED, blame(Subject("port", "n2", rail="eth1")), evidence)
    assert found.ok is None
    assert "the CPU of n2 was throttled meanwhile" in found.measured
    assert "growth.throttling" in (found.step or "")


@pytest.mark.parametrize(
    ("subject", "others", "wanted"),
    [
        (Subject("port", "n1", rail="eth1"), (), False),
        (Subject("path", "n1", "n2", "eth1"), (), None),
        (Subject("port", "n1", rail="eth1"), (Subject("port", "n2", rail="eth1"),), None),
        (Subject("rail", rail="eth1"), (), False),
    ],
)
def test_only_what_has_to_do_with_the_throttled_node_is_in_doubt(subject, others, wanted):
    evidence = limited(None, None, (188, 177, 20_500_000))
    assert explained(BLAMED, blame(subject, *others), evidence).ok is wanted


# full packets that vanish


def row(ranks: tuple[int, int], rail: str, stage: str = "checking", failed: bool = True) -> Row:
    case = Case("rails/p2p/x", "rails", "p2p", 1 << 20, 1 << 18, (ranks,), rail="own")
    extra = Extra("Timed out", rail, stage) if failed else Extra(retransmits=(0, 0))
    measurement = Measurement(case.id, ranks, (), 0, (), (None, None), 0, (), "failed", -1.0, 0, extra=extra)
    return row_of(case, measurement)


def hole(*rows: Row):
    return seen(pods(), backend="gloo", each=2, phases=["rails"], rows=rows)


PORT = Subject("port", "n2", rail="eth1")


def test_a_rail_that_connects_and_passes_nothing_large_is_told_as_that():
    evidence = hole(row((0, 4), "eth1"), row((2, 4), "eth1", "timing"))
    assert swallowed(PORT, evidence) == 1 << 20
    found = explained(BLAMED, blame(PORT), evidence)
    assert found.ok is False
    assert "small messages pass, but not one of 1 MiB gets through" in found.measured
    assert "MTU" in (found.step or "")


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (row((0, 4), "eth1", "connecting over eth1"),),
        (row((0, 4), "eth1"), row((2, 4), "eth1", "connecting over eth1")),
        (row((0, 4), "eth2"),),
        (row((0, 2), "eth1"),),
        (row((0, 4), "eth1", failed=False),),
    ],
)
def test_any_other_silence_is_not_told_as_an_mtu(rows):
    assert swallowed(PORT, hole(*rows)) == 0
    assert explained(BLAMED, blame(PORT), hole(*rows)) == BLAMED


def test_a_node_is_never_a_black_hole():
    assert swallowed(Subject("node", "n2"), hole(row((0, 4), "eth1"))) == 0


# the MTU


def test_a_rail_with_another_mtu_than_its_peers_is_named():
    assert worst_words("rails.mtu", seen(pods(n2_eth1=1000)), SOCKETS).startswith(
        "n2 eth1: MTU 1000, not 1500 as 5 others have"
    )
    assert status("rails.mtu", seen(pods(n2_eth1=1000)), SOCKETS) is Status.FAIL


def test_one_mtu_everywhere_passes_and_management_is_not_asked():
    assert status("rails.mtu", seen(pods(n2_eth0=9000)), SOCKETS) is Status.PASS


def test_both_ends_alike_and_not_as_the_profile_says_fail_with_its_name():
    wanted = replace(SOCKETS, rails=replace(SOCKETS.rails, mtu=9000))
    found = judged("rails.mtu", seen(pods()), wanted)
    assert {v.status for v in found} == {Status.FAIL}
    assert len(found) == 6
    assert found[0].message.startswith("n0 eth1: MTU 1500, wanted MTU 9000 (sockets)")
    assert (
        status("rails.mtu", seen(pods()), replace(wanted, rails=replace(wanted.rails, mtu=1500)))
        is Status.PASS
    )


INFINIBAND = replace(SOCKETS, rails=Rails(kind="infiniband", count=8, excluded=("mlx5_0",)))


def hcas(*changes: tuple[int, int, dict[str, int | None]]) -> list[Node]:
    """Two nodes of eight rails, with ``changes`` of (node, number of its HCA, what is other)."""
    made = list(nodes(2))
    for node, number, change in changes:
        ports = tuple(
            replace(each, **change) if each.hca == f"mlx5_{number}" else each for each in made[node].ports
        )
        made[node] = replace(made[node], ports=ports)
    return made


def test_a_port_with_smaller_packets_than_the_other_rails_is_named_with_what_it_could():
    assert status("rails.mtu", seen(hcas()), INFINIBAND) is Status.PASS
    found = judged("rails.mtu", seen(hcas((1, 3, {"mtu": 2048}))), INFINIBAND)
    assert [v.status for v in found] == [Status.FAIL]
    assert "n1 mlx5_3/1: MTU 2048 of 4096 that it could, not 4096 as 15 others have" in found[0].message
    # the management adapter is no rail
    assert status("rails.mtu", seen(hcas((1, 0, {"mtu": 256}))), INFINIBAND) is Status.PASS


def test_packets_that_could_be_larger_everywhere_are_told_and_fail_only_where_the_profile_wants_them_so():
    small = hcas(*((node, number, {"mtu": 2048}) for node in range(2) for number in range(1, 9)))
    (passed,) = judged("rails.mtu", seen(small), INFINIBAND)
    assert passed.status is Status.PASS and "MTU 2048 of 4096 that it could" in passed.evidence[0]
    wanted = replace(INFINIBAND, rails=replace(INFINIBAND.rails, mtu=4096))
    found = judged("rails.mtu", seen(small), wanted)
    assert {v.status for v in found} == {Status.FAIL} and len(found) == 16


def test_a_port_whose_packets_nobody_knows_is_no_pass_and_without_the_tool_the_check_does_not_apply():
    unknown = hcas((0, 1, {"mtu": None, "max_mtu": None}))
    assert status("rails.mtu", seen(unknown), INFINIBAND) is Status.INCONCLUSIVE
    note = "ibv_devinfo: ibv_devinfo is not installed"
    without = [replace(each, notes=(note,)) for each in unknown]
    (skipped,) = judged("rails.mtu", seen(without), INFINIBAND)
    assert skipped.status is Status.NOT_APPLICABLE and "installed on no node" in skipped.measured
    assert status("rails.mtu", seen([without[0], unknown[1]]), INFINIBAND) is Status.INCONCLUSIVE


def test_a_node_without_any_rail_is_not_passed_over():
    assert status("rails.mtu", seen([*pods(), Node("n3")]), SOCKETS) is Status.INCONCLUSIVE


def test_where_there_is_no_majority_all_are_named():
    two = [replace(machine, interfaces=machine.interfaces[:2]) for machine in pods(n1_eth1=9000)[:2]]
    assert len([v for v in judged("rails.mtu", seen(two), SOCKETS) if v.status is Status.FAIL]) == 2


def test_an_mtu_that_is_not_known_is_not_a_pass():
    machines = pods()
    machines[1] = replace(machines[1], interfaces=tuple(replace(i, mtu=None) for i in machines[1].interfaces))
    assert status("rails.mtu", seen(machines), SOCKETS) is Status.INCONCLUSIVE
    assert status("rails.mtu", seen([Node("n0")]), SOCKETS) is Status.INCONCLUSIVE


def test_a_roce_port_has_the_mtu_of_its_interface():
    def machine(number: int, mtu: int) -> Node:
        own = replace(port(1, number), link_layer="Ethernet", netdev="eth1")
        return Node(f"n{number}", ports=(own,), interfaces=(interface("eth1", mtu=mtu),))

    machines = [machine(0, 9000), machine(1, 9000), machine(2, 1500)]
    assert "n2" in worst_words("rails.mtu", seen(machines), ROCE)
    assert status("rails.mtu", seen(machines[:2]), ROCE) is Status.PASS


def test_a_profile_without_rails_asks_for_no_mtu():
    assert status("rails.mtu", seen(nodes(2)), replace(SOCKETS, rails=Rails())) is Status.NOT_APPLICABLE


# who was lost


def test_each_culprit_is_a_verdict_of_its_own_with_what_it_cost():
    evidence = seen(pods(), backend="gloo", each=2)
    losses = (
        Loss("a", "n2 (ranks 4-5) does not answer", "n2 (ranks 4-5)"),
        Loss("b", "the same again", "n2 (ranks 4-5)"),
        Loss("c", "not tried", ""),
        Loss("d", "n1 (rank 2): its worker was killed by SIGKILL", "n1 (rank 2)"),
    )
    found = judged("coverage.lost", replace(evidence, run=replace(evidence.run, losses=losses)))
    assert [(v.subject, v.status) for v in found] == [
        ("n2 (ranks 4-5)", Status.INCONCLUSIVE),
        ("n1 (rank 2)", Status.INCONCLUSIVE),
    ]
    assert found[0].measured == "n2 (ranks 4-5) does not answer; it cost 2 cases"
    assert found[1].measured == "its worker was killed by SIGKILL"
    assert judged("coverage.lost", evidence) == []
