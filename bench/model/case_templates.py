"""Templates of cases: of cases that differ only in the number of their round, one is written and sent for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import groupby

from .groups import GroupRule
from .measurement import Case
from .typed_json import encode

NUMBER = "round-*"  # stands in a template's id for ``round-3``


def packed(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases, with templates in place of rounds that follow each other."""
    short, at = list[Case](), 0
    while at < len(cases):
        block = _round(cases, at)
        templates = [_template(case) for case in block]
        turns = 1
        while block and [*cases[at + turns * len(block) :][: len(block)]] == [
            _at(template, case.groups.turn + turns)  # type: ignore[union-attr]
            for template, case in zip(templates, block, strict=True)
        ]:
            turns += 1
        if turns == 1:
            short.append(cases[at])
            at += 1
        else:
            short += [replace(each, groups=replace(each.groups, turns=turns)) for each in templates]  # type: ignore[type-var]
            at += turns * len(block)
    return tuple(short) if unpacked(short) == tuple(cases) else tuple(cases)


def unpacked(cases: Iterable[Case]) -> tuple[Case, ...]:
    """The cases that templates stand for; neighbours of the same rounds take turns."""
    return tuple(_unpacked(cases))


def digest(cases: Iterable[Case]) -> str:
    """By which ranks know that they measure the same."""
    return sha256(encode([*cases])).hexdigest()


def _unpacked(cases: Iterable[Case]) -> Iterator[Case]:
    for (turn, turns), neighbours in groupby(cases, _turns):
        block = [*neighbours]
        if turns == 1:
            yield from block
        else:
            yield from (_at(template, number) for number in range(turn, turn + turns) for template in block)


def _round(cases: Sequence[Case], at: int) -> list[Case]:
    """The cases from ``at`` on that are of one round, by a rule."""
    found = list[Case]()
    for case in cases[at:]:
        rule = case.groups
        if not isinstance(rule, GroupRule) or f"round-{rule.turn}" not in case.id.split("/")[-2]:
            break
        if found and rule.turn != found[0].groups.turn:  # type: ignore[union-attr]
            break
        found.append(case)
    return found


def _turns(case: Case) -> tuple[int, int]:
    rule = case.groups
    return (rule.turn, rule.turns) if isinstance(rule, GroupRule) and rule.turns > 1 else (0, 1)


def _template(case: Case) -> Case:
    return replace(case, id=case.id.replace(f"round-{case.groups.turn}/", f"{NUMBER}/"))  # type: ignore[union-attr]


def _at(template: Case, turn: int) -> Case:
    rule = replace(template.groups, turn=turn, turns=1)  # type: ignore[type-var]
    return replace(template, id=template.id.replace(NUMBER, f"round-{turn}"), groups=rule)
