"""Watches of a job made in code, and what the checks say of its rails."""

from dataclasses import replace

import pytest

import runs
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.judge.watched import device_at, rail_loads, traffic
from bench.model.activity import ActivityLine, DeviceActivity, InspectedCalls, NodeActivity
from bench.model.facts import Interface, Node
from bench.model.measurement import Rank
from bench.model.verdict import Action, Status

NODES = ("n0", "n1", "n2")
SECONDS = 20
FAST, SLOW = 100_000_000, 50_000_000  # bytes a second of a rail while data waits for it
PROFILE = runs.two_rails()


def node(name, speed=None):
    at = NODES.index(name)
    rails = (
        Interface(f"eth{rail}", "up", speed=speed, addresses=(f"10.0.{rail}.{at}/24",)) for rail in (1, 2)
    )
    return Node(name, interfaces=(*rails, Interface("eth0", "up", addresses=(f"10.9.0.{at}/24",))))


def next_of(name):
    return NODES[(NODES.index(name) + 1) % len(NODES)]


def device(name, rail, rate=FAST, waiting=0.4, to=None, **more):
    """A rail that sends to the next node of a ring at ``rate`` for so much of the time as data waits for it."""
    sent = round(rate * waiting)
    toward = f"10.0.{rail}.{NODES.index(to or next_of(name))}"
    return replace(DeviceActivity(sent, sent, True, waiting, 0.0, toward), **more)


def ring():
    """Activity of a second by node and rail: a healthy ring."""
    return {(name, rail): device(name, rail) for name in NODES for rail in (1, 2)}


def evidence(devices, seconds=SECONDS, looks=20, names=NODES, speed=None, **more):
    """The watch of a job whose every second looked alike; ``more``: fields of each node's activity in the last one."""
    lines = []
    for second in range(1, seconds + 1):
        for name in names:
            found = {f"eth{rail}": each for (of, rail), each in devices.items() if of == name}
            activity = NodeActivity(1.0, looks, found)
            lines.append(
                ActivityLine(
                    float(second), name, replace(activity, **more) if second == seconds else activity
                )
            )
    run = runs.read_only([node(name, speed) for name in NODES])
    manifest = replace(
        run.manifest,
        command=("railgauge", "watch"),
        ranks=tuple(Rank(at, name, 0) for at, name in enumerate(NODES)),
    )
    return Evidence(replace(run, manifest=manifest, activity=tuple(lines)), PROFILE)


def verdicts(found, check):
    return [each for each in judge(found.run, PROFILE).verdicts if each.check == check]


def bad(found, check):
    return {each.subject: each.status for each in verdicts(found, check) if each.status is not Status.PASS}


def test_a_healthy_ring_names_nobody():
    found = judge(evidence(ring()).run, PROFILE).verdicts
    assert {each.subject: each.status for each in found if each.check.startswith("watch.")} == {
        "n0": Status.PASS,
        "n1": Status.PASS,
        "n2": Status.PASS,
        "all nodes": Status.PASS,
    }


def test_a_rail_that_is_slow_in_both_directions_is_named_by_the_end_that_they_share():
    slow = ring()
    slow["n1", 1] = device("n1", 1, SLOW, 0.9)
    slow["n0", 1] = device("n0", 1, SLOW, 0.9)  # to n1
    assert bad(evidence(slow), "watch.waiting") == {"n1 eth1": Status.FAIL}
    (said,) = (each for each in verdicts(evidence(slow), "watch.waiting") if each.status is Status.FAIL)
    assert said.measured.startswith("runs at 50.0 % of the other rails' rate while data waits for it: ")
    assert "n0 eth1 sends it 0.400 Gb/s" in said.measured
    assert "it sends n2 eth1 0.400 Gb/s" in said.measured
    assert said.measured.endswith("; the others 0.800 Gb/s or more")


def test_a_slow_rail_of_somebody_elses_job_drains_nobody():
    slow = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9), ("n0", 1): device("n0", 1, SLOW, 0.9)}
    (said,) = (each for each in verdicts(evidence(slow), "watch.waiting") if each.status is Status.FAIL)
    assert said.action is Action.RE_MEASURE


def test_of_one_slow_path_either_end_may_be_at_fault():
    slow = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9)}
    assert bad(evidence(slow), "watch.waiting") == {"path n1 - n2 on rail eth1": Status.FAIL}


