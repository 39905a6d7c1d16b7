"""What the files of a run folder are called, and how one of them is written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from bench.model.errors import EXIT_INCONCLUSIVE, EXIT_USAGE, RailGaugeError

FORMAT = 1
MANIFEST, FACTS, PLAN, JOURNAL = "manifest.json", "facts.jsonl", "plan.json", "journal.jsonl"
COUNTERS, VERDICTS, LOGS = "counters.jsonl", "verdicts.json", "logs"
VERBS = "verbs.jsonl"
HISTORY = "history.json"
HEALTH = "health.jsonl"
NOT_TRIED = "not tried"  # how the reason of a loss begins that nobody ever began to measure
UNWRITTEN = (
    "the run folder could not be written any more: "  # how a note begins that tells what ended the run
)
IMPORTED = "import"  # the launcher of a run that was made of other tools' results
WIRING = "wiring.json"  # in LOGS: on which rails of the others each node heard itself and them
FABRIC = "fabric.jsonl"  # in LOGS: what ibnetdiscover, iblinkinfo and ibqueryerrors said, one line a time


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


def free(path: Path) -> None:
    """Raise RunError unless ``path`` is a folder to be made, or an empty one."""
    try:
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; give a new folder with --out", EXIT_USAGE)
        if path.is_dir() and any(path.iterdir()):
            raise RunError(f"{path} already holds something; give a new folder with --out", EXIT_USAGE)
    except OSError as error:
        raise RunError(
            f"cannot use {path}: {error.strerror}; give another folder with --out", EXIT_USAGE
        ) from None


def not_written(path: Path, error: OSError) -> RunError:
    """What to raise where somebody named ``path``: wrong usage where another path would do, not for a full disk."""
    return RunError(
        f"cannot write {path}: {error.strerror}",
        EXIT_USAGE if error.errno in _ELSEWHERE else EXIT_INCONCLUSIVE,
    )


def write_text(path: Path, text: str | Iterable[str], named: bool = False) -> None:
    """Replace a file as a whole, by a text or its pieces: readers see the old text or the new, never half of either.

    ``named``: somebody asked for this very path, see ``not_written``.
    """
    # a name that nobody can guess, and a file that must be new: in a folder that others may write, neither a
    # link that lies in wait nor another process of the same number on another node comes between
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    try:
        with partial.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise (
            not_written(path, error) if named else RunError(f"cannot write {path}: {error.strerror}")
        ) from None
