"""Append a run, list the runs, check every byte. A bad file is named and left out, never fatal."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bench.store.history.location import (
    ACCEPTED,
    AlreadyThere,
    Folder,
    HistoryError,
    LeftOutFile,
    MissingLibrary,
    day,
    found,
    is_gone,
    listed,
    month_path,
    open_folder,
    put,
    reaching,
    run_path,
    safe,
    unreadable,
)
from bench.store.history.parquet_file import Broken, Entry, RecordedRun, decode, encode, read_entries

# A footer in a bucket is a round trip of tens of milliseconds, and a history has hundreds
_AT_ONCE = 32
# bytes of an object that are asked for at once to find the footer in: a month of nights has 4 kB
_END = 1 << 16
_FOREIGN = "foreign: not a file of this history; move it away"
_HOME = re.compile(r"cluster=[^/]+/(date|month)=[^/]+/[^/]+\.parquet")
_TRIES = 20

T = TypeVar("T")


class MovedAway(Exception):
    """A file is gone that was listed a moment before: ``compact`` has put its run into another."""


def settled(history: str, look: Callable[[], T]) -> T:
    """What ``look`` finds, asked again as long as files move away under it. Raises HistoryError."""
    for _ in range(_TRIES):
        try:
            return look()
        except MovedAway as moved:
            folder, last = open_folder(history), moved
            if not folder.local:
                folder.files.invalidate_cache()
    raise HistoryError(f"{folder.name}/{last}: was listed and is not there; try again")


def append(history: str, record: RecordedRun) -> str:
    """Record a run for good; the path of its file. Raises HistoryError, also for a run recorded before."""
    folder, path = open_folder(history), run_path(record.cluster, record.run, record.time)

    def months() -> list[Entry]:
        inside = listed(folder, month_path(record.cluster, record.time))
        return entries_of(folder, inside, lambda each: footers(folder, each))[0]

    for entry in settled(history, months):
        if home(entry) == path:
            raise AlreadyThere(
                f"{folder.name}/{path} is already there, in {entry.path}, and a history is never overwritten"
            )
    return put(folder, path, encode(record))


def home(entry: Entry) -> str:
    """The path of the run's own file, whether it is still there or not: no two runs of a history share one."""
    return run_path(entry.cluster, entry.run, entry.time)


