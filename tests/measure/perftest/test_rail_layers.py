"""A loss is placed in a layer, nothing that is missing passes, and nothing healthy is blamed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_nodes
from bench.judge.checks import Evidence
from bench.judge.wire.rail_layers import COLLECTIVE, LINK, P2P, VERBS, of_layers
from bench.model.profile import Verbs, load
from bench.model.run_folder_lines import PerftestSkipped, PerftestTool
from bench.model.units import GIGA
from bench.model.verdict import Bound, Status
from layered import LAMBDA, even, run_of, transfers
from said import DOWN, ECHO, TABLE, ended, transfer

GONE = PerftestTool("n1", missing="ib_write_bw is not installed")
HERE = PerftestTool("n0", "6.24")


def layers(run, nodes=(), profile=LAMBDA):
    facts = tuple(nodes or made_nodes.nodes(2))
    return of_layers(Evidence(replace(run, facts=facts), profile))


def row(found, node, rail):
    return next(each for each in found.rows if (each.node, each.rail) == (node, f"mlx5_{rail}/1"))


def verdicts(run, nodes=(), profile=LAMBDA):
    facts = tuple(nodes or made_nodes.nodes(2))
    return made_nodes.judged("rails.layers", Evidence(replace(run, facts=facts), profile), profile)


def test_a_healthy_run_passes_with_four_figures_a_rail(tmp_path):
    found = layers(run_of(tmp_path))
    assert found.status is Status.PASS
    assert len(found.rows) == 16
    figures = row(found, "n0", 3).figures
    assert figures[LINK].rate == 50e9
    assert figures[VERBS].rate == pytest.approx(49.5e9, rel=1e-4)
    assert figures[P2P].rate == pytest.approx(48.5e9, rel=1e-6)
    assert figures[COLLECTIVE].rate == pytest.approx(365e9 / 8, rel=2e-3)
    (said,) = verdicts(run_of(tmp_path))
    assert said.status is Status.PASS
    assert len(said.evidence) == 16


def slow(node, rail, rate, way="both", plain=49.5e9):
    """A rail of one node that is slow: sending, receiving or both."""

    def of(sender, receiver, at):
        hit = at == rail and ((sender == node and way != "in") or (receiver == node and way != "out"))
        return rate if hit else plain

    return of


def test_a_slow_link_is_the_links_loss_and_not_that_of_verbs_above_it(tmp_path):
    nodes = (made_nodes.with_port(made_nodes.node(), "mlx5_3", rate=25e9), made_nodes.node(1))
    run = run_of(
        tmp_path,
        nodes,
        verbs=transfers(["n0", "n1"], slow("n0", 3, 24.8e9)),
        p2p=slow("n0", 3, 24.2e9, plain=48.5e9),
        shares=(0.125, 0.125, 0.0625, 0.125, 0.125, 0.125, 0.125, 0.1875),
    )
    found = layers(run, nodes)
    assert [loss.layer for loss in row(found, "n0", 3).losses] == [LINK]
    assert (
        row(found, "n1", 3).losses == ()
    )  # its own link is good, and verbs are held against the slower of both
    assert row(found, "n1", 3).missing == ("the collective: n0: 7 ports can be rails, the profile says 8",)
    told = [said for said in verdicts(run, nodes) if said.status is Status.INCONCLUSIVE]
    assert [said.subject for said in told] == [
        "n0 mlx5_1/1, n0 mlx5_2/1, n0 mlx5_4/1, n0 mlx5_5/1 and 11 more rails"
    ]
    assert (
        "the link loses 50.0 %: 25.00 GB/s (200.0 Gb/s) of 50.00 GB/s (400.0 Gb/s)"
        in row(found, "n0", 3).text
    )


def test_a_link_that_is_down_loses_all_and_its_partner_cannot_be_told(tmp_path):
    nodes = (made_nodes.node(), made_nodes.with_port(made_nodes.node(1), "mlx5_4", state="DOWN"))
    good = [each for each in transfers(["n0", "n1"], even(49.5e9)) if each.sender.hca != "mlx5_4"]
    refused = [
        transfer(sender="n0", receiver="n1", rail=4, server=ended(DOWN, 1), started=False),
        transfer(sender="n1", receiver="n0", rail=4, client=ended(DOWN, 1), server=ended(ECHO, 1)),
    ]
    found = layers(run_of(tmp_path, nodes, verbs=good + refused), nodes)
    assert row(found, "n1", 4).loser.layer == LINK
    assert row(found, "n1", 4).loser.lost == 1.0
    assert row(found, "n0", 4).status is Status.INCONCLUSIVE
    assert "n1 mlx5_4/1: the port is Down" in row(found, "n0", 4).text


@pytest.mark.parametrize(("way", "words"), [("out", "sends 20.00 GB/s"), ("in", "receives 20.00 GB/s")])
def test_a_fault_in_one_direction_is_seen_at_both_ends(tmp_path, way, words):
    found = layers(run_of(tmp_path, verbs=transfers(["n0", "n1"], slow("n0", 5, 20e9, way))))
    assert found.status is Status.FAIL
    assert {(each.node, each.rail) for each in found.rows if each.losses} == {
        ("n0", "mlx5_5/1"),
        ("n1", "mlx5_5/1"),
    }
    assert row(found, "n0", 5).loser.layer == VERBS
    assert words in row(found, "n0", 5).text


def test_a_rail_on_which_nothing_comes_through_loses_all_in_verbs(tmp_path):
    """As the verbs lab's shaped rail said it: connected, 0 messages, status 0."""
    still = ended(TABLE + " 524288     0                0.00               0.00   \t\t   0.000000\n")
    good = [
        each
        for each in transfers(["n0", "n1"], even(49.5e9))
        if (each.sender.node, each.sender.hca) != ("n0", "mlx5_5")
    ]
    found = layers(
        run_of(tmp_path, verbs=[*good, transfer(sender="n0", receiver="n1", rail=5, client=still)])
    )
    assert "verbs loses 100.0 %: 0 GB/s (0 Gb/s)" in row(found, "n0", 5).text
    assert "sends 0 GB/s" in row(found, "n0", 5).text
    assert "receives 0 GB/s" in row(found, "n1", 5).text
    assert [loss.layer for loss in row(found, "n1", 5).losses] == [VERBS]


