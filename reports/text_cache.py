"""A cache of texts that take long to make and never change, in the user's cache folder.

A cached text becomes a script in pages that are sent to others, so a file is used only if nobody but this user can
have written it and if it is complete: its first line is the digest of the rest. Otherwise the text is made again. A
cache folder that cannot be written costs time and nothing else.
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


def cached(name: str, make: Callable[[], str]) -> str:
    """The text cached as ``name``, else the text that ``make`` returns, which is cached.

    ``name`` identifies everything that the text depends on: for one name the text is made once.
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
    """The cached text; None for a file that is missing, that others may have written, or that is damaged."""
    try:
        if not _ours(folder.lstat(), stat.S_ISDIR):
            return None
        file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            if not _ours(os.fstat(file), stat.S_ISREG):
                return None
            digest, _, data = opened.read(MOST).partition(b"\n")
        return data.decode() if digest.decode() == _digest(data) else None
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


def _ours(status: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether the file is of this kind, and only this user may write it."""
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
