"""Where broadcasts arrive, as the lab of network namespaces said it; and what follows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.model.profile import Profile, Rails
from bench.model.verdict import Status
from bench.store import LOGS, WIRING, SetAside
from bench.store.set_aside import without_set_aside
from made_nodes import judged, node, seen, status, worst_words

RAILS = ("eth1", "eth2")
SOCKETS = Profile(
    name="sockets", title="", source="", text="", rails=Rails(kind="socket", count=2, devices=RAILS)
)


def heard(nodes=3, swapped=(), silent=(), deaf=False):
    """What hear() said on a cluster whose ``swapped`` nodes have their two cables in each other's place."""
    names = [f"n{at}" for at in range(nodes)]
    wire = {(n, r): RAILS[1 - RAILS.index(r)] if n in swapped else r for n in names for r in RAILS}
    told = {}
    for hearer in names:
        words = [
            [on, sender, rail]
            for on in RAILS
            for sender in names
            for rail in RAILS
            if sender != hearer and wire[hearer, on] == wire[sender, rail]
            if not {(hearer, on), (sender, rail)} & set(silent) and not deaf
        ]
        told[hearer] = {"heard": words, "silent": {}}
    return told


def evidence(tmp_path, told, nodes=3):
    (tmp_path / LOGS).mkdir()
    (tmp_path / LOGS / WIRING).write_text(told if isinstance(told, str) else json.dumps(told))
    machines = [node(at) for at in range(nodes)]
    return seen(machines, each=2, backend="gloo", path=tmp_path)


def test_cables_in_their_place_pass(tmp_path):
    assert status("rails.wiring", evidence(tmp_path, heard()), SOCKETS) is Status.PASS


def test_swapped_rails_are_one_finding_and_nobody_else_is_named(tmp_path):
    found = judged("rails.wiring", evidence(tmp_path, heard(swapped={"n1"})), SOCKETS)
    assert [v.status for v in found] == [Status.FAIL]
    assert found[0].subject == "n1 rails eth1 and eth2, swapped"
    assert found[0].measured == "eth1 is connected to n0 eth2, n2 eth2, eth2 is connected to n0 eth1, n2 eth1"


def test_a_node_that_was_set_aside_after_it_was_heard_is_still_named(tmp_path):
    before = evidence(tmp_path, heard(swapped={"n1"}))
    aside = (SetAside("n1", "n1 eth1, eth2", "not reached", True),)
    left = without_set_aside(replace(before.run, manifest=replace(before.manifest, set_aside=aside)))
    assert left.manifest.nodes == ("n0", "n2")
    found = judged("rails.wiring", replace(before, run=left), SOCKETS)
    assert [v.subject for v in found if v.status is Status.FAIL] == ["n1 rails eth1 and eth2, swapped"]


def test_one_cable_in_another_rails_place_is_named_alone(tmp_path):
    """eth1 of n1 hangs with the second rail of the others; its eth2 hangs with nobody."""
    told = heard(swapped={"n1"}, silent={("n1", "eth2")})
    found = judged("rails.wiring", evidence(tmp_path, told), SOCKETS)
    assert {(v.subject, v.status) for v in found} == {
        ("n1 eth1", Status.FAIL),
        ("n1 eth2", Status.INCONCLUSIVE),
    }


def test_on_two_nodes_it_cannot_be_told_whose_rails_are_swapped(tmp_path):
    told = evidence(tmp_path, heard(2, swapped={"n1"}), 2)
    assert status("rails.wiring", told, SOCKETS) is Status.INCONCLUSIVE
    assert "is not known; repeat with more nodes" in worst_words("rails.wiring", told, SOCKETS)


def test_two_of_five_nodes_swapped_are_both_named_and_half_of_four_cannot_be_told(tmp_path):
    (tmp_path / "five").mkdir()
    (tmp_path / "four").mkdir()
    told = evidence(tmp_path / "five", heard(5, swapped={"n1", "n3"}), 5)
    named = {v.subject for v in judged("rails.wiring", told, SOCKETS) if v.status is Status.FAIL}
    assert named == {"n1 rails eth1 and eth2, swapped", "n3 rails eth1 and eth2, swapped"}
    told = evidence(tmp_path / "four", heard(4, swapped={"n1", "n3"}), 4)
    assert status("rails.wiring", told, SOCKETS) is Status.INCONCLUSIVE


