"""Questions to a history. Each file is read once, whole, held against its seal, and answered from.

A broken file is so never answered from, and a bucket is asked once a file. Of the rows, only the columns are unpacked
that the question needs, and only the groups of rows that may hold the subject.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TextIO

from bench.model.printable import csv_line
from bench.model.verdict import Status
from bench.store.history.location import HistoryError, LeftOutFile, is_gone, open_folder
from bench.store.history.nights import NightValue, Series
from bench.store.history.parquet_file import COLUMNS, Entry, Wanted, read_entries, rows_of, verify
from bench.store.history.run_files import each_once, home, in_files, settled

_NIGHT = ("run", "time", "collective", "size_class", "quantity", "subject", "value", "rerun", "status")
_ALL = tuple(name for name, _ in COLUMNS)
# A word that is no status says nothing good of the measurement
_STATUS = {status.value: status for status in Status}

_IN_EXPORT = itemgetter(*(_ALL.index(name) for name in ("subject", "collective", "size_class", "quantity")))

Row = tuple[Any, ...]
Rows = Sequence[Row]


def nights(
    history: str,
    cluster: str,
    since: float = 0.0,
    subject: str = "",
    only: Mapping[str, str] | None = None,
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    """The nights of every series of a cluster, or of one subject in it, oldest first; the files left out.

    ``only``: field of ``Series`` → what it must be.
    """
    wanted = {name: text.__eq__ for name, text in {**(only or {}), "subject": subject}.items()}
    return _ask(history, cluster, since, (subject, subject), wanted)


def nights_of_node(
    history: str, cluster: str, node: str, since: float = 0.0
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    """The nights of every series of a node and of its rails, oldest first; the files left out."""
    after = f"{node}!"  # the first text behind those that begin with the node and a space
    return _ask(
        history, cluster, since, (node, after), {"subject": lambda each: each.partition(" ")[0] == node}
    )


def export(
    history: str, stream: TextIO, form: str = "csv", cluster: str | None = None, since: float = 0.0
) -> tuple[LeftOutFile, ...]:
    """Write every row as ``csv`` (with a header) or ``jsonl``, in base units; the files left out.

    A figure that is missing or NaN is empty in CSV and null in JSON. Raises HistoryError for another form.
    """
    if form not in _WRITERS:
        raise HistoryError(f"unknown form {form!r}; known: {', '.join(_WRITERS)}")
    good, problems, _ = settled(history, lambda: _verified(history, cluster, since, lambda _: ()))
    write, inside = _WRITERS[form](stream), dict[str, dict[tuple[str, float], list[Row]]]()
    chosen = each_once(good)
    last = {entry.path: entry for entry in chosen}
    # One run after the other: the rows come out oldest run first, and memory holds the files that are half written
    for entry in chosen:
        if entry.path not in inside:
            inside[entry.path] = settled(history, lambda: _runs_in(history, entry))  # noqa: B023  called at once
        for row in sorted(inside[entry.path].get((entry.run, entry.time), ()), key=_IN_EXPORT):
            write(row)
        if last[entry.path] is entry:
            del inside[entry.path]
    return problems


def _ask(
    history: str, cluster: str, since: float, subjects: tuple[str, str], wanted: Wanted
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    """The nights of the series whose fields are ``wanted``; the subjects of all of these lie between ``subjects``."""

    def rows(content: bytes) -> list[Row]:
        return rows_of(content, _NIGHT, subjects, wanted)

    good, problems, found = settled(history, lambda: _verified(history, cluster, since, rows))
    chosen = {(one.path, one.run, one.time): one.fingerprint for one in each_once(good)}
    gathered: dict[tuple[str, ...], list[NightValue]] = {}
    for path, inside in found.items():
        for run, time, *names, value, rerun, status in inside:
            if time >= since and (parts := chosen.get((path, run, time))) is not None:
                night = NightValue(run, time, value, parts, rerun, _STATUS.get(status, Status.INCONCLUSIVE))
                gathered.setdefault(tuple(names), []).append(night)
    return {
        Series(cluster, *names): tuple(sorted(nights, key=lambda night: (night.time, night.run)))
        for names, nights in gathered.items()
    }, problems


def _verified(
    history: str, cluster: str | None, since: float, take: Callable[[bytes], Rows]
) -> tuple[list[Entry], tuple[LeftOutFile, ...], dict[str, Rows]]:
    """The runs of each whole file, the other files, and what ``take`` takes of the whole ones. Raises MovedAway."""
    folder, taken = open_folder(history), dict[str, Rows]()

    def look(path: str) -> tuple[Entry, ...]:
        content = folder.files.cat_file(f"{folder.root}/{path}")
        inside = read_entries(io.BytesIO(content), path)
        verify(content)
        taken[path] = take(content)
        return inside

    return (*in_files(folder, cluster, since, look), taken)


def _runs_in(history: str, entry: Entry) -> dict[tuple[str, float], list[Row]]:
    """The rows of each run in the file of ``entry``, or in the new file where ``compact`` has moved that run."""
    folder = open_folder(history)
    try:
        content = folder.files.cat_file(f"{folder.root}/{entry.path}")
    except OSError as error:
        if not is_gone(error):
            raise
        now = [one for one in each_once(in_files(folder, entry.cluster)[0]) if home(one) == home(entry)]
        if not now:
            return {}
        content = folder.files.cat_file(f"{folder.root}/{now[0].path}")
    found: dict[tuple[str, float], list[Row]] = {}
    for row in rows_of(content, _ALL):
        found.setdefault((row[0], row[1]), []).append(row)
    return found


def _csv(stream: TextIO) -> Callable[[tuple[Any, ...]], object]:
    stream.write(csv_line(name for name, _ in COLUMNS))
    return lambda row: stream.write(csv_line(row))


def _jsonl(stream: TextIO) -> Callable[[tuple[Any, ...]], object]:
    def write(row: tuple[Any, ...]) -> None:
        named = {name: _plain(value) for (name, _), value in zip(COLUMNS, row, strict=True)}
        stream.write(json.dumps({**named, "fingerprint": json.loads(row[3])}, allow_nan=False) + "\n")

    return write


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WRITERS = {"csv": _csv, "jsonl": _jsonl}
