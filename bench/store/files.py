"""The files of a run folder: what they are called, and the one way in which each is read and written.

A run folder may come from a stranger. So a file is read only where it is a regular file beneath the folder and no
larger than any run makes it, and it is written beneath the folder too, never through a link: whole, under a new name,
and synced to the disk before it takes its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.model.errors import EXIT_INCONCLUSIVE, EXIT_USAGE, RailGaugeError

FORMAT = 2  # 1: groups are always lists
MANIFEST, FACTS, PLAN, JOURNAL = "manifest.json", "facts.jsonl", "plan.json", "journal.jsonl"
COUNTERS, VERDICTS, LOGS = "counters.jsonl", "verdicts.json", "logs"
VERBS = "verbs.jsonl"
HISTORY = "history.json"
DRAWN = "drawn.json"  # which reports were drawn, and from what
HEALTH = "health.jsonl"
ACTIVITY = "activity.jsonl"
NOT_TRIED = "not tried"  # how the reason of a loss begins that nobody ever began to measure
UNWRITTEN = (
    "the run folder could not be written any more: "  # how a note begins that tells what ended the run
)
IMPORTED = "import"  # the launcher of a run that was made of other tools' results
TITLES = "titles.json"  # what a person calls the cluster and the site, on every report
WIRING = "wiring.json"  # in LOGS: on which rails of the others each node heard itself and them
FABRIC = "fabric.jsonl"  # in LOGS: what ibnetdiscover, iblinkinfo and ibqueryerrors said, one line a time

TEMPORARY = ".tmp"  # how the name of a file ends that is not whole yet
LARGEST_FILE = 1 << 28  # bytes of a file that is read at once; a plan of 64 nodes has 600 kB
LARGEST_JOURNAL = 1 << 33  # bytes of a file that is read line by line; the journal of 64 nodes has 100 MB
BLOCK = 1 << 18  # bytes of a file with lines that are asked for at once
LONGEST_LINE = 1 << 26  # bytes; the counters of 64 nodes have 350 kB

# of a path that another one would mend
_ELSEWHERE = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip


class RunError(RailGaugeError):
    """A run folder that cannot be used; the message names the folder and what is wrong.

    ``exit_status`` is 2 where another argument would mend it, 3 where the folder itself is at fault.
    """

    def __init__(self, message: str, exit_status: int = EXIT_INCONCLUSIVE) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def is_folder(path: Path) -> bool | None:
    """None where nothing is there. Raises OSError where one may not look, which Python 3.14's ``Path.is_dir`` hides."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def free(path: Path) -> None:
    """Raise RunError unless ``path`` is a folder to be made, or an empty one."""
    try:
        for above in (path, *path.parents):
            if is_folder(above) is False:
                raise RunError(f"{above} is a file; give a new folder with --out", EXIT_USAGE)
        if is_folder(path) and any(path.iterdir()):
            raise RunError(f"{path} already holds something; give a new folder with --out", EXIT_USAGE)
    except OSError as error:
        raise RunError(
            f"cannot use {path}: {error.strerror}; give another folder with --out", EXIT_USAGE
        ) from None


