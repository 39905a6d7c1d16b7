"""The figure of one rail in perftest's layer: the best that came through, and why there is none."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from bench.judge.wire.rail_figures import Figure, _best, _unmeasured, collective, link, verbs
from bench.model.facts import Port


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
