"""One short acceptance by each launcher, on nodes of a lab: ``ci/lab/net launchers``.

The commands are those that ``railgauge launch`` prints, and those of ci/jobs/README.md that it does not print. All are
typed in a folder of the user's that holds ``bench/``, ``torch.py`` and the like.
What counts: it ends with 0 by the bench's own word, every rank of every node has measured, and nothing of that folder
was imported.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from netlab import acceptance, mpi
from netlab import lab as labs
from netlab.hostile import HostileFolder
from netlab.plan import Lab, LabError

LIMIT = 180.0  # s for one acceptance; on two idle cores it takes about 15
NODES, PORT = 2, 29_400


@dataclass(frozen=True)
class Start:
    """One command: on which node, and what is set for it alone."""

    node: str
    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What is started: ``words`` are railgauge's own, ``hosts`` is a file, ``path`` holds launchers that this
    interpreter has not ("" for none), ``folder`` is for what a row writes, ``python`` and its ``mpirun``."""

    lab: Lab
    hosts: Path
    words: Sequence[str]
    folder: Path
    path: str = ""
    python: str = sys.executable
    mpirun: str = ""

    @property
    def typed_in(self) -> HostileFolder:
        return HostileFolder(self.folder)

    @property
    def script(self) -> str:
        return str(self.typed_in.script)

    @property
    def each(self) -> int:
        return self.lab.rails

    @property
    def size(self) -> int:
        return self.lab.rails * self.lab.nodes


@dataclass(frozen=True)
class Row:
    """``starts`` raises NotHere where the launcher is not installed."""

    name: str
    starts: Callable[[Job], list[Start]]


class NotHere(Exception):
    """What is not installed."""


@dataclass(frozen=True)
class Seen:
    """What came of one launcher. ``status`` is None when it had to be ended; ``nodes`` of those that measured."""

    launcher: str
    seconds: float = 0.0
    status: int | None = None
    ranks: int = 0
    nodes: tuple[str, ...] = ()
    verdict: str = ""
    wrong: str = ""
    absent: str = ""


def _mpi_environment(job: Job) -> tuple[mpi.Flavour, dict[str, str]]:
    """The flavour of the job's mpirun, and what it needs to reach the lab's nodes."""
    if not job.mpirun:
        raise NotHere("no mpirun beside this interpreter")
    kind = mpi.flavour(job.mpirun)
    _, environment = mpi.launch(
        kind, job.mpirun, labs.home(job.lab.name), job.lab.node_names, job.each, (), []
    )
    beside = f"{Path(job.mpirun).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kind, {**environment, "PATH": beside}


def _mpirun(job: Job) -> list[Start]:
    """With a host file; MPICH has no such words, so its own."""
    kind, environment = _mpi_environment(job)
    program = [job.script, *job.words]
    if kind.name == "MPICH":
        words, _ = mpi.launch(
            kind, job.mpirun, labs.home(job.lab.name), job.lab.node_names, job.each, (), program
        )
        return [Start("n0", words, environment)]
    words = [job.mpirun, "-n", str(job.size), "--hostfile", str(job.hosts)]
    words += ["--map-by", "slot", "--bind-to", "none", "-x", "PYTHONPATH"]
    return [Start("n0", [*words, *program], environment)]


