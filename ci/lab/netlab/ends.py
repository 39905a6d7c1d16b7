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
from netlab.columns import COLUMNS, Column, mpich
from netlab.deaths import DEATHS, Death, Job
from netlab.naming import nodes_in, unmeasured
from netlab.plan import Lab, LabError, namespace
from netlab.rules import DEFAULT, Rules

HANG = 20  # s, --hang of the job; the other deadlines of the bench follow from it
BOUND = 300.0  # s from the fault to the end of rank 0's launcher, on a busy machine
GONE = 60.0  # s after that in which the report is drawn and everything that can be reached is gone
START = 180.0  # s until something is measured
NOBODY = r"no completion record"
UNREACHABLE = ("node frozen", "node dead", "node stopped")


@dataclass(frozen=True)
class End:
    """What came of one job: seconds from the fault to its end (None: not within BOUND), exit status of rank 0's
    launcher, what was said of whom, processes that were left, whether a report was written, rows measured;
    ``ours`` is the exit status by the verdicts in the run folder, which a launcher may make another of; ``rest``: what
    was not measured of the others, where they go on."""

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
    ours: int | None = None
    rest: str = ""


@dataclass(frozen=True)
class NotRun:
    """A row that this machine cannot show, and why."""

    fault: str
    launcher: str
    reason: str
    wrong: str = ""


def run(here: labs.Live, death: Death, column: Column, folder: Path) -> End:
    """One job under one fault; the lab is healed and empty afterwards."""
    out = folder / f"{death.name} {column.name}".replace(" ", "-")
    toml = out.with_name(f"{out.name}.toml")
    toml.write_text(acceptance.profile(here.lab, rails_only=not death.hook))
    words = ["-m", "bench", "accept", "--profile", str(toml), "--out", str(out), "--hang", f"{HANG}s"]
    if death.early:
        death.plant(Job(here, column))
    with _started(here, death, column, words, out) as job:
        _until(lambda: job.look() or death.early or _measured(out) > 1 or job.over(), START)
        planted = time.monotonic()
        if not death.early:
            death.plant(Job(here, column, job.terminal))
        status = job.wait(START + BOUND if death.early else BOUND)
        seconds = None if status is None else time.monotonic() - planted
        left = _left(here, death)
    labs.settle_down(here.lab.name)
    return _judged(death, column, out, seconds, status, left)


def _tried(here: labs.Live, death: Death, column: Column, folder: Path) -> End:
    """As ``run``; a fault that could not be planted is a row that is not as it must be, and no end of the table."""
    try:
        return run(here, death, column, folder)
    except LabError as error:
        labs.settle_down(here.lab.name)
        return End(death.name, column.name, None, None, "", "", (), False, 0, str(error))


