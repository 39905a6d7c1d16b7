"""Whether counters, facts and logs were read on the day of the run, or are left from another one."""

from __future__ import annotations

from bench.model.units import show_seconds
from bench.store import Run

DAY = 86400.0  # s; readings further from a run's own times are not of it


def of_another_day(run: Run, first: float, last: float) -> str:
    """How long before the run began, or after it ended, readings were taken; "" where they are of the run.

    ``first``, ``last``: of the readings, in seconds since 1970. A clock that is wrong by less than a day is judged by
    ``host.clock``.
    """
    began, ended = run.manifest.started, run.ended
    if not began or (ended is not None and ended < began):
        return ""  # the clock was set back while the run went on
    if first < began - DAY:
        return f"{show_seconds(began - first)} before the run began"
    if ended is not None and last > ended + DAY:
        return f"{show_seconds(last - ended)} after the run ended"
    return ""