def _printed(launcher: str) -> Callable[[Job], list[Start]]:
    """The lines that ``railgauge launch --dry-run`` prints, one for a shell on each node."""

    def starts(job: Job) -> list[Start]:
        how = ["--shell"] if launcher == "shell" else ["--launcher", launcher, "--dry-run"]
        command = [job.script, "launch", "--hosts", str(job.hosts), *how, "--", *job.words]
        done = subprocess.run(
            command, cwd=job.typed_in.path, env=environment(job), capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise LabError(f"railgauge launch --launcher {launcher}: {done.stderr.strip()}")
        return [Start(node, ["sh", "-c", line]) for node, line in lines_of(done.stdout)]

    return starts


def lines_of(text: str) -> list[tuple[str, str]]:
    """(node, line for its shell) of what ``railgauge launch --dry-run`` printed."""
    lines = text.splitlines()
    return [
        (line.removeprefix("# on "), after)
        for line, after in itertools.pairwise(lines)
        if line.startswith("# on ")
    ]


def _c10d(job: Job) -> list[Start]:
    words = [str(Path(job.python).with_name("torchrun")), f"--nnodes={job.lab.nodes}"]
    words += [f"--nproc-per-node={job.each}", "--rdzv-backend=c10d", "--rdzv-id=any"]
    words += [f"--rdzv-endpoint=n0:{PORT}", job.script, *job.words]
    return [Start(node, words) for node in job.lab.node_names]


def runpod(job: Job, rank: int) -> dict[str, str]:
    """Every variable that an instant cluster sets on a pod (docs.runpod.io, configuration)."""
    return {
        "PRIMARY_ADDR": "n0",
        "MASTER_ADDR": "n0",
        "PRIMARY_PORT": str(PORT),
        "MASTER_PORT": str(PORT),
        "NODE_ADDR": f"n{rank}",
        "NODE_RANK": str(rank),
        "NUM_NODES": str(job.lab.nodes),
        "NUM_TRAINERS": str(job.each),
        "HOST_NODE_ADDR": f"n0:{PORT}",
        "WORLD_SIZE": str(job.size),
    }


def _runpod_torchrun(job: Job) -> list[Start]:
    line = (
        f"{Path(job.python).with_name('torchrun')} --nnodes=$NUM_NODES --nproc-per-node=$NUM_TRAINERS"
        f' --node-rank=$NODE_RANK --master-addr=$PRIMARY_ADDR --master-port={PORT} "$@"'
    )
    words = ["sh", "-c", line, "sh", job.script, *job.words]
    return [Start(node, words, runpod(job, rank)) for rank, node in enumerate(job.lab.node_names)]


def _runpod_bare(job: Job) -> list[Start]:
    words = [job.script, *job.words]
    return [Start(node, words, runpod(job, rank)) for rank, node in enumerate(job.lab.node_names)]


def _found(module: str, job: Job) -> None:
    if PathFinder.find_spec(module, [*filter(None, [job.path]), *sys.path]) is None:
        raise NotHere(f"no module {module}; next: pip install --target DIR --no-deps {module}, --path DIR")


def _fabric(job: Job) -> list[Start]:
    """Its script may lie in --path, and railgauge's own need not be installed: both are put in their places."""
    _found("lightning_fabric", job)
    beside = str(Path(job.python).parent)
    fabric = shutil.which("fabric", path=os.pathsep.join([f"{job.path}/bin", beside]))
    if fabric is None:
        raise NotHere("no script fabric beside this interpreter, nor in bin of --path")
    places = ((f"{beside}/fabric ", f"{fabric} "), (f"{beside}/railgauge ", f"{job.script} "))
    return [
        Start(start.node, [*start.words[:2], _put(start.words[2], places)])
        for start in _printed("fabric")(job)
    ]


def _put(line: str, places: Sequence[tuple[str, str]]) -> str:
    for old, new in places:
        line = line.replace(old, new)
    return line


def _deepspeed(job: Job) -> list[Start]:
    _found("deepspeed", job)
    return _printed("deepspeed")(job)


def _deepspeed_script(job: Job) -> list[Start]:
    """As a person types it, with a script, to which it adds --local_rank."""
    _found("deepspeed", job)
    world = json.dumps({node: list(range(job.each)) for node in job.lab.node_names})
    words = [job.python, "-m", "deepspeed.launcher.launch", f"--master_port={PORT}", "--master_addr=n0"]
    words += [f"--world_info={base64.urlsafe_b64encode(world.encode()).decode()}"]
    return [
        Start(node, [*words, f"--node_rank={rank}", job.script, *job.words], {"PYTHONSAFEPATH": "1"})
        for rank, node in enumerate(job.lab.node_names)
    ]


def _launch(launcher: str) -> Callable[[Job], list[Start]]:
    """``railgauge launch`` itself, on the first node, with the lab's remote shell for ssh."""

    def starts(job: Job) -> list[Start]:
        extra = _mpi_environment(job)[1] if launcher == "mpirun" else {}
        words = [job.script, "launch", "--hosts", str(job.hosts), "--launcher", launcher]
        agent = str(labs.home(job.lab.name) / "rsh")
        return [Start("n0", [*words, "--ssh", agent, "--", *job.words], {**extra, "RAILGAUGE_TOKEN": ""})]

    return starts


ROWS = (
    Row("mpirun", _mpirun),
    Row("torchrun static", _printed("torchrun")),
    Row("torchrun c10d", _c10d),
    Row("runpod torchrun", _runpod_torchrun),
    Row("runpod bare", _runpod_bare),
    Row("fabric", _fabric),
    Row("deepspeed", _deepspeed),
    Row("deepspeed script", _deepspeed_script),
    Row("shell", _printed("shell")),
    Row("launch mpirun", _launch("mpirun")),
    Row("launch torchrun", _launch("torchrun")),
    Row("launch shell", _launch("shell")),
)
OTHERS = ("Open MPI 4", "Open MPI 5", "MPICH")


def environment(job: Job) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(acceptance.ROOT), job.path]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "RAILGAUGE_TOKEN": secrets.token_hex(32),
    }


