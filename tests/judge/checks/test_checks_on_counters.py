"""What moved and what grew around every phase: planted into counters.jsonl and demanded back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.checks import exclusion_bytes
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.measurement import Case
from bench.model.profile import Profile, Rails
from bench.model.run_folder_lines import PhaseMark
from bench.model.verdict import Status
from bench.store import Phase, Plan
from made_nodes import (
    LAMBDA,
    LOCAL,
    around,
    counted,
    grow,
    interface,
    judged,
    node,
    nodes,
    port,
    seen,
    status,
    with_port,
    worst_words,
)

SECONDS = 10.0
BUSY = 10_000_000_000 // 4  # words a direction on a rail in a phase
CROSSING = Case("all_reduce", "collectives", "all_reduce", 1 << 20, 1 << 18, (tuple(range(16)),))
INSIDE = replace(CROSSING, groups=(tuple(range(8)), tuple(range(8, 16))))
SOCKETS = Profile(
    name="sockets",
    title="",
    source="",
    text="",
    rails=Rails(kind="socket", count=2, devices=("eth1", "eth2"), management="eth0"),
)


def planned(*cases: Case) -> Plan:
    return Plan((Phase("collectives", "", cases or (CROSSING,)),))


def pod(number: int) -> Node:
    tcp = {"InSegs": 0, "OutSegs": 0, "RetransSegs": 0, "InErrs": 0, "OutRsts": 0}
    return Node(f"n{number}", interfaces=tuple(interface(name) for name in ("eth0", "eth1", "eth2")), tcp=tcp)


def worked(shot: Snapshot, seconds: float = SECONDS) -> Snapshot:
    """The snapshot after a phase in which every rail carried 10 GB each way."""
    for subject in shot.readings:
        if subject.startswith("mlx5_") and subject != "mlx5_0/1":
            shot = grow(shot, subject, "counters", port_xmit_data=BUSY, port_rcv_data=BUSY)
        if subject in ("eth1", "eth2"):
            shot = grow(shot, subject, "statistics", tx_bytes=4 * BUSY, rx_bytes=4 * BUSY)
    return Snapshot(shot.time + seconds, shot.monotonic + seconds, shot.readings)


def after(change, machines=None, plan=None, backend="nccl", **more):
    """Evidence of one phase; ``change`` is done to the last snapshot of the first node."""
    machines = machines or nodes(2)
    before = [counted(each) for each in machines]
    last = [worked(shot) for shot in before]
    last[0] = change(last[0])
    lines = around("collectives", before, last)
    return seen(
        machines, backend=backend, counters=lines, phases=["collectives"], plan=plan or planned(), **more
    )


def same(shot: Snapshot) -> Snapshot:
    return shot


def moved(subject: str, group: str, **growth: int):
    return lambda shot: grow(shot, subject, group, **growth)


# ── bytes on what is excluded ───────────────────────────────────────────────────────────────────────────


def test_a_quiet_port_passes_with_its_bytes_and_the_floor():
    (verdict,) = judged("exclusion.bytes", after(moved("mlx5_0/1", "counters", port_xmit_data=1000)))
    assert verdict.status is Status.PASS
    assert (
        "n0 mlx5_0/1: carried 3.906 KiB in phase “collectives” (10 s), 10.49 MiB would be noise"
        in verdict.evidence[0]
    )


def test_a_busy_port_fails_with_its_share():
    evidence = after(moved("mlx5_0/1", "counters", port_xmit_data=BUSY // 10, port_rcv_data=BUSY // 10))
    (verdict,) = judged("exclusion.bytes", evidence)
    assert verdict.status is Status.FAIL
    assert verdict.subject == "n0 mlx5_0/1"
    assert "1.863 GiB in phase “collectives”" in verdict.measured
    assert "10.0 % of what a rail carried" in verdict.measured


def test_a_busy_port_beside_rails_that_cannot_be_read_is_no_pass():
    machines = [with_port(each, "mlx5_4", counters={"port_xmit_data": 0}) for each in nodes(2)]
    evidence = after(moved("mlx5_0/1", "counters", port_xmit_data=BUSY, port_rcv_data=BUSY), machines)
    (verdict,) = [v for v in judged("exclusion.bytes", evidence) if v.subject == "n0 mlx5_0/1"]
    assert verdict.status is Status.INCONCLUSIVE
    assert "what the rails carried is not known" in verdict.measured


def test_a_little_more_than_noise_cannot_be_told():
    evidence = after(moved("mlx5_0/1", "counters", port_xmit_data=10_000_000))
    assert status("exclusion.bytes", evidence) is Status.INCONCLUSIVE


def test_bytes_in_a_phase_that_crosses_no_node_are_somebody_elses():
    evidence = after(moved("mlx5_0/1", "counters", port_xmit_data=BUSY), plan=planned(INSIDE))
    assert status("exclusion.bytes", evidence) is Status.INCONCLUSIVE
    assert "nothing measured leaves a node in it" in worst_words("exclusion.bytes", evidence)


def test_bytes_of_ip_over_an_infiniband_port_are_left_out():
    machines = [replace(each, ports=(port(0, link_layer="InfiniBand", netdev="ib0"), *each.ports[1:]),
                        interfaces=(interface("ib0"), *each.interfaces)) for each in nodes(2)]  # fmt: skip

    def ip(shot: Snapshot) -> Snapshot:
        shot = grow(shot, "ib0", "statistics", tx_bytes=1_000_000_000, tx_packets=250_000)
        return grow(shot, "mlx5_0/1", "counters", port_xmit_data=(1_000_000_000 + 60 * 250_000) // 4)

    (verdict,) = judged("exclusion.bytes", after(ip, machines))
    assert verdict.status is Status.PASS
    assert "of IP left out" in verdict.evidence[0]
    # RDMA on top of it shows
    both = after(lambda shot: grow(ip(shot), "mlx5_0/1", "counters", port_xmit_data=BUSY), machines)
    assert status("exclusion.bytes", both) is Status.FAIL


@pytest.mark.parametrize(
    "counters", [{}, {"port_xmit_data": 5}, {"port_xmit_data": 2**32 - 1, "port_rcv_data": 2**32 - 1}]
)
def test_bytes_that_cannot_be_read_are_an_error(counters):
    machines = [
        replace(each, ports=(port(0, counters=counters, hw_counters={}), *each.ports[1:]))
        for each in nodes(2)
    ]
    assert status("exclusion.bytes", after(same, machines)) is Status.INCONCLUSIVE


def test_soft_roce_counts_packets():
    soft = port(0, counters={}, hw_counters={"sent_pkts": 0, "rcvd_pkts": 0})
    machines = [replace(each, ports=(soft, *each.ports[1:])) for each in nodes(2)]
    for packets, expected in ((100, Status.PASS), (5_000, Status.INCONCLUSIVE), (10_000_000, Status.FAIL)):
        assert (
            status("exclusion.bytes", after(moved("mlx5_0/1", "hw_counters", sent_pkts=packets), machines))
            is expected
        )


class Rows:
    """Just enough of a row: the case and the ranks that were measured."""

    def __init__(self, case: Case) -> None:
        self.case, self.measurement = case, self
        self.ranks = case.groups[0]


def test_counters_that_do_not_count_prove_nothing():
    """RDMA traffic was measured and the rails' own counters stood still: so would the excluded port's."""
    machines = nodes(2)
    shots = [counted(each) for each in machines]
    later = [Snapshot(shot.time + 10, shot.monotonic + 10, shot.readings) for shot in shots]
    lines = around("collectives", shots, later)
    evidence = seen(machines, counters=lines, phases=["collectives"], plan=planned(), rows=[Rows(CROSSING)])
    assert status("exclusion.bytes", evidence) is Status.INCONCLUSIVE
    assert "they count nothing" in worst_words("exclusion.bytes", evidence)
    assert status("exclusion.bytes", after(same, rows=[Rows(CROSSING)])) is Status.PASS


def test_neighbours_on_one_node_send_nothing_over_the_rails():
    """Point-to-point pairs rank 0 with 1 and 2 with 3: over two nodes, and yet nothing crosses."""
    pairs = replace(CROSSING, collective="p2p")
    machines = nodes(2)
    shots = [counted(each) for each in machines]
    later = [Snapshot(shot.time + 10, shot.monotonic + 10, shot.readings) for shot in shots]
    lines = around("collectives", shots, later)
    evidence = seen(machines, counters=lines, phases=["collectives"], plan=planned(), rows=[Rows(pairs)])
    assert "they count nothing" not in worst_words("exclusion.bytes", evidence)
    far = replace(pairs, groups=((0, 8),))
    evidence = seen(machines, counters=lines, phases=["collectives"], plan=planned(), rows=[Rows(far)])
    assert "they count nothing" in worst_words("exclusion.bytes", evidence)


def test_gloo_moves_nothing_over_rdma_so_silence_proves_nothing():
    assert status("exclusion.bytes", after(same, backend="gloo")) is Status.NOT_APPLICABLE
    busy = moved("mlx5_0/1", "counters", port_xmit_data=BUSY)
    assert status("exclusion.bytes", after(busy, backend="gloo")) is Status.FAIL


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        (1000, Status.PASS),
        (20_000_000, Status.PASS),
        (100_000_000, Status.INCONCLUSIVE),
        (10**9, Status.FAIL),
    ],
)
def test_the_management_interface_must_not_carry_what_is_measured(growth, expected):
    evidence = after(moved("eth0", "statistics", rx_bytes=growth), [pod(0), pod(1)], backend="gloo")
    assert status("exclusion.bytes", evidence, SOCKETS) is expected


def test_what_excludes_nothing_is_skipped_with_the_reason():
    nothing = replace(LAMBDA, rails=replace(LAMBDA.rails, excluded=()))
    without = [replace(each, ports=each.ports[1:]) for each in nodes(2)]
    for want, machines in ((LOCAL, nodes(2)), (nothing, without)):
        (verdict,) = judged("exclusion.bytes", after(same, machines), want)
        assert verdict.status is Status.NOT_APPLICABLE
        assert verdict.measured
    assert status("exclusion.bytes", after(same), nothing) is Status.PASS  # mlx5_0 is no rail, and is judged
    assert status("exclusion.bytes", after(same, without)) is Status.NOT_APPLICABLE
    assert status("exclusion.bytes", seen(nodes(2))) is Status.NOT_APPLICABLE


def test_the_floor_is_far_below_what_a_rail_carries():
    rate = LAMBDA.rails.rate
    assert rate is not None
    assert rate.value > exclusion_bytes.RATE * 10_000


# ── gaps ────────────────────────────────────────────────────────────────────────────────────────────────

COUNTED = ("exclusion.bytes", "growth.errors")


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("kept", [(), ("before",), ("after",)])
def test_a_phase_without_both_snapshots_is_an_error(name, kept):
    evidence = after(same)
    lines = tuple(line for line in evidence.run.counters if line.when in kept)
    assert status(name, replace(evidence, run=replace(evidence.run, counters=lines))) is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", COUNTED)
def test_missing_snapshots_are_an_error(name):
    evidence = after(same)
    lines = (evidence.run.counters[0], replace(evidence.run.counters[1], snapshots=()))
    assert status(name, replace(evidence, run=replace(evidence.run, counters=lines))) is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", COUNTED)
def test_a_node_that_was_started_anew_is_an_error(name):
    evidence = after(lambda shot: Snapshot(shot.time, -1.0, shot.readings))
    assert "was started anew" in worst_words(name, evidence)


@pytest.mark.parametrize("name", COUNTED)
def test_every_phase_is_judged_by_itself(name):
    """The second phase has no counters: the first one's do not speak for it."""
    evidence = after(same)
    run = replace(evidence.run, phases=(*evidence.run.phases, PhaseMark("rails", "begin")))
    assert "phase “all rails between all nodes”" in worst_words(name, replace(evidence, run=run))


