"""Every field of a healthy run by itself: what is said when it is not known, less, more, empty or another.

The run folder is what the judge believes. Each part of the golden file is one record of it with one field changed, and
holds what the verdicts say that they did not say before, or why it cannot be read so; "nothing" where a change is not
seen, so that a reader can ask whether it should be.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.judge.verdicts import judge
from bench.model.typed_json import decode, encode
from bench.nccl import log
from bench.store import Run
from golden import Golden, opened
from made_acceptance import LAMBDA, acceptance_run

GOLDEN = Path(__file__).with_name("every_field.txt")
MOST, LONGEST = 4, 240  # verdicts of a change that stand there, and letters of each
TRIED = {"ports": (0, 3)}  # places of a list whose entries differ in kind: the excluded adapter and a rail


def others(value: Any, optional: bool) -> Iterator[tuple[str, Any]]:
    """What else the field could hold, each with a word for it."""
    if optional and value is not None:
        yield "unknown", None
    if isinstance(value, bool):
        yield "turned", not value
    elif isinstance(value, (int, float)) and value != 0:
        yield "less", value // 2 if isinstance(value, int) else value / 2
        yield "more", value * 2
    elif isinstance(value, (int, float)):
        yield "more", type(value)(1)
    elif isinstance(value, str):
        if value:
            yield "empty", ""
        yield "other", f"{value}x"
    elif isinstance(value, (tuple, Mapping)) and value:
        yield "empty", type(value)()
    if isinstance(value, tuple) and len(value) > 1:
        yield "short", value[:-1]
    elif isinstance(value, dict) and len(value) > 1:
        yield "short", dict([*value.items()][:-1])


def changes(value: Any, path: str, optional: bool = False) -> Iterator[tuple[str, Any]]:
    """``value`` with one thing in it changed, wherever it lies; of a list or a map its first entry is looked into."""
    name = path.rpartition(".")[2]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            may_lack = type(None) in typing.get_args(hints(type(value))[field.name])
            for where, changed in changes(getattr(value, field.name), f"{path}.{field.name}", may_lack):
                yield where, replace(value, **{field.name: changed})
        if optional:
            yield f"{path} unknown", None
        return
    yield from ((f"{path} {word}", changed) for word, changed in others(value, optional))
    if isinstance(value, tuple):
        for at in TRIED.get(name, (0,)):
            for where, changed in changes(value[at], f"{path}[{at}]") if at < len(value) else ():
                yield where, (*value[:at], changed, *value[at + 1 :])
    elif isinstance(value, dict) and value:
        key = next(iter(value))
        for where, changed in changes(value[key], f"{path}[{key}]"):
            yield where, {**value, key: changed}


@cache
def hints(of: type) -> dict[str, Any]:
    return typing.get_type_hints(of)


def record(run: Run, name: str) -> Iterator[tuple[str, Run | str]]:
    """The runs in which one field of this record is another, or why it cannot be read so."""
    if name == "manifest":
        yield from ((where, replace(run, manifest=made)) for where, made in changes(run.manifest, name))
        return
    field, _, phase = name.partition(" of ")
    rows = getattr(run, field)
    at = next(at for at, row in enumerate(rows) if phase in ("", "n1") or row.case.startswith(f"{phase}/"))
    at = 1 if field == "facts" else at
    for where, row in changes(rows[at], name):
        try:
            read = decode(type(row), encode(row))
        except ValueError as error:
            yield where, f"cannot be read: {error}"
        else:
            yield where, replace(run, **{field: (*rows[:at], read, *rows[at + 1 :])})


PHASES = ("collectives", "rails", "steady")
RECORDS = (
    "manifest",
    "facts of n1",
    "windows",
    "health",
    "joined",
    *(f"measurements of {each}" for each in PHASES),
)
PARTS = 6  # so that the many fields of a node are shared out to several processes


@pytest.fixture(scope="module", autouse=True)
def logs_parsed_once() -> Iterator[None]:
    """All runs here have the same logs, which take a third of the time of each judgement."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log, "read", cache(log.read))
        yield


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return acceptance_run(tmp_path_factory.mktemp("run"), 2)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest, healthy: Run) -> Iterator[Golden]:
    yield from opened(request, GOLDEN, [where for name in RECORDS for where, _ in record(healthy, name)])


def said(run: Run) -> list[str]:
    verdicts = judge(run, LAMBDA).run.verdicts
    return [f"{each.status.value} {each.check}: {each.subject}: {each.measured}" for each in verdicts]


@pytest.fixture(scope="module")
def before(healthy: Run) -> list[str]:
    return said(healthy)


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name in RECORDS for part in range(PARTS if name == "facts of n1" else 1)],
)
def test_what_is_said_of_one_field_that_is_another(
    healthy: Run, before: list[str], golden: Golden, name: str, part: int
) -> None:
    found = [*record(healthy, name)]
    step = PARTS if name == "facts of n1" else 1
    assert found
    for where, run in found[part::step]:
        new = [run] if isinstance(run, str) else [text for text in said(run) if text not in before]
        golden.hold(where, [text[:LONGEST] for text in new[:MOST]] or ["nothing"])
