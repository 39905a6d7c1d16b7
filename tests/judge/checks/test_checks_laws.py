"""A law of all checks: what is not known never turns a fault into a pass, nor a node's loss."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.checks import CHECKS
from bench.model.facts import Ecc, Gpu, Host, Node, Port
from bench.model.verdict import Status
from made_nodes import LAMBDA, judged, node, seen, with_gpu, with_host, with_port

CHECKED = [
    name
    for name, check in CHECKS.items()
    if check.facts_only
    and name.startswith(("rails.", "gpus.", "host.", "pcie.", "exclusion.selector", "exclusion.census"))
]
SICK = (
    ("healthy", lambda one: one),
    ("a rail is down", lambda one: with_port(one, "mlx5_3", state="DOWN", phys_state="Polling")),
    ("a rail is slow", lambda one: with_port(one, "mlx5_5", rate=25e9, rate_text="200 Gb/sec (2X NDR)", sm_lid=0)),
    ("a rail is Ethernet", lambda one: with_port(one, "mlx5_2", link_layer="Ethernet")),
    ("a GPU is sick", lambda one: with_gpu(one, 4, ecc=Ecc(False, 0, 9, 0, 0, 0, 0, True, True), mig=True, processes=1,
                                         limits=("hw_thermal",), persistence=False, compute_mode="prohibited")),
    ("the host is set up wrongly", lambda one: with_host(one, peermem=None, memlock_unlimited=False, memlock=1 << 20,
                                                        iommu_groups={"DMA": 9}, clock=1.0)),
)  # fmt: skip


def nullable(kind: type) -> list[str]:
    """The fields that may be None: what a probe can fail to find out."""
    return [
        name for name, hint in get_type_hints(kind).items() if type(None) in getattr(hint, "__args__", ())
    ]


def outcomes(first: Node) -> dict[str, set[Status]]:
    """Check → its statuses, of a cluster of this node and a healthy one."""
    evidence = seen([first, node(1)])
    return {name: {verdict.status for verdict in judged(name, evidence, LAMBDA)} for name in CHECKED}


@cache
def known_of(title: str) -> dict[str, set[Status]]:
    return outcomes(dict(SICK)[title](node(0)))


# ``virtual`` decides whether a question is asked at all, and ``peermem`` None means "not loaded", a fact
KEPT = {"virtual", "peermem", "container", "memory_limit"}
PORT, GPU, HOST, ECC = (sorted(set(nullable(kind)) - KEPT) for kind in (Port, Gpu, Host, Ecc))


@st.composite
def forgetting(draw: Any) -> tuple[str, Any]:
    """A fault of the first node and what is then forgotten of it."""
    title, change = draw(st.sampled_from(SICK))
    hca = draw(st.sampled_from([f"mlx5_{number}" for number in range(1, 9)]))
    index = draw(st.integers(0, 7))
    some = {
        "port": draw(st.sets(st.sampled_from(PORT), max_size=3)),
        "gpu": draw(st.sets(st.sampled_from(GPU), max_size=3)),
        "ecc": draw(st.sets(st.sampled_from(ECC), max_size=2)),
        "host": draw(st.sets(st.sampled_from(HOST), max_size=3)),
    }

    def forget(one: Node) -> Node:
        one = change(one)
        one = with_port(one, hca, **dict.fromkeys(some["port"]))
        one = with_gpu(one, index, **dict.fromkeys(some["gpu"]))
        gpu = one.gpus[index]
        one = with_gpu(one, index, ecc=replace(gpu.ecc, **dict.fromkeys(some["ecc"])))
        return with_host(one, **dict.fromkeys(some["host"]))

    return title, forget


@settings(max_examples=60)
@given(forgetting())
def test_forgetting_facts_never_turns_a_fault_into_a_pass(case):
    title, forget = case
    known, forgotten = known_of(title), outcomes(forget(node(0)))
    for name in CHECKED:
        if known[name] & {Status.FAIL, Status.INCONCLUSIVE}:
            assert Status.PASS not in forgotten[name], (
                f"{name}, {title}: {known[name]} became {forgotten[name]}"
            )


@pytest.mark.parametrize(
    "changes", [{"ports": ()}, {"gpus": ()}, {"host": Host()}, {"ports": (), "gpus": (), "host": Host()}]
)
def test_forgetting_a_whole_group_of_facts_never_hides_a_fault(changes):
    sick = node(0)
    for _, change in SICK:
        sick = change(sick)
    known, forgotten = outcomes(sick), outcomes(replace(sick, **changes))
    for name in CHECKED:
        if known[name] & {Status.FAIL, Status.INCONCLUSIVE}:
            assert forgotten[name] & {Status.FAIL, Status.INCONCLUSIVE}, f"{name} forgot its fault"


def test_the_law_forgets_what_there_is_to_forget():
    assert {"state", "rate", "link_layer", "phys_state"} <= set(PORT)
    assert {"nvlinks", "limits", "mig"} <= set(GPU)
    assert all(is_dataclass(kind) and fields(kind) for kind in (Port, Gpu, Host, Ecc))
