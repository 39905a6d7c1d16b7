"""How a job ends when something in it hangs or dies: fault × launcher, a table. ``ci/lab/net faults``.

Each job is a real acceptance; the fault comes in mid-run. What counts: it ends within BOUND, whoever is to blame is
named and nobody else, nothing of it is left (or stands on a node that cannot be reached), and the report is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netlab import acceptance, cgroup, kernel
from netlab import lab as labs
from netlab.deaths import DEATHS, Death, Job
from netlab.naming import nodes_in
from netlab.plan import Lab, LabError, namespace

HANG = 20  # s, --hang of the job; the other deadlines of the bench follow from it
BOUND = 300.0  # s from the fault to the end of rank 0's launcher, on a busy machine
GONE = 60.0  # s after that in which the report is drawn and everything that can be reached is gone
START = 180.0  # s until something is measured
UNREACHABLE = ("node frozen", "node dead")


@dataclass(frozen=True)
class Launcher:
    """One column: what to start on which nodes, given the words of ``python -m bench``; the first is rank 0's."""

    name: str
    commands: Callable[[Lab, Sequence[str]], list[tuple[str, list[str]]]]
    environment: tuple[tuple[str, str], ...] = ()


def _mpirun(lab: Lab, words: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [("", ["mpirun", str(lab.rails), "-x", "PYTHONPATH", "--", sys.executable, *words])]


def _torchrun(lab: Lab, words: Sequence[str]) -> list[tuple[str, list[str]]]:
    run = ["-m", "torch.distributed.run", f"--nnodes={len(lab.node_names)}", f"--nproc-per-node={lab.rails}"]
    return [
        (
            node,
            [
                *("exec", node, "--", sys.executable, *run),
                *(f"--node-rank={number}", "--master-addr=n0", "--master-port=29501", *words),
            ],
        )
        for number, node in enumerate(lab.node_names)
    ]


LAUNCHERS = (
    Launcher("mpirun", _mpirun),
    Launcher("torchrun", _torchrun, (("RAILGAUGE_TOKEN", "a secret of this lab alone"),)),
)


@dataclass(frozen=True)
class End:
    """What came of one job: seconds from the fault to its end (None: not within BOUND), exit status of rank 0's
    launcher, what was said of whom, processes that were left, whether a report was written, rows measured."""

    fault: str
    launcher: str
    seconds: float | None
    status: int | None
    named: str
    said: str
    left: tuple[str, ...]
    report: bool
    measured: int
    wrong: str


@dataclass(frozen=True)
class NotRun:
    """A row that this machine cannot show, and why."""

    fault: str
    launcher: str
    reason: str


def run(here: labs.Live, death: Death, launcher: Launcher, folder: Path) -> End:
    """One job under one fault; the lab is healed and empty afterwards."""
    out = folder / f"{death.name} {launcher.name}".replace(" ", "-")
    toml = out.with_name(f"{out.name}.toml")
    toml.write_text(acceptance.profile(here.lab, rails_only=not death.hook))
    words = ["-m", "bench", "accept", "--profile", str(toml), "--out", str(out), "--hang", f"{HANG}s"]
    if death.early:
        death.plant(Job(here, 0))
    with _started(here, death, launcher, words, out) as job:
        _until(lambda: job.look() or death.early or _measured(out) > 1 or job.over(), START)
        planted = time.monotonic()
        if not death.early:
            death.plant(Job(here, job.pid, job.terminal))
        status = job.wait(START + BOUND if death.early else BOUND)
        seconds = None if status is None else time.monotonic() - planted
        left = _left(here, death)
    labs.settle_down(here.lab.name)
    return _judged(death, launcher, out, seconds, status, left)


class _Running:
    """The launcher's processes; the first one's end is the job's."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], terminal: int) -> None:
        self.all, self.terminal = processes, terminal
        self.pid = processes[0].pid

    def look(self) -> bool:
        """Read what the terminal shows, so that it never fills up; False, as this decides nothing."""
        while self.terminal >= 0 and select.select([self.terminal], [], [], 0)[0]:
            if not os.read(self.terminal, 1 << 16):
                break
        return False

    def over(self) -> bool:
        return self.all[0].poll() is not None

    def wait(self, limit: float) -> int | None:
        try:
            return self.all[0].wait(limit)
        except subprocess.TimeoutExpired:
            return None


@contextlib.contextmanager
def _started(
    here: labs.Live, death: Death, launcher: Launcher, words: list[str], out: Path
) -> Iterator[_Running]:
    """The job; whatever is left of it is killed at the end, a frozen node thawed before."""
    environment = {
        **os.environ,
        **dict(launcher.environment),
        "PYTHONPATH": f"{_hook(death, out)}{os.pathsep}{acceptance.ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    with_terminal = death.name == "terminal closed"
    ours, theirs = pty.openpty() if with_terminal else (-1, -1)
    log = out.with_name(f"{out.name}.log").open("wb")
    entry = [sys.executable, str(acceptance.ENTRY), "--name", here.lab.name]
    started = [
        subprocess.Popen(
            [*entry, *command],
            cwd=acceptance.ROOT,
            env=environment,
            stdin=theirs if with_terminal else subprocess.DEVNULL,
            stdout=theirs if with_terminal else log,
            stderr=theirs if with_terminal else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_take_terminal if with_terminal else None,
        )
        for _, command in launcher.commands(here.lab, words)
    ]
    if with_terminal:
        os.close(theirs)
    try:
        yield _Running(started, ours)
    finally:
        log.close()
        labs.settle_down(here.lab.name)
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait(30)
        with contextlib.suppress(OSError):
            os.close(ours)


def _take_terminal() -> None:
    """The new session's terminal is its standard input: closing the other end hangs it up."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _hook(death: Death, out: Path) -> Path:
    """A folder whose sitecustomize plants the row's fault into one rank; empty where the row needs none."""
    folder = out.with_name(f"{out.name}.hook")
    folder.mkdir()
    if death.hook:
        (folder / "sitecustomize.py").write_text(death.hook)
    return folder


def _until(holds: Callable[[], object], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _journal(out: Path) -> list[dict[str, object]]:
    """Whole lines of the journal."""
    rows = []
    with contextlib.suppress(OSError):
        for line in (out / "journal.jsonl").read_text().splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
    return rows


def _measured(out: Path) -> int:
    return sum(row.get("kind") == "measurement" for row in _journal(out))


def _left(here: labs.Live, death: Death) -> tuple[str, ...]:
    """What still runs on nodes that can be reached, once there was time to end."""
    spaces = {
        namespace(here.lab, node): node
        for node in here.lab.node_names
        if not (death.name in UNREACHABLE and node == death.culprit)
    }

    def found() -> tuple[str, ...]:
        pids = set(kernel.processes(spaces))
        for _, group in cgroup.groups(labs.MOUNTS.read_text(), namespace(here.lab, "")):
            if group.name in spaces:
                pids |= set(cgroup.members(group))
        lines = [kernel.command(pid) for pid in sorted(pids)]
        return tuple(line[:100] for line in lines if line and not line.startswith("Z"))

    _until(lambda: not found(), GONE)
    return found()


def _judged(
    death: Death,
    launcher: Launcher,
    out: Path,
    seconds: float | None,
    status: int | None,
    left: tuple[str, ...],
) -> End:
    rows = _journal(out)
    losses = [row for row in rows if row.get("kind") == "loss"]
    culprits = list(dict.fromkeys(str(row["culprit"]) for row in losses if row.get("culprit")))
    texts = [str(row["reason"]) for row in losses] + [
        str(row["text"]) for row in rows if row.get("kind") == "note"
    ]
    verdicts = _verdicts(out)
    failed = [row for row in verdicts if row["status"] in ("fail", "error")]
    places = [
        str(row["subject"])
        for row in failed
        if str(row["check"]).startswith(("blame.", "rails.", "coverage.lost"))
    ]
    named = ", ".join(dict.fromkeys([*culprits, *(place for place in places if nodes_in(place))]))
    told = [*texts, *(str(row["message"]) for row in failed)]
    said = next((text for text in told if re.search(death.wanted, text)), "")
    if not said and (found := re.search(death.wanted, _words(out))):
        said = f"the launcher: {found[0]}"
    end = End(
        fault=death.name,
        launcher=launcher.name,
        seconds=seconds,
        status=status,
        named=named,
        said=said,
        left=left,
        report=(out / "report.html").exists() and bool(verdicts),
        measured=sum(row.get("kind") == "measurement" for row in rows),
        wrong="",
    )
    return replace(end, wrong=_complaint(death, end))


def _words(out: Path) -> str:
    """What the launcher and the job printed, on one line."""
    try:
        return " ".join(out.with_name(f"{out.name}.log").read_text(errors="replace").split())
    except OSError:
        return ""


def _verdicts(out: Path) -> list[dict[str, object]]:
    try:
        found: list[dict[str, object]] = json.loads((out / "verdicts.json").read_text())["verdicts"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def _complaint(death: Death, end: End) -> str:
    """What is not as it must be; "" when all is."""
    parts = []
    if end.seconds is None:
        parts.append(f"it did not end within {BOUND:.0f} s")
    if end.status == 0:
        parts.append("it ended with 0, as if all were well")
    if death.culprit and nodes_in(end.named) - {death.culprit}:
        parts.append(f"it names {end.named}")
    if death.wanted and not end.said:
        parts.append("nobody says what happened to whom")
    if end.left:
        parts.append(f"left: {'; '.join(end.left)}")
    if not end.report:
        parts.append("there is no report")
    return "; ".join(parts)


def faults(name: str, quick: bool, launchers: Sequence[str], names: Sequence[str]) -> int:
    """Every death under every launcher, a table; the exit status."""
    chosen = [death for death in DEATHS if (death.name in names if names else death.quick or not quick)]
    unknown = set(names) - {death.name for death in DEATHS}
    if unknown:
        raise LabError(f"{', '.join(sorted(unknown))} is unknown; known: {', '.join(d.name for d in DEATHS)}")
    columns = [each for each in LAUNCHERS if each.name in launchers] if launchers else [LAUNCHERS[0]]
    if not columns:
        raise LabError(
            f"{', '.join(launchers)} is unknown; known: {', '.join(each.name for each in LAUNCHERS)}"
        )
    print(
        f"The bench promises an end within {promised():.0f} s of any fault at --hang {HANG}s; here every job must end"
        f" within {BOUND:.0f} s, and what it left must be gone {GONE:.0f} s later."
    )
    folder = Path(tempfile.mkdtemp(prefix="railgauge-ends-"))
    done: list[End | NotRun] = []
    with labs.signals_are_exceptions():
        labs.down(name)
        here = labs.up(Lab(name))
        try:
            for launcher in columns:
                for death in chosen:
                    if death.launchers and launcher.name not in death.launchers:
                        continue  # there is no mpirun to kill under torchrun
                    reason = here.powers[death.needs] if death.needs else None
                    if isinstance(reason, str):
                        done.append(NotRun(death.name, launcher.name, reason))
                    else:
                        done.append(run(here, death, launcher, folder))
                    print(*_lines(done[-1]), sep="\n", flush=True)
        finally:
            labs.down(name)
    print("", *table(done), sep="\n")
    print(f"run folders, reports and logs: {folder}")
    return exit_status(done)


def exit_status(done: Sequence[End | NotRun]) -> int:
    """1: one did not end as it must; 3: what was asked for could not be run here, or there was nothing; 0: all did."""
    if any(isinstance(end, End) and end.wrong for end in done):
        return 1
    return 3 if not done or any(isinstance(end, NotRun) for end in done) else 0


def promised() -> float:
    """Seconds by the bench's own deadlines, whose sum stands in ``bench.supervise.Limits.bound``."""
    sys.path.insert(0, str(acceptance.ROOT))
    from bench.guard import LONGEST
    from bench.supervise import Limits

    return Limits(hang=HANG).bound + LONGEST


def _lines(end: End | NotRun) -> Iterator[str]:
    if isinstance(end, NotRun):
        yield f"{end.fault} under {end.launcher}: not run: not possible on this machine: {end.reason}"
        return
    seconds = "never" if end.seconds is None else f"{end.seconds:.1f} s"
    yield f"{end.fault} under {end.launcher}: {seconds}, exit status {end.status}, {end.measured} measured"
    yield f"    said: {end.said or '(nothing)'}"
    if end.wrong:
        yield f"    NOT OK: {end.wrong}"


def table(done: Sequence[End | NotRun]) -> Iterator[str]:
    yield f"{'fault':18}{'launcher':10}{'end after':>10}{'exit':>6}{'rows':>6}  {'report':8}{'left':6}{'named':34}ok"
    for end in done:
        if isinstance(end, NotRun):
            dashes = f"{'-':>10}{'-':>6}{'-':>6}  {'-':8}{'-':6}{'-':34}"
            yield f"{end.fault:18}{end.launcher:10}{dashes}not run: {end.reason}"
            continue
        seconds = "never" if end.seconds is None else f"{end.seconds:.1f} s"
        status = "-" if end.status is None else str(end.status)
        yield (
            f"{end.fault:18}{end.launcher:10}{seconds:>10}{status:>6}{end.measured:>6}  "
            f"{'yes' if end.report else 'NO':8}{len(end.left):<6}{end.named[:33]:34}{'NOT OK' if end.wrong else 'ok'}"
        )
