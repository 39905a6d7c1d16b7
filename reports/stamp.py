"""Whether the reports of a run are up to date, so that they need not be drawn again.

A stamp covers everything that a report depends on (every byte of the run folder except the reports, the verdicts, the
profile, the code of RailGauge and the versions of the drawing libraries) and every file that was written. It is sealed
with a key of this user, because a folder may come from elsewhere: a page put there by somebody else is drawn again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.judge.evidence import Evidence
from bench.model.lines import DrawnReports
from bench.model.typed_json import decode, encode, to_json
from bench.store import TITLES, RunError, read_file, write_file
from bench.store.files import DRAWN
from bench.store.sums import PAGE, digest_of, digest_of_files, evidence_files, files_below

from .text_cache import cached

DRAWERS = ("altair", "pandas", "pyarrow", "vl-convert-python")
PACKAGES = (Path(bench.__file__).parent, Path(__file__).parent)


def evidence(folder: Path) -> str:
    """Digest of all that the reports of a run folder are drawn from. Take it before the folder is read: a file that is
    written meanwhile then outdates the stamp, and the page is drawn again.
    """
    return digest_of_files(folder, evidence_files(folder)) + digest_of(folder / TITLES)


def is_current(judged: Evidence, digest: str) -> bool:
    """Whether the reports of ``judged``, whose ``evidence`` is ``digest``, exist and are as they would be drawn."""
    try:
        stamp = decode(DrawnReports, read_file(judged.run.path, DRAWN))
        sealed = hmac.compare_digest(stamp.seal.encode(), _seal(judged, digest, stamp.files).encode())
        return sealed and PAGE in stamp.files and stamp.files == _written(judged.run.path, stamp.files)
    except (RunError, ValueError):
        return False


def mark(judged: Evidence, digest: str, names: Iterable[str]) -> None:
    """Stamp the files ``names`` of the run's folder, which were just drawn from the evidence with this digest."""
    files = _written(judged.run.path, names)
    seal = _seal(judged, digest, files)
    write_file(judged.run.path, DRAWN, encode(DrawnReports(files, seal)) + b"\n")


def _seal(judged: Evidence, digest: str, files: Mapping[str, str]) -> str:
    verdicts, profile = to_json(judged.verdicts), judged.profile
    code = [digest_of_files(package, files_below(package)) for package in PACKAGES]
    sealed = [digest, verdicts, profile.name, profile.text, code, [_version(name) for name in DRAWERS], files]
    key = cached("seal.key", lambda: secrets.token_hex(32))
    return hmac.new(key.encode(), json.dumps(sealed).encode(), "sha256").hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _written(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: digest_of(folder / name) for name in sorted(names)}
