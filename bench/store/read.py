"""Reading a run folder, whatever state a crash has left it in."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bench.model.activity import ActivityLine
from bench.model.case_templates import unpacked
from bench.model.counters import Snapshot
from bench.model.errors import EXIT_USAGE
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Extra, Measurement, Window
from bench.model.run_folder_lines import CounterLine, HealthLine, Joined, Loss, Note, PhaseMark, RunEnd, Torn
from bench.model.typed_json import Misfit, NotJson, decode

from . import files, validate
from .files import (
    ACTIVITY,
    COUNTERS,
    FACTS,
    FORMAT,
    HEALTH,
    HISTORY,
    JOURNAL,
    MANIFEST,
    NOT_TRIED,
    PLAN,
    VERBS,
    VERDICTS,
    RunError,
)
from .line_classes import PERFTEST_KINDS, READ
from .run import RESUMED, Manifest, Plan, Run, Verdicts
from .set_aside import with_all_back, without_set_aside

if TYPE_CHECKING:
    from .history.nights import SavedPast

T = TypeVar("T")
SHARED = ("case", "ranks", "wrong", "stop")
NO_EXTRA = Extra()
BEGINS = re.compile(rb'\{"kind": ?"([a-z]+)",')
NO_TIME = "of the budget are left"  # in notes of versions that marked none as ``given_up``


@dataclass(frozen=True)
class _Format:
    format: int


@dataclass(frozen=True)
class _Kind:
    kind: str


def judged_by(path: Path) -> str:
    """The text of the profile that a run folder was judged by last; "" where that is its own, or cannot be read."""
    return _verdicts(path).profile_text


def manifest_of(path: Path) -> Manifest:
    """What was asked for and where it ran; RunError as ``load``."""
    try:
        if not files.is_folder(path):
            raise RunError(f"no run folder at {path}", EXIT_USAGE)
        if not files.exists(path, MANIFEST):
            raise RunError(f"{path} is not a run folder: it has no {MANIFEST}", EXIT_USAGE)
    except OSError as error:
        raise RunError(f"cannot read the run folder {path}: {error.strerror}", EXIT_USAGE) from None
    try:
        format_ = decode(_Format, files.read_file(path, MANIFEST)).format
    except (Misfit, NotJson):
        raise RunError(f"{path / MANIFEST} names no format; it is not RailGauge's or is damaged") from None
    if format_ > FORMAT:
        raise RunError(
            f"{path} was written by a newer RailGauge (format {format_}; this one reads up to {FORMAT}): upgrade"
        )
    found = _whole(path, MANIFEST, Manifest)
    with _place(path, MANIFEST):
        validate.check_manifest(found)
    return found


def load(path: Path) -> Run:
    """Read a run folder; a last line cut short is noted and left out. Nodes that were set aside are in ``everyone``.

    Raises RunError for a folder that is missing, empty, unreadable or of a newer format.
    """
    manifest, notes = manifest_of(path), list[str]()
    files.check_logs(path)
    job = validate.job(manifest)
    planned = _plan(path, job) if files.exists(path, PLAN) else Plan(())
    journal = list(_journal(path, job, notes))
    verdicts = _verdicts(path)
    losses, made_good = _losses(journal, planned)
    whole = Run(
        path=path,
        manifest=manifest,
        plan=planned,
        facts=tuple(_rows(path, FACTS, Node, job, notes)),
        measurements=_of(journal, Measurement),
        losses=tuple(losses),
        phases=_of(journal, PhaseMark),
        counters=tuple(_sharing(_rows(path, COUNTERS, CounterLine, job, notes))),
        verdicts=verdicts.verdicts,
        by=verdicts.profile,
        notes=(*_notes(notes, _of(journal, Torn)), *(note.text for note in _of(journal, Note)), *made_good),
        ended=next((line.time for line in _of(journal, RunEnd)), None),
        perftest=tuple(_rows(path, VERBS, PERFTEST_KINDS, job, notes)),
        history=_history(path) if files.exists(path, HISTORY) else None,
        windows=_of(journal, Window),
        health=tuple(_rows(path, HEALTH, HealthLine, job, notes)),
        joined=_of(journal, Joined),
        activity=tuple(_rows(path, ACTIVITY, ActivityLine, job, notes)),
        earlier=_earlier(journal, planned),
        resumed_at=tuple(note.time for note in _of(journal, Note) if note.text.startswith(RESUMED)),
        given_up=tuple(note.text for note in _of(journal, Note) if note.given_up or NO_TIME in note.text),
    )
    return with_all_back(without_set_aside(whole))


def _plan(path: Path, job: validate.ExpectedRanks) -> Plan:
    """The plan with all of its rounds; what templates say is checked before they are made."""
    short = _whole(path, PLAN, Plan)
    with _place(path, PLAN):
        validate.check_plan(short, job)
        whole = replace(
            short, phases=tuple(replace(phase, cases=unpacked(phase.cases)) for phase in short.phases)
        )
        validate.check_ids(whole)
    return whole


@contextmanager
def _place(path: Path, name: str) -> Iterator[None]:
    """RunError, which names the file, where what it holds does not fit."""
    try:
        yield
    except Misfit as error:
        raise RunError(f"{path} is damaged: {name}: {error}") from None


def _notes(notes: list[str], torn: Iterable[Torn]) -> Iterator[str]:
    """What was odd about reading; a line that a crash cut short, and that was so when the run went on, is no damage."""
    known = {
        _left_out(line.file.rpartition("/")[2], line.number): (
            f"{line.file} line {line.number} was cut short by what stopped the run, before it went on"
        )
        for line in torn
    }
    return (known.get(note, note) for note in notes)


def _left_out(name: str, number: int) -> str:
    return f"{name} line {number} is cut short or damaged and was left out"


def _verdicts(path: Path) -> Verdicts:
    """What was judged last; none where that is missing or damaged, for it can be made again from the rest."""
    try:
        return _whole(path, VERDICTS, Verdicts)
    except RunError:
        return Verdicts()


def _of(journal: list[object], kind: type[T]) -> tuple[T, ...]:
    return tuple(line for line in journal if isinstance(line, kind))


def _losses(journal: list[object], plan: Plan) -> tuple[list[Loss], list[str]]:
    """What was lost; and in words what was lost and then measured when the run went on."""
    planned = {case.id for case in plan.cases}
    losses, history = list[Loss](), list[str]()
    later, ended = (
        set[str](),
        False,
    )  # cases that were measured after the line; whether the run came to its end
    for line in reversed(journal):
        ended = ended or isinstance(line, RunEnd)
        if isinstance(line, Measurement):
            later.add(line.case)
        elif isinstance(line, Loss):
            made_good = line.case in later or (line.case not in planned and ended)
            if line.died and made_good:
                history.append(f"{line.reason}; it cost {line.case}, which was measured when the run went on")
            elif not (line.reason.startswith(NOT_TRIED) and made_good):
                losses.append(line)
    return losses[::-1], history[::-1]


def _earlier(journal: list[object], plan: Plan) -> frozenset[str]:
    """Cases that stand in the journal before the last begin of their phase.

    A begin does not count where all that was measured after it is planned no more: by the others, without a node that
    is back.
    """
    phase_of = {case.id: phase.name for phase in plan.phases for case in phase.cases}
    if not _begun_after_measuring(journal, phase_of):
        return frozenset()
    planned = {(case.id, group) for case in plan.cases for group in case.groups}
    done: dict[str, set[str]] = {}
    earlier: dict[str, frozenset[str]] = {}
    now, was = dict[str, frozenset[str]](), dict[str, frozenset[str]]()
    for line in journal:
        if isinstance(line, Measurement):
            name = phase_of.get(line.case, "")
            done.setdefault(name, set()).add(line.case)
            if (line.case, line.ranks) in planned:
                was[name] = now.get(name, frozenset())
            earlier[name] = was.get(name, frozenset())
        elif isinstance(line, PhaseMark) and line.state == "begin":
            was[line.name] = earlier.get(line.name, frozenset())
            earlier[line.name] = now[line.name] = frozenset(done.get(line.name, ()))
    return frozenset().union(*earlier.values())


def _begun_after_measuring(journal: list[object], phase_of: Mapping[str, str]) -> bool:
    """Whether a phase was begun when some of its cases stood in the journal already, as in a run that was resumed."""
    measured = set[str]()
    for line in journal:
        if isinstance(line, Measurement):
            measured.add(phase_of.get(line.case, ""))
        elif isinstance(line, PhaseMark) and line.state == "begin" and line.name in measured:
            return True
    return False


def _whole(path: Path, name: str, kind: type[T]) -> T:
    try:
        with _place(path, name):
            return decode(kind, files.read_file(path, name))
    except NotJson as error:
        raise RunError(f"{path / name} is damaged: it {error}") from None


def _history(path: Path) -> SavedPast:
    from .history.nights import FORMAT, SavedPast

    given = _whole(path, HISTORY, dict[str, Any]).get("format")
    if isinstance(given, int) and given > FORMAT:
        raise RunError(f"{path / HISTORY} has format {given}; this RailGauge reads up to {FORMAT}: upgrade")
    return _whole(path, HISTORY, SavedPast)


def _sharing(lines: Iterable[CounterLine]) -> Iterator[CounterLine]:
    """The lines; groups of counters that stand as on the port before, or as in the line before, are the same object,
    since most never move.
    """
    before: tuple[Snapshot, ...] = ()
    known: dict[str, object] = {}
    for line in lines:
        for first, last in zip(chain(before, repeat(None)), line.snapshots, strict=False):
            for subject, groups in cast(dict[str, dict[str, object]], last.readings).items():
                _share_groups(groups, first.readings.get(subject, {}) if first else {}, known)
        before = line.snapshots
        yield line


def _share_groups(groups: dict[str, object], own: Mapping[str, object], known: dict[str, object]) -> None:
    """Put groups that are known already in place of equal ones of a port.

    ``own``: the port's groups in the line before. ``known``: by name the last group that was equal to neither.
    """
    for group, values in groups.items():
        for same in (known.get(group), own.get(group)):
            if same == values:
                groups[group] = same
                break
        else:
            known[group] = values


def _journal(path: Path, job: validate.ExpectedRanks, notes: list[str]) -> Iterator[object]:
    # half a million lists and no cycle among them: looking for some takes as long as reading
    looking = gc.isenabled()
    gc.disable()
    known: dict[object, object] = {}
    try:
        lines: Iterator[object] = _rows(path, JOURNAL, READ, job, notes)
        for row in lines:
            if isinstance(row, Measurement):
                _share(row, known)
            yield row
    finally:
        if looking:
            gc.enable()


def _share(row: Measurement, known: dict[object, object]) -> None:
    """Let fields that many rows have alike be the same objects: a third of the memory of 64 nodes."""
    for name in SHARED:
        value = getattr(row, name)
        if (same := known.setdefault(value, value)) is not value:
            object.__setattr__(row, name, same)
    if row.extra == NO_EXTRA:
        object.__setattr__(row, "extra", NO_EXTRA)


def _rows(
    path: Path,
    name: str,
    kinds: type[T] | Mapping[str, type[T]],
    job: validate.ExpectedRanks,
    notes: list[str],
) -> Iterator[T]:
    """The lines of a file, of one class or by their ``kind``; those of other kinds are left out."""
    number = 0
    try:
        for number, text in files.read_lines(path, name):
            try:
                row = _row(kinds, text, job)
            except NotJson:
                row = None
                if text.strip():
                    notes.append(_left_out(name, number))
            if row is not None:
                yield row
    except Misfit as error:
        raise RunError(f"{path} is damaged: {name} line {number}: {error}") from None


def _row(kinds: type[T] | Mapping[str, type[T]], text: bytes, job: validate.ExpectedRanks) -> T | None:
    kind = kinds if isinstance(kinds, type) else _kind_of(kinds, text)
    if kind is None:
        return None
    row = decode(kind, text)
    if check := validate.CHECKS.get(kind):
        check(row, job)
    return row


def _kind_of(kinds: Mapping[str, type[T]], text: bytes) -> type[T] | None:
    """By the first word, as we write it, or by the ``kind`` wherever it stands: that reads all of the line."""
    begins = BEGINS.match(text)
    first = kinds.get(begins[1].decode()) if begins else None
    return first or kinds.get(decode(_Kind, text).kind)