class _Running:
    """The launcher's processes; the first one's end is the job's."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], terminal: int) -> None:
        self.all, self.terminal = processes, terminal

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
    here: labs.Live, death: Death, column: Column, words: list[str], out: Path
) -> Iterator[_Running]:
    """The job; whatever is left of it is killed at the end, a frozen node thawed before."""
    environment = {
        **os.environ,
        **column.environment,
        "PATH": os.pathsep.join([str(Path(column.python).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": f"{_hook(death, out)}{os.pathsep}{acceptance.ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    with_terminal = death.name == "terminal closed"
    ours, theirs = pty.openpty() if with_terminal else (-1, -1)
    log = out.with_name(f"{out.name}.log").open("wb")
    entry = [sys.executable, str(acceptance.ENTRY), "--name", here.lab.name]
    commands = [
        each
        for each in column.commands(here.lab, column.python, words)
        if not (death.absent and each[:2] == ["exec", death.culprit])
    ]
    started = [
        subprocess.Popen(
            [*entry, *command],
            cwd=acceptance.ROOT,
            env=environment,
            stdin=theirs if first else subprocess.DEVNULL,
            stdout=theirs if first else log,
            stderr=theirs if first else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_take_terminal if first else None,
        )
        for first, command in zip([with_terminal, *[False] * len(commands)], commands, strict=False)
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
    column: Column,
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
    failed = [row for row in verdicts if row["status"] in ("fail", "inconclusive")]
    places = [
        str(row["subject"])
        for row in failed
        if str(row["check"]).startswith(("blame.", "rails.", "coverage.lost", "coverage.nodes"))
    ]
    named = ", ".join(dict.fromkeys([*culprits, *(place for place in places if nodes_in(place))]))
    told = [*texts, *(str(row["message"]) for row in failed)]
    wanted = NOBODY if death.name in column.hasty else death.wanted
    said = next((text for text in told if re.search(wanted, text)), "")
    if not said and (found := re.search(wanted, _words(out))):
        said = f"the launcher: {found[0]}"
    end = End(
        fault=death.name,
        launcher=column.name,
        seconds=seconds,
        status=status,
        named=named,
        said=said,
        left=left,
        report=(out / "report.html").exists() and bool(verdicts),
        measured=sum(row.get("kind") == "measurement" for row in rows),
        wrong="",
        ours=_status([str(row["status"]) for row in verdicts]),
        rest=_rest(death, column, out, verdicts),
    )
    return replace(end, wrong=_complaint(death, end, column.zero))


def _rest(death: Death, column: Column, out: Path, verdicts: list[dict[str, object]]) -> str:
    """What was not measured of the others; where the launcher ends them too, whether it is said how to go on."""
    if not death.aside:
        return ""
    if death.name not in column.ends:
        return unmeasured(verdicts)
    goes_on = rf"to go on without {death.culprit}: mpirun .* railgauge resume \S+ --without {death.culprit}"
    said = death.name in column.hasty or re.search(goes_on, _words(out))
    return "" if said else "it does not say how to go on with the others"


def _status(said: Sequence[str]) -> int | None:
    """The exit status that verdicts stand for; None where there are none."""
    return (1 if "fail" in said else 3 if "inconclusive" in said else 0) if said else None


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


def _complaint(death: Death, end: End, zero: Sequence[str] = ()) -> str:
    """What is not as it must be; "" when all is."""
    parts = []
    if end.seconds is None:
        parts.append(f"it did not end within {BOUND:.0f} s")
    if end.status == 0 and death.name not in zero:
        parts.append("it ended with 0, as if all were well")
    if death.culprit and nodes_in(end.named) - {death.culprit}:
        parts.append(f"it names {end.named}")
    if death.wanted and not end.said:
        parts.append("nobody says what happened to whom")
    if end.left:
        parts.append(f"left: {'; '.join(end.left)}")
    if end.ours == 0:
        parts.append("its verdicts say that all is well")
    if not end.report:
        parts.append("there is no report")
    parts += [end.rest] * bool(end.rest)
    return "; ".join(parts)


def chosen(
    quick: bool, launchers: Sequence[str], names: Sequence[str], pythons: Sequence[str]
) -> list[tuple[Column, Death]]:
    """The rows to run, launcher by launcher; LabError lists what is known where something is not."""
    unknown = set(names) - {death.name for death in DEATHS}
    if unknown:
        raise LabError(f"{', '.join(sorted(unknown))} is unknown; known: {', '.join(d.name for d in DEATHS)}")
    known = [*COLUMNS, *map(mpich, pythons)]
    strange = set(launchers) - {each.name for each in known}
    if strange:
        raise LabError(
            f"{', '.join(sorted(strange))} is unknown; known: {', '.join(each.name for each in known)}, and with "
            "--python an interpreter with MPICH's mpirun beside it: mpich"
        )
    wanted = launchers or [each.name for each in (known if quick else known[:1])]
    return [
        (column, death)
        for column in known
        if column.name in wanted
        for death in DEATHS
        if (death.name in names if names else column.name in death.quick or not quick)
        if not death.only or column.name in death.only
    ]


def faults(
    name: str,
    quick: bool,
    launchers: Sequence[str],
    names: Sequence[str],
    pythons: Sequence[str] = (),
    rules: Rules = DEFAULT,
) -> int:
    """Every death under every launcher, a table; the exit status."""
    rows = chosen(quick, launchers, names, pythons)
    print(
        f"The bench promises an end within {promised():.0f} s of any fault at --hang {HANG}s; here every job must end"
        f" within {BOUND:.0f} s, and what it left must be gone {GONE:.0f} s later."
    )
    folder = Path(tempfile.mkdtemp(prefix="railgauge-ends-"))
    with labs.of_its_own(Lab(name)) as here:

        def one(column: Column, death: Death, place: Path) -> End | NotRun:
            reason = here.powers[death.needs] if death.needs else None
            row: End | NotRun
            if isinstance(reason, str):
                row = NotRun(death.name, column.name, reason)
            else:
                row = _tried(here, death, column, place)
            print(*_lines(row), sep="\n", flush=True)
            return row

        again = folder / "second-try"
        again.mkdir()
        chosen_by = {(column.name, death.name): (column, death) for column, death in rows}
        done = [one(column, death, folder) for column, death in rows]
        done = rules.tried_again(done, lambda row: one(*chosen_by[row.launcher, row.fault], again))
    print("", *table(done), sep="\n")
    print(f"run folders, reports and logs: {folder}")
    return exit_status(done, rules)


def exit_status(done: Sequence[End | NotRun], rules: Rules = DEFAULT) -> int:
    """1: one did not end as it must; 3: what was asked for could not be run here, or there was nothing; 0: all did."""
    run_here = [end for end in done if isinstance(end, End)]
    return rules.exit_status(run_here, [end.fault for end in done if isinstance(end, NotRun)])


def promised() -> float:
    """Seconds by the bench's own deadlines, whose sum stands in ``bench.supervise.Limits.bound``."""
    sys.path.insert(0, str(acceptance.ROOT))
    from bench.supervise.limits import Limits
    from bench.supervise.watchdog import LONGEST

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
    numbers = f"{'end after':>10}{'exit':>6}{'ours':>6}{'rows':>6}"
    yield f"{'fault':18}{'launcher':10}{numbers}  {'report':8}{'left':6}{'named':34}ok"
    for end in done:
        if isinstance(end, NotRun):
            dashes = f"{'-':>10}{'-':>6}{'-':>6}{'-':>6}  {'-':8}{'-':6}{'-':34}"
            yield f"{end.fault:18}{end.launcher:10}{dashes}not run: {end.reason}"
            continue
        seconds = "never" if end.seconds is None else f"{end.seconds:.1f} s"
        status, ours = ("-" if each is None else str(each) for each in (end.status, end.ours))
        yield (
            f"{end.fault:18}{end.launcher:10}{seconds:>10}{status:>6}{ours:>6}{end.measured:>6}  "
            f"{'yes' if end.report else 'NO':8}{len(end.left):<6}{end.named[:33]:34}{'NOT OK' if end.wrong else 'ok'}"
        )
