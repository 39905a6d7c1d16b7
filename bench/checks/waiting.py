"""Is everybody waiting for the same rank?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.registry import Evidence, check
from bench.model import Status, Verdict
from bench.profile import Profile
from bench.stragglers import stragglers


@check("blame.stragglers")
def waiting(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """No rank is the last one in most iterations."""
    cases = {case.id: case for case in seen.run.plan.cases}
    answer = stragglers(seen.run.measurements, cases, seen.run.manifest.ranks)
    # coverage says what was not measured; and on a machine whose speed nobody vouches for, somebody may well
    # be last most of the time
    if not want.limits or not answer.iterations:
        yield Verdict(
            "blame.stragglers",
            "ranks",
            Status.SKIP,
            answer.text,
            "three ranks or more, and bounds on speed",
            want.name,
        )
        return
    yield Verdict(
        "blame.stragglers",
        ", ".join(straggler.name for straggler in answer.stragglers) or "ranks",
        answer.status,
        answer.text,
        "no rank last in most iterations",
        "RailGauge",
        ""
        if answer.status is Status.PASS
        else "look at that rank's clocks, CPU load and affinity, then run again",
        evidence=answer.left_out,
    )
