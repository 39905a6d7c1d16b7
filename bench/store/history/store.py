"""Append a run, list the runs, check every byte. A bad file is named and left out, never fatal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bench.store.history.folder import (
    ACCEPTED,
    Folder,
    HistoryError,
    LeftOutFile,
    MissingLibrary,
    day,
    found,
    open_folder,
    put,
    reaching,
    run_path,
    safe,
    unreadable,
)
from bench.store.history.record import Broken, Entry, Record, decode, encode, read_entry, verify

# A footer in a bucket is a round trip of tens of milliseconds, and a history has hundreds
_AT_ONCE = 8
_FOREIGN = "foreign: not a file of this history; move it away"
_HOME = re.compile(r"cluster=[^/]+/date=[^/]+/[^/]+\.parquet")

T = TypeVar("T")


def append(history: str, record: Record) -> str:
    """Record a run for good; the path of its file. Raises HistoryError, also for a run recorded before."""
    path = run_path(record.cluster, record.run, record.time)
    return put(open_folder(history), path, encode(record))


def runs(
    history: str, cluster: str | None = None, since: float = 0.0
) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    """The runs, oldest first, from their footers, and the files that are none.

    ``cluster`` looks into one cluster's folder alone; ``since`` is in seconds since 1970.
    """
    folder = open_folder(history)
    return _each(folder, _candidates(folder, cluster, since), lambda path: _footer(folder, path))


def check(history: str) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    """Like ``runs``, after reading every file to its last byte and comparing it with its checksum."""
    folder = open_folder(history)

    def whole(path: str) -> Entry:
        record = decode(folder.files.cat_file(f"{folder.root}/{path}"))
        return Entry(record.run, record.time, record.cluster, record.fingerprint, len(record.samples), path)

    return _each(folder, _candidates(folder, None, 0.0), whole)


def strangers(history: str) -> tuple[LeftOutFile, ...]:
    """Files that lie where no run of any cluster would, by their names alone."""
    return tuple(
        LeftOutFile(path, _FOREIGN)
        for path, _ in found(open_folder(history))
        if not path.startswith(f"{ACCEPTED}/") and not _HOME.fullmatch(path)
    )


def sound(folder: Folder, entries: Iterable[Entry]) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    """The entries whose files are as they were written, and the others."""

    def whole(entry: Entry) -> Entry:
        verify(folder.files.cat_file(f"{folder.root}/{entry.path}"))
        return entry

    return _sorted(_attempts(folder, entries, whole, lambda entry: entry.path))


def read(history: str, run: str, cluster: str | None = None) -> Record:
    """One run with all its samples. Raises HistoryError if there is none, or one in several clusters."""
    folder = open_folder(history)
    entries, _ = runs(history, cluster)
    named = [entry for entry in entries if entry.run == run]
    if len(named) != 1:
        where = ", ".join(repr(entry.cluster) for entry in named)
        said = (
            f"is in several clusters: {where}; name one"
            if named
            else "is not in it; railgauge history list DIR"
        )
        raise HistoryError(f"{folder.name}: run {run!r} {said}")
    path = named[0].path
    try:
        return decode(folder.files.cat_file(f"{folder.root}/{path}"))
    except (Broken, OSError) as error:
        raise HistoryError(f"{path}: {folder.in_one_line(error)}; railgauge history check DIR") from error


def _candidates(folder: Folder, cluster: str | None, since: float) -> list[tuple[str, int]]:
    under = "" if cluster is None else f"cluster={safe(cluster)}"
    start = f"date={day(since)}" if since else ""
    return [
        (path, size)
        for path, size in found(folder, under)
        if not path.startswith(f"{ACCEPTED}/") and not _older(path, start)
    ]


def _older(path: str, start: str) -> bool:
    """Whether a file lies in the folder of a day before ``start``; ISO dates order like their text."""
    parts = path.split("/")
    return len(parts) == 3 and parts[1].startswith("date=") and parts[1] < start


def _footer(folder: Folder, path: str) -> Entry:
    full = f"{folder.root}/{path}"
    if folder.local:
        return read_entry(full, path)
    with folder.files.open(full, "rb") as file:
        return read_entry(file, path)


def _each(
    folder: Folder, candidates: Iterable[tuple[str, int]], look: Callable[[str], Entry]
) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    def one(candidate: tuple[str, int]) -> Entry:
        path, size = candidate
        if not path.endswith(".parquet"):
            raise Broken(_FOREIGN)
        if why := unreadable(size):
            raise Broken(why)
        entry = look(path)
        home = run_path(entry.cluster, entry.run, entry.time)
        if path != home:
            raise Broken(f"misplaced: its run belongs at {home}")
        return entry

    return _sorted(_attempts(folder, candidates, one, lambda candidate: candidate[0]))


def _attempts(
    folder: Folder, items: Iterable[T], look: Callable[[T], Entry], path: Callable[[T], str]
) -> list[Entry | LeftOutFile]:
    """What ``look`` makes of each item, or why it makes nothing of it."""

    def attempt(item: T) -> Entry | LeftOutFile:
        try:
            with reaching(folder, path(item), "cannot be read"):
                return look(item)
        except (Broken, HistoryError, OSError) as error:
            if isinstance(error, MissingLibrary):
                raise
            return LeftOutFile(path(item), folder.in_one_line(error) or type(error).__name__)

    if folder.local:
        return [attempt(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(attempt, items))


def _sorted(seen: Iterable[Entry | LeftOutFile]) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    seen = list(seen)
    entries = [item for item in seen if isinstance(item, Entry)]
    problems = [item for item in seen if isinstance(item, LeftOutFile)]
    return tuple(sorted(entries, key=lambda entry: (entry.time, entry.cluster, entry.run))), tuple(problems)
