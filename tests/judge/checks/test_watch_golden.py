"""What a watch shows, held to a golden file: rates, waiting and traffic below, at and above each threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.watched import EventFinder, device_at, inspected_calls, loads, rail_loads, slow_paths
from bench.model.activity import DeviceActivity, InspectedCalls, NodeActivity
from golden import Golden, opened, shown
from made_nodes import node
from test_watch import FAST, PROFILE, SLOW, device, evidence, ring


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("watch.txt"), ("a watch", "events of a watch"))


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