def test_rails_that_share_one_network_tell_nothing(tmp_path):
    flat = {
        hearer: {
            "heard": [[on, s, r] for on in RAILS for s in ("n0", "n1", "n2") for r in RAILS if s != hearer],
            "silent": {},
        }
        for hearer in ("n0", "n1", "n2")
    }
    (verdict,) = judged("rails.wiring", evidence(tmp_path, flat), SOCKETS)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "in one network" in verdict.measured


def test_a_rail_that_nobody_hears_is_could_not_tell_with_the_reason(tmp_path):
    words = heard(silent={("n2", "eth1")})
    words["n2"]["silent"] = {"eth1": "Network is unreachable"}
    told = evidence(tmp_path, words)
    assert status("rails.wiring", told, SOCKETS) is Status.INCONCLUSIVE
    assert "n2 eth1: no other node hears it: Network is unreachable" in worst_words(
        "rails.wiring", told, SOCKETS
    )


def test_a_network_that_passes_no_broadcast_does_not_tell(tmp_path):
    (verdict,) = judged("rails.wiring", evidence(tmp_path, heard(deaf=True)), SOCKETS)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "routed or virtual" in verdict.measured


def test_a_run_in_which_nobody_asked_says_so(tmp_path):
    machines = [node(at) for at in range(3)]
    (verdict,) = judged("rails.wiring", seen(machines, each=2, path=tmp_path), SOCKETS)
    assert verdict.status is Status.NOT_APPLICABLE


words = st.lists(
    st.tuples(
        st.sampled_from(RAILS), st.sampled_from(["n0", "n1", "n2", "x"]), st.sampled_from([*RAILS, "eth9"])
    ),
    max_size=8,
)


@settings(max_examples=60)
@example({"n0": [], "n1": [], "n2": [(rail, node, rail) for rail in RAILS for node in ("n0", "n1")]})
@given(st.fixed_dictionaries(dict.fromkeys(("n0", "n1", "n2"), words)))
def test_any_words_end_in_verdicts_and_pass_only_when_every_rail_is_heard_on_itself(tmp_path_factory, told):
    said = {name: {"heard": [list(word) for word in found], "silent": {}} for name, found in told.items()}
    verdicts = judged("rails.wiring", evidence(tmp_path_factory.mktemp("run"), said), SOCKETS)
    assert verdicts
    if all(v.status is Status.PASS for v in verdicts):
        own = {(sender, rail) for found in told.values() for on, sender, rail in found if on == rail}
        assert {(f"n{at}", rail) for at in range(3) for rail in RAILS} <= own


@pytest.mark.parametrize("text", ["", "{"])
def test_a_damaged_record_raises_and_so_is_an_error_of_the_check(tmp_path, text):
    with pytest.raises((ValueError, AttributeError)):
        judged("rails.wiring", evidence(tmp_path, text), SOCKETS)


@pytest.mark.parametrize("text", ["[]", "{}"])
def test_a_record_in_which_no_node_speaks_is_an_error_and_names_the_nodes(tmp_path, text):
    told = evidence(tmp_path, text)
    assert status("rails.wiring", told, SOCKETS) is Status.INCONCLUSIVE
    assert "sent no record of what it heard" in worst_words("rails.wiring", told, SOCKETS)


def test_what_was_asked_for_and_not_recorded_is_could_not_tell(tmp_path):
    told = seen([node(at) for at in range(3)], each=2, path=tmp_path)
    manifest = replace(told.run.manifest, command=("railgauge", "accept", "--cross-rail"))
    told = replace(told, run=replace(told.run, manifest=manifest))
    assert status("rails.wiring", told, SOCKETS) is Status.INCONCLUSIVE


def test_without_interfaces_named_nothing_is_passed(tmp_path):
    bare = replace(SOCKETS, rails=Rails(kind="socket"))
    assert status("rails.wiring", evidence(tmp_path, heard()), bare) is Status.INCONCLUSIVE
