"""Reading a run folder, whatever state a crash has left it in."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.model.errors import EXIT_USAGE
from bench.model.facts import FactsError, Node
from bench.model.measurement import Measurement
from bench.model.typed_json import Misfit
from bench.model.verdict import Verdict

from . import validate
from .files import (
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
from .run import Loss, Manifest, Plan, Run, nodes_of


def judged_by(path: Path) -> str:
    """The text of the profile that a run folder was judged by last; "" where that is its own, or cannot be read."""
    return _said(path).get("profile_text", "")


def manifest_of(path: Path) -> Manifest:
    """What was asked for and where it ran; RunError as ``load``."""
    try:
        if not path.is_dir():
            raise RunError(f"no run folder at {path}", EXIT_USAGE)
        if not (path / MANIFEST).exists():
            raise RunError(f"{path} is not a run folder: it has no {MANIFEST}", EXIT_USAGE)
    except OSError as error:
        raise RunError(f"cannot read the run folder {path}: {error.strerror}", EXIT_USAGE) from None
    raw = _object(path / MANIFEST)
    if not isinstance(raw.get("format"), int):
        raise RunError(f"{path / MANIFEST} names no format; it is not RailGauge's or is damaged")
    if raw["format"] > FORMAT:
        raise RunError(
            f"{path} was written by a newer RailGauge (format {raw['format']}; this one reads up to {FORMAT}): upgrade"
        )
    with _place(path, MANIFEST):
        return validate.manifest(raw)


def load(path: Path) -> Run:
    """Read a run folder; a last line cut short is noted and left out.

    Raises RunError for a folder that is missing, empty, unreadable or of a newer format.
    """
    manifest, notes = manifest_of(path), list[str]()
    job = validate.job(manifest)
    journal, measured = _journal(path, job, notes)
    planned = Plan(phases=())
    if (path / PLAN).exists():
        with _place(path, PLAN):
            planned = validate.plan(_object(path / PLAN), job)
    rows = {
        name: tuple(_checked(path, name, looked_at, notes))
        for name, looked_at in (
            (FACTS, lambda row: None),
            (COUNTERS, validate.counters),
            (VERBS, validate.verbs),
            (HEALTH, lambda row: validate.health(row, job)),
        )
    }
    _facts(path, rows[FACTS])
    told = (str(row["text"]) for row in _of(journal, "note"))
    losses, made_good = _losses(journal, planned)
    return Run(
        path=path,
        manifest=manifest,
        plan=planned,
        facts=rows[FACTS],
        measurements=measured,
        losses=tuple(losses),
        phases=tuple(_of(journal, "phase")),
        counters=rows[COUNTERS],
        verdicts=_verdicts(path),
        by=_said(path).get("profile", ""),
        notes=(*_odd(notes, _of(journal, "torn")), *told, *made_good),
        ended=next((float(row["time"]) for row in journal if row["kind"] == "end"), None),
        verbs=rows[VERBS],
        history=_object(path / HISTORY) if (path / HISTORY).exists() else {},
        windows=tuple(row["row"] for row in journal if row["kind"] == "window"),
        health=rows[HEALTH],
        joined=tuple(_of(journal, "joined")),
        earlier=_earlier(journal, planned),
    )


def _facts(path: Path, facts: tuple[dict[str, Any], ...]) -> None:
    """RunError where they are not those of nodes. They are kept, so that nobody has to read them twice."""
    try:
        nodes_of(facts)
    except FactsError:
        for number, row in _lines(path / FACTS, []):
            with _place(path, FACTS, number):
                Node.from_json(row)


@contextmanager
def _place(path: Path, name: str, number: int = 0) -> Iterator[None]:
    """RunError, which names the file and the line, where what it holds does not fit."""
    try:
        yield
    except (Misfit, FactsError) as error:
        where = f"{name} line {number}" if number else name
        raise RunError(f"{path} is damaged: {where}: {error}") from None


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


def _said(path: Path) -> dict[str, str]:
    """By which profile a run folder was judged last: ``profile``, ``profile_text``; {} where nothing can be read."""
    try:
        return {
            name: str(value) for name, value in _object(path / VERDICTS).items() if name.startswith("profile")
        }
    except RunError:
        return {}


def _verdicts(path: Path) -> tuple[Verdict, ...]:
    """What was judged last; none where that is missing or damaged, for it can be made again from the rest."""
    try:
        return tuple(Verdict.from_json(row) for row in _object(path / VERDICTS)["verdicts"])
    except (RunError, KeyError, TypeError, ValueError, AttributeError):
        return ()


def _of(journal: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for row in journal:
        if row["kind"] == kind:
            hidden = ("kind",) if kind == "phase" else ("kind", "time")
            yield {key: value for key, value in row.items() if key not in hidden}


def _journal(
    path: Path, job: validate.Job, notes: list[str]
) -> tuple[list[dict[str, Any]], tuple[Measurement, ...]]:
    """Its lines, and the measurements in it; of their lines only the case is kept, for they are most of it all."""
    lines: list[dict[str, Any]] = []
    measured: list[Measurement] = []
    number = 0
    # half a million lists and no cycle among them: looking for some takes as long as reading
    looking = gc.isenabled()
    gc.disable()
    try:
        for number, row in _lines(path / JOURNAL, notes):  # noqa: B007  the number is for the mistake
            if row.get("kind") == "measurement":
                del row["kind"]
                row.pop("time", None)
                measured.append(validate.measurement(row, job))
                lines.append({"kind": "measurement", "case": measured[-1].case})
            else:
                lines.append(validate.line(row, job))
    except Misfit as error:
        raise RunError(f"{path} is damaged: {JOURNAL} line {number}: {error}") from None
    finally:
        if looking:
            gc.enable()
    return lines, tuple(measured)


def _losses(journal: list[dict[str, Any]], plan: Plan) -> tuple[list[Loss], list[str]]:
    """What was lost; and in words what was lost and then measured when the run went on."""
    planned = {case.id for case in plan.cases}
    losses, history = list[Loss](), list[str]()
    later: set[object] = set()  # cases that were measured after the line, and whether the run came to its end
    for row in reversed(journal):
        if row["kind"] in ("measurement", "end"):
            later.add(row.get("case", "end"))
        elif row["kind"] == "loss":
            loss = Loss(**{key: value for key, value in row.items() if key not in ("kind", "time")})
            made_good = loss.case in later or (loss.case not in planned and "end" in later)
            if loss.died and made_good:
                history.append(f"{loss.reason}; it cost {loss.case}, which was measured when the run went on")
            elif not (loss.reason.startswith(NOT_TRIED) and made_good):
                losses.append(loss)
    return losses[::-1], history[::-1]


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


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
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


def _checked(
    path: Path, name: str, looked_at: Callable[[dict[str, Any]], object], notes: list[str]
) -> Iterator[dict[str, Any]]:
    for number, row in _lines(path / name, notes):
        with _place(path, name, number):
            looked_at(row)
        yield row


def _lines(path: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line in its file, and what it holds."""
    decode = json.JSONDecoder().raw_decode  # what json.loads does beside takes a tenth of the time
    for number, line in enumerate(_raw(path), 1):
        try:
            text = line.decode("utf-8").strip()
            if not text:
                continue
            row, end = decode(text)
            if end != len(text) or not isinstance(row, dict):
                raise ValueError
        except (ValueError, RecursionError):
            notes.append(_left_out(path.name, number))
            continue
        yield number, row
