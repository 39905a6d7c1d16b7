"""Texts that take long to make and never change, kept in the user's cache folder from one process to the next.

What is kept ends up as a script in pages that are sent to others, so a file is believed only where nobody but
this user can have written it, and only as a whole: its first line is the digest of the rest. Whatever is odd about
it, the text is made anew; a cache folder that cannot be written costs the time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

FOLDER = "railgauge"
MOST = 16 << 20  # bytes that are read of a kept file; Vega is one MiB


def kept(name: str, make: Callable[[], str]) -> str:
    """The text that is kept as ``name``, else what ``make`` returns, which is kept then.

    ``name`` tells all that the text depends on: it is never made anew while the name stays.
    """
    folder = cache_folder()
    found = _read(folder, name) if folder else None
    if found is not None:
        return found
    text = make()
    if folder:
        with contextlib.suppress(OSError):
            _write(folder, name, text)
    return text


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/railgauge``, by default in ``~/.cache``; None where the user has no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / FOLDER


def _read(folder: Path, name: str) -> str | None:
    """None of a file that is missing, that others may have written, or that is not whole."""
    try:
        if not _ours(folder.lstat(), stat.S_ISDIR):
            return None
        file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            if not _ours(os.fstat(file), stat.S_ISREG):
                return None
            told, _, data = opened.read(MOST).partition(b"\n")
        return data.decode() if told.decode() == _digest(data) else None
    except (OSError, ValueError):
        return None


def _write(folder: Path, name: str, text: str) -> None:
    data = text.encode()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not _ours(folder.lstat(), stat.S_ISDIR):
        return
    partial = folder / f".{name}.{secrets.token_hex(8)}"
    try:
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(_digest(data).encode() + b"\n" + data)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def _ours(seen: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind, and nobody but this user may write it."""
    return kind(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o022


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
