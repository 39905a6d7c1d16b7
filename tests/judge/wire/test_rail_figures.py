"""The figure of one rail in perftest's layer: the best that came through, and why there is none."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from bench.judge.wire.rail_figures import Figure, _best, _unmeasured, link
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
