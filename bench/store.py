"""The run folder: the contract between measuring, judging and drawing.

    manifest.json    format, id, command, profile as used, versions, ranks, environment (allow-list)
    facts.jsonl      one line a node: what the probes saw
    plan.json        phases, cases, what was refused for want of memory
    journal.jsonl    one line each, as it happens: measurements, losses, phases, notes, the end
    counters.jsonl   every port and interface, before and after each phase
    verbs.jsonl      what perftest said, one line a rail and direction
    health.jsonl     a line a rank and phase: its GPU during each case; in a soak its memory, and errors grown
    logs/            what workers and NCCL said
    history.json     of a nightly run: the nights before it, as the history told them
    verdicts.json    made from all of the above, and made again at will; so are the reports

Files are appended line by line and flushed to disk; a crash loses the line in flight and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import itertools
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .facts import Node
from .model import EXIT, EXIT_USAGE, Case, Measurement, Rank, Status, Verdict, Window
from .once import once
from .scrub import scrub
from .units import show_size

FORMAT = 1
MANIFEST, FACTS, PLAN, JOURNAL = "manifest.json", "facts.jsonl", "plan.json", "journal.jsonl"
COUNTERS, VERDICTS, LOGS = "counters.jsonl", "verdicts.json", "logs"
VERBS = "verbs.jsonl"
HISTORY = "history.json"
HEALTH = "health.jsonl"
NOT_TRIED = "not tried"  # how the reason of a loss begins that nobody ever began to measure
IMPORTED = "import"  # the launcher of a run that was made of other tools' results
WIRING = "wiring.json"  # in LOGS: on which rails of the others each node heard itself and them
FABRIC = "fabric.jsonl"  # in LOGS: what ibnetdiscover, iblinkinfo and ibqueryerrors said, one line a time


class RunError(Exception):
    """A run folder that cannot be used; the message names the folder and what is wrong.

    ``exit_status`` is 2 where another argument would mend it, 3 where the folder itself is at fault.
    """

    def __init__(self, message: str, exit_status: int = EXIT[Status.ERROR]) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True)
class Manifest:
    """What was asked for and where it ran. ``environment``: rank -> allowed variables."""

    id: str
    started: float
    command: tuple[str, ...]
    profile_name: str
    profile_text: str
    launcher: str
    backend: str
    ranks: tuple[Rank, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "ranks": [rank.to_json() for rank in self.ranks]}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Manifest:
        ranks = tuple(Rank(**rank) for rank in row["ranks"])
        return Manifest(**{**row, "ranks": ranks, "command": tuple(row["command"])})

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node names in the order of their first rank."""
        return tuple(dict.fromkeys(rank.node for rank in self.ranks))


@dataclass(frozen=True)
class Refusal:
    """A case that was not started because it does not fit. Bytes a rank, on the named memory."""

    case: str
    needed: int
    available: int
    where: str


@dataclass(frozen=True)
class Shortage:
    """The cases that do not fit in one memory, least first."""

    where: str
    refused: tuple[Refusal, ...]

    @property
    def text(self) -> str:
        """``12 cases need 3.031 GiB to 12.03 GiB a rank, 2 GiB available on GPU 3 of n1``."""
        first, last = self.refused[0], self.refused[-1]
        much = show_size(first.needed)
        if last.needed != first.needed:
            much += f" to {show_size(last.needed)}"
        head = first.case if len(self.refused) == 1 else f"{len(self.refused)} cases"
        need = "needs" if len(self.refused) == 1 else "need"
        return f"{head} {need} {much} a rank, {show_size(first.available)} available on {self.where}"


