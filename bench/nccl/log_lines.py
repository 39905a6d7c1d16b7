"""Cuts a log into NCCL's own messages, whatever other programs printed around or into them.

A line is ``host:pid:tid [device] NCCL INFO text``, or ``host:pid:tid [device] where NCCL WARN text``
(NVIDIA/nccl src/debug.cc), somewhere in a physical line: launchers, timestamps and other ranks put text
in front, and two ranks may write into one line. Time is linear in the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class LogLine:
    """One message. ``number`` counts physical lines from 1; ``where`` is the source location of a WARN.

    ``cut`` says that the message ends where another one's header begins, or where the text ends without a
    line end: what it says is true, what it does not say is not known.
    """

    number: int
    host: str
    pid: int
    level: str
    where: str
    text: str
    cut: bool


@dataclass(frozen=True)
class Fragment:
    """A physical line without a header: the rest of a broken message, or not NCCL's at all."""

    number: int
    text: str


SIGNS = (b"CCL", b"via ", b": Using")  # a line without any of these is none of NCCL's, and no rest of one
MAX_HOST = 255
MAX_WHERE = 300

_ANSI = re.compile(
    r"\x1b(?:\[[0-9;:?]{0,64}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\)|[()][0-9A-B])"
)
_ENDS = re.compile(r"\r\n|\n|\r")
# The digits are bounded, so no text makes the search try twice; a leading zero is none that NCCL printed.
_HEADER = re.compile(r":(0|[1-9]\d{0,9}):(?:0|[1-9]\d{0,9}) \[-?\d{1,5}\] ")
_PLAIN = re.compile(r"([^\s:]{1,255}):(0|[1-9]\d{0,9}):(?:0|[1-9]\d{0,9}) \[-?\d{1,5}\] NCCL INFO ?")
_LEVEL = re.compile(r"NCCL (INFO|WARN|ATTN|TRACE) ?")
_BEFORE_HOST = re.compile(r"[\s:]")


def lines(text: str) -> Iterator[LogLine | Fragment]:
    """Every message of ``text`` in order, and every other physical line that is not blank."""
    plain = _ANSI.sub("", text) if "\x1b" in text else text
    rows = _ENDS.split(plain)
    for number, row in enumerate(rows, 1):
        usual = _PLAIN.match(row)
        if usual and row.find("NCCL ", usual.end()) < 0:  # as nearly all are; the general way is slower
            yield LogLine(
                number, usual[1], int(usual[2]), "INFO", "", row[usual.end() :], number == len(rows)
            )
        elif row:
            yield from _row(number, row, number == len(rows))


def _row(number: int, row: str, last: bool) -> Iterator[LogLine | Fragment]:
    headers = list(_headers(row))
    starts = [mark.start() - len(host) for host, mark, _, _ in headers]
    lead = row[: starts[0]] if headers else row
    # what stands before the first header is a launcher's prefix, unless it is more than that
    if lead.strip() and (not headers or _is_message(lead)):
        yield Fragment(number, lead)
    for (host, mark, level, where), end in zip(headers, [*starts[1:], len(row)], strict=False):
        text, cut = row[level.end() : end], last or end < len(row)
        yield LogLine(number, host, int(mark[1]), level[1], where, text, cut)


def _is_message(lead: str) -> bool:
    return " via " in lead or "NCCL " in lead or "Using [" in lead


Header = tuple[str, re.Match[str], re.Match[str], str]  # host, pid, level, location


def _headers(row: str) -> Iterator[Header]:
    """The headers of the messages in one physical line."""
    if "NCCL " not in row:
        return
    marks = list(_HEADER.finditer(row))
    for mark, after in zip(marks, [*marks[1:], None], strict=False):
        limit = len(row) if after is None else after.start()
        level = _LEVEL.search(row, mark.end(), min(limit, mark.end() + MAX_WHERE))
        host = _BEFORE_HOST.split(row[max(0, mark.start() - MAX_HOST) : mark.start()])[-1]
        where = row[mark.end() : level.start()].strip() if level else ""
        # INFO has no location: "NCCL INFO" further on belongs to somebody else
        if level and host and (where or level.start() == mark.end()) and (level[1] != "INFO" or not where):
            yield host, mark, level, where
