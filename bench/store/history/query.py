"""Questions to a history, answered by DuckDB over the files whose footers are sound.

Names reach DuckDB as bound parameters, never as SQL. DuckDB reads only files whose seal was verified just
before, so that it cannot fail in the middle of, or answer from, a broken one.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from bench.model.printable import csv_line
from bench.model.verdict import Status
from bench.store.history.location import Folder, HistoryError, LeftOutFile, library, open_folder
from bench.store.history.nights import Fingerprint, NightValue, Series
from bench.store.history.record import COLUMNS, Entry
from bench.store.history.run_files import MovedAway, each_once, home, in_files, settled, sound

# With pyarrow and Python beside it, the process stays under 1 GB
_MEMORY = "400MB"
_NIGHTS = """
    select run, time, collective, size_class, quantity, subject, value, rerun, status
    from read_parquet($files, hive_partitioning = false)
    where cluster = $cluster and time >= $since
"""
_OF_RUNS = " and (run, time) in (select (unnest($runs), unnest($times)))"
# A word that is no status says nothing good of the measurement
_STATUS = {status.value: status for status in Status}


def nights(
    history: str, cluster: str, since: float = 0.0, subject: str = ""
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    """The nights of every series of a cluster, or of one subject in it, oldest first; the files left out."""
    return _ask(history, cluster, since, " and subject = $subject", {"subject": subject})


def nights_of_node(
    history: str, cluster: str, node: str, since: float = 0.0
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    """The nights of every series of a node and of its rails, oldest first; the files left out."""
    return _ask(history, cluster, since, " and split_part(subject, ' ', 1) = $node", {"node": node})


def export(
    history: str, stream: TextIO, form: str = "csv", cluster: str | None = None, since: float = 0.0
) -> tuple[LeftOutFile, ...]:
    """Write every row as ``csv`` (with a header) or ``jsonl``, in base units; the files left out.

    A figure that is missing or NaN is empty in CSV and null in JSON. Raises HistoryError for another form.
    """
    if form not in _WRITERS:
        raise HistoryError(f"unknown form {form!r}; known: {', '.join(_WRITERS)}")
    good, problems = settled(history, lambda: _sound(open_folder(history), cluster, since))
    write = _WRITERS[form](stream)
    # One run after the other: the rows come out oldest run first, and memory holds one run at most
    for entry in each_once(good):
        for row in settled(history, lambda: _rows_of(history, entry)):  # noqa: B023  called at once
            write(row)
    return problems


def _ask(
    history: str, cluster: str, since: float, condition: str, names: dict[str, str]
) -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
    def ask() -> tuple[dict[Series, tuple[NightValue, ...]], tuple[LeftOutFile, ...]]:
        folder = open_folder(history)
        good, problems = _sound(folder, cluster, since)
        chosen = each_once(good)
        rows = list[Any]()
        for files, of in _whole_files(good, chosen):
            bound = {**names, "cluster": cluster, "since": since, **of}
            rows += _query(folder, files, _NIGHTS + condition + (_OF_RUNS if of else ""), bound)
        return _by_series(cluster, rows, {(one.run, one.time): one.fingerprint for one in chosen}), problems

    return settled(history, ask)


def _sound(folder: Folder, cluster: str | None, since: float) -> tuple[list[Entry], tuple[LeftOutFile, ...]]:
    entries, problems = in_files(folder, cluster, since)
    good, broken = sound(folder, entries)
    return good, (*problems, *broken)


def _whole_files(
    entries: Sequence[Entry], chosen: Sequence[Entry]
) -> Iterator[tuple[list[str], dict[str, list[Any]]]]:
    """Files to ask at once, every run in them, then each of which some runs are taken from another file."""
    every, wanted = Counter(one.path for one in entries), Counter(one.path for one in chosen)
    if whole := [path for path, count in wanted.items() if count == every[path]]:
        yield whole, {}
    for path in wanted.keys() - set(whole):
        mine = [one for one in chosen if one.path == path]
        yield [path], {"runs": [one.run for one in mine], "times": [one.time for one in mine]}


def _query(folder: Folder, paths: Sequence[str], sql: str, bound: dict[str, Any]) -> list[Any]:
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
        files = [_address(folder, path) for path in paths]
        try:
            rows: list[Any] = connection.execute(sql, {**bound, "files": files}).fetchall()
        except duckdb.Error as error:
            for path in paths:
                if not folder.files.exists(f"{folder.root}/{path}"):
                    raise MovedAway(path) from None
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
) -> dict[Series, tuple[NightValue, ...]]:
    gathered: dict[Series, list[NightValue]] = {}
    for run, time, collective, size_class, quantity, subject, value, rerun, status in rows:
        series = Series(cluster, collective, size_class, quantity, subject)
        parts = fingerprints.get((run, time), ())
        night = NightValue(run, time, value, parts, rerun, _STATUS.get(status, Status.INCONCLUSIVE))
        gathered.setdefault(series, []).append(night)
    return {
        series: tuple(sorted(found, key=lambda night: (night.time, night.run)))
        for series, found in gathered.items()
    }


def _rows_of(history: str, entry: Entry) -> list[tuple[Any, ...]]:
    folder, names = open_folder(history), ", ".join(name for name, _ in COLUMNS)
    sql = f"select {names} from read_parquet($files, hive_partitioning = false) where true {_OF_RUNS}"
    sql += " order by subject, collective, size_class, quantity"
    of = {"runs": [entry.run], "times": [entry.time]}
    try:
        return _query(folder, [entry.path], sql, of)
    except MovedAway:
        now = [one for one in each_once(in_files(folder, entry.cluster)[0]) if home(one) == home(entry)]
        return _query(folder, [now[0].path], sql, of) if now else []


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
