"""A progress bar for a job that another process runs, drawn from its journal.

Ranks under mpirun have no terminal, the process that started mpirun has: it follows the run folder
and lets the job's own lines pass above the bar.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from bench.model.case_templates import unpacked
from bench.model.late_dataclass import dataclass
from bench.model.profile import Rails
from bench.model.typed_json import decode
from bench.probe.link_bytes import of_interfaces, of_ports
from bench.probe.sysfs import LIVE
from bench.store import JOURNAL, PLAN, Plan, RunError, load
from bench.store.files import exists

from .live_table import LiveTable
from .progress_bar import ProgressBar

LOOK_SECONDS = 0.2
RAILS_SECONDS = 1.0
LAST_SECONDS = 2.0  # for the last lines of a job that has ended
QUIET_SECONDS = 2.0  # work shorter than this needs no bar


@dataclass
class Tail:
    """New lines of a journal since the last look; a line that is still being written waits."""

    path: Path
    place: int = 0

    def new(self) -> list[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.place)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.place += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def follow(job: subprocess.Popen[str], folder: Path, rails: Rails) -> None:
    """Draw a bar until the job ends: phase, case, cases done of all, elapsed and estimated time; and this machine's
    rails above it.
    """
    bar, tail, begun = ProgressBar(), Tail(folder / JOURNAL), time.monotonic()
    passing = _passing(job, bar)
    phase, what, done = "", "starting", 0
    try:
        while job.poll() is None:
            for row in tail.new():
                phase = str(row.get("name", phase)) if row["kind"] == "phase" else phase
                done += row["kind"] in ("measurement", "loss")
                what = f"{phase}: {row['case']}" if "case" in row else phase or what
            _look_at_rails(bar, folder, rails, time.monotonic() - begun)
            planned, seconds = _planned(folder)
            bar.update(what, done, planned, max(0.0, seconds - (time.monotonic() - begun)))
            if time.monotonic() - begun > QUIET_SECONDS:
                bar.start()
            time.sleep(LOOK_SECONDS)
    finally:
        bar.stop()
        passing.join(LAST_SECONDS)


def _look_at_rails(bar: ProgressBar, folder: Path, rails: Rails, now: float) -> None:
    """Show what the rails carry, once the run folder says which they are."""
    if bar.table is None:
        with contextlib.suppress(RunError, LookupError):
            if exists(folder, PLAN) and (nodes := load(folder).nodes[:1]):
                bar.table = LiveTable(rails, nodes)
    elif now - bar.table.looked >= RAILS_SECONDS:
        names = [interface.name for interface in bar.table.nodes[0].interfaces]
        links = {**of_ports(LIVE), **of_interfaces(LIVE, names)}
        bar.table.look(now, bar.table.nodes[0].name, links)


def pass_on(job: subprocess.Popen[str]) -> None:
    """Let the job's own lines pass until it ends. It writes to us and not to our reader, who may leave before."""
    passing = _passing(job, None)
    try:
        job.wait()
    finally:
        passing.join(LAST_SECONDS)


def _passing(job: subprocess.Popen[str], bar: ProgressBar | None) -> threading.Thread:
    # a thread that nobody waits for: what a dead job left running may hold its end of the pipe
    passing = threading.Thread(target=_pass_lines, args=(job.stdout, bar), daemon=True)
    passing.start()
    return passing


def _planned(folder: Path) -> tuple[int, float]:
    """Measurements that the plan wants, and its seconds at most; 0 while there is no plan."""
    try:
        phases = decode(Plan, (folder / PLAN).read_bytes()).phases
    except (OSError, ValueError):
        return 0, 0.0
    wanted = sum(len(case.groups) for phase in phases for case in unpacked(phase.cases))
    return wanted, sum(phase.seconds for phase in phases)


def _pass_lines(lines: IO[str] | None, bar: ProgressBar | None) -> None:
    for line in lines or ():
        if bar is not None and sys.stdout.isatty():
            bar.print(line.rstrip("\n"))
        else:
            print(line, end="", flush=True)
