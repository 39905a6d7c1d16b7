"""The process of a job that leads it: rank 0 under a launcher, or the only one."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from bench.cli.terminal import Terminal
from bench.launch import Place
from bench.run.join import Begun, take_part
from bench.run.options import Options

from .local_job import OURS
from .page import where_report, write_report


def lead(command: str, given: dict[str, Any], options: Options, where: Place, begun: Begun) -> int:
    """The exit status of the run; ``begun``: what ``part.begin`` returned."""
    options = replace(options, report=write_report)
    terminal = Terminal(given["quiet"], given["verbose"], table=command == "run")
    code = take_part(options, where, terminal, begun)
    if command == "probe" and not where.launcher:
        return code
    if OURS not in os.environ:
        where_report(options.out)
    # mpirun complains at length about any status but 0; who started it reads the run folder
    return 0 if OURS in os.environ and (options.out / "verdicts.json").exists() else code