# ── growth ──────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_grown_passes():
    (verdict,) = judged("growth.errors", after(same))
    assert verdict.status is Status.PASS
    said = (
        "no error counter of a rail increased in any phase or between two (16 of 16 rail × phase intervals)"
    )
    assert verdict.measured == said


@pytest.mark.parametrize(
    ("group", "name", "words"),
    [
        ("counters", "symbol_error", "bits were received wrong"),
        ("counters", "link_downed", "the link went down and came back"),
        ("counters", "port_xmit_discards", "dropped before they left"),
        ("hw_counters", "local_ack_timeout_err", "loss on the way"),
        ("hw_counters", "rnr_nak_retry_err", "no buffer posted"),
    ],
)
def test_an_error_that_grew_is_named_with_phase_port_and_count(group, name, words):
    (verdict,) = judged("growth.errors", after(moved("mlx5_3/1", group, **{name: 7})))
    assert verdict.status is Status.FAIL
    assert verdict.subject == "n0 mlx5_3/1"
    assert f"{name} grew by 7 in phase “collectives”" in verdict.measured
    assert words in verdict.measured
    assert (verdict.value, verdict.bound) == (7.0, 0.0)
    assert verdict.next_step


def full(before: int):
    """mlx5_3 whose link_downed stands at a value before the phase."""
    counters = {**port(3).counters, "link_downed": before}
    return [with_port(each, "mlx5_3", counters=counters) for each in nodes(2)]


