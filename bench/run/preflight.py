"""What must hold before the first byte of traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.judge.verdicts import judge
from bench.model.facts import Node
from bench.model.profile import Profile
from bench.model.verdict import Status, Verdict
from bench.store import load


def stops(folder: Path, profile: Profile, nodes: Sequence[Node] = ()) -> list[Verdict]:
    """FAIL verdicts of the checks that need no measurement; of ``nodes``, what they are now, where a run goes on."""
    run = load(folder)
    if nodes:
        run = replace(run, facts=tuple(node.to_json() for node in nodes))
    return [verdict for verdict in judge(run, profile, early=True).verdicts if verdict.status is Status.FAIL]
