"""Commands that measure: as one rank of a job, or by starting that job."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from bench import launch
from bench.measure.loop import Rules
from bench.measure.soak import window_seconds
from bench.model.collectives import collective
from bench.model.profile import Profile, load
from bench.plan import Asked, Request, sweep_cases
from bench.run.join import begin, take_part
from bench.run.nightly_options import Nightly
from bench.run.options import Options
from bench.store import free
from bench.supervise.control.token import FILE as TOKEN_FILE
from bench.supervise.limits import Limits

from .local_job import under_mpirun
from .node import end_with_parent, fan_out

MINUTE = 60.0


def start(command: str, given: dict[str, Any]) -> int:
    """Measure: as one rank of the job that a launcher started, or by starting that job on this machine."""
    profile = load(given["profile_name"])
    if given.get("token_file"):
        os.environ[TOKEN_FILE] = str(given["token_file"])
    where = launch.place(os.environ)
    if where.ranks and not (where.launcher == "runpod" and given["ranks"]):
        return fan_out(where, sys.argv[1:])
    if where.ranks:  # the platform's variables are always there; a person asked for this machine alone
        where = launch.Place()
    if where.launcher == "shell":
        end_with_parent()
    out = given["out"] or new_folder("probe" if command == "probe" else profile.name)
    options = options_of(command, given, profile, out)
    if where.rank:
        return take_part(options, where)
    if not where.launcher and command != "probe":
        ranks = given["ranks"] or _ranks_here()
        for sweep in options.sweeps:  # what is wrong with the words is said before anything starts
            sweep_cases("run", sweep, (tuple(range(ranks)),))
        free(out)
        if ranks > 1:
            return under_mpirun(ranks, options, given["quiet"], given["verbose"])
    begun = begin(options)
    from .lead import lead  # judging, drawing, the terminal: what only one process of a job needs

    return lead(command, given, options, where, begun)


def _ranks_here() -> int:
    from bench.probe.gpus import gpus
    from bench.probe.gpus import load as nvml

    found = len(gpus(nvml()).gpus)
    return found or max(2, min(4, os.cpu_count() or 1))


def new_folder(name: str) -> Path:
    # a profile's name is data: it must not lead out of runs/
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:64]
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{plain}"


def options_of(command: str, given: dict[str, Any], profile: Profile, out: Path) -> Options:
    rules = Rules(precision=profile.sweep.precision, budget=profile.sweep.budget)
    sweeps: tuple[Request, ...] = ()
    repetitions = 2
    if command == "run":
        rules = Rules(given["precision"], iterations=given["iters"], warmup=given["warmup_iters"])
        repetitions = given["check"]
        sweeps = (_sweep(given),)
    elif command == "soak":
        rules, sweeps = _steady(given)
    return Options(
        profile=profile,
        out=out,
        command=("railgauge", *sys.argv[1:]),
        limits=Limits(hang=given["hang"]),
        rules=rules,
        repetitions=repetitions,
        sweeps=sweeps,
        go_on=given.get("go_on", False),
        probe_only=command == "probe",
        asked=_asked(given) if command == "accept" else Asked(budget=given.get("budget")),
        nightly=Nightly(given["history"], given["cluster"], given["budget"], given["new"])
        if command == "nightly"
        else None,
    )


def _sweep(given: dict[str, Any]) -> Request:
    """What nccl-tests' flags ask for. Raises UsageError, and UnknownName for the collective."""
    row, begin = collective(given["collective"]), given["begin"]
    end = begin if given["end"] is None else given["end"]
    if begin > end:
        raise click.UsageError(f"--begin {begin} is larger than --end {end}")
    ways = {"graph": given["cudagraph"], "registered": given["register"]}
    return Request(
        row.name,
        begin,
        end,
        given["factor"],
        given["stepbytes"] or 0,
        given["datatype"],
        given["op"],
        given["root"],
        row.placements,
        "+".join(name for name, wanted in ways.items() if wanted) or "auto",
    )


def _steady(given: dict[str, Any]) -> tuple[Rules, tuple[Request, ...]]:
    """The rules of a steady load and the one message that it is made of."""
    row = collective(given["collective"])
    seconds = given["minutes"] * MINUTE
    rules = Rules(budget=seconds, window=window_seconds(seconds, given["window"]))
    return rules, (Request(row.name, given["size"], given["size"], dtype=given["datatype"]),)


def _asked(given: dict[str, Any]) -> Asked:
    ways = "one-way" if given["one_way"] else "all"
    return Asked(ways, given["cross_rail"], given["pinned"], budget=given["budget"])
