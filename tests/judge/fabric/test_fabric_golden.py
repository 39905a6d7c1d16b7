"""All that is said of recorded fabrics, held to a golden file: each alone, and after the healthy one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.judge.fabric import errors
from bench.model.verdict import Verdict
from golden import Golden, opened, shown
from test_fabric_join import NOTHING, fabric, rows

STATES = ("healthy", "slow", "faults", "silent")
FABRICS = {**{state: fabric(state) for state in STATES}, "nothing": NOTHING}
PAIRS = [*(("healthy", now) for now in FABRICS if now != "healthy"), ("silent", "healthy")]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    names = [*FABRICS, *(f"{now} after {before}" for before, now in PAIRS)]
    yield from opened(request, Path(__file__).with_name("fabric.txt"), names)


def said(found: list[Verdict]) -> list[str]:
    return [
        f"{each.status.value} {shown(each.message)} {shown(each.value)} {shown(each.evidence)}"
        for each in found
    ]


@pytest.mark.parametrize("name", FABRICS)
def test_what_is_said_of_a_fabric(golden: Golden, name: str) -> None:
    golden.hold(name, said(rows(FABRICS[name])))


@pytest.mark.parametrize(("before", "now"), PAIRS)
def test_what_is_said_of_a_fabric_after_another(golden: Golden, before: str, now: str) -> None:
    found = [*errors.changes(FABRICS[before], FABRICS[now])]
    if earlier := FABRICS[before].errors:
        found += errors.errors(FABRICS[now], earlier)
    golden.hold(f"{now} after {before}", said(found))
