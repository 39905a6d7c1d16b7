"""Whether the reports of a run are up to date, so that they need not be drawn again.

A stamp covers everything that a report depends on (every byte of the run folder except the reports, the verdicts, the
profile, the code of RailGauge and the versions of the drawing libraries) and every file that was written. It is sealed
with a key of this user, because a folder may come from elsewhere: a page put there by somebody else is drawn again.

A second seal is of the verdicts alone. With it they are what judging again would say, as long as nothing changes.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.judge.evidence import Evidence
from bench.model.profile import Profile
from bench.model.run_folder_lines import DrawnReports
from bench.model.typed_json import decode, encode, to_json
from bench.model.verdict import Verdict
from bench.store import TITLES, VERDICTS, RunError, read_file, write_file
from bench.store.files import DRAWN
from bench.store.run import Verdicts
from bench.store.sums import PAGE, digest_of, digest_of_files, evidence_digest, files_below

from .text_cache import cached

LIBRARIES = ("altair", "msgspec", "numpy", "pandas", "pyarrow", "vl-convert-python")
PACKAGES = (Path(bench.__file__).parent, Path(__file__).parent)


def evidence(folder: Path, known: str = "") -> str:
    """Digest of all that the reports of a run folder are drawn from. Take it before the folder is read: a file that is
    written meanwhile then outdates the stamp, and the page is drawn again.

    ``known``: its ``evidence_digest`` of a time before it was read; "" where that is still to be taken.
    """
    return (known or evidence_digest(folder)) + digest_of(folder / TITLES)


def is_current(judged: Evidence, digest: str) -> bool:
    """Whether the reports of ``judged``, whose ``evidence`` is ``digest``, exist and are as they would be drawn."""
    try:
        stamp = decode(DrawnReports, read_file(judged.run.path, DRAWN))
        sealed = _same(stamp.seal, _seal(judged, digest, stamp.files))
        return sealed and PAGE in stamp.files and stamp.files == _written(judged.run.path, stamp.files)
    except (RunError, ValueError):
        return False


def sealed_verdicts(folder: Path, profile: Profile, digest: str) -> tuple[Verdict, ...]:
    """The verdicts in the folder, whose ``evidence`` is ``digest``, if they are as it would be judged; else none."""
    try:
        stamp, found = decode(DrawnReports, read_file(folder, DRAWN)), _verdicts(folder)
        return found if _same(stamp.judged, _seal_of_verdicts(found, profile, digest)) else ()
    except (RunError, ValueError):
        return ()


def _verdicts(folder: Path) -> tuple[Verdict, ...]:
    return decode(Verdicts, read_file(folder, VERDICTS)).verdicts


def mark(judged: Evidence, digest: str, names: Iterable[str], fresh: bool = False) -> None:
    """Stamp the files ``names`` of the run's folder, which were just drawn from the evidence with this digest.

    ``fresh``: its verdicts were just judged from that evidence, and saved.
    """
    files = _written(judged.run.path, names)
    own = _seal_of_verdicts(judged.verdicts, judged.profile, digest) if fresh else ""
    stamp = DrawnReports(files, _seal(judged, digest, files), own)
    write_file(judged.run.path, DRAWN, encode(stamp) + b"\n")


def _seal(judged: Evidence, digest: str, files: Mapping[str, str]) -> str:
    return _sealed(digest, to_json(judged.verdicts), judged.profile.name, judged.profile.text, files)


def _seal_of_verdicts(verdicts: tuple[Verdict, ...], profile: Profile, digest: str) -> str:
    return _sealed("verdicts", digest, to_json(verdicts), profile.name, profile.text)


def _sealed(*what: object) -> str:
    code = [digest_of_files(package, files_below(package)) for package in PACKAGES]
    key = cached("seal.key", lambda: secrets.token_hex(32))
    sealed = [*what, code, sys.version, [_version(name) for name in LIBRARIES]]
    return hmac.new(key.encode(), json.dumps(sealed).encode(), "sha256").hexdigest()


def _same(seal: str, expected: str) -> bool:
    return hmac.compare_digest(seal.encode(), expected.encode())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _written(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: digest_of(folder / name) for name in sorted(names)}
