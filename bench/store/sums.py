"""``SHA256SUMS`` of a run folder: the digest of every file of its evidence, as ``sha256sum --check`` reads it too.

It is written when a run ends. Both sides of an acceptance can then hold a folder, or the digest that a printed report
names, against what was measured. What is made from the evidence and made again at will is not part of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.model.run_folder_lines import DrawnReports
from bench.model.typed_json import decode

from .files import (
    DRAWN,
    LARGEST_FILE,
    LARGEST_JOURNAL,
    LOGS,
    TITLES,
    VERDICTS,
    RunError,
    read_file,
    write_file,
)

SUMS = "SHA256SUMS"
ESCAPE = "\\"
_ESCAPES = {ord(ESCAPE): ESCAPE * 2, ord("\n"): "\\n", ord("\r"): "\\r"}
ACTIONS = "actions.json"  # what was done about the run
CHARTS = "charts"
PAGE = "report.html"
REPORTS = (PAGE, "report.md", "rows.csv", "rows.parquet", "report.pdf")
DERIVED = frozenset((*REPORTS, VERDICTS, DRAWN, SUMS, TITLES, ACTIONS))


def evidence_files(folder: Path) -> Iterator[Path]:
    """All that a run folder holds, except what is made from it."""
    made = {folder / name for name in DERIVED}
    return (file for file in files_below(folder, CHARTS) if file not in made)


def evidence_sums(folder: Path) -> dict[str, str]:
    """File → digest of the evidence."""
    return {_name(folder, file): digest_of(file, LARGEST_JOURNAL) for file in evidence_files(folder)}


def _name(folder: Path, file: Path) -> str:
    """A file's name on one line, as ``sha256sum`` writes it: else two files and one of an odd name had one digest."""
    name = str(file.relative_to(folder)).translate(_ESCAPES)
    return name.encode(errors="backslashreplace").decode()


def sums_text(sums: Mapping[str, str]) -> str:
    # a line with an escaped name begins with a backslash
    return "".join(f"{ESCAPE * (ESCAPE in name)}{digest}  {name}\n" for name, digest in sums.items())


def evidence_digest(folder: Path) -> str:
    """One digest of all evidence: of the text of SHA256SUMS as it would be written now."""
    return _digest(sums_text(evidence_sums(folder)))


def record_sums(folder: Path) -> str:
    """Write SHA256SUMS; the ``evidence_digest``. Raises RunError."""
    text = sums_text(evidence_sums(folder))
    write_file(folder, SUMS, text)
    return _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def changes(folder: Path) -> list[str]:
    """What differs from SHA256SUMS, a line each. RunError where there is none."""
    written = _read(folder)
    now = evidence_sums(folder)
    if not written:
        raise RunError(f"{folder / SUMS} lists no file")
    words = {True: "was changed", False: "is missing"}
    gone = [f"{name} {words[name in now]}" for name in written if written[name] != now.get(name)]
    return [*gone, *(f"{name} was added" for name in now if name not in written)]


def changed_reports(folder: Path) -> list[str]:
    """The reports that are not as they were drawn, a line each: somebody may have made one greener by hand."""
    try:
        stamp = decode(DrawnReports, read_file(folder, DRAWN))
    except (RunError, ValueError):
        return []
    now = {name: digest_of(folder / name) for name in stamp.files if (folder / name).exists()}
    return [f"{name} was changed since it was drawn" for name in now if now[name] != stamp.files[name]]


def check_unchanged(folder: Path) -> None:
    """Raise RunError where a run that had ended is to go on, and its files are not what it left: its sums are made
    anew. What a worker still wrote into its log, and files that somebody put beside, are no reason.
    """
    if not (folder / SUMS).exists():
        return
    if odd := [line for line in changes(folder) if not line.startswith(LOGS) and not line.endswith(" added")]:
        raise RunError(
            f"{folder} is not as it was when its run ended: {odd[0]}; railgauge verify {folder} lists what differs. "
            "Go on from a copy of what the run left, or measure anew"
        )


def _read(folder: Path) -> dict[str, str]:
    lines = read_file(folder, SUMS).decode(errors="replace").split("\n")
    rows = (line.partition("  ") for line in lines if line)
    return {name: digest.removeprefix(ESCAPE) for digest, _, name in rows}


def digest_of_files(folder: Path, files: Iterable[Path]) -> str:
    """Digest of the names and contents of files."""
    return _digest(sums_text({_name(folder, file): digest_of(file) for file in files}))


def files_below(folder: Path, without: str = "") -> Iterator[Path]:
    """All files below a folder, sorted by name; compiled Python code and the excluded folder are left out."""
    for place, folders, names in os.walk(folder):
        top = Path(place) == folder
        folders[:] = sorted(
            name for name in folders if name != "__pycache__" and not (top and name == without)
        )
        yield from (Path(place) / name for name in sorted(names))


def digest_of(path: Path, largest: int = LARGEST_FILE) -> str:
    """Digest of a file; "none" for something that is not a plain file or cannot be read.

    A file larger than ``largest`` is known by its size and its last change, which nobody can set.
    """
    digest = hashlib.sha256()
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return "none"
            if found.st_size > largest:
                return f"{found.st_size} bytes, {found.st_ctime_ns}"
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return "none"
    return digest.hexdigest()