@dataclass(frozen=True)
class Phase:
    """Cases that share one worker process a rank.

    ``environment`` is set for that process alone; ``rules`` replace the run's rules of measuring.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    environment: dict[str, str] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What will be measured, and what was refused or left out, with the reason."""

    phases: tuple[Phase, ...]
    refused: tuple[Refusal, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for phase in self.phases for case in phase.cases)

    @property
    def shortages(self) -> tuple[Shortage, ...]:
        """What was refused, by the memory that is too small."""
        rows = sorted(self.refused, key=lambda row: (row.where, row.needed))
        groups = itertools.groupby(rows, key=lambda row: row.where)
        return tuple(Shortage(where, tuple(group)) for where, group in groups)

    def to_json(self) -> dict[str, Any]:
        return {
            "phases": [
                {**phase.__dict__, "cases": [case.to_json() for case in phase.cases]} for phase in self.phases
            ],
            "refused": [row.__dict__ for row in self.refused],
            "skipped": [list(row) for row in self.skipped],
        }

    @staticmethod
    def from_json(row: dict[str, Any]) -> Plan:
        return Plan(
            phases=tuple(
                Phase(**{**phase, "cases": tuple(Case.from_json(case) for case in phase["cases"])})
                for phase in row["phases"]
            ),
            refused=tuple(Refusal(**item) for item in row["refused"]),
            skipped=tuple((name, reason) for name, reason in row["skipped"]),
        )


@dataclass(frozen=True)
class Loss:
    """A case that was begun and could not be measured: why, and which rank is to blame."""

    case: str
    reason: str
    culprit: str = ""


