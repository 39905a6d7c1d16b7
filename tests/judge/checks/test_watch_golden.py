"""What a watch shows, held to a golden file: rates, waiting and traffic below, at and above each threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.checks import CHECKS
from bench.judge.watched import EventFinder, device_at, inspected_calls, loads, rail_loads, slow_paths
from bench.model.activity import DeviceActivity, InspectedCalls, NodeActivity
from golden import Golden, opened, shown
from made_nodes import node
from test_watch import FAST, PROFILE, SLOW, device, evidence, ring


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(
        request, Path(__file__).with_name("watch.txt"), ("a watch", "events of a watch", "verdicts")
    )


def test_a_watch(golden: Golden) -> None:
    lines = []
    odd = {
        "a ring": {},
        "slow": {("n1", 1): device("n1", 1, SLOW, 0.9)},
        "just fast": {("n1", 1): device("n1", 1, 0.7 * FAST, 0.9)},
        "just slow": {("n1", 1): device("n1", 1, 0.699 * FAST, 0.9)},
        "hardly waits": {("n1", 1): device("n1", 1, SLOW, 0.199)},
        "waits": {("n1", 1): device("n1", 1, SLOW, 0.2)},
        "not read": {("n1", 1): device("n1", 1, SLOW, 0.8), ("n2", 1): device("n2", 1, unread=0.4)},
        "nearly read": {("n1", 1): device("n1", 1, SLOW, 0.8), ("n2", 1): device("n2", 1, unread=0.39)},
        "to nobody": {("n1", 1): replace(device("n1", 1, SLOW, 0.9), toward="10.77.0.1")},
        "to its management": {("n1", 1): replace(device("n1", 1, SLOW, 0.9), toward="10.9.0.2")},
        "unknown bytes": {("n1", 1): replace(device("n1", 1), sent=None, received=None)},
        "hardly used": {(f"n{at}", 2): DeviceActivity(90_000, 5, True, 0.0) for at in range(3)},
        "just used": {(f"n{at}", 2): DeviceActivity(100_000, 5, True, 0.3) for at in range(3)},
        "another device": {("n1", 3): device("n1", 1)},
        "only one": None,
    }
    for name, changed in odd.items():
        devices = {("n0", 1): device("n0", 1, SLOW, 0.9)} if changed is None else ring() | changed
        for speed in (None, 0.9 * FAST):
            seen = evidence(devices, speed=speed)
            lines += [f"{name}, {speed}: {shown(each)} {sorted(each.ends)}" for each in slow_paths(seen)]
            lines += [
                f"    {each.node} {each.name} "
                + shown((each.line, each.sent, each.received, each.rate_waiting))
                for each in rail_loads(seen)
                if name in ("unknown bytes", "hardly used", "another device", "only one")
            ]
    calls = (InspectedCalls("AllReduce", 1, 2, 1, 1, 1.0, 1.0),)
    seen = evidence(ring() | {("n1", 3): device("n1", 1)}, calls=calls)
    lines += [f"{each.node} {each.name} {each.seconds} {each.looks}" for each in loads(seen)]
    lines += [shown(device_at(seen)), shown(inspected_calls(seen))]
    seen = evidence(ring(), names=("n0", "n1"))
    lines += [f"{each.node} {each.name}" for each in loads(seen)]
    golden.hold("a watch", lines)


def test_events_of_a_watch(golden: Golden) -> None:
    rails = replace(PROFILE.rails, excluded=("eth0",))
    finder, lines = EventFinder(rails, {"n0": node(0)}), []
    up = {True: "up", False: "down", None: "not known"}
    for second, state in enumerate((None, True, None, False, False, None, True, True)):
        activity = NodeActivity(1.0, 20, {"eth1": DeviceActivity(1, 1, state)})
        lines += [f"{up[state]}: {shown(each)}" for each in finder.look(float(second), "n0", activity)]
    for counts in (
        {"eth1 rx_errors": 2},
        {"eth1 rx_errors": 2},
        {"eth1 rx_errors": 5, "tcp": 1},
        {"eth1 rx_errors": 4},
        {},
    ):
        lines += [
            f"{counts}: {shown(each)}" for each in finder.look(9.0, "n0", NodeActivity(1.0, errors=counts))
        ]
    for ras in ("", "a rank is lost", "a rank is lost", "two are"):
        lines += [f"ras {ras}: {shown(each)}" for each in finder.look(10.0, "n0", NodeActivity(1.0, ras=ras))]
    lines += [shown(each) for each in finder.look(10.0, "n1", NodeActivity(1.0, ras="two are"))]
    for span, sent, received in (
        (1.0, 500_000, 500_000),
        (1.0, 500_000, 500_001),
        (1.0, 9e6, 0),
        (0.0, 9e9, 0),
    ):
        for of in ("n0", "n9"):
            fresh = EventFinder(rails, {"n0": node(0)})
            activity = NodeActivity(span, 1, {"eth0": DeviceActivity(int(sent), int(received), True)})
            for _ in range(2):
                lines += [
                    f"excluded {span} {sent} {received} {of}: {shown(each)}"
                    for each in fresh.look(11.0, of, activity)
                ]
    fresh = EventFinder(rails, {"n0": node(0)})
    for sent, received in ((None, 2_000_000), (2_000_000, None), (None, None)):
        activity = NodeActivity(1.0, 1, {"eth0": DeviceActivity(sent, received, True)})
        lines += [
            f"excluded {sent} {received}: {shown(each)}"
            for each in EventFinder(rails, fresh.nodes).look(1.0, "n0", activity)
        ]
    golden.hold("events of a watch", lines)


def test_verdicts_of_a_watch(golden: Golden) -> None:
    """What each check says of watches at and around their limits."""
    slow = ring() | {("n1", 1): device("n1", 1, SLOW, 0.9)}
    unknown = replace(device("n1", 1), sent=None, received=None)
    calls = tuple(
        InspectedCalls(name, 1 << 20, 2, 1, count, busbw, busbw / 2)
        for name, count, busbw in (("AllReduce", 1, 1e9), ("AllReduce", 3, 2e9), ("AllGather", 2, 3e9))
    )
    watches = {
        "a ring": evidence(ring()),
        **{f"{seconds} s": evidence(slow, seconds) for seconds in (9, 10, 11)},
        **{f"{looks} looks": evidence(slow, 13, looks) for looks in (3, 4)},
        **{f"a ring of {looks} looks": evidence(ring(), 10, looks) for looks in (3, 4)},
        "one node": evidence({key: each for key, each in ring().items() if key[0] == "n0"}),
        "two nodes": evidence(slow, names=("n0", "n1")),
        "to nobody": evidence(ring() | {("n1", 1): replace(slow["n1", 1], toward="10.77.0.1")}),
        "to nobody named": evidence(ring() | {("n1", 1): replace(slow["n1", 1], toward="")}),
        "not read": evidence(slow | {("n2", 1): device("n2", 1, unread=0.4)}),
        "to one and from another": evidence(slow | {("n0", 1): device("n0", 1, SLOW, 0.9)}),
        "two slow": evidence(slow | {("n2", 2): device("n2", 2, SLOW, 0.9)}),
        "unknown": evidence(ring() | {("n1", 1): unknown}),
        **{
            f"carries {sent}": evidence(
                {(name, rail): DeviceActivity(sent, 0, True, 0.3) for name in ("n0", "n1") for rail in (1, 2)}
            )
            for sent in (99_999, 100_000, 499_999, 500_000)
        },
        **{
            f"{of} of others": evidence(ring() | {(name, 1): device(name, 1, of * FAST) for name in odd})
            for of, odd in ((0.33, ("n0",)), (0.34, ("n0",)), (0.1, ("n0", "n1")))
        },
        **{
            f"{sent} on a second rail": evidence(
                ring() | {(f"n{at}", 2): DeviceActivity(sent * (at > 0), 0, True, 0.3) for at in range(3)}
            )
            for sent in (1_600_000, 1_640_000)
        },
        "errors": evidence(ring(), errors={"eth1 rx_errors": 2, "eth0 rx_errors": 3}, ras="a rank is late"),
        "calls": evidence(ring(), calls=calls),
    }
    checks = [name for name in CHECKS if name.startswith("watch.")]
    lines = []
    for name, seen in watches.items():
        for check in checks:
            found = [
                f"    {each.status.value} {each.message} {each.evidence}" for each in CHECKS[check](seen)
            ]
            lines += [f"{name} {check}", *found]
    golden.hold("verdicts", lines)