def test_with_three_nodes_a_slow_partner_is_no_slow_rail(tmp_path):
    nodes = made_nodes.nodes(3)
    run = run_of(tmp_path, nodes, verbs=transfers(["n0", "n1", "n2"], slow("n2", 7, 30e9)), counters=True)
    found = layers(run, nodes)
    assert {(each.node, each.rail) for each in found.rows if each.losses} == {("n2", "mlx5_7/1")}


def test_what_verbs_carry_and_nccl_does_not_is_nccls_loss(tmp_path):
    run = run_of(tmp_path, p2p=slow("n1", 2, 28e9, plain=48.5e9))
    (one, other) = verdicts(run)
    assert {one.subject, other.subject} == {"n0 mlx5_2/1", "n1 mlx5_2/1"}
    assert one.status is Status.FAIL
    assert (
        "NCCL point-to-point loses 43.4 %: 28.00 GB/s (224.0 Gb/s) of 49.50 GB/s (396.0 Gb/s)" in one.measured
    )
    assert "nccl.gpudirect" in one.next_step
    assert one.value == pytest.approx(28e9)


@pytest.mark.parametrize("gpu", ["", "0000:0f:00.0"])
def test_nccls_loss_says_where_verbs_were_measured_in_host_memory(tmp_path, gpu):
    """What host memory carries says nothing of the GPU's way to the adapter, nor of the layers above NCCL's own."""
    verbs = [
        transfer(49.5e9, a, b, rail, gpu=gpu) for a, b in (("n0", "n1"), ("n1", "n0")) for rail in range(1, 9)
    ]
    shares = (0.02, *(0.14,) * 7)
    found = layers(run_of(tmp_path, verbs=verbs, p2p=slow("n1", 1, 28e9, plain=48.5e9), shares=shares))
    texts = {loss.layer: loss.text for loss in row(found, "n0", 1).losses}
    assert set(texts) == {P2P, COLLECTIVE}
    assert ("verbs in host memory" in texts[P2P]) is (not gpu)
    assert "host memory" not in texts[COLLECTIVE]


def test_a_transfer_between_two_rails_is_no_figure_of_either(tmp_path):
    run = run_of(tmp_path)
    straight = next(each for each in run.measurements if each.ranks == (2, 10) and "/p2p/" in each.case)
    across = replace(straight, ranks=(2, 11), pipelined=((1.0,) * 2,) * 6)
    found = layers(replace(run, measurements=(*run.measurements, across)))
    assert row(found, "n0", 3).figures[P2P].rate == pytest.approx(48.5e9, rel=1e-6)


