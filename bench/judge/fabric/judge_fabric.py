"""Judges what the fabric's tools said: every wanted port, every link, every error counter."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge.fabric import errors, links
from bench.model.verdict import Status, Verdict
from bench.probe.fabric.ask_all import SubnetAnswers, seen


def judged(
    looked: SubnetAnswers,
    wanted: Sequence[links.ExpectedPort],
    width: int,
    rate: float,
    source: str,
    before: SubnetAnswers | None = None,
) -> list[Verdict]:
    """All there is to say of the ``wanted`` ports, links (``width`` lanes, ``rate`` bytes/s) and errors.

    With an earlier look also what is gone since. Where no tool may ask: the reasons alone, all NOT APPLICABLE.
    """
    rows = [answer.verdict for answer in looked.answers]
    if all(row.status is Status.NOT_APPLICABLE for row in rows):
        return rows
    fabric = seen(looked)
    rows += [
        *links.complete(fabric),
        *links.hca_ports(fabric, wanted, width, rate, source),
        *links.trunk_links(fabric, width, rate, source),
        *links.uplinks(fabric),
        *errors.errors(fabric),
    ]
    return rows + (list(errors.changes(seen(before), fabric)) if before else [])
