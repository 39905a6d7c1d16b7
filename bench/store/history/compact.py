"""Puts the runs of a month together in one file; others may read and write the history meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence

from bench.model.late_dataclass import dataclass
from bench.store.history.location import (
    AlreadyThere,
    Folder,
    HistoryError,
    LeftOutFile,
    day,
    month_path,
    open_folder,
    put,
    reaching,
    remove,
    run_path,
)
from bench.store.history.parquet_file import Broken, Entry, RecordedRun, decode, encode
from bench.store.history.run_files import home, in_files, settled

# A run is recorded when it is over: late on the last of a month, by a clock that is not quite right
_SETTLED = 2 * 86400.0
_ROWS = 200_000  # in one file: a month of nights of 6000 series, some 10 MB


@dataclass(frozen=True)
class Compacted:
    """So many runs now lie in the file ``where`` alone, or in the files of that folder."""

    where: str
    runs: int


def compact(history: str, cluster: str | None = None) -> Iterator[Compacted | LeftOutFile]:
    """Put the runs of each month that is over into one file; what was done, and the files that were left as they are.

    A file is removed once the file of the month is on the disk, was read back, and holds the run as the file did. A
    kill leaves runs in both, which readers count once, and the next call ends what this one began. Raises HistoryError.
    """
    folder, until = open_folder(history), day(time.time() - _SETTLED)[: len("2026-03")]
    entries, problems = settled(history, lambda: in_files(folder, cluster))
    yield from problems
    months: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.cluster, entry.time, entry.run)):
        if day(entry.time)[: len(until)] < until:
            months.setdefault(month_path(entry.cluster, entry.time), []).append(entry)
    for where, inside in months.items():
        yield from _month(folder, where, inside)


def _month(folder: Folder, where: str, entries: Sequence[Entry]) -> Iterator[Compacted | LeftOutFile]:
    there = {
        _home(record): repr(record)
        for path in sorted({entry.path for entry in entries if entry.path != home(entry)})
        for record in _records(folder, path, [])
    }
    left, done, problems = list[RecordedRun](), list[str](), list[LeftOutFile]()
    for path in (entry.path for entry in entries if entry.path == home(entry)):
        for record in _records(folder, path, problems):
            if path not in there:
                left.append(record)
            elif there[path] == repr(record):
                done.append(path)
            else:
                problems.append(
                    LeftOutFile(path, f"differs from the same run in {where}; move one of them away")
                )
    yield from problems
    for path in done:
        remove(folder, path)
    if done:
        yield Compacted(where, len(done))
    for batch in _batches(left):
        yield Compacted(_together(folder, where, batch), len(batch))


def _records(folder: Folder, path: str, problems: list[LeftOutFile]) -> tuple[RecordedRun, ...]:
    """The runs in a file; none of one that is gone: another call has put its run together with others."""
    try:
        with reaching(folder, path, "cannot be read"):
            return decode(folder.files.cat_file(f"{folder.root}/{path}"))
    except FileNotFoundError:
        pass
    except (Broken, HistoryError) as error:
        problems.append(LeftOutFile(path, folder.in_one_line(error)))
    return ()


def _batches(left: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    """What becomes one file each. A run by itself stays where it is."""
    batch, rows = list[RecordedRun](), 0
    for record in left:
        if rows + len(record.samples) > _ROWS and len(batch) > 1:
            yield batch
            batch, rows = [], 0
        batch.append(record)
        rows += len(record.samples)
    if len(batch) > 1:
        yield batch


def _together(folder: Folder, where: str, batch: Sequence[RecordedRun]) -> str:
    """Write one file of some runs, read it back, and remove their own files; its path. Raises HistoryError."""
    content = encode(*batch)
    path = f"{where}/{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    with contextlib.suppress(AlreadyThere):  # two calls at once make the same file of the same runs
        put(folder, path, content)
    with reaching(folder, path, "cannot be read"):
        written = folder.files.cat_file(f"{folder.root}/{path}")
    # as texts: a figure that is NaN equals no other, not even itself
    if repr(decode(written)) != repr(tuple(batch)):
        raise HistoryError(f"{folder.name}/{path}: is not what was written; the files of its runs stay")
    for record in batch:
        remove(folder, _home(record))
    return path


def _home(record: RecordedRun) -> str:
    """The file of the run by itself."""
    return run_path(record.cluster, record.run, record.time)
