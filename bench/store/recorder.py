"""Writing a run folder, line by line as it happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.model.activity import ActivityLine
from bench.model.case_templates import packed
from bench.model.counters import Snapshot
from bench.model.errors import EXIT_INCONCLUSIVE, EXIT_USAGE
from bench.model.facts import Node
from bench.model.measurement import Measurement
from bench.model.redact import scrub
from bench.model.run_folder_lines import (
    CounterLine,
    HealthLine,
    Loss,
    Note,
    PerftestSkipped,
    PerftestTool,
    PerftestTransfer,
    RunEnd,
    Torn,
)
from bench.model.typed_json import Misfit, decode, encode, to_json
from bench.model.verdict import Verdict

from . import files, validate
from .files import (
    ACTIVITY,
    COUNTERS,
    FABRIC,
    FACTS,
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
)
from .line_classes import KIND

if TYPE_CHECKING:
    from bench.probe.fabric.run_tools import ToolAnswer

    from .history.nights import SavedPast
from .owner_seal import SEAL, with_seal
from .run import Manifest, Plan, Verdicts
from .sums import SUMS, check_unchanged

# that whoever comes next waits for the end of a run, whose process may outlive its launcher to judge and draw it: on a
# machine with little left that takes minutes
DRAWING_SECONDS = 300.0


class Recorder:
    """Writes one run folder. The folder must be new or empty; of two runs at once the second is refused.

    ``again``: go on with a run that was interrupted. Its files are appended to, never rewritten.
    ``share``: other users may read the folder, as far as the umask lets them; else nobody but its owner.
    ``limit``: seconds to wait for the process that still writes a run that was interrupted.
    """

    def __init__(self, path: Path, again: bool = False, share: bool = False, limit: float = 0.0) -> None:
        self.path = path
        self._whole = 0  # bytes of whole lines in the journal
        self._unsynced: set[str] = set()
        self._together = self._written = False
        if again:
            self._reopen(limit)
            return
        free(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(0o777 if share else 0o700, exist_ok=True)
            free(path)  # again: another run may have come first
            (path / LOGS).mkdir(0o777 if share else 0o700, exist_ok=True)
            # the journal decides a race: only one process can create it
            create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._journal = files.opened(path, JOURNAL, create, 0o666 if share else 0o600)
            _hold(self._journal)
        except FileExistsError:
            raise RunError(
                f"{path} is in use by another run; give a new folder with --out", EXIT_USAGE
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot write the run folder {path}: {error.strerror}; give another with --out", EXIT_USAGE
            ) from None

    def _reopen(self, limit: float) -> None:
        check_unchanged(self.path)
        try:
            self._journal = files.opened(self.path, JOURNAL, os.O_RDWR | os.O_APPEND)
            _hold_within(self._journal, limit, self.path)
            (self.path / SUMS).unlink(missing_ok=True)  # of what is added to from now on
            torn = {JOURNAL: _end_line(self._journal)}
            self._whole = os.fstat(self._journal).st_size
            for name in (COUNTERS, HEALTH, VERBS, f"{LOGS}/{FABRIC}"):
                with contextlib.suppress(FileNotFoundError):
                    file = files.opened(self.path, name, os.O_RDWR | os.O_APPEND)
                    try:
                        torn[name] = _end_line(file)
                    finally:
                        os.close(file)
            for name, number in torn.items():
                if number:
                    self.add(Torn(name, number))
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

    def begin(self, manifest: Manifest, nodes: Iterable[Node], plan: Plan) -> None:
        """Write what is known before anything is measured: in one go, since all ranks wait for the disk meanwhile."""
        texts = {MANIFEST: _manifest_text(manifest), FACTS: _facts_text(nodes), PLAN: _plan_text(plan)}
        files.write_files(self.path, with_seal(self.path, texts))

    def manifest(self, manifest: Manifest) -> None:
        files.write_files(self.path, with_seal(self.path, {MANIFEST: _manifest_text(manifest)}))

    def plan(self, plan: Plan) -> None:
        files.write_files(self.path, with_seal(self.path, {PLAN: _plan_text(plan)}))

    def facts(self, nodes: Iterable[Node]) -> None:
        files.write_file(self.path, FACTS, _facts_text(nodes))

    def counters(
        self, phase: str, when: Any, snapshots: Iterable[Snapshot], nodes: Iterable[str] = ()
    ) -> None:
        self._append(COUNTERS, CounterLine(phase, when, tuple(snapshots), tuple(nodes)))

    def health(self, row: HealthLine) -> None:
        self._append(HEALTH, row)

    def activity(self, row: ActivityLine) -> None:
        self._append(ACTIVITY, row)

    def perftest(self, row: PerftestTool | PerftestTransfer | PerftestSkipped) -> None:
        self._append(VERBS, {"kind": KIND[type(row)], **to_json(row)})

    def fabric(self, answers: tuple[ToolAnswer, ...]) -> None:
        """What the fabric's tools said, one line for each time that they were asked."""
        self._append(f"{LOGS}/{FABRIC}", answers)

    def log(self, name: str, text: str) -> None:
        """Add to a file in ``logs``."""
        self._append_bytes(f"{LOGS}/{name}", text.encode("utf-8", "backslashreplace"))

    def _append(self, name: str, row: object) -> None:
        """One line at the end of a file, whole or not at all. It is on the disk before the next line of the journal."""
        self._append_bytes(name, encode(row) + b"\n")
        self._unsynced.add(name)

    def _append_bytes(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            file = files.opened(self.path, name, flags, files.permissions(self.path))
            try:
                _write_line(file, data, os.fstat(file).st_size)
            finally:
                os.close(file)
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {files.why(error)}") from None

    def measurement(self, row: Measurement, plain: bytes = b"") -> str:
        """Append one measurement. One that no clock can have measured becomes a loss, which is returned in words.

        As a measurement it would be damage when it is read, and cost the whole run instead of its case. ``plain``: the
        strict JSON that it was just read from, in one line, which is written as it is.
        """
        text = plain or encode(row)
        try:
            read = row if plain else decode(Measurement, text)
            validate.check_measurement(read, validate.ExpectedRanks(frozenset(row.ranks), True))
        except Misfit as misfit:
            why = f"no possible measurement: {misfit}"
            self.add(Loss(row.case, why))
            return f"{row.case}: {why}"
        self._add(Measurement, text)
        return ""

    def loss(self, row: Loss) -> None:
        self.add(row)

    def note(self, text: str, given_up: bool = False) -> None:
        self._add(Note, encode({"text": text, "given_up": given_up}))

    def add(self, row: object) -> None:
        """Append one line to the journal and see it on the disk before going on, with all that was written before."""
        self._add(type(row), encode(row))

    def _add(self, kind: type, row: bytes) -> None:
        """``row`` is a JSON object without ``time``; before its fields stands their kind, behind them the time."""
        fields = row[1:-1] + b"," * (len(row) > 2)
        line = b'{"kind":%b,%b"time":%b}\n' % (encode(KIND[kind]), fields, encode(time.time()))
        try:
            self._sync_files()
            self._whole = _write_line(self._journal, line, self._whole)
        except OSError as error:
            raise self._unwritten(error) from None
        self._written = True
        if not self._together:
            self._sync_journal()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """See the lines that are added meanwhile on the disk once, at the end: a disk takes as long for one as for
        all."""
        self._together = True
        try:
            yield
        finally:
            self._together = False
            self._sync_journal()

    def _sync_journal(self) -> None:
        if self._written:
            self._written = False
            try:
                os.fsync(self._journal)
            except OSError as error:
                raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> RunError:
        return RunError(f"cannot write {self.path / JOURNAL}: {error.strerror}")

    def _sync_files(self) -> None:
        while self._unsynced:
            file = files.opened(self.path, self._unsynced.pop(), os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def end(self) -> None:
        """The completion record: without it no exit status of a launcher is believed."""
        self._add(RunEnd, b"{}")


def _manifest_text(manifest: Manifest) -> bytes:
    return _indented(replace(manifest, command=scrub(manifest.command)))


def _plan_text(plan: Plan) -> bytes:
    phases = tuple(replace(phase, cases=packed(phase.cases)) for phase in plan.phases)
    return encode(replace(plan, phases=phases))


def _facts_text(nodes: Iterable[Node]) -> bytes:
    return b"".join(encode(node) + b"\n" for node in nodes)


def _hold(journal: int) -> bool:
    """Whether nobody else writes this journal, nor will until it is closed."""
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _hold_within(journal: int, limit: float, path: Path, status: int = EXIT_USAGE) -> None:
    deadline = time.monotonic() + limit
    while not _hold(journal):
        if time.monotonic() >= deadline:
            raise RunError(f"{path} is still being written by its run", status)
        time.sleep(0.05)


@contextlib.contextmanager
def held(path: Path, limit: float = 0.0) -> Iterator[None]:
    """Nobody else writes this run folder meanwhile. Raises RunError where a process does after ``limit`` seconds."""
    try:
        journal = files.opened(path, JOURNAL, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # no journal: nobody writes it
        yield
        return
    try:
        # who waits has no better argument to give, as a run's own launcher while rank 0 still draws
        _hold_within(journal, limit, path, EXIT_INCONCLUSIVE if limit else EXIT_USAGE)
        yield
    finally:
        os.close(journal)


def _end_line(file: int) -> int:
    """End a last line that was cut short, so that the next is not glued to it; its number, 0 where all are whole."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return 0
    whole = sum(os.pread(file, 1 << 20, at).count(b"\n") for at in range(0, size, 1 << 20))
    os.write(file, b"\n")
    return whole + 1


def _write_line(file: int, data: bytes, whole: int) -> int:
    """Append a line after ``whole`` bytes of whole lines; how many there are now.

    A line that does not fit is taken back: the next one must not be glued to half of it.
    """
    left = data
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, whole)
        raise
    return whole + len(data)


def _indented(value: object) -> bytes:
    return msgspec.json.format(encode(value), indent=1)


def save_history(path: Path, history: SavedPast) -> None:
    """Write ``history.json`` of a run folder: what the history of the cluster said, and where this run went."""
    files.write_file(path, HISTORY, encode(history))


def save_verdicts(
    path: Path, verdicts: tuple[Verdict, ...], profile_name: str, profile_text: str = ""
) -> None:
    """Write ``verdicts.json`` of a run folder. ``profile_text``: of a profile that is not the run's own."""
    said = to_json(Verdicts(profile=profile_name, profile_text=profile_text, verdicts=verdicts))
    for row, verdict in zip(said["verdicts"], verdicts, strict=True):
        row["message"] = verdict.message
    files.write_file(path, VERDICTS, _indented(said))
