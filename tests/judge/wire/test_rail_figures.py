"""The figure of one rail in perftest's layer: the best that came through, and why there is none."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.judge.evidence import Evidence
from bench.judge.wire.rail_figures import (
    Figure,
    _best,
    _unmeasured,
    collective,
    common_link,
    link,
    p2p,
    users_of,
    verbs,
)
from bench.judge.wire.rail_latency import of_latencies
from bench.judge.wire.rail_layers import _losses
from bench.model.facts import Port
from bench.model.profile import load
from bench.model.run_folder_lines import PerftestTool
from made_nodes import node, nodes
from made_nodes import seen as seen_


def view(able: tuple[str, ...], **missing: str) -> SimpleNamespace:
    tools = tuple(SimpleNamespace(node=node, missing=missing.get(node, "")) for node in ("n0", "n1"))
    profile = SimpleNamespace(verbs=SimpleNamespace(mode="on"))
    return SimpleNamespace(
        evidence=SimpleNamespace(profile=profile), record=SimpleNamespace(tools=tools, able=able)
    )


def test_a_try_that_came_to_nothing_does_not_hide_the_one_that_did() -> None:
    assert _best(SimpleNamespace(rate=rate) for rate in (math.nan, 3.0, math.nan, 2.0)) == 3.0
    assert math.isnan(_best([SimpleNamespace(rate=math.nan)]))
    assert math.isnan(_best([]))


@pytest.mark.parametrize(
    ("able", "missing", "words", "should"),
    [
        (("n0", "n1"), {}, "not measured", True),
        (("n0",), {}, "no other node has perftest", True),
        (("n1",), {"n0": "ib_write_bw is not installed"}, "ib_write_bw is not installed", True),
        (("n0",), {"n1": "ib_write_bw is not installed"}, "no other node has perftest", True),
    ],
)
def test_why_a_rail_without_transfers_has_no_figure(able, missing, words, should) -> None:
    found = _unmeasured(view(able, **missing), SimpleNamespace(name="n0"))
    assert math.isnan(found.rate)
    assert (found.text, found.should) == (words, should)


def test_a_link_is_said_in_the_words_of_its_port() -> None:
    assert link(Port("mlx5_1", 1, rate=50e9, rate_text="400 Gb/sec (4X NDR)")) == Figure(
        50e9, "400 Gb/sec (4X NDR)"
    )
    assert link(Port("mlx5_1", 1, rate=50e9)) == Figure(50e9, "")
    assert link(Port("mlx5_1", 1, rate=50e9, state="DOWN")) == Figure(0.0, "the port is DOWN")
    unknown = link(Port("mlx5_1", 1, rate_text="400 Gb/sec (4X NDR)"))
    assert (math.isnan(unknown.rate), unknown.text, unknown.should) == (True, "its rate is not known", True)


@pytest.mark.parametrize(
    ("planned", "should"),
    [(("ring",), True), (("rails", "collectives"), True), (("rails",), False), ((), False)],
)
def test_a_rails_share_of_a_collective_is_missed_where_one_was_planned(planned, should) -> None:
    plan = SimpleNamespace(phases=[SimpleNamespace(name=name) for name in planned])
    seen = SimpleNamespace(
        evidence=SimpleNamespace(backend="nccl", run=SimpleNamespace(plan=plan)), collective=({}, "")
    )
    found = collective(seen, SimpleNamespace(name="n0"), Port("mlx5_1", 1))
    assert (found.text, found.should) == ("its counters were not read", should)


@pytest.mark.parametrize(("failed", "way"), [("n0", "to n1"), ("n1", "from n1")])
def test_where_one_direction_came_to_nothing_it_is_named_with_its_cause(failed, way) -> None:
    def outcome(sender: str, receiver: str):
        transfer = SimpleNamespace(
            sender=SimpleNamespace(node=sender), receiver=SimpleNamespace(node=receiver), memory="host memory"
        )
        lost, cause = sender == failed, SimpleNamespace(where=None, line="it ended with 1", kind="")
        return transfer, SimpleNamespace(rate=math.nan if lost else 3.0, cause=cause if lost else None)

    here = [outcome("n0", "n1"), outcome("n1", "n0")]
    seen = SimpleNamespace(
        by_rail={("n0", "mlx5_1/1"): here},
        record=SimpleNamespace(tools=[SimpleNamespace(node=name, version="") for name in ("n0", "n1")]),
        evidence=SimpleNamespace(facts={}),
    )
    found = verbs(seen, SimpleNamespace(name="n0"), Port("mlx5_1", 1))
    assert math.isnan(found.rate) and found.text == f"nothing measured {way}: it ended with 1"


def test_a_try_that_failed_is_no_reason_where_the_direction_has_a_figure_and_the_other_was_never_tried() -> (
    None
):
    ends = {"sender": SimpleNamespace(node="n0"), "receiver": SimpleNamespace(node="n1")}
    transfer = SimpleNamespace(**ends, memory="host memory")
    failed = SimpleNamespace(
        rate=math.nan, cause=SimpleNamespace(where=None, line="it ended with 1", kind="")
    )
    seen = SimpleNamespace(
        by_rail={("n0", "mlx5_1/1"): [(transfer, failed), (transfer, SimpleNamespace(rate=3.0, cause=None))]},
        record=SimpleNamespace(tools=[SimpleNamespace(node=name, version="") for name in ("n0", "n1")]),
        evidence=SimpleNamespace(facts={}),
    )
    found = verbs(seen, SimpleNamespace(name="n0"), Port("mlx5_1", 1))
    assert math.isnan(found.rate) and found.text == "one direction was not measured"


def nccl(names: tuple[str, ...], ranks: int, rates: dict[tuple[str, str, str], float]) -> SimpleNamespace:
    """A job of two nodes with so many ranks each, which use the rails of these names."""
    evidence = SimpleNamespace(
        backend="nccl",
        profile=load("lambda-1cc-h100"),
        run=SimpleNamespace(ranks_on={"n0": ranks, "n1": ranks}),
        rail_names=names,
        facts={"n0": None, "n1": None},
    )
    return SimpleNamespace(evidence=evidence, by_rail={}, p2p=rates)


@pytest.mark.parametrize("lacking", ["", "n0", "n1"])
def test_a_rail_that_nccl_measured_in_one_direction_has_no_figure(lacking) -> None:
    ways = {("n0", "n1", "mlx5_1/1"): 48e9, ("n1", "n0", "mlx5_1/1"): 47e9}
    rates = {way: math.nan if way[0] == lacking else rate for way, rate in ways.items()}
    found = p2p(nccl(("mlx5_1/1",), 1, rates), node(0), Port("mlx5_1", 1))
    if lacking:
        assert math.isnan(found.rate) and found.text == "not measured with the partners of this rail"
    else:
        assert found.rate == 47e9 and found.text.startswith("sends 48.00 GB/s")


@pytest.mark.parametrize(
    ("other", "left"),
    [
        (PerftestTool("n1", "6.24", latency=True), ""),
        (PerftestTool("n1", "6.24", latency=False), "ib_write_lat is not installed on two nodes"),
        (
            PerftestTool("n1", "", missing="no perftest", latency=True),
            "ib_write_lat is not installed on two nodes",
        ),
    ],
)
def test_a_latency_is_missed_only_where_two_nodes_could_measure_it(other, left) -> None:
    tools = (PerftestTool("n0", "6.24", latency=True), other)
    found = of_latencies(Evidence(replace(seen_(nodes(2)).run, perftest=tools), load("lambda-1cc-h100")))
    assert (found.left, len(found.at)) == (left, 0 if left else 16)


@pytest.mark.parametrize(
    ("rates", "common"), [((50e9, 25e9), 25e9), ((50e9, math.nan), 50e9), ((math.nan, 25e9), math.nan)]
)
def test_a_partner_whose_link_is_not_known_says_nothing_of_the_common_link(rates, common) -> None:
    ends = {at: SimpleNamespace(node=f"n{at}", name="mlx5_1/1") for at in range(2)}
    links = {(end.node, end.name): rate for end, rate in zip(ends.values(), rates, strict=True)}
    both = [SimpleNamespace(sender=ends[at], receiver=ends[1 - at]) for at in (1, 0)]
    seen = SimpleNamespace(links=links, by_rail={("n0", "mlx5_1/1"): [(each, None) for each in both]})
    assert common_link(seen, node(0), Port("mlx5_1", 1)) == pytest.approx(common, nan_ok=True)


FLOOR = 0.88 * 49.5e9


@pytest.mark.parametrize(
    ("verbs_", "p2p_", "collective_", "lost"),
    [
        (49.5e9, 48e9, 45e9, {}),
        (49.5e9, FLOOR, 0.88 * FLOOR, {}),
        (49.5e9, 0.999 * FLOOR, 45e9, {"p2p": 49.5e9}),
        (49.5e9, 48e9, 0.87 * 48e9, {"collective": 48e9}),
        (49.5e9, math.nan, 0.87 * FLOOR, {"collective": FLOOR}),
        (49.5e9, 0.0, 0.87 * FLOOR, {"p2p": 49.5e9, "collective": FLOOR}),
        (49.5e9, 0.0, 0.89 * FLOOR, {"p2p": 49.5e9}),
        (49.5e9, math.nan, math.nan, {}),
        (30e9, 29e9, 28e9, {"verbs": 50e9}),
        (math.nan, 1.0, 1.0, {}),
    ],
)
def test_each_layer_is_held_against_the_one_below_or_against_what_that_should_have_given(
    verbs_, p2p_, collective_, lost
) -> None:
    seen = SimpleNamespace(
        evidence=SimpleNamespace(profile=load("lambda-1cc-h100")),
        by_rail={},
        links={("n0", "mlx5_1/1"): 50e9},
    )
    rates = {"link": 50e9, "verbs": verbs_, "p2p": p2p_, "collective": collective_}
    figures = {name: Figure(rate) for name, rate in rates.items()}
    found = _losses(seen, SimpleNamespace(name="n0"), Port("mlx5_1", 1, rate=50e9), figures)
    assert {each.layer: each.below for each in found} == pytest.approx(lost)


def test_ranks_that_share_rails_each_count_with_their_share() -> None:
    """The first rank's traffic goes half by each of two rails; the third rank is one of the other node."""
    names = ("mlx5_1/1+mlx5_2/1", "mlx5_2/1", "mlx5_3/1")
    assert users_of(node(0), nccl(names, 2, {})) == {
        "mlx5_1/1": ((0, 0.5),),
        "mlx5_2/1": ((0, 0.5), (1, 1.0)),
    }


def test_a_rail_that_no_rank_uses_has_no_figure_and_loses_nothing() -> None:
    found = p2p(nccl(("mlx5_1/1",), 1, {}), node(0), Port("mlx5_2", 1))
    assert math.isnan(found.rate) and found.text == "which GPUs use this rail cannot be determined"
