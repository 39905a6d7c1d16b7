"""The kernel's log, by ``/dev/kmsg`` or else by ``journalctl``: what GPUs, NVSwitches and adapters complained of.

Formats: Linux, Documentation/ABI/testing/dev-kmsg; journalctl(1), ``-o short-monotonic``. Where
``kernel.dmesg_restrict`` is 1, the first takes CAP_SYSLOG; the second takes the group systemd-journal or adm.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.model.kernel_log import KernelLog, of_messages

DEVICE = Path("/dev/kmsg")
# Linux, Documentation/admin-guide/devices.txt; some containers link it to their console
_NUMBER = os.makedev(1, 11)
JOURNAL = ("journalctl", "-k", "-b", "-q", "--no-pager", "-o", "short-monotonic")
LAST = 2000  # lines of the journal that a look between two phases takes
_RECORD = 1 << 14  # bytes; the kernel's longest record is 8 KiB, and a shorter read is refused
_MOST = 1 << 20  # records: a log that is written faster than it is read has no end
_HEAD = re.compile(r"(\d{1,10}),(\d{1,20}),(\d{1,20}),")
_LINE = re.compile(r"\[\s*(\d{1,12})\.(\d{6})\] \S+ \S+?: (.*)")

Ask = Callable[[Sequence[str]], str | None]


def kernel_log(ask: Ask, last: int | None = None, path: Path = DEVICE) -> KernelLog:
    """Everything since boot that is still there; of the journal only the ``last`` lines, where that is given."""
    try:
        records = list(_records(path))
    except OSError as error:
        return _journal(ask, last, f"{path}: {error.strerror}")
    whole = bool(records) and records[0][0] == 0
    log = of_messages(str(path), ((time, text) for _, time, text in records), whole)
    if records and (whole or last is not None):
        return log
    by_journal = _journal(ask, None, f"{path}: shows no message")
    return by_journal if by_journal.source or not records else log


def _journal(ask: Ask, last: int | None, reason: str) -> KernelLog:
    text = ask((*JOURNAL, *(("-n", str(last)) if last else ())))
    messages = list(parse_journal(text or ""))
    if not messages:
        why = "shows no kernel message" if text is not None else "is not installed, or did not answer"
        return KernelLog(reason="; ".join(filter(None, (reason, f"journalctl {why}"))))
    # the kernel's first message names itself; a journal that was rotated no longer has it
    return of_messages(JOURNAL[0], messages, "Linux version" in messages[0][1])


def _records(path: Path) -> Iterator[tuple[int, int, str]]:
    """(sequence number, µs since boot, text) of each record, oldest first. Raises OSError."""
    if path.stat().st_rdev != _NUMBER:
        raise OSError(errno.ENODEV, "it is not the kernel's log")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(_MOST):
            try:
                raw = os.read(descriptor, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # overwritten before it could be read; the next read goes on behind it
                continue
            record = parse_record(raw.decode("utf-8", "replace"))
            if not raw:
                return
            if record:
                yield record
    finally:
        os.close(descriptor)


def parse_record(text: str) -> tuple[int, int, str] | None:
    """(339, 5140900, text) of ``6,339,5140900,-;NET: Registered``; None for anything else."""
    head, semicolon, body = text.partition(";")
    found = _HEAD.match(head)
    return (int(found[2]), int(found[3]), body.partition("\n")[0]) if semicolon and found else None


def parse_journal(text: str) -> Iterator[tuple[int, str]]:
    """(µs since boot, text) of each line ``[ 1234.567890] node7 kernel: NVRM: …``; other lines are left out."""
    for line in text.splitlines():
        if found := _LINE.match(line):
            yield int(found[1]) * 1_000_000 + int(found[2]), found[3]
