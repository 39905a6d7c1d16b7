"""Where the files of a history lie, and how one is put there whole or not at all.

``cluster=<name>/date=<UTC day>/<run>.parquet``, the runs of a month together as
``cluster=<name>/month=<UTC month>/<digest>.parquet``, and ``accepted/cluster=<name>/<id>.json``. Names are data:
every character but letters, digits, ``-`` and ``_`` is percent-encoded, so that no name leaves its folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import importlib.util
import inspect
import os
import stat
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.late_dataclass import dataclass
from bench.model.redact import scrub_text, secrets, veil
from bench.model.units import show_some
from bench.store.files import TEMPORARY, publish, sync_folder
from bench.store.history.arrow_bucket import ArrowBucket, files_by_environment

EXTRA = "railgauge[nightly]"
ACCEPTED = "accepted"
# what may lie in the root of a disk of its own
_ANYWHERE = ("lost+found", "aquota.user", "aquota.group", "$RECYCLE.BIN", "System Volume Information")
# A writer needs seconds; a temporary file of yesterday has lost its writer
_STALE = 86400.0
_TRIES = 5
_NO_FILE = -1  # the size of what is no regular file
_LARGEST = 64 << 20  # bytes; a night of 1000 series has 50 000
# File systems allow 255 bytes in a name; the rest is for the prefix, suffix and temporary ending
_LONGEST = 150


class HistoryError(RailGaugeError):
    """A history that cannot be read or written; the message is one line with the next step."""


class MissingLibrary(HistoryError):
    """A library of the extra ``railgauge[nightly]`` is not installed."""


class AlreadyThere(HistoryError):
    """A file of that name is there, and none is ever replaced."""


class WrongPlace(HistoryError):
    """A place where no history is or can be: another argument would mend it."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class LeftOutFile:
    """A file that was left out, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Disk:
    """What a folder is asked for of the calls of fsspec, whose import takes a third of a short list's time."""

    protocol = ("file",)

    def cat_file(self, path: str) -> bytes:
        return Path(path).read_bytes()


@dataclass(frozen=True)
class Folder:
    """An open history: ``files`` has the calls of an fsspec file system, ``root`` is a path in it, ``local`` no bucket.

    ``name`` is what may be shown and kept of where it is, ``hidden`` what of its address may not.
    """

    files: Any
    root: str
    local: bool
    name: str
    hidden: tuple[str, ...] = ()

    def in_one_line(self, error: object) -> str:
        """A library's words in one line, without what the address keeps to itself."""
        return " ".join(scrub_text(veil(str(error), self.hidden)).split())


def library(name: str) -> Any:
    """An optional library, imported on first use. Raises MissingLibrary."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingLibrary(f"{package} is not installed; pip install '{EXTRA}'") from error


def complete() -> None:
    """Look, without importing, for what writing and asking a history needs. Raises MissingLibrary."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingLibrary(f"pyarrow is not installed; pip install '{EXTRA}'")


def open_folder(history: str) -> Folder:
    """A path, or a URL that fsspec knows (``s3://bucket/history``). Raises HistoryError for any other."""
    if "://" not in history:
        try:
            root = str(Path(history).expanduser().absolute())
        except RuntimeError as error:
            raise WrongPlace(f"{history}: {error}") from None
        return Folder(Disk(), root, True, root)
    shown, hidden = scrub_text(history).rstrip("/"), secrets([history])
    bucket = history.removeprefix("s3://").rstrip("/")
    if bucket != history and (reader := files_by_environment(bucket)) is not None:
        files = ArrowBucket(reader, lambda: _by_fsspec(history, shown, hidden)[0])
        return Folder(files, bucket, False, shown, hidden)
    files, root = _by_fsspec(history, shown, hidden)
    root, local = root.rstrip("/"), history.startswith(("file://", "local://"))
    return Folder(files, root, local, root if local else shown, hidden)