def test_a_disturbance_in_the_last_repetition_is_nobodys_loss(tmp_path):
    run = run_of(tmp_path)
    straight = next(each for each in run.measurements if each.ranks == (2, 10) and "/p2p/" in each.case)
    disturbed = replace(straight, pipelined=((1.0,) * 2,) * 6)
    found = layers(replace(run, measurements=(*run.measurements, straight, disturbed)))
    assert row(found, "n0", 3).figures[P2P].rate == pytest.approx(48.5e9, rel=1e-6)


def test_a_rail_that_the_collective_leaves_out_is_the_collectives_loss(tmp_path):
    uneven = (0.0, *(1 / 7,) * 7)
    found = layers(run_of(tmp_path, shares=uneven))
    lost = {each.rail: each.loser.layer for each in found.rows if each.losses}
    assert lost == {"mlx5_1/1": COLLECTIVE}


def test_of_two_losses_the_larger_is_named_and_both_are_told(tmp_path):
    run = run_of(
        tmp_path, verbs=transfers(["n0", "n1"], slow("n0", 1, 40e9)), p2p=slow("n0", 1, 10e9, plain=48.5e9)
    )
    seen = row(layers(run), "n0", 1)
    assert [loss.layer for loss in seen.losses][:2] == [VERBS, P2P]
    assert seen.loser.layer == P2P


def test_a_second_look_that_is_good_clears_the_first(tmp_path):
    first = transfers(["n0", "n1"], slow("n0", 6, 10e9))
    again = [replace(each, again=True) for each in transfers(["n0", "n1"], even(49.5e9))]
    assert layers(run_of(tmp_path, verbs=first + again)).status is Status.PASS


# --- what is missing


def test_no_perftest_anywhere_is_skipped_with_the_reason(tmp_path):
    run = run_of(tmp_path, verbs=[], tools=[replace(GONE, node="n0"), GONE])
    (said,) = verdicts(run)
    assert said.status is Status.NOT_APPLICABLE
    assert "2 of 2 nodes cannot be measured: ib_write_bw is not installed" in said.measured
    assert "install perftest" in said.next_step
    assert row(layers(run), "n0", 1).figures[P2P].told


def test_no_perftest_where_the_profile_wants_it_is_an_error(tmp_path):
    wants = replace(LAMBDA, verbs=Verbs("on"))
    run = run_of(tmp_path, verbs=[], tools=[HERE, GONE])
    assert layers(run, profile=wants).status is Status.INCONCLUSIVE
    assert {said.status for said in verdicts(run, profile=wants)} == {Status.INCONCLUSIVE}


def test_a_node_without_perftest_is_not_called_healthy_for_the_others(tmp_path):
    nodes = made_nodes.nodes(3)
    tools = [HERE, PerftestTool("n1", "6.24"), replace(GONE, node="n2")]
    found = layers(run_of(tmp_path, nodes, verbs=transfers(["n0", "n1"], even(49.5e9)), tools=tools), nodes)
    assert found.status is Status.NOT_APPLICABLE
    assert {each.status for each in found.rows if each.node == "n2"} == {Status.NOT_APPLICABLE}
    assert {each.status for each in found.rows if each.node != "n2"} == {Status.PASS}


def test_a_transfer_that_failed_is_an_error_with_its_cause(tmp_path):
    cut = ended("Couldn't connect to 10.0.0.2:4711\n", 1)
    good = [each for each in transfers(["n0", "n1"], even(49.5e9)) if each.sender.hca != "mlx5_2"]
    bad = [transfer(sender=a, receiver=b, rail=2, client=cut) for a, b in (("n0", "n1"), ("n1", "n0"))]
    found = layers(run_of(tmp_path, verbs=good + bad))
    assert found.status is Status.INCONCLUSIVE
    assert "no TCP connection to 10.0.0.2:4711" in row(found, "n0", 2).text
    assert {each.status for each in found.rows if each.rail != "mlx5_2/1"} == {Status.PASS}


@pytest.mark.parametrize("what", ["no verbs", "one direction", "no p2p", "no counters"])
def test_what_should_be_there_and_is_not_is_an_error(tmp_path, what):
    made = transfers(["n0", "n1"], even(49.5e9))
    verbs = {"no verbs": [], "one direction": [each for each in made if each.sender.node == "n0"]}.get(
        what, made
    )
    run = run_of(tmp_path, verbs=verbs, counters=what != "no counters")
    if what == "no p2p":
        run = replace(run, measurements=tuple(m for m in run.measurements if m.case.startswith("ring")))
    found = layers(run)
    assert found.status is Status.INCONCLUSIVE
    assert {each.status for each in found.rows} == {Status.INCONCLUSIVE}


