"""Nightly runs and their histories made in code: the plan is the real one, the clocks are paper."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.judge.drift import fingerprint
from bench.judge.drift.tonight import rerun
from bench.judge.evidence import Evidence
from bench.model import typed_json
from bench.model.measurement import Case, Measurement, Rank
from bench.model.profile import Profile
from bench.plan import Job
from bench.plan.nightly import short
from bench.run import nightly as night
from bench.run.finish import judge_and_save
from bench.run.options import Nightly
from bench.store import Plan, Run, load
from bench.store.history import RecordedRun, append, create
from tests import runs

DAY = 86400.0
FIRST = 20_000 * DAY
Slow = Callable[[Case, tuple[int, ...]], float]


def healthy(case: Case, group: tuple[int, ...]) -> float:
    return 1.0


def folder(
    path: Path,
    number: int = 0,
    slow: Slow = healthy,
    where: tuple[Rank, ...] | None = None,
    profile: Profile = runs.LOCAL,
    budget: float = 600.0,
    backend: str = "gloo",
) -> Path:
    """A run folder of night ``number``; ``slow`` says how much longer a case takes on a group."""
    where = where or runs.ranks()
    phases, skipped = short(Job(profile, where, backend), budget, profile.sweep.budget)
    cases = [case for phase in phases for case in phase.cases]
    plan = Plan(tuple(phases), (), tuple(skipped))
    runs.folder(path, clocks(cases, slow, number), cases, where, profile, backend=backend, plan=plan)
    manifest = path / "manifest.json"
    row = json.loads(manifest.read_text())
    settings = {**row["settings"], "night": budget}
    own = {"started": FIRST + number * DAY, "command": ["railgauge", "nightly"], "settings": settings}
    manifest.write_text(json.dumps({**row, **own}))
    return path


def clocks(cases: list[Case], slow: Slow = healthy, seed: int = 0) -> list[Measurement]:
    """One measurement a case and group, with 0.3 % of noise that the seed fixes."""
    dice = random.Random(seed)
    found = []
    for case in cases:
        for row in runs.measured(case, 1e-3):
            seconds = 1e-3 * slow(case, row.ranks) * (1 + 0.003 * dice.gauss(0, 1))
            blocks = tuple((seconds,) * len(row.ranks) for _ in range(6))
            found.append(replace(row, pipelined=blocks, isolated=(seconds * 1.1,) * 12))
    return found


def measure_again(path: Path, slow: Slow = healthy, profile: Profile = runs.LOCAL) -> tuple[str, ...]:
    """What the supervisors do after each phase, on paper clocks; the names of the phases that were added."""
    added = []
    for phase in load(path).plan.phases:
        more = rerun(Evidence(load(path), profile), phase.name)
        if more is None:
            continue
        added.append(more.name)
        run = load(path)
        plan = replace(run.plan, phases=(*run.plan.phases, more))
        (path / "plan.json").write_text(json.dumps(typed_json.to_json(plan)))
        with (path / "journal.jsonl").open("a") as journal:
            for row in clocks(list(more.cases), slow, 99):
                journal.write(
                    json.dumps({"kind": "measurement", "time": 0.0, **typed_json.to_json(row)}) + "\n"
                )
    return tuple(added)


def nightly(
    path: Path,
    history: Path | str,
    number: int = 0,
    slow: Slow = healthy,
    slow_again: Slow | None = None,
    cluster: str = "c1",
    new: bool = False,
    **made: object,
) -> Run:
    """A whole nightly run: begun, measured, measured again, recorded, judged."""
    profile = made.get("profile", runs.LOCAL)
    assert isinstance(profile, Profile)
    create(str(history))
    asked = Nightly(str(history), cluster, new=new)
    folder(path, number, slow, **made)  # type: ignore[arg-type]
    night.begin(path, asked, profile)
    measure_again(path, slow_again or slow, profile)
    night.end(path, asked, profile)
    return judge_and_save(path, profile).run


def before(
    history: Path | str, path: Path, nights: int, cluster: str = "c1", times: float = 1.0, **made: object
) -> None:
    """``nights`` healthy nights like the one in ``path`` would be, written straight into the history.

    ``times``: what all of their figures are multiplied by.
    """
    from bench.judge.drift.series import recorded_run
    from bench.run.nightly import parts_of

    create(str(history))
    profile = made.get("profile", runs.LOCAL)
    assert isinstance(profile, Profile)
    folder(path, 0, **made)  # type: ignore[arg-type]
    run = load(path)
    like = recorded_run(Evidence(run, profile), cluster, fingerprint(parts_of(run, profile)))
    dice = random.Random(5)
    for number in range(nights):
        samples = tuple(
            replace(each, value=times * each.value * (1 + 0.003 * dice.gauss(0, 1))) for each in like.samples
        )
        append(
            str(history),
            RecordedRun(f"night{number}", FIRST + number * DAY, cluster, like.fingerprint, samples),
        )