def _by_fsspec(history: str, shown: str, hidden: tuple[str, ...]) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it. Raises HistoryError."""
    try:
        files, root = library("fsspec.core").url_to_fs(history)
    except (ValueError, ImportError) as error:
        said = scrub_text(veil(str(error), hidden))
        raise HistoryError(f"{shown}: {said}; give a folder or a URL that fsspec can open") from error
    return files, root


def lasting(history: str) -> Folder:
    """``open_folder`` for nights that somebody wants to find again. Raises WrongPlace where nothing is kept.

    Raises HistoryError where it can only be read: to ask for the protocol imports what writes.
    """
    folder = open_folder(history)
    if "memory" in (folder.files.protocol, *folder.files.protocol):
        raise WrongPlace(f"{folder.name}: nothing is kept in memory; give a folder or a bucket")
    return folder


def create(history: str) -> None:
    """Make the folder of a history, which may be there already, in a folder that is there. A bucket needs none.

    Nothing above it is made: a slip of the finger, or a disk that is not mounted, would begin a new history in
    silence every time. Raises WrongPlace.
    """
    folder = open_folder(history)
    root = Path(folder.root)
    if not folder.local or root.is_dir():
        return
    if root.exists():
        raise WrongPlace(f"{folder.name} is a file; a history is a folder")
    if not root.parent.is_dir():
        raise WrongPlace(
            f"{folder.name}: there is no folder {root.parent} in which it could be made; is it mounted?"
        )
    try:
        root.mkdir(exist_ok=True)
    except OSError as error:
        raise WrongPlace(f"{folder.name}: cannot be made: {error.strerror}; give another folder") from error


@lru_cache(4096)
def safe(name: str) -> str:
    """A name as one component of a path: no separator, no dot, no wildcard; never longer than 150 bytes.

    Names that differ stay different: a long one ends in a digest of the whole. Raises HistoryError for an
    empty name and for one that is not valid Unicode, which no Parquet file could hold.
    """
    try:
        encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise HistoryError(f"name {name!r} is not valid Unicode; give another one") from error
    if not encoded:
        raise HistoryError("a cluster or run has an empty name; give it one")
    if len(encoded) <= _LONGEST:
        return encoded
    return f"{encoded[: _LONGEST - 65]}+{hashlib.sha256(name.encode()).hexdigest()}"


def day(seconds: float) -> str:
    """``2026-03-04``, the UTC day. Raises HistoryError for what is not a time."""
    try:
        return _day(int(seconds // 86400))
    except (ValueError, OverflowError, OSError) as error:
        raise HistoryError(f"{seconds} is not a time in seconds since 1970") from error


@lru_cache(4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86400, timezone.utc).date().isoformat()


def run_path(cluster: str, run: str, seconds: float) -> str:
    """Where the file of a run lies, relative to the root; a file that lies elsewhere is not believed."""
    return f"cluster={safe(cluster)}/date={day(seconds)}/{safe(run)}.parquet"


def month_path(cluster: str, seconds: float) -> str:
    """The folder, relative to the root, whose files each hold several runs of one month."""
    return f"cluster={safe(cluster)}/month={day(seconds)[:7]}"


def put(folder: Folder, path: str, content: bytes) -> str:
    """Write a file that nobody can see half of, and that replaces none; its full path as it may be shown.

    On a disk: a temporary name in the same folder, synced, then linked to the final name, which fails if
    that exists. In a bucket: one put, which is atomic there. Raises AlreadyThere, and HistoryError.
    """
    full, shown = f"{folder.root}/{path}", f"{folder.name}/{path}"
    try:
        with reaching(folder, shown, "cannot be written"):
            if not folder.local:
                _put_in_bucket(folder.files, full, content)
            elif Path(folder.root).is_dir():
                _put_on_disk(Path(folder.root), Path(full), content)
            else:
                raise HistoryError(f"{shown}: the folder of the history is gone; is it mounted?")
    except FileExistsError as error:
        raise AlreadyThere(
            f"{shown} is already there, and no file of a history is ever overwritten"
        ) from error
    except FileNotFoundError as error:
        said = folder.in_one_line(error)
        raise HistoryError(f"{shown}: cannot be written: {said}; see that the bucket is right") from error
    return shown


def _put_on_disk(root: Path, full: Path, content: bytes) -> None:
    for left in reversed(range(_TRIES)):
        full.parent.mkdir(parents=True, exist_ok=True)
        try:
            publish(full, content, 0o666)
            break
        except FileNotFoundError:  # the folder of a day was empty, and ``remove`` took it in this moment
            if not left or not root.is_dir():
                raise
    for folder in full.parents[1 : len(full.relative_to(root).parts)]:
        where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync_folder(where)
        finally:
            os.close(where)


def remove(folder: Folder, path: str) -> None:
    """Remove a file, and the folder of its day where it was the last in it. Raises HistoryError."""
    full = f"{folder.root}/{path}"
    try:
        with reaching(folder, f"{folder.name}/{path}", "cannot be removed"):
            if not folder.local:
                folder.files.rm_file(full)
                return
            Path(full).unlink()
    except FileNotFoundError:
        return  # somebody else did
    with contextlib.suppress(OSError):
        Path(full).parent.rmdir()


def _put_in_bucket(files: Any, full: str, content: bytes) -> None:
    """Write the object; of two writers of one name the second fails, by the bucket itself where it can refuse."""
    if files.exists(full):
        raise FileExistsError(full)
    if "mode" in inspect.signature(files.pipe_file).parameters:
        try:
            files.pipe_file(full, content, mode="create")
        except OSError:
            if files.exists(full) and files.cat_file(full) != content:
                raise FileExistsError(full) from None
            raise
        return
    files.pipe_file(full, content)
    if files.cat_file(full) != content:
        raise FileExistsError(full)


@contextlib.contextmanager
def reaching(folder: Folder, where: str, what: str) -> Iterator[None]:
    """Raise HistoryError, one line, for whatever a disk or the library of a bucket raises.

    Each of those libraries has exceptions of its own, which are no OSError: no credentials, no such host.
    """
    try:
        yield
    except (FileExistsError, FileNotFoundError, RailGaugeError):
        raise
    except Exception as error:  # reported as the one line that it becomes
        if folder.local and not isinstance(error, OSError):
            raise
        said = folder.in_one_line(error) or type(error).__name__
        place = (
            "give another --history"
            if folder.local
            else "see that the bucket, its endpoint and keys are right"
        )
        raise HistoryError(f"{where}: {what}: {said}; {place}") from error


def found(folder: Folder, under: str = "") -> Iterator[tuple[str, int]]:
    """(path relative to the root, bytes) of every file, in order. Raises WrongPlace where no history can be.

    A writer's temporary file is passed over while it is young, and given like any other when it is stale.
    """
    _expect_history(folder)
    yield from listed(folder, under)


def is_gone(error: Exception) -> bool:
    """Whether a file was removed, on NFS also while it was read."""
    return isinstance(error, FileNotFoundError) or getattr(error, "errno", 0) == errno.ESTALE


def listed(folder: Folder, under: str) -> Iterator[tuple[str, int]]:
    """The files that ``found`` gives, without asking whether the folder is a history."""
    try:
        with reaching(folder, folder.name, "cannot be listed"):
            place = f"{folder.root}/{under}".rstrip("/")
            listing = dict(_walk(place)) if folder.local else folder.files.find(place, detail=True)
    except FileNotFoundError:
        return
    for path, info in sorted(listing.items()):
        young = time.time() - float(info.get("mtime") or 0.0) < _STALE
        if not (path.endswith(TEMPORARY) and young):
            yield path[len(folder.root) :].lstrip("/"), int(info.get("size") or 0)


def _walk(place: str) -> Iterator[tuple[str, dict[str, float]]]:
    """What ``find`` of fsspec gives of a disk, in a tenth of its time. No link is followed. Raises OSError.

    In the order of names, as buckets list: ``date=`` before ``month=``, and folders that are new by then at last. A
    run that ``compact`` moves meanwhile from the one to the other is so seen in one of them at least.
    """
    folders: list[tuple[str, set[str] | None]] = [(place, None)]
    while folders:
        folder, seen = folders.pop()
        inner = set[str]()
        # what is gone by now was moved to where this has still to look
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as inside:
            for each in inside:
                if each.is_dir(follow_symlinks=False):
                    inner.add(each.path)
                elif seen is None:
                    with contextlib.suppress(FileNotFoundError):
                        about = each.stat(follow_symlinks=False)
                        size = about.st_size if stat.S_ISREG(about.st_mode) else _NO_FILE
                        yield each.path, {"size": size, "mtime": about.st_mtime}
        if new := inner - (seen or set()):
            folders.append((folder, inner))
            folders += [(path, None) for path in sorted(new, reverse=True)]


def unreadable(size: int) -> str:
    """Why a file is not even opened, "" where it is: a pipe never ends, and a night has kilobytes."""
    if size < 0:
        return "a link, a pipe or a device, and no file"
    return "empty" if size == 0 else "larger than any night" if size > _LARGEST else ""


def _expect_history(folder: Folder) -> None:
    """Raise WrongPlace for what is no folder, and for one full of other things: that tree is not walked."""
    if folder.local and not Path(folder.root).is_dir():
        why = "is a file; a history is a folder" if Path(folder.root).exists() else "no such folder"
        raise WrongPlace(f"{folder.name}: {why}; the first railgauge nightly makes it")
    try:
        with reaching(folder, folder.name, "cannot be listed"):
            inside = sorted(str(path).rstrip("/").rpartition("/")[2] for path in _top(folder))
    except FileNotFoundError:
        return
    others = [name for name in inside if not name.startswith(".") and name not in _ANYWHERE]
    if others and not any(name == ACCEPTED or name.startswith("cluster=") for name in others):
        raise WrongPlace(
            f"{folder.name}: not a history: it holds {show_some(others, 1)}, and no night of any cluster"
        )


def _top(folder: Folder) -> list[str]:
    if folder.local:
        return [path.name for path in Path(folder.root).iterdir()]
    listing: list[str] = folder.files.ls(folder.root, detail=False)
    return listing