def test_a_run_that_did_not_ask_is_skipped_by_the_reason_of_its_rails(tmp_path):
    run = replace(run_of(tmp_path), perftest=())
    assert layers(run).status is Status.NOT_APPLICABLE
    left = replace(run, plan=replace(run.plan, skipped=(("rails", "one node has no rails to another"),)))
    assert layers(left).text == "one node has no rails to another"
    told = replace(run, perftest=(PerftestSkipped("the profile turns it off"),))
    assert layers(told).text == "the profile turns it off"


def test_a_reason_to_measure_nothing_hides_no_transfer(tmp_path):
    slow = transfers(["n0", "n1"], even(24e9))
    assert layers(run_of(tmp_path, verbs=[*slow, PerftestSkipped("no time was left")])).status is Status.FAIL


def test_without_rails_nothing_passes(tmp_path):
    nodes = tuple(replace(node, ports=()) for node in made_nodes.nodes(2))
    assert layers(run_of(tmp_path), nodes).status is Status.INCONCLUSIVE


def test_gloo_has_link_and_verbs_alone_and_is_judged_by_them(tmp_path):
    found = layers(run_of(tmp_path, backend="gloo"))
    assert found.status is Status.PASS
    assert not row(found, "n0", 1).figures[P2P].told


# --- bounds


@pytest.mark.parametrize(
    ("rate", "mtu", "status"),
    [(381e9 / 8, 4096, Status.PASS), (379e9 / 8, 4096, Status.FAIL), (355e9 / 8, 1024, Status.FAIL)],
)
def test_the_least_of_verbs_is_a_share_of_what_packets_leave_of_the_link(tmp_path, rate, mtu, status):
    verbs = [
        transfer(rate, a, b, rail, mtu=mtu) for a, b in (("n0", "n1"), ("n1", "n0")) for rail in range(1, 9)
    ]
    found = layers(run_of(tmp_path, verbs=verbs, p2p=even(rate * 0.98), ring=8 * rate * 0.93))
    assert found.status is status


def test_a_profile_may_say_what_verbs_reach(tmp_path):
    said = replace(LAMBDA, verbs=Verbs("auto", Bound(45 * GIGA, "45 GB/s", "me")))
    run = run_of(tmp_path, verbs=transfers(["n0", "n1"], even(45.5e9)), p2p=even(44e9), ring=330e9)
    assert layers(run, profile=said).status is Status.PASS
    assert layers(run).status is Status.FAIL


def test_verbs_in_a_profile_file():
    text = load("local").text
    assert load("local").verbs == Verbs()
    from bench.model.profile import ProfileError, parse

    more = text + '\n[verbs]\nmode = "on"\nat_least = { value = "380 Gb/s", source = "me" }\n'
    assert parse(more, "x").verbs.at_least.value == pytest.approx(47.5e9)
    with pytest.raises(ProfileError, match="off"):
        parse(text + '\n[verbs]\nmode = "maybe"\n', "x")


RATES = st.sampled_from([0.0, 1.0, 20e9, 47.4e9, 49.5e9, 60e9])


@settings(max_examples=25)
@given(st.lists(RATES, min_size=4, max_size=4), st.booleans())
def test_nothing_missing_or_slow_passes(made, counters):
    """Rates of one rail: verbs there and back, p2p there and back; 0 was not measured."""
    verbs = {("n0", "n1"): made[0], ("n1", "n0"): made[1]}
    p2p = {("n0", "n1"): made[2] or 1.0, ("n1", "n0"): made[3] or 1.0}
    run = run_of(
        Path("nowhere"),
        verbs=transfers(["n0", "n1"], lambda a, b, rail: verbs[a, b] if rail == 1 else 49.5e9),
        p2p=lambda a, b, rail: p2p[a, b] if rail == 1 else 48.5e9,
        counters=counters,
    )
    seen = row(layers(run), "n0", 1)
    if seen.status is Status.PASS:
        assert min(verbs.values()) > 47e9 and min(p2p.values()) > 0.87 * min(verbs.values()) and counters
    if seen.status is Status.FAIL:
        assert all(loss.rate < loss.bound.value and math.isfinite(loss.lost) for loss in seen.losses)


def test_a_profile_that_wants_perftest_is_not_content_without(tmp_path):
    want = replace(LAMBDA, verbs=Verbs("on"))
    for said in ((), (PerftestSkipped("no time was left"),)):
        run = replace(run_of(tmp_path), perftest=said)
        assert of_layers(Evidence(run, LAMBDA)).status is Status.NOT_APPLICABLE
        assert of_layers(Evidence(run, want)).status is Status.INCONCLUSIVE