def test_two_nodes_that_only_talk_to_each_other_are_one_path():
    pair = {
        (name, rail): device(name, rail, to=to)
        for name, to in (("n0", "n1"), ("n1", "n0"))
        for rail in (1, 2)
    }
    pair |= {(name, 1): device(name, 1, SLOW, 0.9, to) for name, to in (("n0", "n1"), ("n1", "n0"))}
    found = bad(evidence(pair, names=NODES[:2]), "watch.waiting")
    assert found == {"path n0 - n1 on rail eth1": Status.FAIL}


def test_a_rail_that_carries_little_because_little_waits_for_it_is_no_fault():
    idle = ring() | {("n1", 1): device("n1", 1, SLOW, 0.1)}
    assert bad(evidence(idle), "watch.waiting") == {}


@pytest.mark.parametrize("share", [0.75, 0.9])
def test_a_rail_a_little_slower_than_the_others_is_no_fault(share):
    almost = ring() | {("n1", 1): device("n1", 1, share * FAST, 0.9)}
    assert bad(evidence(almost), "watch.waiting") == {}


def test_no_rail_is_held_to_be_faster_than_its_line():
    """A rail that is used lightly sends most while nothing waits: that says nothing of how fast it could be."""
    light = {(name, 2): device(name, 2, rate=8 * FAST, waiting=0.05) for name in NODES}
    full = {(name, 1): device(name, 1, waiting=0.9) for name in NODES}
    assert bad(evidence(light | full), "watch.waiting")
    assert bad(evidence(light | full, speed=float(FAST)), "watch.waiting") == {}
    rated = replace(
        PROFILE, rails=replace(PROFILE.rails, rate=replace(PROFILE.rails.rate, value=float(FAST)))
    )
    run = evidence(light | full).run
    assert {each.line for each in rail_loads(Evidence(run, rated))} == {FAST}
    assert [
        each
        for each in judge(run, rated).verdicts
        if each.check == "watch.waiting" and each.status is Status.FAIL
    ] == []


def test_a_process_that_does_not_read_is_no_slow_rail():
    deaf = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9), ("n2", 1): device("n2", 1, unread=0.8)}
    assert bad(evidence(deaf), "watch.waiting") == {"path n1 - n2 on rail eth1": Status.INCONCLUSIVE}
    (said,) = (
        each for each in verdicts(evidence(deaf), "watch.waiting") if each.status is Status.INCONCLUSIVE
    )
    assert "the processes on n2 do not read what has come" in said.measured


def test_a_far_side_that_was_not_watched_leaves_it_open():
    far = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9, toward="192.0.2.7")}
    assert bad(evidence(far), "watch.waiting") == {"n1 eth1": Status.INCONCLUSIVE}


@pytest.mark.parametrize(("seconds", "looks"), [(8, 20), (20, 1)])
def test_a_short_look_accuses_nobody(seconds, looks):
    slow = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9), ("n0", 1): device("n0", 1, SLOW, 0.9)}
    found = evidence(slow, seconds, looks)
    assert Status.FAIL not in bad(found, "watch.waiting").values()
    assert bad(found, "watch.waiting")["n1 eth1"] is Status.INCONCLUSIVE


def test_sockets_that_nobody_could_look_at_are_no_pass():
    blind = {key: replace(each, waiting=0.0, toward="") for key, each in ring().items()}
    assert set(bad(evidence(blind, looks=0), "watch.waiting").values()) == {Status.INCONCLUSIVE}


def test_a_watch_without_a_job_is_no_pass():
    idle = dict.fromkeys(ring(), DeviceActivity(1000, 1000, True))
    assert bad(evidence({}), "watch.traffic") == dict.fromkeys(NODES, Status.INCONCLUSIVE)
    assert bad(evidence(idle), "watch.traffic") == dict.fromkeys(NODES, Status.INCONCLUSIVE)
    assert bad(evidence(ring(), seconds=5), "watch.traffic") == dict.fromkeys(NODES, Status.INCONCLUSIVE)


def test_a_rail_that_one_node_leaves_out_is_named():
    out = ring() | {("n2", 2): device("n2", 2, waiting=0.0, sent=1000, received=1000)}
    assert bad(evidence(out), "watch.share") == {"n2 eth2": Status.FAIL}


def test_of_two_nodes_that_use_their_rails_differently_it_is_not_known_which_is_odd():
    pair = {
        (name, rail): device(name, rail, to=to)
        for name, to in (("n0", "n1"), ("n1", "n0"))
        for rail in (1, 2)
    }
    pair["n1", 2] = device("n1", 2, waiting=0.0, to="n0")
    assert bad(evidence(pair, names=NODES[:2]), "watch.share")["n1 eth2"] is Status.INCONCLUSIVE


