"""Whether the reports beside a run are those that would be drawn again: then nobody has to.

A stamp covers all that a report is made from: every byte of the run folder but the reports themselves, the verdicts,
the profile, the code of RailGauge and the versions of what draws; and every file that was written. It is sealed with
a key of this user, for a folder may come from elsewhere: a page that somebody else put there is drawn over.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.model.profile import Profile
from bench.store import VERDICTS, Run, write_text

from .kept import kept

STAMP = "drawn.json"
CHARTS = "charts"
PAGE = "report.html"
REPORTS = (PAGE, "report.md", "rows.csv")
DRAWERS = ("altair", "pandas", "vl-convert-python")
PACKAGES = (Path(bench.__file__).parent, Path(__file__).parent)


def evidence(folder: Path) -> str:
    """Digest of a run folder without what is made from it. To be taken before the folder is read: what is
    written meanwhile then makes the stamp an old one, and never the page.
    """
    made = {folder / name for name in (*REPORTS, VERDICTS, STAMP)}
    return _digest(folder, (file for file in _files(folder, CHARTS) if file not in made))


def is_current(run: Run, profile: Profile, seen: str) -> bool:
    """Whether the reports of ``run``, whose ``evidence`` is ``seen``, are there and as they would be drawn."""
    try:
        told = json.loads((run.path / STAMP).read_text(encoding="utf-8"))
        files = {str(name): str(digest) for name, digest in told["files"].items()}
        sealed = hmac.compare_digest(str(told["seal"]), _seal(run, profile, seen, files))
        return sealed and PAGE in files and files == _written(run.path, files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def mark(run: Run, profile: Profile, seen: str, names: Iterable[str]) -> None:
    """Stamp the files ``names`` of the run's folder, which were just drawn from ``seen``."""
    files = _written(run.path, names)
    seal = _seal(run, profile, seen, files)
    write_text(run.path / STAMP, json.dumps({"files": files, "seal": seal}, indent=1) + "\n")


def _seal(run: Run, profile: Profile, seen: str, files: dict[str, str]) -> str:
    verdicts = [verdict.to_json() for verdict in run.verdicts]
    code = [_digest(package, _files(package)) for package in PACKAGES]
    told = [seen, verdicts, profile.name, profile.text, code, [_version(name) for name in DRAWERS], files]
    key = kept("seal.key", lambda: secrets.token_hex(32))
    return hmac.new(key.encode(), json.dumps(told).encode(), "sha256").hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _written(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _of_file(folder / name) for name in sorted(names)}


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """Of names and bytes."""
    found = [(str(file.relative_to(folder)), _of_file(file)) for file in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _files(folder: Path, without: str = "") -> Iterator[Path]:
    """All files below a folder in the order of their names, but for one folder in it; compiled code is left out."""
    for place, folders, names in os.walk(folder):
        top = Path(place) == folder
        folders[:] = sorted(
            name for name in folders if name != "__pycache__" and not (top and name == without)
        )
        yield from (Path(place) / name for name in sorted(names))


def _of_file(path: Path) -> str:
    """Digest of a file; of what is no plain file, or cannot be read, only that it is none."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            return "none"
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return "none"
    return digest.hexdigest()