def read_plain(path: Path, most: int) -> bytes:
    """The first ``most`` bytes, and one more, of a file that somebody named. Raises OSError, also for a pipe."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read(most + 1)


def exists(folder: Path, name: str) -> bool:
    """Whether there is a file, or a link, of that name."""
    return os.path.lexists(folder / name)


def read_file(folder: Path, name: str) -> bytes:
    """A whole file of a run folder. Raises RunError, also where it is missing."""
    with _reading(folder, name, LARGEST_FILE) as file, os.fdopen(file, "rb", closefd=False) as text:
        return text.read(LARGEST_FILE)


def read_lines(folder: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """The number of each line and its text; none where the file is missing. Raises RunError."""
    if not exists(folder, name):
        return
    with _reading(folder, name, LARGEST_JOURNAL) as file, os.fdopen(file, "rb", BLOCK, closefd=False) as text:
        number = 0
        while line := text.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise RunError(
                    f"{folder / name} line {number} is longer than {LONGEST_LINE >> 20} MiB: no run writes such a line"
                )
            yield number, line


@contextlib.contextmanager
def _reading(folder: Path, name: str, largest: int) -> Iterator[int]:
    path = folder / name
    try:
        file = opened(folder, name, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {why(error)}") from None
    try:
        _check(path, os.fstat(file), largest)
        yield file
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(file)


def opened(folder: Path, name: str, flags: int, mode: int = 0o600) -> int:
    """A descriptor of a file beneath a run folder. Raises OSError, with ELOOP where a link stands in the way."""
    with _beneath(folder, name) as (where, last):
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=where)


@contextlib.contextmanager
def _beneath(folder: Path, name: str) -> Iterator[tuple[int, str]]:
    """The open folder in which a file lies, and its last name. No folder on the way is a link."""
    *inner, last = Path(name).parts
    where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in inner:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            outer, where = where, os.open(part, flags, dir_fd=where)
            os.close(outer)
        yield where, last
    finally:
        os.close(where)


def why(error: OSError) -> str:
    """What went wrong beneath a run folder, in words."""
    links = (errno.ELOOP, errno.ENOTDIR)
    return "a link is not followed in a run folder" if error.errno in links else str(error.strerror)


def write_file(folder: Path, name: str, text: str | bytes | Iterable[str]) -> None:
    """Replace a file of a run folder as a whole: readers see the old text or the new, never half of either.

    The text and its name are on the disk when this returns. Raises RunError.
    """
    try:
        with _beneath(folder, name) as (where, last):
            _replace(where, last, text, permissions(folder))
            sync_folder(where)
    except OSError as error:
        raise RunError(f"cannot write {folder / name}: {why(error)}") from None


def write_files(folder: Path, texts: Mapping[str, str | bytes]) -> None:
    """Like ``write_file`` for files in the folder itself, in their order: the disk is asked once to keep all names."""
    name = ""
    try:
        with _beneath(folder, MANIFEST) as (where, _):
            for name, text in texts.items():
                _replace(where, name, text, permissions(folder))
            sync_folder(where)
    except OSError as error:
        raise RunError(f"cannot write {folder / name}: {why(error)}") from None


def write_text(path: Path, text: str | bytes | Iterable[str]) -> None:
    """Write a file that a user asked for, like ``write_file``; RunError is wrong usage where another path would do."""
    try:
        where = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _replace(where, path.name, text, 0o666)
            sync_folder(where)
        finally:
            os.close(where)
    except OSError as error:
        raise not_written(path, error) from None


def not_written(path: Path, error: OSError) -> RunError:
    """What to raise where somebody named ``path``: wrong usage where another path would do, not for a full disk."""
    return RunError(
        f"cannot write {path}: {error.strerror}",
        EXIT_USAGE if error.errno in _ELSEWHERE else EXIT_INCONCLUSIVE,
    )


def _replace(where: int, name: str, text: str | bytes | Iterable[str], mode: int) -> None:
    # a name that nobody can guess, and a file that must be new: in a folder that others may write, neither a
    # link that lies in wait nor another process of the same number on another node comes between
    partial = f".{name[:200]}.{secrets.token_hex(8)}"
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=where)
    try:
        with os.fdopen(file, "wb") as out:
            for piece in [text] if isinstance(text, (str, bytes)) else text:
                out.write(piece.encode("utf-8", "backslashreplace") if isinstance(piece, str) else piece)
            out.flush()
            os.fsync(file)
        os.replace(partial, name, src_dir_fd=where, dst_dir_fd=where)
    except BaseException:  # raised again once the unfinished file is gone
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=where)
        raise


def publish(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Make a file that nobody sees half of and that replaces none: of two makers of one name the second fails.

    Its content and its name are on the disk when this returns. Raises OSError, FileExistsError where it is there.
    """
    aside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}{TEMPORARY}")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(file)
        try:
            os.link(aside, path)
        except FileExistsError:
            raise
        except OSError:  # no hard links here (FAT, some FUSE mounts): rename, which would replace a namesake
            if path.exists():
                raise FileExistsError(path) from None
            aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    where = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_folder(where)
    finally:
        os.close(where)


def permissions(folder: Path) -> int:
    """Who may read a file that is added to a run folder: who may read its journal."""
    try:
        return stat.S_IMODE(os.stat(folder / JOURNAL, follow_symlinks=False).st_mode) & 0o666  # noqa: PTH116
    except OSError:
        return 0o600


def check_logs(folder: Path) -> None:
    """Raise RunError unless ``logs`` holds files alone that are no larger than any run writes them."""
    try:
        with _beneath(folder, f"{LOGS}/any") as (logs, _):
            for name in sorted(os.listdir(logs)):  # noqa: PTH208  of an open folder
                _check(folder / LOGS / name, os.stat(name, dir_fd=logs, follow_symlinks=False), LARGEST_FILE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {folder / LOGS}: {why(error)}") from None


def _check(path: Path, found: os.stat_result, largest: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise RunError(f"{path} is not a regular file: a run folder holds no links, pipes or devices")
    if found.st_size > largest:
        raise RunError(f"{path} has {found.st_size} bytes: no run writes more than {largest}")


def sync_folder(where: int) -> None:
    """Make the names in an open folder as durable as their content; a file system that cannot is left alone."""
    with contextlib.suppress(OSError):
        os.fsync(where)


def sync(folder: Path) -> None:
    """See every file of a run folder on the disk, its logs included. Raises RunError where that fails."""
    for name in ("", LOGS):
        where = folder / name
        try:
            found = sorted(path for path in where.iterdir() if path.is_file() and not path.is_symlink())
            for path in found:
                file = opened(folder, str(path.relative_to(folder)), os.O_RDONLY | os.O_NONBLOCK)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            file = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
            try:
                sync_folder(file)
            finally:
                os.close(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RunError(f"cannot see {where} on the disk: {error.strerror}") from None
