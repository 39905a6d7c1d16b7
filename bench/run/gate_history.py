"""What the history of nightly runs says of one node: the labels of its last night."""

from __future__ import annotations

import time

from bench.judge.drift import Label, Mark, replay
from bench.judge.drift.wording import date
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict
from bench.store import history as store

NAME = "gate.history"
OLDEST = 35 * 86400.0  # seconds: what is older says little of a node today
STEP = "railgauge history show DIR; after a repair: railgauge gate --level 3"


def last_night(folder: str, cluster: str, node: str) -> Verdict:
    """FAIL where a series of the node was a regression, or failed, in its last night. Raises HistoryError."""
    past, damaged = store.nights(folder, cluster, time.time() - OLDEST)
    levels, _ = store.acceptances(folder, cluster)
    marks = {
        series.name: found[-1]
        for series, nights in past.items()
        if node in series.subject.split() and (found := replay(series, nights, levels))
    }
    if not marks:
        why = f"no night of the last {OLDEST / 86400:.0f} days names it in cluster {cluster}"
        more = f"; {len(damaged)} damaged files were left out" if damaged else ""
        return Verdict(NAME, node, Status.SKIP, why + more)
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
