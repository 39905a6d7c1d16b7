"""The process of a job that a person looks at: rank 0 under a launcher, or the one that starts mpirun here."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from bench.agent import Nursery
from bench.launch import Place
from bench.options import Options
from bench.part import take_part
from bench.plan import sweep_cases
from bench.store import free
from bench.terminal import Terminal

from .job import OURS, under_mpirun
from .judging import where_report, write_report


def lead(command: str, given: dict[str, Any], options: Options, where: Place, nursery: Nursery | None) -> int:
    """The exit status of the run; ``nursery``: begun already where we are a rank."""
    options = replace(options, report=write_report)
    terminal = Terminal(given["quiet"], given["verbose"], table=command == "run")
    if command == "probe" and not where.launcher:
        return take_part(options, where, terminal)
    if where.launcher:
        code = take_part(options, where, terminal, nursery)
        if OURS not in os.environ:
            where_report(options.out)
        # mpirun complains at length about any status but 0; who started it reads the run folder
        return 0 if OURS in os.environ and (options.out / "verdicts.json").exists() else code
    ranks = given["ranks"] or _ranks_here()
    for sweep in options.sweeps:  # what is wrong with the words is said before mpirun starts
        sweep_cases("run", sweep, (tuple(range(ranks)),))
    free(options.out)
    code = take_part(options, where, terminal) if ranks == 1 else under_mpirun(ranks, options, terminal)
    where_report(options.out)
    return code


def _ranks_here() -> int:
    from bench.probe.gpus import gpus
    from bench.probe.gpus import load as nvml

    found = len(gpus(nvml()).gpus)
    return found or max(2, min(4, os.cpu_count() or 1))