@dataclass(frozen=True)
class Run:
    """A run folder, read. ``notes``: what was odd about reading it, such as a line cut short.

    ``history``: of a nightly run, the nights before it (see ``bench.nightly.past``); else empty.
    ``windows``: of a soak; ``health``: see ``bench.health``; ``joined``: how each phase's workers started.
    ``verdicts`` are by the profile called ``by``.
    ``earlier``: cases that were measured before their phase was begun again: the last counters do not hold them.
    """

    path: Path
    manifest: Manifest
    plan: Plan
    facts: tuple[dict[str, Any], ...]
    measurements: tuple[Measurement, ...]
    losses: tuple[Loss, ...]
    phases: tuple[dict[str, Any], ...]
    counters: tuple[dict[str, Any], ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    ended: float | None
    verbs: tuple[dict[str, Any], ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    health: tuple[dict[str, Any], ...] = ()
    joined: tuple[dict[str, Any], ...] = ()
    earlier: frozenset[str] = frozenset()
    by: str = ""

    @property
    def profile_name(self) -> str:
        """Of the profile that it was judged by last, or else of its own."""
        return self.by or self.manifest.profile_name

    @property
    def lasted(self) -> float | None:
        """Seconds from start to end; None where it did not end, or the clock was set back meanwhile."""
        seconds = None if self.ended is None else self.ended - self.manifest.started
        return seconds if seconds is not None and seconds >= 0 else None

    def case(self, case_id: str) -> Case:
        return self._cases[case_id]

    @cached_property
    def node_of(self) -> dict[int, str]:
        """The node of each rank."""
        return {rank.rank: rank.node for rank in self.manifest.ranks}

    @cached_property
    def ranks_on(self) -> Counter[str]:
        """How many ranks each node has."""
        return Counter(rank.node for rank in self.manifest.ranks)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The facts of every node. FactsError where they are damaged."""
        return _nodes(self.facts)

    @cached_property
    def _cases(self) -> dict[str, Case]:
        return {case.id: case for case in self.plan.cases}


def parts(run: Run, *others: object) -> tuple[object, ...]:
    """What of a run was read, without what was judged: a judged run tells the same of itself (see ``once``)."""
    return (*(getattr(run, name) for name in _READ), *others)


_READ = tuple(name for name in Run.__dataclass_fields__ if name not in ("verdicts", "by"))


class Recorder:
    """Writes one run folder. The folder must be new or empty; of two runs at once the second is refused.

    ``again``: go on with a run that was interrupted. Its files are appended to, never rewritten.
    """

    def __init__(self, path: Path, again: bool = False) -> None:
        self.path = path
        self._whole = 0  # bytes of whole lines in the journal
        if again:
            self._reopen()
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            free(path)
            (path / LOGS).mkdir(exist_ok=True)
            # the journal decides a race: only one process can create it
            self._journal = os.open(path / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            _hold(self._journal)
        except FileExistsError:
            raise RunError(
                f"{path} is in use by another run; give a new folder with --out", EXIT_USAGE
            ) from None
        except OSError as error:
            raise RunError(f"cannot write the run folder {path}: {error.strerror}") from None

    def _reopen(self) -> None:
        try:
            self._journal = os.open(self.path / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
            _hold(self._journal)
            torn = {JOURNAL: _end_line(self._journal)}
            self._whole = os.fstat(self._journal).st_size
            for name in (COUNTERS, HEALTH, VERBS, f"{LOGS}/{FABRIC}"):
                with contextlib.suppress(FileNotFoundError):
                    file = os.open(self.path / name, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
                    try:
                        torn[name] = _end_line(file)
                    finally:
                        os.close(file)
            for name, number in torn.items():
                if number:
                    self.line("torn", file=name, number=number)
        except BlockingIOError:
            raise RunError(f"{self.path} is still being written by its run", EXIT_USAGE) from None
        except OSError as error:
            raise RunError(f"cannot go on in {self.path}: {error.strerror}") from None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._journal)
        if not (self.path / MANIFEST).exists():
            self._discard()

    def _discard(self) -> None:
        """A run that never began leaves no folder that looks like one."""
        with contextlib.suppress(OSError):  # what stopped the run is told, not what the cleaning met
            (self.path / JOURNAL).unlink(missing_ok=True)
            (self.path / LOGS).rmdir()
            self.path.rmdir()

    def manifest(self, manifest: Manifest) -> None:
        kept = replace(manifest, command=scrub(manifest.command))
        self._write(MANIFEST, json.dumps(kept.to_json(), indent=1))

    def plan(self, plan: Plan) -> None:
        self._write(PLAN, json.dumps(plan.to_json()))

    def facts(self, nodes: list[dict[str, Any]]) -> None:
        self._write(FACTS, "".join(json.dumps(node) + "\n" for node in nodes))

    def counters(self, phase: str, when: str, snapshots: list[dict[str, Any]]) -> None:
        self._append(COUNTERS, {"phase": phase, "when": when, "snapshots": snapshots})

    def health(self, row: dict[str, Any]) -> None:
        """What a supervisor saw beside its worker; see ``bench.health``."""
        self._append(HEALTH, row)

    def verbs(self, row: dict[str, Any]) -> None:
        """One line of what perftest said (see verbs.record)."""
        self._append(VERBS, row)

    def fabric(self, answers: list[dict[str, Any]]) -> None:
        """What the fabric's tools said, one line for each time that they were asked."""
        self._append(f"{LOGS}/{FABRIC}", answers)

    def _append(self, name: str, row: object) -> None:
        """One line at the end of a file, whole or not at all."""
        path = self.path / name
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
            try:
                _write_line(file, row, os.fstat(file).st_size)
            finally:
                os.close(file)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None

    def measurement(self, row: Measurement) -> None:
        self.line("measurement", **row.to_json())

    def loss(self, row: Loss) -> None:
        self.line("loss", **row.__dict__)

    def line(self, kind: str, **fields: Any) -> None:
        """Append one line and see it on the disk before going on."""
        try:
            self._whole = _write_line(
                self._journal, {"kind": kind, "time": time.time(), **fields}, self._whole
            )
            os.fsync(self._journal)
        except OSError as error:
            raise RunError(f"cannot write {self.path / JOURNAL}: {error.strerror}") from None

    def end(self) -> None:
        """The completion record: without it no exit status of a launcher is believed."""
        self.line("end")

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)


def _hold(journal: int) -> None:
    """Nobody else may write this journal as long as we live. BlockingIOError where somebody does."""
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


def _end_line(file: int) -> int:
    """End a last line that was cut short, so that the next is not glued to it; its number, 0 where all are whole."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return 0
    whole = sum(os.pread(file, 1 << 20, at).count(b"\n") for at in range(0, size, 1 << 20))
    os.write(file, b"\n")
    return whole + 1


def _write_line(file: int, row: object, whole: int) -> int:
    """Append a line after ``whole`` bytes of whole lines; how many there are now.

    A line that does not fit is taken back: the next one must not be glued to half of it.
    """
    data = json.dumps(row).encode() + b"\n"
    left = data
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, whole)
        raise
    return whole + len(data)


def free(path: Path) -> None:
    """Raise RunError unless ``path`` is a folder to be made, or an empty one."""
    try:
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; give a new folder with --out", EXIT_USAGE)
        if path.is_dir() and any(path.iterdir()):
            raise RunError(f"{path} already holds something; give a new folder with --out", EXIT_USAGE)
    except OSError as error:
        raise RunError(
            f"cannot use {path}: {error.strerror}; give another folder with --out", EXIT_USAGE
        ) from None


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole: readers see the old text or the new, never half of either."""
    # a name that nobody can guess, and a file that must be new: in a folder that others may write, neither a
    # link that lies in wait nor another process of the same number on another node comes between
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    try:
        with partial.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror}") from None