def one(row: Row, job: Job, out: Path) -> Seen:
    """One acceptance; the lab is empty afterwards."""
    job.typed_in.write(job.python)
    try:
        starts = row.starts(job)
    except NotHere as reason:
        return Seen(row.name, absent=str(reason))
    except LabError as error:
        return Seen(row.name, wrong=str(error))
    begin = time.monotonic()
    with _running(starts, job, out.with_name(f"{out.name}.log")) as all_:
        try:
            # the words are rank 0's; the others must not be left
            status: int | None = all_[0].wait(LIMIT)
            for other in all_[1:]:
                other.wait(max(1.0, begin + LIMIT - time.monotonic()))
            late = False
        except subprocess.TimeoutExpired:
            status, late = all_[0].poll(), True
    seconds = time.monotonic() - begin
    ends = tuple(each.returncode for each in all_)
    return judged(row.name, job, out, seconds, status, ends, late)


@contextlib.contextmanager
def _running(starts: Sequence[Start], job: Job, log: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    entry = [sys.executable, str(acceptance.ENTRY), "--name", job.lab.name, "exec"]
    shared = environment(job)
    with log.open("wb") as said:
        started = [
            subprocess.Popen(
                [*entry, start.node, "--", *start.words],
                cwd=job.typed_in.path,
                env={**shared, **start.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for start in starts
        ]
        try:
            yield started
        finally:
            labs.settle_down(job.lab.name)
            for process in started:
                if process.poll() is None:
                    process.kill()
                process.wait(30)


def judged(
    name: str, job: Job, out: Path, seconds: float, status: int | None, ends: tuple[int, ...], late: bool
) -> Seen:
    """What is in the run folder, not what the launcher says, counts; every launcher's status must agree."""
    nodes, ranks = measured(out)
    wrong = []
    if late:
        wrong.append(f"it did not end within {LIMIT:.0f} s")
    elif any(ends):
        wrong.append(f"exit status {', '.join(map(str, ends))} on n0, n1, …, wanted 0")
    if ranks != job.size or set(nodes) != set(job.lab.node_names):
        wrong.append(f"{ranks} of {job.size} ranks measured, of {', '.join(nodes) or 'no node'}")
    if not _passed(out):
        wrong.append("the run folder does not say that it passed")
    if imported := job.typed_in.imported():
        wrong.append(f"{imported} of the current folder was imported")
    return Seen(
        name, seconds, status, ranks, nodes, verdict_line(out.with_name(f"{out.name}.log")), "; ".join(wrong)
    )


def measured(out: Path) -> tuple[tuple[str, ...], int]:
    """(nodes of the ranks that are in a measurement, how many these ranks are)."""
    try:
        ranks = {
            int(rank)
            for line in (out / "journal.jsonl").read_text().splitlines()
            for row in [json.loads(line)]
            if row.get("kind") == "measurement"
            for rank in row["ranks"]
        }
        rows = json.loads((out / "manifest.json").read_text())["ranks"]
        hosts = {int(row["rank"]): str(row["node"]) for row in rows}
        return tuple(sorted({hosts[rank] for rank in ranks})), len(ranks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (), 0


def _passed(out: Path) -> bool:
    try:
        rows = json.loads((out / "verdicts.json").read_text())["verdicts"]
        said = {row["status"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return "pass" in said and said <= {"pass", "not_applicable"}


def verdict_line(log: Path) -> str:
    """The last line that counts verdicts."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if " passed, " in line]
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def launchers(name: str, names: Sequence[str], path: str, pythons: Sequence[str]) -> int:
    """Every row, or those that are named, and mpirun of every further interpreter; a table; the exit status."""
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise LabError(
            f"{', '.join(sorted(unknown))} is unknown; known: {', '.join(row.name for row in ROWS)}"
        )
    lab = Lab(name, nodes=NODES)
    folder = Path(tempfile.mkdtemp(prefix="railgauge-launchers-"))
    hosts, toml = labs.home(name) / "nodes", folder / "lab.toml"
    toml.write_text(acceptance.profile(lab, rails_only=True))
    done: list[Seen] = []
    with labs.of_its_own(lab):
        for row, python, mpirun in chosen(names, pythons):
            out = folder / row.name.replace(" ", "-")
            words = ("accept", "--profile", str(toml), "--out", str(out), "--hang", "20s")
            done.append(one(row, Job(lab, hosts, words, folder, path, python, mpirun), out))
            print(f"{row.name}: {done[-1].absent or done[-1].wrong or 'ok'}", flush=True)
    done += [
        Seen(kind, absent="next: --python an interpreter with its mpi4py, and its mpirun beside it")
        for kind in missing(done, names)
    ]
    print("", *table(done), f"run folders and logs: {folder}", sep="\n")
    return exit_status(done)


def chosen(names: Sequence[str], pythons: Sequence[str]) -> Iterator[tuple[Row, str, str]]:
    """(row, interpreter, its mpirun or "") of all that is to be tried."""
    own = _mpirun_of(sys.executable) or shutil.which("mpirun") or ""
    for row in ROWS:
        if not names or row.name in names:
            kind = f" ({mpi.flavour(own).name})" if own and row.name == "mpirun" else ""
            yield Row(f"{row.name}{kind}", row.starts), sys.executable, own
    for python in pythons:
        found = _mpirun_of(python)
        if not found:
            raise LabError(f"no mpirun beside {python}")
        yield Row(f"mpirun ({mpi.flavour(found).name})", _mpirun), python, found


def _mpirun_of(python: str) -> str:
    return shutil.which("mpirun", path=str(Path(python).parent)) or ""


def missing(done: Sequence[Seen], names: Sequence[str]) -> list[str]:
    """The rows of MPIs that nobody gave us; none where single rows were asked for."""
    tried = {seen.launcher for seen in done}
    return [] if names else [f"mpirun ({kind})" for kind in OTHERS if f"mpirun ({kind})" not in tried]


def exit_status(done: Sequence[Seen]) -> int:
    """1: one is wrong; 3: none of them is here; a launcher that is not here is told in the table."""
    tried = [seen for seen in done if not seen.absent]
    if not tried:
        return 3
    return 1 if any(seen.wrong for seen in tried) else 0


def table(done: Sequence[Seen]) -> Iterator[str]:
    yield f"{'launcher':22}{'seconds':>9}{'exit':>6}{'ranks':>7}  {'nodes':8}verdict"
    for seen in done:
        if seen.absent:
            yield f"{seen.launcher:22}{'-':>9}{'-':>6}{'-':>7}  {'-':8}not here: {seen.absent}"
            continue
        status = "-" if seen.status is None else str(seen.status)
        yield (
            f"{seen.launcher:22}{seen.seconds:>9.1f}{status:>6}{seen.ranks:>7}  {','.join(seen.nodes):8}"
            f"{seen.verdict or '(no verdict)'}"
        )
        if seen.wrong:
            yield f"    NOT OK: {seen.wrong}"