def test_of_a_node_that_was_not_watched_nobody_knows_what_happened_to_it():
    found = evidence(ring(), names=NODES[:2])
    assert bad(found, "watch.events") == {"n2": Status.INCONCLUSIVE}


def test_a_rail_that_no_node_uses_is_no_fault():
    one = {key: each if key[1] == 1 else DeviceActivity(0, 0, True) for key, each in ring().items()}
    assert bad(evidence(one), "watch.share") == {}


def test_a_link_that_goes_down_is_named_with_its_time():
    found = evidence(ring())
    last = found.run.activity[-1]
    down = {**last.activity.devices, "eth1": replace(last.activity.devices["eth1"], up=False)}
    lines = (*found.run.activity[:-1], replace(last, activity=replace(last.activity, devices=down)))
    run = replace(found.run, activity=lines)
    (said,) = [
        each
        for each in judge(run, PROFILE).verdicts
        if each.check == "watch.events" and each.status is Status.FAIL
    ]
    assert said.subject == "n2 eth1"
    assert "its link went down at 20 s" in said.measured


def test_an_error_counter_that_grows_is_named_once_for_each_growth():
    found = evidence(ring(), errors={"eth2 rx_errors": 7, "eth0 rx_errors": 3})
    (n0, n1, n2) = [each for each in verdicts(found, "watch.events") if each.status is Status.FAIL]
    assert [each.subject for each in (n0, n1, n2)] == ["n0 eth2", "n1 eth2", "n2 eth2"]
    assert n0.measured == "rx_errors grew by 7 at 20 s"
    (other,) = [each for each in verdicts(found, "watch.events") if each.status is Status.NOT_APPLICABLE]
    assert "n0 eth0: rx_errors grew by 3" in other.measured


def test_a_counter_that_grew_by_one_is_an_error():
    found = evidence(ring(), errors={"eth2 rx_errors": 1})
    assert bad(found, "watch.events")["n0 eth2"] is Status.FAIL


def test_an_address_that_every_node_has_is_no_ones():
    found = evidence(ring())
    first = next(iter(found.nodes))
    looped = replace(
        first, interfaces=(*first.interfaces, Interface("lo", "unknown", addresses=("127.0.0.1/8",)))
    )
    run = replace(found.run, facts=(looped, *found.run.facts[1:]))
    assert {"127.0.0.1"}.isdisjoint(device_at(Evidence(run, PROFILE)))
    assert device_at(found)["10.0.1.2"] == ("n2", "eth1")


@pytest.mark.parametrize(("sent", "received", "rate"), [(6, 4, 5.0), (6, None, 3.0), (None, 4, 2.0)])
def test_the_traffic_of_a_device_is_that_of_both_directions_as_far_as_they_are_known(sent, received, rate):
    assert traffic(replace(device("n0", 1), sent=sent, received=received), 2.0) == rate


def test_what_ras_finds_wrong_leaves_the_job_open():
    found = evidence(ring(), ras="no answer from pid 7 on n1, GPU 0")
    said = verdicts(found, "watch.ras")
    assert {each.status for each in said} == {Status.INCONCLUSIVE}
    assert "no answer from pid 7 on n1" in said[0].measured


def test_what_the_inspector_timed_is_shown_and_not_judged():
    calls = (InspectedCalls("AllReduce", 1 << 30, 16, 2, 5, 3e11, 1e11),)
    (said,) = verdicts(evidence(ring(), calls=calls), "watch.collectives")
    assert said.status is Status.NOT_APPLICABLE
    assert (
        "AllReduce 1 GiB, 16 ranks: 15 calls, busbw 300.0 GB/s (2400.0 Gb/s) in the middle" in said.measured
    )


def test_the_watch_is_not_judged_by_its_own_environment_and_not_as_an_acceptance():
    names = {each.check for each in judge(evidence(ring()).run, PROFILE).verdicts}
    assert not {
        name for name in names if name.startswith(("environment.", "limits.", "blame.", "correctness"))
    }
    assert {"rails.state", "growth.errors", "coverage.command"} <= names
    assert not names & {"gpus.idle", "coverage.cases", "exclusion.selector"}


@pytest.mark.parametrize("unknown", [{"sent": None}, {"received": None}])
def test_a_rail_whose_counters_tell_nothing_is_not_called_slow_or_idle(unknown):
    blind = evidence(ring() | {("n1", 1): device("n1", 1, **unknown)})
    for check in ("watch.waiting", "watch.share"):
        (said,) = (each for each in verdicts(blind, check) if each.status is not Status.PASS)
        assert (said.subject, said.status) == ("n1 eth1", Status.INCONCLUSIVE)
        assert said.measured == "its counters do not tell what it carried"