def save_history(path: Path, history: dict[str, Any]) -> None:
    """Write ``history.json`` of a run folder: what the history of the cluster said, and where this run went."""
    write_text(path / HISTORY, json.dumps(history, allow_nan=False))


def save_verdicts(
    path: Path, verdicts: tuple[Verdict, ...], profile_name: str, profile_text: str = ""
) -> None:
    """Write ``verdicts.json`` of a run folder. ``profile_text``: of a profile that is not the run's own."""
    rows = [verdict.to_json() for verdict in verdicts]
    said = {"format": FORMAT, "profile": profile_name, "profile_text": profile_text, "verdicts": rows}
    write_text(path / VERDICTS, json.dumps(said, indent=1))


def judged_by(path: Path) -> str:
    """The text of the profile that a run folder was judged by last; "" where that is its own, or cannot be read."""
    return _said(path).get("profile_text", "")


def manifest_of(path: Path) -> Manifest:
    """What was asked for and where it ran; RunError as ``load``."""
    try:
        if not path.is_dir():
            raise RunError(f"no run folder at {path}", EXIT_USAGE)
    except OSError as error:
        raise RunError(f"cannot read the run folder {path}: {error.strerror}", EXIT_USAGE) from None
    raw = _object(path / MANIFEST, f"{path} is not a run folder: it has no {MANIFEST}")
    if not isinstance(raw.get("format"), int):
        raise RunError(f"{path / MANIFEST} names no format; it is not RailGauge's or is damaged")
    if raw["format"] > FORMAT:
        raise RunError(
            f"{path} was written by a newer RailGauge (format {raw['format']}; this one reads up to {FORMAT}): upgrade"
        )
    try:
        return Manifest.from_json(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}; its other lines are untouched") from None


def load(path: Path) -> Run:
    """Read a run folder; a last line cut short is noted and left out.

    Raises RunError for a folder that is missing, empty, unreadable or of a newer format.
    """
    manifest, notes = manifest_of(path), list[str]()
    try:
        plan = (path / PLAN).exists()
        journal, measured = _journal(path / JOURNAL, notes)
        planned = Plan.from_json(_object(path / PLAN, "")) if plan else Plan(phases=())
        rows = {name: tuple(_lines(path / name, notes)) for name in (FACTS, COUNTERS, VERBS, HEALTH)}
        told = (str(row["text"]) for row in _of(journal, "note"))
        return Run(
            path=path,
            manifest=manifest,
            plan=planned,
            facts=rows[FACTS],
            measurements=measured,
            losses=tuple(_losses(journal)),
            phases=tuple(_of(journal, "phase")),
            counters=rows[COUNTERS],
            verdicts=_verdicts(path),
            by=_said(path).get("profile", ""),
            notes=(*_odd(notes, _of(journal, "torn")), *told),
            ended=next((float(row["time"]) for row in journal if row["kind"] == "end"), None),
            verbs=rows[VERBS],
            history=_object(path / HISTORY, "") if (path / HISTORY).exists() else {},
            windows=tuple(Window.from_json(row) for row in _of(journal, "window")),
            health=rows[HEALTH],
            joined=tuple(_of(journal, "joined")),
            earlier=_earlier(journal, planned),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}; its other lines are untouched") from None


