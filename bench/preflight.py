"""What must hold before the first byte of traffic."""

from __future__ import annotations

from pathlib import Path

from .judge import judge
from .model import Status, Verdict
from .profile import Profile
from .store import load


def stops(folder: Path, profile: Profile) -> list[Verdict]:
    """FAIL verdicts of the checks that need no measurement, from a run folder that has none yet."""
    return [
        verdict
        for verdict in judge(load(folder), profile, early=True).verdicts
        if verdict.status is Status.FAIL
    ]