def each_once(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The runs, oldest first; a run in two files, as ``compact`` may leave it, is taken from the larger file."""
    together = Counter(entry.path for entry in entries)
    first = sorted(entries, key=lambda entry: (-together[entry.path], entry.path))
    once = {(entry.cluster, entry.run, day(entry.time)): entry for entry in reversed(first)}
    return tuple(sorted(once.values(), key=lambda entry: (entry.time, entry.cluster, entry.run)))


def runs(
    history: str, cluster: str | None = None, since: float = 0.0
) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    """The runs, oldest first, from their footers, and the files that hold none.

    ``cluster`` looks into one cluster's folder alone; ``since`` is in seconds since 1970.
    """
    entries, problems = settled(history, lambda: in_files(open_folder(history), cluster, since))
    return each_once(entries), problems


def in_files(
    folder: Folder,
    cluster: str | None = None,
    since: float = 0.0,
    look: Callable[[str], tuple[Entry, ...]] | None = None,
) -> tuple[list[Entry], tuple[LeftOutFile, ...]]:
    """The runs like ``runs``, of each file: a run may come twice. Raises MovedAway.

    ``look`` reads a file; without it, the footer alone is read.
    """
    entries, problems = entries_of(
        folder, candidates(folder, cluster, since), look or (lambda path: footers(folder, path))
    )
    first = day(since)
    return [entry for entry in entries if not since or day(entry.time) >= first], problems


def check(history: str) -> tuple[tuple[Entry, ...], tuple[LeftOutFile, ...]]:
    """Like ``runs``, after reading every file to its last byte and comparing it with its checksum."""
    folder = open_folder(history)

    def whole(path: str) -> tuple[Entry, ...]:
        return tuple(
            Entry(one.run, one.time, one.cluster, one.fingerprint, len(one.samples), path)
            for one in decode(folder.files.cat_file(f"{folder.root}/{path}"))
        )

    entries, problems = settled(history, lambda: entries_of(folder, candidates(folder, None, 0.0), whole))
    return each_once(entries), problems


def strangers(history: str) -> tuple[LeftOutFile, ...]:
    """Files that lie where no run of any cluster would, by their names alone."""
    return tuple(
        LeftOutFile(path, _FOREIGN)
        for path, _ in found(open_folder(history))
        if not path.startswith(f"{ACCEPTED}/") and not _HOME.fullmatch(path)
    )


def read(history: str, run: str, cluster: str | None = None) -> RecordedRun:
    """One run with all its samples. Raises HistoryError if there is none, or one in several clusters."""
    return settled(history, lambda: _read(open_folder(history), run, cluster))


def _read(folder: Folder, run: str, cluster: str | None) -> RecordedRun:
    named = [entry for entry in each_once(in_files(folder, cluster)[0]) if entry.run == run]
    if len(named) != 1:
        where = ", ".join(repr(entry.cluster) for entry in named)
        said = (
            f"is in several clusters: {where}; name one"
            if named
            else "is not in it; railgauge history list DIR"
        )
        raise HistoryError(f"{folder.name}: run {run!r} {said}")
    (entry,) = named
    try:
        together = decode(folder.files.cat_file(f"{folder.root}/{entry.path}"))
    except (Broken, OSError) as error:
        if is_gone(error):
            raise MovedAway(entry.path) from None
        raise HistoryError(
            f"{entry.path}: {folder.in_one_line(error)}; railgauge history check DIR"
        ) from error
    return next(one for one in together if (one.run, one.time) == (entry.run, entry.time))


def candidates(folder: Folder, cluster: str | None, since: float) -> list[tuple[str, int]]:
    """(path, bytes) of what may be files of runs."""
    under = "" if cluster is None else f"cluster={safe(cluster)}"
    start = day(since) if since else ""
    return [
        (path, size)
        for path, size in found(folder, under)
        if not path.startswith(f"{ACCEPTED}/") and not _older(path, start)
    ]


def _older(path: str, start: str) -> bool:
    """Whether a file lies in the folder of a day or month before ``start``; ISO dates order like their text."""
    parts = path.split("/")
    kind, _, when = parts[1].partition("=") if len(parts) == 3 else ("", "", "")
    return kind in ("date", "month") and when < start[: len("2026-03" if kind == "month" else "2026-03-04")]


def footers(folder: Folder, path: str) -> tuple[Entry, ...]:
    """The runs in a file, from its footer alone. Raises Broken, and OSError."""
    full = f"{folder.root}/{path}"
    if folder.local:
        return read_entries(full, path)
    end = folder.files.cat_file(full, start=-_END)
    if len(end) == _END < int.from_bytes(end[-8:-4], "little") + 8:
        end = folder.files.cat_file(full)
    return read_entries(io.BytesIO(end), path)


def entries_of(
    folder: Folder, files: Iterable[tuple[str, int]], look: Callable[[str], tuple[Entry, ...]]
) -> tuple[list[Entry], tuple[LeftOutFile, ...]]:
    """The runs in files (path, bytes), as ``look`` reads them, and the files that hold none. Raises MovedAway."""

    def one(candidate: tuple[str, int]) -> tuple[Entry, ...]:
        path, size = candidate
        if not path.endswith(".parquet"):
            raise Broken(_FOREIGN)
        if why := unreadable(size):
            raise Broken(why)
        inside = look(path)
        for at in [home(inside[0])] if len(inside) == 1 else _of_months(inside, path):
            if path != at:
                raise Broken(f"misplaced: its run belongs at {at}")
        return inside

    return _gathered(_attempts(folder, files, one, lambda candidate: candidate[0]))


def _of_months(inside: Iterable[Entry], path: str) -> set[str]:
    """Where a file of that name with these runs may lie."""
    name = path.rpartition("/")[2]
    months = {(entry.cluster, day(entry.time)[: len("2026-03")]): entry for entry in inside}
    return {f"{month_path(entry.cluster, entry.time)}/{name}" for entry in months.values()}


def _attempts(
    folder: Folder, items: Iterable[T], look: Callable[[T], tuple[Entry, ...]], path: Callable[[T], str]
) -> list[tuple[Entry, ...] | LeftOutFile]:
    """What ``look`` makes of each item, or why it makes nothing of it. Raises MovedAway."""

    def attempt(item: T) -> tuple[Entry, ...] | LeftOutFile:
        try:
            with reaching(folder, path(item), "cannot be read"):
                return look(item)
        except (Broken, HistoryError, OSError) as error:
            if is_gone(error):
                raise MovedAway(path(item)) from None
            if isinstance(error, MissingLibrary):
                raise
            return LeftOutFile(path(item), folder.in_one_line(error) or type(error).__name__)

    if folder.local:
        return [attempt(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(attempt, items))


def _gathered(
    seen: Sequence[tuple[Entry, ...] | LeftOutFile],
) -> tuple[list[Entry], tuple[LeftOutFile, ...]]:
    entries = [entry for item in seen if not isinstance(item, LeftOutFile) for entry in item]
    return entries, tuple(item for item in seen if isinstance(item, LeftOutFile))
