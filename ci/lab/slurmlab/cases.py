"""What is tried on the lab's Slurm, one row a way to start, and what must come of it under each MPI.

A way works when the run passed, on both nodes, with every rank of the job in it, by the launcher that was asked. A
way that cannot work must end soon, not pass, leave no verdict, and say in one of our own lines how to mend it,
unless the MPI library itself ends the ranks before they can speak.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab.hostile import HostileFolder
from netlab.plan import Lab
from slurmlab.cluster import environment, on_node

ROOT = Path(__file__).resolve().parents[3]
JOBS = ROOT / "ci" / "jobs" / "slurm"
PER_NODE = 2
LIMIT = 240.0  # s for one case; on two idle cores a run takes about 10
REFUSED_LIMIT = 90.0  # s in which a way that cannot work must have said so

WORKS, OURS, THEIRS = "works", "refused by RailGauge", "refused by the MPI library"
# what the line that mends it must name
MEND = r"railgauge: .*--mpi=pmi"
# how a library that ends its ranks itself speaks of it
THEIR_WORDS = r"MPI_Init|Init_thread|PMI"

PROFILE = """\
format = 1
name = "slurm-lab"
title = "two nodes of ci/lab/slurm: every kind of case, briefly"
source = "ci/lab/slurm"

[cluster]
backend = "gloo"
nodes = [2, 2]

