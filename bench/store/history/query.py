"""Questions to a history, answered by DuckDB over the files whose footers are sound.

Names reach DuckDB as bound parameters, never as SQL. DuckDB reads only files whose seal was verified just
before, so that it cannot fail in the middle of, or answer from, a broken one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from bench.model.printable import csv_line
from bench.model.verdict import Status
from bench.store.history.folder import Folder, HistoryError, LeftOutFile, library, open_folder
from bench.store.history.nights import Fingerprint, Night, Series
from bench.store.history.record import COLUMNS, Entry
from bench.store.history.store import runs, sound

# With pyarrow and Python beside it, the process stays under 1 GB
_MEMORY = "400MB"
_NIGHTS = """
    select run, time, collective, size_class, quantity, subject, value, rerun, status
    from read_parquet($files, hive_partitioning = false)
    where cluster = $cluster and time >= $since
"""
# A word that is no status says nothing good of the measurement
_STATUS = {status.value: status for status in Status}


def nights(
    history: str, cluster: str, since: float = 0.0, subject: str = ""
) -> tuple[dict[Series, tuple[Night, ...]], tuple[LeftOutFile, ...]]:
    """The nights of every series of a cluster, or of one subject in it, oldest first; the files left out."""
    return _ask(history, cluster, since, " and subject = $subject", {"subject": subject})


def export(
    history: str, stream: TextIO, form: str = "csv", cluster: str | None = None, since: float = 0.0
) -> tuple[LeftOutFile, ...]:
    """Write every row as ``csv`` (with a header) or ``jsonl``, in base units; the files left out.

    A figure that is missing or NaN is empty in CSV and null in JSON. Raises HistoryError for another form.
    """
    if form not in _WRITERS:
        raise HistoryError(f"unknown form {form!r}; known: {', '.join(_WRITERS)}")
    folder = open_folder(history)
    entries, problems = runs(history, cluster, since)
    good, broken = sound(folder, entries)
    write = _WRITERS[form](stream)
    # One file after the other: the rows come out oldest run first, and memory holds one run at most
    for entry in good:
        for row in _rows_of(folder, entry):
            write(row)
    return (*problems, *broken)


def _ask(
    history: str, cluster: str, since: float, condition: str, names: dict[str, str]
) -> tuple[dict[Series, tuple[Night, ...]], tuple[LeftOutFile, ...]]:
    folder = open_folder(history)
    entries, problems = runs(history, cluster, since)
    bound = {**names, "cluster": cluster, "since": since}
    good, broken = sound(folder, entries)
    rows = _query(folder, good, _NIGHTS + condition, bound) if good else []
    found = _by_series(cluster, rows, {(entry.run, entry.time): entry.fingerprint for entry in good})
    return found, (*problems, *broken)


def _query(folder: Folder, entries: Sequence[Entry], sql: str, bound: dict[str, Any]) -> list[Any]:
    duckdb = library("duckdb")
    # No extension is ever fetched: what reads a bucket is fsspec
    settings = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": _MEMORY,
        "preserve_insertion_order": "false",
    }
    with duckdb.connect(config=settings) as connection:
        if not folder.local:
            connection.register_filesystem(folder.files)
        files = [_address(folder, entry.path) for entry in entries]
        try:
            rows: list[Any] = connection.execute(sql, {**bound, "files": files}).fetchall()
        except duckdb.Error as error:
            raise HistoryError(f"{folder.name}: {folder.in_one_line(error)}") from error
        return rows


def _address(folder: Folder, path: str) -> str:
    """The file as DuckDB names it, which reads wildcards in names; our own have none, the root may."""
    full = f"{folder.root}/{path}"
    if not folder.local:
        full = folder.files.unstrip_protocol(full)
    return "".join(f"[{character}]" if character in "*?[" else character for character in full)


def _by_series(
    cluster: str, rows: Sequence[Any], fingerprints: dict[tuple[str, float], Fingerprint]
) -> dict[Series, tuple[Night, ...]]:
    gathered: dict[Series, list[Night]] = {}
    for run, time, collective, size_class, quantity, subject, value, rerun, status in rows:
        series = Series(cluster, collective, size_class, quantity, subject)
        parts = fingerprints.get((run, time), ())
        night = Night(run, time, value, parts, rerun, _STATUS.get(status, Status.INCONCLUSIVE))
        gathered.setdefault(series, []).append(night)
    return {
        series: tuple(sorted(found, key=lambda night: (night.time, night.run)))
        for series, found in gathered.items()
    }


def _rows_of(folder: Folder, entry: Entry) -> Iterator[tuple[Any, ...]]:
    names = ", ".join(name for name, _ in COLUMNS)
    sql = f"select {names} from read_parquet($files, hive_partitioning = false)"
    sql += " order by subject, collective, size_class, quantity"
    yield from _query(folder, [entry], sql, {})


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
