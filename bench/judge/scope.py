"""What a judgement is about in a few words, so that a PASS does not promise more than was judged."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from bench.model.units import show_count
from bench.model.verdict import Status, Verdict
from bench.store import Run

# topic → how the names of its checks begin
TOPICS = {
    "results": ("correctness",),
    "coverage": ("coverage",),
    "speed": ("limits", "wire.share"),
    "rails": ("rails", "blame", "growth", "fabric"),
    "exclusion": ("exclusion",),
    "GPUs": ("gpus", "nvlink"),
    "PCIe": ("pcie",),
    "NCCL": ("nccl",),
    "hosts": ("host", "environment", "versions", "clock"),
}
SIMULATED = (
    "Simulated: no cluster was measured. The judgement is the real one; the times are made up from published "
    "runs."
)
SOMETIMES = {"drift": ("drift",), "soak": ("soak",)}  # named where they were judged


def scope(verdicts: Iterable[Verdict], profile_name: str) -> str:
    """``profile local judges: results, coverage, hosts; not judged: speed, rails, … (64 checks not applicable)``.

    A topic is judged if one of its checks came to a result.
    """
    listed = list(verdicts)
    judged = {each.check for each in listed if each.status is not Status.NOT_APPLICABLE}
    skipped = sum(each.status is Status.NOT_APPLICABLE for each in listed)
    topics = TOPICS | SOMETIMES
    yes = [topic for topic, names in topics.items() if any(check.startswith(names) for check in judged)]
    no = [topic for topic in TOPICS if topic not in yes]
    without = f"; not judged: {', '.join(no)}" if no else ""
    count = f" ({show_count(skipped, 'check')} not applicable)" if skipped else ""
    return f"profile {profile_name} judges: {', '.join(yes) or 'nothing'}{without}{count}"


def next_after_pass(run: Run, path: str) -> str:
    """What to do with a run that passed, whose folder is at ``path`` for who reads it."""
    folder = shlex.quote(path)
    keep = f"keep the run folder as evidence (railgauge verify {folder} shows later that it was not changed)"
    command = run.manifest.command[1:2]
    if command == ("accept",):
        which = "of a run that was measured, " if run.manifest.simulated else ""
        return (
            f"{which}sign the report (railgauge report {folder} --pdf), {keep}; from now on measure every night "
            "(railgauge nightly --history DIR)"
        )
    rest = "; the next night is compared with this one" if command == ("nightly",) else ""
    return f"nothing to repair; {keep}{rest}"


def simulated(run: Run) -> str:
    """What every report of a made-up run says first; "" of one that was measured."""
    return SIMULATED if run.manifest.simulated else ""