def test_a_counter_that_fills_up_grew_by_at_least():
    assert "link_downed grew by at least 1" in worst_words(
        "growth.errors", after(moved("mlx5_3/1", "counters", link_downed=1), full(254))
    )


def test_a_full_counter_and_one_that_was_reset_cannot_be_told():
    assert status("growth.errors", after(same, full(255))) is Status.INCONCLUSIVE
    reset = after(moved("mlx5_3/1", "counters", link_downed=-100), full(200))
    assert status("growth.errors", reset) is Status.INCONCLUSIVE
    assert "fell from 200 to 100" in worst_words("growth.errors", reset)


def without(subject: str, name: str | None = None):
    def change(shot: Snapshot) -> Snapshot:
        readings = {
            key: {group: dict(values) for group, values in groups.items()}
            for key, groups in shot.readings.items()
        }
        if name is None:
            del readings[subject]
        else:
            del readings[subject]["counters"][name]
        return Snapshot(shot.time, shot.monotonic, readings)

    return change


def test_a_rail_that_is_gone_fails_and_a_counter_that_is_gone_cannot_be_told():
    gone = after(without("mlx5_3/1"))
    assert "was there before phase “collectives” and is gone after it" in worst_words("growth.errors", gone)
    assert status("growth.errors", gone) is Status.FAIL
    assert status("growth.errors", after(without("mlx5_3/1", "symbol_error"))) is Status.INCONCLUSIVE


