"""One rank of a job that gpu-check starts: what the command line does, without click and rich.

python rank.py FOLDER        (FOLDER/asked.json: profile text, sweeps, rules; the place is in the environment)
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import borrowed

from bench.judge.evidence import Evidence
from bench.launch import launch_context
from bench.measure.loop import TimingRules
from bench.model.profile import parse
from bench.plan import PlanError, Request
from bench.plan.estimate import Estimate
from bench.run.join import take_part
from bench.run.options import CannotRun, Options
from bench.store import Manifest, Phase, Plan
from bench.supervise.limits import Limits


class Quiet:
    """A watcher that tells what goes wrong, and nothing else."""

    def planned(self, plan: Plan, manifest: Manifest) -> None:
        for row in plan.refused:
            print(f"refused: {row.case}: {row.needed} bytes, {row.available} on {row.where}", flush=True)

    def planned_more(self, phase: Phase) -> None:
        return

    def phase(self, phase: Phase) -> None:
        print(f"phase {phase.name}: {len(phase.cases)} cases", flush=True)

    def notice(self, kind: str, fields: dict[str, Any]) -> None:
        if kind in ("loss", "refused"):
            print(f"{kind}: {fields}", flush=True)

    def probed(self, judged: Evidence) -> None:
        return

    def estimated(self, found: Estimate, manifest: Manifest) -> None:
        return

    def finished(self, judged: Evidence) -> None:
        return


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
        return take_part(options, launch_context(os.environ), Quiet())
    except (CannotRun, PlanError) as error:
        print(f"cannot run: {error}", flush=True)
        return 3


if __name__ == "__main__":
    sys.exit(main())
