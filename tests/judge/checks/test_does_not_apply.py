"""What does not apply and why, of every check, to a run that lacks one thing: held to a golden file.

A check that leaves out what it should judge is never seen in what it says. Each part is a healthy run without one
thing, or of another kind, and holds the reasons, wishes and bounds that are others than those of the healthy run.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest

from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.facts import Gpu, Node, Port
from bench.model.profile import Profile
from bench.store import IMPORTED, Run
from golden import Golden, opened, shown
from made_acceptance import LAMBDA, acceptance_run
from made_nodes import nodes

FOLDER = TemporaryDirectory()  # removed when Python ends
COMMANDS = ("run", "nightly", "soak", "watch", "probe", "gate", "import")


@cache
def healthy(count: int = 2) -> Run:
    return acceptance_run(Path(mkdtemp(dir=FOLDER.name)), count)


def none_of(thing: Any, hints: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The dataclass without one of its fields, each in turn: not known where that may be, else empty."""
    for field in fields(thing):
        value = getattr(thing, field.name)
        if type(None) in typing.get_args(hints[field.name]):
            lacking = None
        elif isinstance(value, (tuple, dict, str)) and value:
            lacking = type(value)()
        else:
            continue
        if lacking != value:
            yield field.name, replace(thing, **{field.name: lacking})


def hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=False)


def profiles() -> Iterator[tuple[str, Profile]]:
    for name, changed in none_of(LAMBDA, hints(Profile)):
        if name not in ("name", "text"):
            yield f"profile without {name}", changed
    for name, changed in none_of(LAMBDA.rails, hints(type(LAMBDA.rails))):
        yield f"rails without {name}", replace(LAMBDA, rails=changed)
    for kind in ("none", "socket", "roce", "infiniband"):
        yield f"rails of kind {kind}", replace(LAMBDA, rails=replace(LAMBDA.rails, kind=kind))
    yield "profile for gloo", replace(LAMBDA, backend="gloo")


def runs() -> Iterator[tuple[str, Run]]:
    run = healthy()
    yield "one node", healthy(1)
    for field in fields(run):
        value = getattr(run, field.name)
        if isinstance(value, tuple) and value:
            yield f"run without {field.name}", replace(run, **{field.name: ()})
    for phase in run.plan.phases:
        rows = {case.id for case in phase.cases}
        left = tuple(each for each in run.measurements if each.case not in rows)
        yield f"nothing measured of {phase.name}", replace(run, measurements=left)
        plan = replace(run.plan, phases=tuple(each for each in run.plan.phases if each is not phase))
        yield f"nothing planned of {phase.name}", replace(run, plan=plan, measurements=left)
    for command in COMMANDS:
        yield f"of {command}", replace(run, manifest=replace(run.manifest, command=("railgauge", command)))
    for backend in ("gloo", "none"):
        yield f"by {backend}", replace(run, manifest=replace(run.manifest, backend=backend))
    yield "imported", replace(run, manifest=replace(run.manifest, launcher=IMPORTED))


def facts() -> Iterator[tuple[str, Run]]:
    """Every node without one thing, and every GPU and port."""
    run = healthy()
    for name, _ in none_of(nodes(1)[0], hints(Node)):
        if name != "name":
            found = tuple(dict(none_of(each, hints(Node))).get(name, each) for each in run.facts)
            yield f"nodes without {name}", replace(run, facts=found)
    for kind, place in ((Gpu, "gpus"), (Port, "ports")):
        for name in [field.name for field in fields(kind)]:
            found = tuple(
                replace(
                    node,
                    **{
                        place: tuple(
                            dict(none_of(each, hints(kind))).get(name, each) for each in getattr(node, place)
                        )
                    },
                )
                for node in run.facts
            )
            if found != run.facts:
                yield f"{place} without {name}", replace(run, facts=found)


@cache
def lacking() -> dict[str, Evidence]:
    found = {name: Evidence(healthy(), profile) for name, profile in profiles()}
    return found | {name: Evidence(run, LAMBDA) for name, run in (*runs(), *facts())}


def answers(evidence: Evidence) -> dict[str, str]:
    return {name: _answer(one, evidence) for name, one in CHECKS.items()}


def _answer(one: Any, evidence: Evidence) -> str:
    try:
        if not one.only(evidence):
            return "of another kind of run"
        if reason := next((reason for unless in one.unless if (reason := unless(evidence))), ""):
            return reason
        words = {key: text if isinstance(text, str) else text(evidence) for key, text in one.words.items()}
        return shown((words["subject"], words["wanted"], words["source"], one.bound(evidence)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("does_not_apply.txt"), ["healthy", *NAMES])


NAMES = (
    *(name for name, _ in profiles()),
    *(name for name, _ in runs()),
    *(name for name, _ in facts()),
)


def test_what_applies_to_a_healthy_run(golden):
    golden.hold("healthy", [f"{name}: {text}" for name, text in answers(Evidence(healthy(), LAMBDA)).items()])


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_apply_where_one_thing_lacks(golden, name):
    usual = answers(Evidence(healthy(), LAMBDA))
    found = answers(lacking()[name]).items()
    golden.hold(name, [f"{check}: {text}" for check, text in found if usual[check] != text])
