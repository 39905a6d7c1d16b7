"""Which run folders are a user's own: what runs again in a folder is sealed by a key that lies outside of it.

``resume`` obeys a folder: its command line, its profile, its plan. A folder can come from anybody, and the files of
an archive belong to whoever unpacked it, so the owner alone proves nothing. The seal is an HMAC over manifest and
plan by a key in the user's state folder, which only the user can read.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from .files import MANIFEST, PLAN, RunError, publish, read_file
from .user_state import state_folder

SEAL = "seal.json"
SEALED = (MANIFEST, PLAN)
KEY_BYTES = 32


def with_seal(folder: Path, texts: Mapping[str, bytes]) -> dict[str, str | bytes]:
    """The files to write, in their order, behind the seal of the folder as it is and as each of them leaves it.

    A crash may come in between. Without a home to keep a key in there is no seal.
    """
    if (key := _key(make=True)) is None:
        return dict(texts)
    states = [{each: _digest(_content(folder, each)) for each in SEALED}]
    for name, text in texts.items():
        if name in SEALED:
            states.append({**states[-1], name: _digest(text)})
    return {SEAL: json.dumps([_seal(key, each) for each in states]), **texts}


def mark(folder: Path, text: bytes, make: bool = False) -> str:
    """The seal of what this user wrote about the run of a folder; "" for a user without a key."""
    key = _key(make)
    about = {MANIFEST: _digest(_content(folder, MANIFEST)), "about": _digest(text)}
    return _seal(key, about) if key else ""


def not_own(folder: Path) -> str:
    """Why a folder is not known to be this user's own; "" where it is."""
    for path in (folder, *(folder / name for name in SEALED)):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid != os.getuid():
                return f"{path} belongs to another user"
            if path.is_symlink():
                return f"{path} is a link"
    if (key := _key()) is None:
        return "you have made no run here yet"
    try:
        seals = json.loads(_content(folder, SEAL))
    except ValueError:
        return "it has no seal of yours"
    wanted = _seal(key, {each: _digest(_content(folder, each)) for each in SEALED})
    if not isinstance(seals, list) or wanted not in seals:
        return "its seal is not yours, or its manifest or plan was changed after your run"
    return ""


def _seal(key: bytes, digests: dict[str, str]) -> str:
    return hmac.new(key, json.dumps(digests, sort_keys=True).encode(), sha256).hexdigest()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _content(folder: Path, name: str) -> bytes:
    """What a file holds; nothing of one that cannot be read."""
    try:
        return read_file(folder, name)
    except RunError:
        return b""


def _key(make: bool = False) -> bytes | None:
    """The user's key; None where there is none, or others can read it."""
    if (path := _key_path()) is None:
        return None
    with contextlib.suppress(OSError):
        if make and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # two runs may begin together
                publish(path, secrets.token_bytes(KEY_BYTES))
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(file)
            private = (
                stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
            )
            key = opened.read(KEY_BYTES) if private else b""
            return key if len(key) == KEY_BYTES else None
    return None


def _key_path() -> Path | None:
    """``folders.key`` in the user's state folder; None for a user without a home."""
    folder = state_folder()
    return folder / "folders.key" if folder else None
