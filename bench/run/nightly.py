"""A nightly run and its history: earlier nights are read before anything is measured, tonight is added at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.judge.drift.past import Past, past_of, read_past, record, refuse_lost_history
from bench.judge.drift.run_fingerprint import cluster_name, parts
from bench.judge.drift.series import recorded_run
from bench.judge.evidence import Evidence
from bench.model.profile import Profile
from bench.plan.nightly import RESERVE, summary
from bench.store import Run, load, save_history

from .options import Nightly


def begin(folder: Path, asked: Nightly, profile: Profile) -> Past:
    """Ask the history what tonight is compared with, and keep it in the run folder. Raises HistoryError."""
    run = load(folder)
    cluster = name_of(run, asked.cluster)
    past = read_past(asked.history, cluster, parts_of(run, profile), run.manifest.started)
    refuse_lost_history(asked.history, past, folder, asked.new)
    past = replace(past, plan=summary(run.plan, asked.budget), reserve=asked.budget * RESERVE)
    save_history(folder, past.saved())
    return past


def end(folder: Path, asked: Nightly, profile: Profile) -> Past | None:
    """Append the run to the history and say in the run folder where it went; None where it never began."""
    evidence = Evidence(load(folder), profile)
    past = past_of(evidence.run)
    if past is None:
        return None
    past = record(asked.history, past, recorded_run(evidence, past.cluster, past.parts))
    save_history(folder, past.saved())
    return past


def parts_of(run: Run, profile: Profile) -> dict[str, str]:
    """The fingerprint of a run folder."""
    return parts(run.manifest, run.nodes, profile)


def name_of(run: Run, given: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """The name that the nights of this cluster share."""
    return cluster_name(given, run.manifest, environment.get("SLURM_CLUSTER_NAME", ""))
