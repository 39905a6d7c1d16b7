"""What lines of a run folder must agree with: the ranks of the run, the tables of names, and their own other fields.

A file that somebody edited, or that a disk gave back otherwise, must not be judged as if it had been measured. That
each field is of its type and in its range is checked where it is read, by its class.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain
from typing import Any

from bench.model.collectives import collective
from bench.model.elements import REDUCTIONS, UnknownName, element
from bench.model.groups import GroupRule, Groups
from bench.model.late_dataclass import dataclass, fields
from bench.model.measurement import Case, Measurement, RankSkew, Window
from bench.model.printable import on_one_line
from bench.model.run_folder_lines import HealthLine
from bench.model.typed_json import Misfit, shown

from .files import IMPORTED
from .run import Manifest, Plan

LONGEST_ID = 400  # characters of a case's id
SECONDS = "seconds above 0, of one rank or a list of each block's ranks"


@dataclass(frozen=True)
class ExpectedRanks:
    """What lines are held against: the ranks of the run, and whether other tools measured it, which tell less."""

    ranks: frozenset[int]
    imported: bool = False


def job(manifest: Manifest) -> ExpectedRanks:
    return ExpectedRanks(frozenset(rank.rank for rank in manifest.ranks), manifest.launcher == IMPORTED)


def check_manifest(found: Manifest) -> None:
    """Raises Misfit, as all of these."""
    if "/" in found.id or found.id in ("", ".", "..") or on_one_line(found.id) != found.id:
        raise _misfit("id", found.id, "one folder name, without /")
    if not found.ranks:
        raise _misfit("ranks", [], "at least one rank")
    _distinct("ranks", [rank.rank for rank in found.ranks])
    _distinct("ranks", [(rank.node, rank.local_rank) for rank in found.ranks])


def check_plan(found: Plan, of: ExpectedRanks) -> None:
    for number, phase in enumerate(found.phases):
        for at, case in enumerate(phase.cases):
            _check_case(f"phases[{number}].cases[{at}]", case, of)


def check_ids(found: Plan) -> None:
    _distinct("phases", [case.id for case in found.cases])


def _check_case(place: str, case: Case, of: ExpectedRanks) -> None:
    odd = {"", ".", ".."} & {*case.id.split("/")} or on_one_line(case.id) != case.id
    if odd or len(case.id) > LONGEST_ID:
        raise _misfit(f"{place}.id", case.id, "names between slashes")
    _check_groups(f"{place}.groups", case.groups, of)
    tables: tuple[tuple[str, Callable[[str], object]], ...] = (("dtype", element), ("collective", collective))
    for name, known in tables:
        try:
            known(getattr(case, name))
        except UnknownName as error:
            raise Misfit(f"{place}.{name}: {error}") from None
    for name, words in (("op", ("none", *REDUCTIONS)), ("placement", ("out", "in"))):
        if getattr(case, name) not in words:
            raise _misfit(f"{place}.{name}", getattr(case, name), f"one of {', '.join(words)}")


def _check_groups(place: str, groups: Groups, of: ExpectedRanks) -> None:
    if isinstance(groups, GroupRule):
        most = len(of.ranks)
        if max(groups.nodes, groups.width) > most or groups.nodes * groups.width > most or not groups.sound:
            raise _misfit(place, groups, "a rule of ranks of the run")
        if not of.ranks.issuperset(groups.ranks):  # each once: it is sound
            raise _misfit(place, groups, "lists of ranks of the run")
        return
    members = list(chain.from_iterable(groups))
    if not of.ranks.issuperset(members) or not all(groups):
        raise _misfit(place, groups, "lists of ranks of the run")
    _distinct(place, members)


def check_measurement(row: Measurement, of: ExpectedRanks) -> None:
    n, blocks, unknown = len(row.ranks), row.pipelined, 1 if of.imported else 0
    _check_ranks(row.ranks, of)
    # other tools tell one time, and one count of wrong elements, for all ranks, or none
    if not (blocks.possible and (blocks.width in (0, n) or blocks.width == unknown)):
        raise _misfit("pipelined", blocks, SECONDS)
    if not row.isolated.possible:
        raise _misfit("isolated", row.isolated, SECONDS)
    if blocks and not row.calls and not of.imported:
        raise _misfit("calls", row.calls, "at least 1")
    if len(row.wrong) != n and not (of.imported and len(row.wrong) < 2):
        raise _misfit("wrong", row.wrong, f"one count for each of {n} ranks")
    if row.apart and {len(getattr(row.apart, each.name)) for each in fields(RankSkew)} != {n}:
        raise _misfit("apart", row.apart, f"one value for each of {n} ranks")


def check_window(row: Window, of: ExpectedRanks) -> None:
    if row.ranks:
        _check_ranks(row.ranks, of)
        for name in ("seconds", "wrong"):
            if len(getattr(row, name)) != len(row.ranks):
                raise _misfit(name, getattr(row, name), f"one value for each of {len(row.ranks)} ranks")


def check_health(row: HealthLine, of: ExpectedRanks) -> None:
    if row.rank not in of.ranks:
        raise _misfit("rank", row.rank, "a rank of the run")


CHECKS: dict[type, Callable[[Any, ExpectedRanks], None]] = {
    Measurement: check_measurement,
    Window: check_window,
    HealthLine: check_health,
}


def _check_ranks(ranks: tuple[int, ...], of: ExpectedRanks) -> None:
    if not ranks or not of.ranks.issuperset(ranks) or len({*ranks}) < len(ranks):
        raise _misfit("ranks", ranks, "ranks of the run, each once")


def _distinct(place: str, values: Collection[object]) -> None:
    if len(set(values)) < len(values):
        raise Misfit(f"{place}: the same one twice")


def _misfit(place: str, found: object, expected: str) -> Misfit:
    return Misfit(f"{place}: expected {expected}, found {shown(found)}")