[sweep]
collectives = ["all_reduce", "all_gather", "broadcast"]
begin = "1K"
end = "64K"
factor = 64
pairs = ["p2p"]
pair_sizes = ["64K"]
budget = "50 ms"
"""


@dataclass(frozen=True)
class Flavour:
    """An MPI as mpi4py loads it: how its library calls itself."""

    name: str
    pattern: str


FLAVOURS = (
    Flavour("Open MPI 5", r"Open MPI v[5-9]\."),
    Flavour("Open MPI 4", r"Open MPI v4\."),
    Flavour("MPICH", r"MPICH"),
)


@dataclass(frozen=True)
class Way:
    """One way to start. ``words`` may hold {python}, {profile}, {out}, {jobs}, {venv}.

    ``outcomes`` by MPI; ``launcher`` is what the manifest must say of a way that works, one of several.
    """

    name: str
    words: tuple[str, ...]
    outcomes: Mapping[str, str]
    launcher: tuple[str, ...]
    batch: bool = False


_ACCEPT = ("railgauge", "accept", "--profile", "{profile}", "--out", "{out}")
_NODES = ("--nodes=2", f"--ntasks-per-node={PER_NODE}")
_BATCH = ("sbatch", "--wait", *_NODES, f"--gpus-per-node={PER_NODE}", "--output={out}.log")
_EVERYWHERE = {"Open MPI 5": WORKS, "Open MPI 4": WORKS, "MPICH": WORKS}

WAYS = (
    Way(
        "srun --mpi=pmix",
        ("srun", "--mpi=pmix", *_NODES, *_ACCEPT),
        {"Open MPI 5": WORKS, "Open MPI 4": WORKS, "MPICH": THEIRS},
        ("srun pmix",),
    ),
    Way(
        "srun --mpi=pmi2",
        ("srun", "--mpi=pmi2", *_NODES, *_ACCEPT),
        {"Open MPI 5": OURS, "Open MPI 4": THEIRS, "MPICH": WORKS},
        ("srun pmi2",),
    ),
    Way(
        "srun --mpi=none",
        ("srun", "--mpi=none", *_NODES, *_ACCEPT),
        {"Open MPI 5": OURS, "Open MPI 4": OURS, "MPICH": OURS},
        (),
    ),
    Way(
        "sbatch ci/jobs/slurm/accept.sbatch",
        (*_BATCH, "{jobs}/accept.sbatch", "{profile}"),
        _EVERYWHERE,
        ("srun pmix", "srun pmi2"),
        batch=True,
    ),
    Way(
        "sbatch ci/jobs/slurm/accept-mpirun.sbatch",
        (*_BATCH, "{jobs}/accept-mpirun.sbatch", "{profile}"),
        _EVERYWHERE,
        ("openmpi", "mpich"),
        batch=True,
    ),
    Way(
        "sbatch ci/jobs/slurm/nightly.sbatch",
        (*_BATCH, "{jobs}/nightly.sbatch", "{profile}", "{out}-history", "--budget", "2m"),
        _EVERYWHERE,
        ("srun pmix", "srun pmi2"),
        batch=True,
    ),
)
# the job files as they stand, asked of the scheduler; its pretended nodes have what they ask for
JOB_FILES = ("accept.sbatch", "accept-mpirun.sbatch", "nightly.sbatch")


@dataclass(frozen=True)
class Seen:
    """What came of a case: ``status`` None when it had to be ended, ``manifest`` empty where there is none.

    ``imported``: the module of the folder in which it was typed that somebody imported, "" where nobody did.
    """

    status: int | None
    seconds: float
    text: str
    manifest: Mapping[str, object]
    verdicts: bool
    imported: str = ""


@dataclass(frozen=True)
class Python:
    """An interpreter with mpi4py, and the MPI that it loads."""

    path: Path
    flavour: str

    @property
    def pmi(self) -> str:
        return "pmi2" if self.flavour == "MPICH" else "pmix"


def ask(path: Path) -> Python | str:
    """What MPI an interpreter loads; a text where it loads none, with the reason."""
    # not initialised: an MPI without its daemons cannot start alone, and need not
    code = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
    bare = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PMI", "OMPI_"))
    }
    try:
        done = subprocess.run(
            [str(path), "-c", code], env=bare, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not answer: {error}"
    said = done.stdout.split("\n")[0].strip()
    for flavour in FLAVOURS:
        if re.search(flavour.pattern, done.stdout):
            return Python(path, flavour.name)
    why = said or " ".join(done.stderr.split())[-200:]
    return f"{path} loads no MPI that is known here ({', '.join(row.name for row in FLAVOURS)}): {why}"


def possible(way: Way, python: Python) -> str:
    """Why a way cannot be tried here; "" when it can."""
    if way.name.endswith("mpirun.sbatch") and _mpirun(python) is None:
        return f"no mpirun of {python.flavour} here"
    return ""


def _mpirun(python: Python) -> str | None:
    """The mpirun that belongs to the interpreter: beside it, or the system's where it uses the system's MPI."""
    beside = shutil.which("mpirun", path=str(python.path.parent))
    system = shutil.which("mpirun", path="/usr/bin:/usr/local/bin")
    return beside or (system if python.flavour == "Open MPI 4" else None)


def attempt(lab: Lab, way: Way, python: Python, folder: Path) -> Seen:
    """Runs one case on the lab; it is ended, with its job, when its time is up."""
    out = folder / re.sub(r"[^a-z0-9]+", "-", f"{python.flavour} {way.name}".lower())
    profile = folder / "slurm-lab.toml"
    profile.write_text(PROFILE)
    known = {"python": python.path, "profile": profile, "out": out, "jobs": JOBS}
    words = [word.format(**known) for word in way.words]
    limit = LIMIT if way.outcomes[python.flavour] == WORKS else REFUSED_LIMIT
    runs = folder / f"{out.name}-runs"
    began = time.monotonic()
    theirs = HostileFolder(folder / "hostile")
    theirs.write(str(python.path))
    status, text = _run(on_node(lab, "n0", words), _variables(lab, python, runs), limit, theirs.path)
    seconds = time.monotonic() - began
    if status is None:
        _run(on_node(lab, "n0", ["scancel", "--full", "--state=RUNNING"]), environment(lab.name), 30)
    if way.batch:
        log = out.with_name(out.name + ".log")
        text += log.read_text(errors="replace") if log.exists() else ""
        out = next(iter(sorted(runs.glob("slurm-*"))), out)
    judged = (out / "verdicts.json").exists()
    return Seen(status, seconds, text, _object(out / "manifest.json"), judged, theirs.imported())


def _variables(lab: Lab, python: Python, runs: Path) -> dict[str, str]:
    known = environment(lab.name)
    return {
        **known,
        "PATH": f"{_bin(python, runs)}:{known['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAILGAUGE_VENV": str(_venv(python, runs)),
        "RAILGAUGE_RUNS": str(runs),
        "RAILGAUGE_PMI": python.pmi,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # daemons of mpirun meet on the management network, as on a cluster with a profile that names it
        "PRTE_MCA_prte_if_include": "eth0",
        "OMPI_MCA_oob_tcp_if_include": "eth0",
        # the nodes are one kernel: UCX would take them for one machine and reach for memory of the other node
        "UCX_TLS": "self,tcp",
    }


def _venv(python: Python, runs: Path) -> Path:
    """A folder that a job file can activate: railgauge of this tree, under the interpreter that is tried."""
    venv = runs.with_name("venv-" + python.flavour.replace(" ", "-"))
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    command = venv / "bin" / "railgauge"  # as pip writes it
    command.write_text(f"#!{python.path}\nimport sys\nfrom bench.__main__ import main\nsys.exit(main())\n")
    command.chmod(0o755)
    mpirun = _mpirun(python)
    path = ":".join([str(venv / "bin"), *([str(Path(mpirun).parent)] if mpirun else [])])
    (venv / "bin" / "activate").write_text(f'PATH="{path}:$PATH"\n')
    return venv


def _bin(python: Python, runs: Path) -> str:
    return str(_venv(python, runs) / "bin")


def _run(
    words: Sequence[str], variables: Mapping[str, str], limit: float, typed_in: Path = ROOT
) -> tuple[int | None, str]:
    """Exit status (None: its time was up) and all that it printed, stdout and stderr as they came."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_", "PMI", "PMIX", "OMPI_", "PRTE_"))
    }
    with subprocess.Popen(
        words,
        env={**clean, **variables},
        cwd=typed_in,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as job:
        try:
            said = job.communicate(timeout=limit)[0]
            return job.returncode, said
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGTERM)
            try:
                said = job.communicate(timeout=10)[0]
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                said = job.communicate()[0]
            return None, said