def test_a_rail_that_shows_no_error_counter_is_an_error():
    bare = [
        replace(each, ports=tuple(replace(p, counters={}, hw_counters={}) for p in each.ports))
        for each in nodes(2)
    ]
    assert status("growth.errors", after(same, bare)) is Status.INCONCLUSIVE
    partial = [
        with_port(each, "mlx5_3", counters={"port_xmit_data": 0, "symbol_error": 0}) for each in nodes(2)
    ]
    assert "does not show link_error_recovery" in worst_words("growth.errors", after(same, partial))


def test_growth_beside_the_rails_is_told_and_fails_nothing():
    evidence = after(moved("mlx5_0/1", "counters", symbol_error=5))
    assert status("growth.errors", evidence) is Status.PASS
    (verdict,) = judged("growth.others", evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "n0 mlx5_0/1: symbol_error grew by 5" in verdict.evidence[0]


def test_congestion_is_told_and_fails_nothing():
    evidence = after(moved("mlx5_3/1", "counters", port_xmit_wait=10**6))
    assert status("growth.errors", evidence) is Status.PASS
    (verdict,) = judged("growth.congestion", evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "n0 mlx5_3/1: port_xmit_wait grew by 1000000" in verdict.evidence[0]


@pytest.mark.parametrize("name", ["tx_dropped", "rx_errors", "tx_errors"])
def test_drops_of_a_socket_rail_fail(name):
    evidence = after(moved("eth1", "statistics", **{name: 3}), [pod(0), pod(1)], backend="gloo")
    assert f"n0 eth1: {name} grew by 3" in worst_words("growth.errors", evidence, SOCKETS)
    assert status("growth.errors", after(same, [pod(0), pod(1)]), SOCKETS) is Status.PASS


@pytest.mark.parametrize(
    ("again", "sent", "expected"),
    [
        (0, 10**6, Status.PASS),
        (9_000, 10**6, Status.PASS),
        (10_000, 10**6, Status.FAIL),
        (50, 100, Status.PASS),
    ],
)
def test_retransmissions_fail_socket_rails_from_one_percent(again, sent, expected):
    change = moved("tcp", "tcp", RetransSegs=again, OutSegs=sent)
    assert status("growth.retransmissions", after(change, [pod(0), pod(1)]), SOCKETS) is expected
    assert status("growth.retransmissions", after(change)) is Status.NOT_APPLICABLE


def test_where_tcp_is_beside_the_rails_the_node_that_sent_most_again_is_said():
    one = moved("tcp", "tcp", RetransSegs=90_000, OutSegs=10**6)
    (verdict,) = judged("growth.retransmissions", after(one))
    assert "at most 9.0 % of the segments were sent again" in verdict.measured


def test_tcp_that_cannot_be_read_is_an_error_on_socket_rails():
    blind = [replace(pod(0), tcp={}), pod(1)]
    assert status("growth.retransmissions", after(same, blind), SOCKETS) is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "name", ["growth.errors", "growth.others", "growth.congestion", "growth.retransmissions"]
)
def test_the_local_profile_is_told_what_grew_and_fails_nothing(name):
    evidence = after(moved("eth0", "statistics", rx_errors=9), [pod(0), pod(1)], backend="gloo")
    assert status(name, evidence, LOCAL) is Status.NOT_APPLICABLE
    assert status(name, seen([node()], backend="gloo"), LOCAL) is Status.NOT_APPLICABLE


def test_clocks_are_compared_by_the_snapshots_where_there_are_some():
    """A probe that took long shows a wrong clock; the snapshots, taken at once, do not."""
    slow = replace(node(1), host=replace(node(1).host, clock=node(0).host.clock + 100))
    assert status("host.clock", seen([node(0), slow])) is Status.FAIL
    assert status("host.clock", after(same, [node(0), slow])) is Status.PASS
    wrong = after(lambda shot: Snapshot(shot.time + 60, shot.monotonic, shot.readings))
    shot, other = wrong.run.counters[0].snapshots
    before = replace(wrong.run.counters[0], snapshots=(replace(shot, time=shot.time + 60), other))
    wrong = replace(wrong, run=replace(wrong.run, counters=(before, wrong.run.counters[1])))
    assert "1 min" in worst_words("host.clock", wrong) or "60 s" in worst_words("host.clock", wrong)


def test_where_there_is_no_rail_nobody_is_told_to_clear_its_counters():
    machines = [replace(each, ports=()) for each in nodes(2)]
    verdicts = judged("growth.errors", after(same, machines))
    assert {verdict.status for verdict in verdicts} == {Status.INCONCLUSIVE}
    steps = {verdict.next_step for verdict in verdicts}
    assert steps == {
        "see exclusion.census, which lists the devices of the node and why each is a rail or is not"
    }
