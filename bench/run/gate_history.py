"""What the history of nightly runs says of one node: the labels of its last night."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from bench.judge.drift import Label, Mark
from bench.judge.drift.replay import last_mark
from bench.judge.drift.wording import date
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict
from bench.store import history as store
from bench.store.history import HistoryError

NAME = "gate.history"
OLDEST = 35 * 86400.0  # seconds: what is older says little of a node today
STEP = "railgauge history show DIR; after a repair: railgauge gate --level 3"


def last_nights(folder: str, names: Sequence[str], node: str) -> Iterator[Verdict]:
    """A verdict on the node by the last night of its cluster. ``names``: what that cluster may be called in the
    history; where it has none of them, its only cluster. Raises HistoryError, also where it is not known which one is
    meant.
    """
    for cluster in _clusters(folder, names):
        yield last_night(folder, cluster, node)


def _clusters(folder: str, names: Sequence[str]) -> Sequence[str]:
    since = time.time() - OLDEST
    if mine := [name for name in names if store.runs(folder, name, since)[0]]:
        return mine
    known = sorted({entry.cluster for entry in store.runs(folder, None, since)[0]})
    if len(known) > 1 or (known and len(names) == 1):
        wanted = show_some(names, separator=" or ")
        raise HistoryError(
            f"{folder} holds nights of {show_some(known)}, and none of {wanted}: give --cluster"
        )
    return known or names[:1]


def last_night(folder: str, cluster: str, node: str) -> Verdict:
    """FAIL where a series of the node was a regression, or failed, in its last night. Raises HistoryError."""
    past, damaged = store.nights_of_node(folder, cluster, node, time.time() - OLDEST)
    levels, _ = store.acceptances(folder, cluster)
    marks = {series.name: last_mark(series, nights, levels) for series, nights in past.items()}
    if not marks:
        why = f"no night of the last {OLDEST / 86400:.0f} days names it in cluster {cluster}"
        more = f"; {len(damaged)} damaged files were left out" if damaged else ""
        return Verdict(NAME, node, Status.NOT_APPLICABLE, why + more)
    newest = max(mark.night.time for mark in marks.values())
    bad = [name for name, mark in marks.items() if mark.night.time == newest and _is_bad(mark)]
    when = date(newest)
    if bad:
        return Verdict(
            NAME,
            node,
            Status.FAIL,
            f"was worse in the night of {when}: {show_some(bad)}",
            "no regression in its last night",
            folder,
            STEP,
        )
    return Verdict(
        NAME, node, Status.PASS, f"its last night, {when}, shows no regression in {len(marks)} series"
    )


def _is_bad(mark: Mark) -> bool:
    return mark.label is Label.REGRESSION or mark.night.status is Status.FAIL