def _object(path: Path) -> Mapping[str, object]:
    try:
        row = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return row if isinstance(row, dict) else {}


def complaint(way: Way, python: Python, seen: Seen) -> str:
    """What is wrong with what was seen; "" when it is as the table says."""
    wanted = way.outcomes[python.flavour]
    if seen.imported:
        return f"{seen.imported} of the current folder was imported"
    if seen.status is None:
        return f"it did not end in {LIMIT if wanted == WORKS else REFUSED_LIMIT:g} s"
    if wanted == WORKS:
        return _not_working(way, seen)
    if seen.status == 0 or seen.verdicts:
        return f"it must be refused, and ended with status {seen.status}, verdicts: {seen.verdicts}"
    if wanted == OURS and not re.search(MEND, seen.text):
        return f"no line of ours says how to mend it: {_last(seen.text)}"
    if wanted == THEIRS and not re.search(THEIR_WORDS, seen.text):
        return f"it is not the MPI library that ended it: {_last(seen.text)}"
    return ""


def _not_working(way: Way, seen: Seen) -> str:
    ranks = seen.manifest.get("ranks")
    nodes = {str(rank["node"]) for rank in ranks} if isinstance(ranks, list) else set()
    size = len(ranks) if isinstance(ranks, list) else 0
    for wrong in (
        f"exit status {seen.status}: {_last(seen.text)}" if seen.status else "",
        "" if "PASS: " in seen.text else f"nothing passed: {_last(seen.text)}",
        "" if size == 2 * PER_NODE and nodes == {"n0", "n1"} else f"{size} ranks on {sorted(nodes)}",
        ""
        if seen.manifest.get("launcher") in way.launcher
        else f"launcher {seen.manifest.get('launcher')!r}",
    ):
        if wrong:
            return wrong
    return ""


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[:500]


def mending(text: str) -> str:
    """The line of ours in a text that says how to mend a way."""
    found = re.search(rf"^.*{MEND}.*$", text, re.MULTILINE)
    return found[0].strip() if found else ""


def test_only(lab: Lab, name: str) -> tuple[bool, str]:
    """Whether Slurm would take a job file as it stands, and what it said."""
    words = on_node(lab, "n0", ["sbatch", "--test-only", str(JOBS / name)])
    status, said = _run(words, environment(lab.name), 30)
    return status == 0, " ".join(said.split())
