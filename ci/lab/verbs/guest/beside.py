"""The verbs phase of an acceptance run on both machines, under mpirun: ``beside.py PROFILE FOLDER``.

Supervisors, coordinator, run folder and verdicts are the project's own; only the phases that need torch are
left out, which this image does not hold. Prints the table of layers and the verdicts on it.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "/share/site")
sys.path.insert(0, "/share/tree")

from bench.cli.terminal import Terminal
from bench.judge.verdicts import judge
from bench.judge.wire import of_layers
from bench.launch import LaunchContext, launch_context, quiet_mpi
from bench.model.profile import Profile, load
from bench.model.units import show_rate
from bench.model.verdict import Status
from bench.run.bootstrap import gather_facts
from bench.run.live_run import LiveRun
from bench.run.meeting_address import find_meeting
from bench.run.options import Options
from bench.run.perftest_phase import measure as measure_by_perftest
from bench.store import Manifest, Plan, Recorder
from bench.store import load as load_run
from bench.supervise.answers import answer
from bench.supervise.control.connect import connect
from bench.supervise.coordinator import Coordinator
from bench.supervise.departures import dismiss
from bench.supervise.limits import Limits
from bench.supervise.supervisor import Supervisor


def measure(profile: Profile, folder: Path, where: LaunchContext) -> None:
    """Be this rank's supervisor; rank 0 measures and leaves the run folder."""
    for name, value in quiet_mpi(profile.rails.management).items():
        os.environ.setdefault(name, value)
    control = connect(where, profile.rails.management, profile.rails.devices)
    supervisor = Supervisor(control, answer, dict(os.environ))
    if control.rank != 0:
        supervisor.serve()
        control.close()
        return
    try:
        with Recorder(folder) as recorder:
            chief = Coordinator(control, supervisor, recorder, Limits(), Terminal(quiet=True))
            ranks, nodes, _ = gather_facts(chief, range(control.size))
            chief.ranks = tuple(replace(rank, device="cpu") for rank in ranks)
            recorder.manifest(
                Manifest(folder.name, time.time(), tuple(sys.argv), profile.name, profile.text,
                         where.launcher or "none", "gloo", chief.ranks)
            )  # fmt: skip
            recorder.facts(nodes)
            recorder.plan(Plan(()))
            options = Options(profile, folder, tuple(sys.argv))
            live = LiveRun(chief, options, Terminal(quiet=True), Plan(()), nodes)
            live.meeting = find_meeting(chief, live.leads, nodes, profile.rails)
            measure_by_perftest(live)
            recorder.end()
    finally:
        supervisor.stop_now()
        if dismiss(control, 10.0, 0):
            control.close()
        else:
            control.abandon(3)


def tell(profile: Profile, folder: Path) -> None:
    """The table and the verdicts, one line each."""
    judged = judge(load_run(folder), profile)
    found = of_layers(judged)
    for row in found.rows:
        rates = " ".join(
            f"{name} {show_rate(figure.rate, 'Gb/s') if figure.told else '-'}"
            for name, figure in row.figures.items()
        )
        print(f"row {row.node} {row.rail} {row.status.value}: {rates}; {row.text}")
    print(f"table {found.status.value}: {found.text}")
    for verdict in judged.verdicts:
        if verdict.check == "rails.layers" or verdict.status is Status.FAIL:
            print(f"verdict {verdict.status.value} {verdict.check}: {verdict.message}")


if __name__ == "__main__":
    profile_, folder_ = load(sys.argv[1]), Path(sys.argv[2])
    where_ = launch_context(dict(os.environ))
    measure(profile_, folder_, where_)
    if (folder_ / "manifest.json").exists() and where_.rank == 0:
        tell(profile_, folder_)
