"""The command line: bring a Slurm up, try every way to start on it, take it away; exit status.

0: all is well; 1: something is not; 2: wrong usage; 3: nothing was run, since Slurm or root is missing, or not all
was shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from netlab import lab as labs
from netlab.plan import Lab, LabError
from slurmlab import cases, cluster, gates

DESCRIPTION = """\
A real slurmctld, and a real slurmd on each of two nodes made of network namespaces. Every way to start RailGauge
under Slurm is tried with a small acceptance run, by every MPI that is given. Each PYTHON is an interpreter with
railgauge's needs, torch and mpi4py; which MPI it loads is asked of it. Root; Debian's or Ubuntu's Slurm packages.

  sudo ci/lab/slurm                                  this interpreter's MPI
  sudo ci/lab/slurm .venv/bin/python mpich/bin/python
  sudo ci/lab/slurm --quick                          one way that works and one that cannot; the job files
  sudo ci/lab/slurm --gate                           the gate as health check and prolog, and act
  sudo ci/lab/slurm -- srun --mpi=list               a command on that Slurm, from its first node
"""


def main(words: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if words is None else words)
    cut = given.index("--") if "--" in given else len(given)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("ci/lab/slurm", description=DESCRIPTION, formatter_class=raw)
    parser.add_argument("pythons", metavar="PYTHON", nargs="*", help="(default: this one)")
    parser.add_argument("--name", default="slurm", help="of the lab (default: slurm)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--gate", action="store_true")
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="ways to start or rows of --gate",
    )
    parser.add_argument("--install", action="store_true", help="get Slurm's packages first")
    arguments = parser.parse_args(given[:cut])
    try:
        _require(arguments.install)
    except LabError as error:
        print(f"slurm: {error}", file=sys.stderr)
        return 3
    try:
        with labs.signals_are_exceptions():
            labs.down(arguments.name)  # of a run that was killed
            rate = (
                Lab.rate if arguments.gate else None
            )  # else the gate would measure how busy this machine is
            lab = labs.up(Lab(arguments.name, nodes=2, rails=1, rate=rate)).lab
            try:
                gate = Path(tempfile.mkdtemp(prefix="railgauge-gates-")) if arguments.gate else None
                cluster.up(lab, gates.prepare(gate, lab.name) if gate else "")
                if gate:
                    seen = gates.check(lab, gate, arguments.only)
                    return 0 if all(seen) else 1 if False in seen else 3
                return _command(lab, given[cut + 1 :]) if given[cut + 1 :] else _check(lab, arguments)
            finally:
                labs.down(arguments.name)
    except LabError as error:
        print(f"slurm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _require(install: bool) -> None:
    labs.require_root()
    if install and cluster.missing():
        for line in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *cluster.PACKAGES],
        ):
            subprocess.run(
                line,
                stdout=subprocess.DEVNULL,
                check=False,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
    if cluster.missing():
        raise LabError(
            f"{', '.join(cluster.missing())} not found; next: --install, or apt-get install"
            f" --no-install-recommends {' '.join(cluster.PACKAGES)}"
        )


def _command(lab: Lab, words: list[str]) -> int:
    line = cluster.on_node(lab, "n0", words)
    done = subprocess.run(line, env={**os.environ, **cluster.environment(lab.name)}, check=False)
    return done.returncode


def _check(lab: Lab, arguments: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="railgauge-slurm-"))
    good = [_job_file(lab, name) for name in cases.JOB_FILES]
    pythons = [Path(path).absolute() for path in arguments.pythons] or [Path(sys.executable)]
    answers = [cases.ask(path) for path in pythons]
    for flavour in cases.FLAVOURS:
        python = next(
            (row for row in answers if isinstance(row, cases.Python) and row.flavour == flavour.name), None
        )
        if python is None:
            print(f"not possible here: {flavour.name}: no PYTHON with it was given")
        for way in _ways(python, arguments) if python else ():
            good.append(_case(lab, way, python, folder))
    for said in answers:
        if isinstance(said, str):
            print(f"not possible here: {said}")
            good.append(False)
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed; run folders: {folder}")
    return 0 if all(good) else 1


def _ways(python: cases.Python, arguments: argparse.Namespace) -> list[cases.Way]:
    quick = ("srun --mpi=none", f"srun --mpi={python.pmi}")
    return [
        way for way in cases.WAYS if arguments.only in way.name and (not arguments.quick or way.name in quick)
    ]


def _job_file(lab: Lab, name: str) -> bool:
    taken, said = cases.test_only(lab, name)
    print(
        f"{'seen working' if taken else 'NOT OK'}: sbatch --test-only ci/jobs/slurm/{name}: {said}",
        flush=True,
    )
    return taken


def _case(lab: Lab, way: cases.Way, python: cases.Python, folder: Path) -> bool:
    """One case, told in a line; True also where it cannot be tried here, which is said."""
    where = f"{python.flavour}, {way.name}"
    why = cases.possible(way, python)
    if why:
        print(f"not possible here: {where}: {why}", flush=True)
        return True
    seen = cases.attempt(lab, way, python, folder)
    wrong = cases.complaint(way, python, seen)
    wanted = way.outcomes[python.flavour]
    if wrong:
        print(f"NOT OK: {where}: {wrong} ({seen.seconds:.1f} s)", flush=True)
    elif wanted == cases.WORKS:
        print(f"seen working: {where} ({seen.seconds:.1f} s)", flush=True)
    else:
        line = cases.mending(seen.text) or "in the MPI library's own words"
        print(f"{wanted}, as it must be: {where} ({seen.seconds:.1f} s): {line}", flush=True)
    return not wrong
