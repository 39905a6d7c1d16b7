"""Writing a run folder, line by line as it happens."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.model.errors import EXIT_USAGE
from bench.model.measurement import Measurement
from bench.model.redact import scrub
from bench.model.verdict import Verdict

from .files import (
    COUNTERS,
    FABRIC,
    FACTS,
    FORMAT,
    HEALTH,
    HISTORY,
    JOURNAL,
    LOGS,
    MANIFEST,
    PLAN,
    VERBS,
    VERDICTS,
    RunError,
    free,
    write_text,
)
from .run import Loss, Manifest, Plan
from .seal import SEAL, seal
from .validate import impossible


class Recorder:
    """Writes one run folder. The folder must be new or empty; of two runs at once the second is refused.

    ``again``: go on with a run that was interrupted. Its files are appended to, never rewritten.
    """

    def __init__(self, path: Path, again: bool = False) -> None:
        self.path = path
        self._whole = 0  # bytes of whole lines in the journal
        if again:
            self._reopen()
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            free(path)
            (path / LOGS).mkdir(exist_ok=True)
            # the journal decides a race: only one process can create it
            self._journal = os.open(path / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            _hold(self._journal)
        except FileExistsError:
            raise RunError(
                f"{path} is in use by another run; give a new folder with --out", EXIT_USAGE
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot write the run folder {path}: {error.strerror}; give another with --out", EXIT_USAGE
            ) from None

    def _reopen(self) -> None:
        try:
            self._journal = os.open(self.path / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
            _hold(self._journal)
            torn = {JOURNAL: _end_line(self._journal)}
            self._whole = os.fstat(self._journal).st_size
            for name in (COUNTERS, HEALTH, VERBS, f"{LOGS}/{FABRIC}"):
                with contextlib.suppress(FileNotFoundError):
                    file = os.open(self.path / name, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
                    try:
                        torn[name] = _end_line(file)
                    finally:
                        os.close(file)
            for name, number in torn.items():
                if number:
                    self.line("torn", file=name, number=number)
        except BlockingIOError:
            raise RunError(f"{self.path} is still being written by its run", EXIT_USAGE) from None
        except OSError as error:
            raise RunError(f"cannot go on in {self.path}: {error.strerror}") from None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._journal)
        if not (self.path / MANIFEST).exists():
            self._discard()

    def _discard(self) -> None:
        """A run that never began leaves no folder that looks like one."""
        with contextlib.suppress(OSError):  # what stopped the run is told, not what the cleaning met
            (self.path / JOURNAL).unlink(missing_ok=True)
            (self.path / SEAL).unlink(missing_ok=True)
            (self.path / LOGS).rmdir()
            self.path.rmdir()

    def manifest(self, manifest: Manifest) -> None:
        kept = replace(manifest, command=scrub(manifest.command))
        self._write_sealed(MANIFEST, json.dumps(kept.to_json(), indent=1))

    def plan(self, plan: Plan) -> None:
        self._write_sealed(PLAN, json.dumps(plan.to_json()))

    def facts(self, nodes: list[dict[str, Any]]) -> None:
        self._write(FACTS, "".join(json.dumps(node) + "\n" for node in nodes))

    def counters(self, phase: str, when: str, snapshots: list[dict[str, Any]]) -> None:
        self._append(COUNTERS, {"phase": phase, "when": when, "snapshots": snapshots})

    def health(self, row: dict[str, Any]) -> None:
        """What a supervisor saw beside its worker; see ``bench.supervise.monitor``."""
        self._append(HEALTH, row)

    def verbs(self, row: dict[str, Any]) -> None:
        """One line of what perftest said (see verbs.record)."""
        self._append(VERBS, row)

    def fabric(self, answers: list[dict[str, Any]]) -> None:
        """What the fabric's tools said, one line for each time that they were asked."""
        self._append(f"{LOGS}/{FABRIC}", answers)

    def _append(self, name: str, row: object) -> None:
        """One line at the end of a file, whole or not at all."""
        path = self.path / name
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
            try:
                _write_line(file, row, os.fstat(file).st_size)
            finally:
                os.close(file)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None

    def measurement(self, row: Measurement) -> str:
        """One measurement; what no clock can have told is kept as a loss, which is returned in words.

        As a measurement it would be damage when it is read, and cost the whole run instead of its case.
        """
        if odd := impossible(row):
            text = f"no possible measurement: {odd}"
            self.loss(Loss(row.case, text))
            return f"{row.case}: {text}"
        self.line("measurement", **row.to_json())
        return ""

    def loss(self, row: Loss) -> None:
        self.line("loss", **row.__dict__)

    def line(self, kind: str, **fields: Any) -> None:
        """Append one line and see it on the disk before going on."""
        try:
            self._whole = _write_line(
                self._journal, {"kind": kind, "time": time.time(), **fields}, self._whole
            )
            os.fsync(self._journal)
        except OSError as error:
            raise RunError(f"cannot write {self.path / JOURNAL}: {error.strerror}") from None

    def end(self) -> None:
        """The completion record: without it no exit status of a launcher is believed."""
        self.line("end")

    def _write_sealed(self, name: str, text: str) -> None:
        seal(self.path, name, text)
        self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)


def _hold(journal: int) -> None:
    """Nobody else may write this journal as long as we live. BlockingIOError where somebody does."""
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


def in_use(path: Path) -> bool:
    """Whether a process that lives writes this run folder."""
    try:
        with (path / JOURNAL).open("rb") as journal:
            _hold(journal.fileno())
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _end_line(file: int) -> int:
    """End a last line that was cut short, so that the next is not glued to it; its number, 0 where all are whole."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return 0
    whole = sum(os.pread(file, 1 << 20, at).count(b"\n") for at in range(0, size, 1 << 20))
    os.write(file, b"\n")
    return whole + 1


def _write_line(file: int, row: object, whole: int) -> int:
    """Append a line after ``whole`` bytes of whole lines; how many there are now.

    A line that does not fit is taken back: the next one must not be glued to half of it.
    """
    data = json.dumps(row).encode() + b"\n"
    left = data
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, whole)
        raise
    return whole + len(data)


def save_history(path: Path, history: dict[str, Any]) -> None:
    """Write ``history.json`` of a run folder: what the history of the cluster said, and where this run went."""
    write_text(path / HISTORY, json.dumps(history, allow_nan=False))


def save_verdicts(
    path: Path, verdicts: tuple[Verdict, ...], profile_name: str, profile_text: str = ""
) -> None:
    """Write ``verdicts.json`` of a run folder. ``profile_text``: of a profile that is not the run's own."""
    rows = [verdict.to_json() for verdict in verdicts]
    said = {"format": FORMAT, "profile": profile_name, "profile_text": profile_text, "verdicts": rows}
    write_text(path / VERDICTS, json.dumps(said, indent=1))
