"""Counters of a whole run that were tampered with: errors between phases, idle rails, other ports that carry bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.checks import CHECKS, Evidence
from bench.judge.counter_windows import QUIET
from bench.model.counters import Snapshot
from bench.model.profile import load
from bench.model.run_folder_lines import CounterLine
from bench.model.verdict import Status
from made_acceptance import DEVICES, acceptance_run, grown_from, judged, with_readings
from made_nodes import LAMBDA, port

PMA = "counters"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return acceptance_run(tmp_path_factory.mktemp("made"), 2)


def bad(name, run, profile=LAMBDA):
    found = CHECKS[name](Evidence(run, profile))
    return [each for each in found if each.status in (Status.FAIL, Status.INCONCLUSIVE)]


def test_the_run_is_healthy_before_anybody_tampers_with_it(run):
    assert judged(run) == (Status.PASS, [])


# ── errors between two phases ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("counter", ["link_downed", "port_xmit_discards"])
def test_an_error_between_two_phases_counts(run, counter):
    (found,) = bad("growth.errors", grown_from(run, "pinned-0", "before", 1, {("mlx5_5/1", PMA, counter): 3}))
    assert (found.status, found.subject) == (Status.FAIL, "n1 mlx5_5/1")
    assert f"{counter} grew by 3 outside the phases" in found.measured


def test_an_error_within_a_phase_is_told_once(run):
    (found,) = bad(
        "growth.errors", grown_from(run, "ring", "after", 1, {("mlx5_5/1", PMA, "link_downed"): 1})
    )
    assert "grew by 1 in phase “collectives as a ring”" in found.measured


def test_errors_in_a_phase_and_between_phases_are_told_apart(run):
    growth = {("mlx5_5/1", PMA, "link_downed"): 1}
    twice = grown_from(grown_from(run, "ring", "after", 1, growth), "pinned-0", "before", 1, growth)
    texts = [found.measured for found in bad("growth.errors", twice)]
    assert ["in phase “collectives as a ring”" in text for text in texts] == [True, False]
    assert "grew by 1 outside the phases" in texts[1]


def resumed_before(run, phase):
    """The run that stood still between this phase and the one before."""
    (before,) = [line for line in run.counters if (line.phase, line.when) == (phase, "before")]
    settings = replace(run.manifest.settings, resumed=1)
    at = before.snapshots[0].time
    return replace(run, resumed_at=(at,), manifest=replace(run.manifest, settings=settings))


@pytest.mark.parametrize(("resumed", "texts"), [("pinned-0", 0), ("ring", 1)])
def test_what_happened_while_a_resumed_run_stood_still_is_not_counted(run, resumed, texts):
    between = grown_from(run, "pinned-0", "before", 1, {("mlx5_5/1", PMA, "link_downed"): 1})
    found = bad("growth.errors", resumed_before(between, resumed))
    assert ["link_downed grew by 1 outside the phases" in each.measured for each in found] == [True] * texts


def test_errors_in_a_phase_of_a_resumed_run_are_told_once(run):
    growth = {("mlx5_5/1", PMA, "link_downed"): 1}
    twice = grown_from(grown_from(run, "ring", "after", 1, growth), "pinned-0", "before", 1, growth)
    texts = [found.measured for found in bad("growth.errors", resumed_before(twice, "steady"))]
    assert ["in phase “collectives as a ring”" in text for text in texts] == [True, False]


# ── rails that carry nothing in collectives ─────────────────────────────────────────────────────────────


def moved_over(run, phases, node, rail, others):
    """The run in which what a rail of a node carried in these phases is counted on others."""
    cut = {"port_xmit_data": 0, "port_rcv_data": 0}
    start = dict(cut)

    def change(line, at, readings):
        if at != node:
            return
        own = readings[rail][PMA]
        if line.phase in phases and line.when == "before":
            start.update({name: own[name] for name in cut})
        growth = (
            {name: own[name] - start[name] for name in cut}
            if line.phase in phases and line.when == "after"
            else dict.fromkeys(cut, 0)
        )
        for name in cut:
            taken = cut[name] + growth[name]
            for other in others:
                readings[other][PMA][name] += taken // len(others)
            own[name] -= taken
            cut[name] = taken

    return with_readings(run, change)


@pytest.mark.parametrize(
    ("phases", "others"),
    [
        (("ring",), ("mlx5_2/1",)),
        (("collectives",), ("mlx5_2/1",)),
        (("ring", "collectives"), tuple(rail for rail in DEVICES if rail != "mlx5_4/1")),
    ],
)
def test_a_rail_that_carries_nothing_in_the_collectives_is_named(run, phases, others):
    found = bad("rails.share", moved_over(run, phases, 1, "mlx5_4/1", others))
    assert {(each.status, each.subject) for each in found} == {(Status.FAIL, "n1 mlx5_4/1")}
    assert found[0].measured.startswith("sent 0 B in phase")
    assert len(found) == 2 * len(phases)


def test_rails_of_a_gloo_run_have_no_share(run):
    gloo = replace(run, manifest=replace(run.manifest, backend="gloo"))
    (verdict,) = CHECKS["rails.share"](Evidence(gloo, LAMBDA))
    assert verdict.status is Status.NOT_APPLICABLE


def test_unread_rails_have_no_known_share(run):
    blind = with_readings(
        run, lambda line, at, readings: at or readings["mlx5_4/1"][PMA].pop("port_xmit_data")
    )
    assert {each.status for each in bad("rails.share", blind)} == {Status.INCONCLUSIVE}


# ── what no rail may carry ──────────────────────────────────────────────────────────────────────────────


def with_machines(run, change):
    return replace(run, facts=tuple(change(node) for node in run.facts))


def renamed(run, old, new):
    """The run on nodes that call a device otherwise."""

    def change(line, at, readings):
        readings[f"{new}/1"] = readings.pop(f"{old}/1")

    machines = with_machines(
        run,
        lambda node: replace(
            node, ports=tuple(replace(each, hca=new) if each.hca == old else each for each in node.ports)
        ),
    )
    return with_readings(machines, change)


def test_an_excluded_name_that_fits_no_device_proves_nothing_and_the_names_are_told(run):
    found = bad("exclusion.bytes", renamed(run, "mlx5_0", "ibp0"))
    assert {each.status for each in found} == {Status.INCONCLUSIVE}
    text = " ".join(each.measured for each in found)
    assert "has no device called mlx5_0, which the profile excludes" in text
    assert "ibp0/1" in text


def test_where_every_port_is_a_rail_nothing_else_can_carry(run):
    bare = with_machines(run, lambda node: replace(node, ports=node.ports[1:]))
    (verdict,) = CHECKS["exclusion.bytes"](Evidence(bare, LAMBDA))
    assert verdict.status is Status.NOT_APPLICABLE


def test_a_machine_without_rdma_is_not_applicable(run):
    bare = with_machines(run, lambda node: replace(node, ports=()))
    (verdict,) = CHECKS["exclusion.bytes"](Evidence(bare, load("local")))
    assert verdict.status is Status.NOT_APPLICABLE


def with_storage(run, words):
    """The run on nodes with an adapter that is neither rail nor excluded, and carries so many words in collectives."""
    more = replace(port(0), hca="mlx5_9", netdev="eth9")
    machines = with_machines(run, lambda node: replace(node, ports=(*node.ports, more)))
    grown = []

    def change(line, at, readings):
        readings["mlx5_9/1"] = {name: dict(values) for name, values in readings["mlx5_0/1"].items()}
        if (line.phase, line.when) == ("collectives", "after"):
            grown.append(True)
        if grown and at == 1:
            readings["mlx5_9/1"][PMA]["port_xmit_data"] += words

    return with_readings(machines, change)


def test_a_port_that_is_neither_rail_nor_excluded_is_judged_too(run):
    assert bad("exclusion.bytes", with_storage(run, 0)) == []
    assert bad("exclusion.bytes", with_storage(run, 10_000_000)) == []  # 40 MB: somebody else's
    (found,) = bad("exclusion.bytes", with_storage(run, 10**12))
    assert (found.status, found.subject) == (Status.INCONCLUSIVE, "n1 mlx5_9/1")
    assert "the profile does not exclude it" in found.measured
    free = replace(LAMBDA, rails=replace(LAMBDA.rails, excluded=()))
    assert bad("exclusion.bytes", with_storage(run, 10**12), free)


def with_load(run, before, beside):
    """The run in which mlx5_0 of n0 carries so many bytes/s before the first phase, and beside all of them."""
    first = run.counters[0]
    earlier = tuple(Snapshot(s.time - 3, s.monotonic - 3, s.readings) for s in first.snapshots)
    later = tuple(Snapshot(s.time - 1, s.monotonic - 1, s.readings) for s in first.snapshots)
    quiet = (CounterLine(QUIET, "before", earlier), CounterLine(QUIET, "after", later))
    begin = earlier[0].monotonic
    lines = replace(run, counters=(*quiet, *run.counters))

    at_time = {id(line): line.snapshots[0].monotonic for line in lines.counters}

    def change(line, at, readings):
        if at == 0:
            seconds = at_time[id(line)] - begin
            words = int((before * min(seconds, 2) + beside * max(0, seconds - 2)) / 4)
            readings["mlx5_0/1"][PMA]["port_xmit_data"] += words

    return with_readings(lines, change)


def test_storage_that_was_there_before_the_run_is_told_apart_from_nccl(run):
    both = bad("exclusion.bytes", with_load(run, 2e9, 2e9))
    assert {each.status for each in both} == {Status.INCONCLUSIVE}
    assert "before the first phase it carried 2.00 GB/s, now" in both[0].measured


@pytest.mark.parametrize("before", [0, 1e8])
def test_what_began_with_the_run_fails(run, before):
    assert Status.FAIL in {each.status for each in bad("exclusion.bytes", with_load(run, before, 2e9))}
