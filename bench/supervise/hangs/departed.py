"""Whose supervisors left before they were dismissed, and who of them is to blame. Pure.

When one process of a job dies its launcher ends the others within a second, so many leave at about the same time.
Who leaves without a word was killed; who was told to end only follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .culprits import Culprits, Place, last_seen, names

FAILED, CUT, ORPHAN, TOLD = "failed", "cut", "orphan", "told"


@dataclass(frozen=True)
class Gone:
    """How a rank's supervisor left: it ``failed`` itself, its connection was ``cut`` without a last word, the
    launcher's process above it was gone (``orphan``), or it was ``told`` to end. ``text`` says more."""

    rank: int
    node: str
    how: str
    text: str


def blamed(gone: Sequence[Gone], nodes: Iterable[str], ending: str = "") -> Culprits | None:
    """Who took the job down, among those who left; None where nobody did.

    nodes   all nodes of the job, rank 0's first
    ending  why rank 0 is to end itself, "" where it is not
    """
    if not gone:
        return None
    by = {how: [each for each in gone if each.how == how] for how in (FAILED, CUT, ORPHAN, TOLD)}
    first = by[FAILED] or by[CUT]
    if first:
        return _said(first, "its supervisor failed" if by[FAILED] else "its supervisor is gone")
    home, *others = dict.fromkeys(nodes) or [""]
    orphans = [each for each in by[ORPHAN] if each.node != home] if ending else by[ORPHAN]
    if orphans and not (ending and {each.node for each in orphans} >= set(others)):
        return _said(orphans, "the launcher's process above its supervisor is gone")
    if ending:
        return Culprits(ending, "")  # all follow the launcher, or the person, who ended rank 0 too
    return _said(by[TOLD], "its supervisor left")


def _said(gone: Sequence[Gone], what: str) -> Culprits:
    who = names([Place(each.rank, each.node) for each in gone])
    texts = "; ".join(dict.fromkeys(each.text for each in gone))
    return Culprits(f"{who}: {what}: {texts}", who, tuple(each.rank for each in gone))


def with_last(found: Culprits, left: Sequence[Place], mute: Sequence[Place]) -> Culprits:
    """With what was last heard of those who left, and with the silent ranks of their nodes: of a node that died one
    connection breaks before the other."""
    homes, known = {each.node for each in left}, {each.rank for each in left}
    out = [*left, *(each for each in mute if each.node in homes and each.rank not in known)]
    who = names(out)
    return Culprits(f"{found.reason.replace(found.names, who, 1)}; {last_seen(out)}", who, found.ranks)


def farewells(gone: Mapping[int, Gone]) -> str:
    """``n1 (ranks 2-3) told, n2 (ranks 4-5) orphan``; "" where nobody left."""
    told = []
    for how in (FAILED, CUT, ORPHAN, TOLD):
        found = [Place(each.rank, each.node) for each in gone.values() if each.how == how]
        told += [f"{names(found)} {how}"] if found else []
    return ", ".join(told)
