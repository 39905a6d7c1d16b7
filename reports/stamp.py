"""Whether the reports of a run are up to date, so that they need not be drawn again.

A stamp covers everything that a report depends on (every byte of the run folder except the reports, the verdicts, the
profile, the code of RailGauge and the versions of the drawing libraries) and every file that was written. It is sealed
with a key of this user, because a folder may come from elsewhere: a page put there by somebody else is drawn again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.model.lines import DrawnReports
from bench.model.profile import Profile
from bench.model.typed_json import decode, encode, to_json
from bench.store import VERDICTS, Run, RunError, read_file, write_file
from bench.store.files import DRAWN, LARGEST_FILE

from .text_cache import cached

CHARTS = "charts"
PAGE = "report.html"
REPORTS = (PAGE, "report.md", "rows.csv")
DRAWERS = ("altair", "pandas", "vl-convert-python")
PACKAGES = (Path(bench.__file__).parent, Path(__file__).parent)


def evidence(folder: Path) -> str:
    """Digest of a run folder without the files derived from it. Take it before the folder is read: a file that is
    written meanwhile then outdates the stamp, and the page is drawn again.
    """
    made = {folder / name for name in (*REPORTS, VERDICTS, DRAWN)}
    return _digest(folder, (file for file in _files(folder, CHARTS) if file not in made))


def is_current(run: Run, profile: Profile, digest: str) -> bool:
    """Whether the reports of ``run``, whose ``evidence`` is ``digest``, exist and are as they would be drawn."""
    try:
        stamp = decode(DrawnReports, read_file(run.path, DRAWN))
        sealed = hmac.compare_digest(stamp.seal.encode(), _seal(run, profile, digest, stamp.files).encode())
        return sealed and PAGE in stamp.files and stamp.files == _written(run.path, stamp.files)
    except (RunError, ValueError):
        return False


def mark(run: Run, profile: Profile, digest: str, names: Iterable[str]) -> None:
    """Stamp the files ``names`` of the run's folder, which were just drawn from the evidence with this digest."""
    files = _written(run.path, names)
    seal = _seal(run, profile, digest, files)
    write_file(run.path, DRAWN, encode(DrawnReports(files, seal)) + b"\n")


def _seal(run: Run, profile: Profile, digest: str, files: Mapping[str, str]) -> str:
    verdicts = to_json(run.verdicts)
    code = [_digest(package, _files(package)) for package in PACKAGES]
    sealed = [digest, verdicts, profile.name, profile.text, code, [_version(name) for name in DRAWERS], files]
    key = cached("seal.key", lambda: secrets.token_hex(32))
    return hmac.new(key.encode(), json.dumps(sealed).encode(), "sha256").hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _written(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _of_file(folder / name) for name in sorted(names)}


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """Digest of the names and contents of files."""
    found = [(str(file.relative_to(folder)), _of_file(file)) for file in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _files(folder: Path, without: str = "") -> Iterator[Path]:
    """All files below a folder in the order of their names, except compiled code and one folder."""
    for place, folders, names in os.walk(folder):
        top = Path(place) == folder
        folders[:] = sorted(
            name for name in folders if name != "__pycache__" and not (top and name == without)
        )
        yield from (Path(place) / name for name in sorted(names))


def _of_file(path: Path) -> str:
    """Digest of a file; "none" for something that is not a plain file or cannot be read.

    A file larger than reports are drawn from is known by its size and its last change, which nobody can set.
    """
    digest = hashlib.sha256()
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return "none"
            if found.st_size > LARGEST_FILE:
                return f"{found.st_size} bytes, {found.st_ctime_ns}"
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return "none"
    return digest.hexdigest()