def _odd(notes: list[str], torn: Iterator[dict[str, Any]]) -> Iterator[str]:
    """What was odd about reading; a line that a crash cut short, and that was so when the run went on, is no damage."""
    known = {
        _left_out(str(row["file"]).rpartition("/")[2], int(row["number"])): (
            f"{row['file']} line {row['number']} was cut short by what stopped the run, before it went on"
        )
        for row in torn
    }
    return (known.get(note, note) for note in notes)


def _left_out(name: str, number: int) -> str:
    return f"{name} line {number} is cut short or damaged and was left out"


@once()
def _nodes(facts: tuple[dict[str, Any], ...]) -> tuple[Node, ...]:
    return tuple(Node.from_json(row) for row in facts)


def of_facts(path: Path, manifest: Manifest, *nodes: dict[str, Any]) -> Run:
    """A run that holds facts and nothing measured; nothing is read or written."""
    return Run(path, manifest, Plan(()), nodes, (), (), (), (), (), (), None)


def _said(path: Path) -> dict[str, str]:
    """By which profile a run folder was judged last: ``profile``, ``profile_text``; {} where nothing can be read."""
    try:
        return {
            name: str(value)
            for name, value in _object(path / VERDICTS, "").items()
            if name.startswith("profile")
        }
    except RunError:
        return {}


def _verdicts(path: Path) -> tuple[Verdict, ...]:
    """What was judged last; none where that is missing or damaged, for it can be made again from the rest."""
    try:
        return tuple(Verdict.from_json(row) for row in _object(path / VERDICTS, "")["verdicts"])
    except (RunError, KeyError, TypeError, ValueError, AttributeError):
        return ()


def _of(journal: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for row in journal:
        if row["kind"] == kind:
            hidden = ("kind",) if kind == "phase" else ("kind", "time")
            yield {key: value for key, value in row.items() if key not in hidden}


def _journal(path: Path, notes: list[str]) -> tuple[list[dict[str, Any]], tuple[Measurement, ...]]:
    """Its lines, and the measurements in it; of their lines only the case is kept, for they are most of it all."""
    lines: list[dict[str, Any]] = []
    measured: list[Measurement] = []
    # half a million lists and no cycle among them: looking for some takes as long as reading
    looking = gc.isenabled()
    gc.disable()
    try:
        for row in _lines(path, notes):
            if row["kind"] == "measurement":
                lines.append({"kind": "measurement", "case": row["case"]})
                del row["kind"]
                row.pop("time", None)
                measured.append(Measurement.from_json(row))
            else:
                lines.append(row)
    finally:
        if looking:
            gc.enable()
    return lines, tuple(measured)


def _losses(journal: list[dict[str, Any]]) -> Iterator[Loss]:
    """What was lost; not what nobody had come to when a run stopped, and was measured when it went on."""
    measured = {row.get("case") for row in journal if row["kind"] == "measurement"}
    for row in _of(journal, "loss"):
        loss = Loss(**row)
        if not (loss.reason.startswith(NOT_TRIED) and loss.case in measured):
            yield loss


def _earlier(journal: list[dict[str, Any]], plan: Plan) -> frozenset[str]:
    """Cases that stand in the journal before the last begin of their phase."""
    phase_of = {case.id: phase.name for phase in plan.phases for case in phase.cases}
    done: dict[str, set[str]] = {}
    earlier: dict[str, frozenset[str]] = {}
    for row in journal:
        if row["kind"] == "measurement":
            done.setdefault(phase_of.get(row["case"], ""), set()).add(row["case"])
        elif row["kind"] == "phase" and row.get("state") == "begin":
            earlier[row["name"]] = frozenset(done.get(row["name"], ()))
    return frozenset().union(*earlier.values())


def _object(path: Path, missing: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(missing or f"{path} is missing") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise RunError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it is not a JSON object")
    return value


def _raw(path: Path) -> Iterator[bytes]:
    """Line by line: the journal of a large cluster is not held twice."""
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None


def _lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_raw(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError
        except ValueError:
            notes.append(_left_out(path.name, number))
            continue
        yield row
