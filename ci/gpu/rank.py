"""One rank of a job that gpu-check starts: what the command line does, without click and rich.

python rank.py FOLDER        (FOLDER/asked.json: profile text, sweeps, rules; the place is in the environment)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import borrowed

from bench.launch import launch_context
from bench.measure.loop import TimingRules
from bench.model.measurement import Case
from bench.model.profile import parse
from bench.plan import PlanError, Request
from bench.run.join import take_part
from bench.run.options import CannotRun, Options, ProgressDisplay
from bench.store import Manifest, Phase, Plan
from bench.supervise.limits import Limits


class Quiet:
    """A display that tells what goes wrong, and passes over all else."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None

    def planned(self, plan: Plan, manifest: Manifest) -> None:
        for row in plan.refused:
            print(f"refused: {row.case}: {row.needed} bytes, {row.available} on {row.where}", flush=True)

    def phase(self, phase: Phase) -> None:
        print(f"phase {phase.name}: {len(phase.cases)} cases", flush=True)

    def lost(self, case: Case, reason: str) -> None:
        print(f"lost: {case.id}: {reason}", flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)


def main() -> int:
    borrowed.tomli()
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    options = Options(
        profile=parse(asked["profile"], "gpu-check"),
        out=folder / "run",
        command=("gpu-check",),
        limits=Limits(join=asked["limit"], hang=asked["limit"]),
        rules=TimingRules(**asked["rules"]),
        sweeps=tuple(
            Request(**{**sweep, "placements": tuple(sweep["placements"])}) for sweep in asked["sweeps"]
        ),
        go_on=True,
    )
    try:
        return take_part(options, launch_context(os.environ), cast(ProgressDisplay, Quiet()))
    except (CannotRun, PlanError) as error:
        print(f"cannot run: {error}", flush=True)
        return 3


if __name__ == "__main__":
    sys.exit(main())
