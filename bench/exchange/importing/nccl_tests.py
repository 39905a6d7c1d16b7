"""nccl-tests and rccl-tests tables, 2.0 to 2.20, as they are found in logs, tickets and documentation.

The columns are read from the header line, whatever they are: with and without redop and root, ``error``
or ``#wrong``, ``cputime``, the four per-iteration columns of ``-I 1``, the timestamp of ``-S 1``, one
placement alone. Without a header line the number of columns must speak. Launcher prefixes, quotes,
colour codes and NCCL's own log lines may stand before, between and inside the rows.

Formats: NVIDIA/nccl-tests src/util.cu and src/*.cu at v2.0.0, v2.10.0, v2.13.0, v2.17.9, a0b82b2 (2.19.6);
ROCm/rccl-tests src/common.cu.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass, field

from .imported_rows import TYPES, DeviceLine, ImportedRun
from .nccl_tests_rows import HEADER, Columns, Numbers, columns_of, figures, implied_columns
from .reconcile import NO_HINTS, Found, Hints, settle

LONGEST = 4096  # characters of a line that are looked at: no row is longer, and other text may be
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TAG = re.compile(r"^[\s>]*(\[\d+,\d+\]<std\w+>|\[\d+\]|\d+):")
_NCCL_LOG = re.compile(r"(?<!\S)\S{1,300}?:\d+:\d+ \[\d+\] |\bNCCL (?:INFO|WARN|ERROR|TRACE)\b")
_TYPE_NAMES = "|".join(sorted(TYPES, key=len, reverse=True))
ROW = re.compile(rf"(?<![\w.:,-])(\d{{1,18}})\s+(\d{{1,18}})\s+({_TYPE_NAMES})(?=\s|$)")
_OP = re.compile(r"\s+([a-z]\w*)(?=\s|$)")
_NUMBER = re.compile(
    r"\s*(?<!\S)(N/A|[-+]?(?:nan|inf)|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?=\s|$)", re.IGNORECASE
)
_STAMP = re.compile(r"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_RANK = re.compile(
    r"\bRank\s+(\d{1,6})\s+(?:Group\s+(\d+)\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device\s+(\d+)\s+\[([^\]]*)\]\s*(.*)"
)
_SETTINGS = re.compile(r"\bnThreads?:?\s+\d+\s+nGpus:?\s+\d+.*")
_SETTING = re.compile(
    r"(nThreads?|nGpus|nRanks|minBytes|maxBytes|step|[a-z]{1,12} ?[Ii]ters|iters|validation|graph|unalign)"
    r":?\s+(\S+)"
)
_VERSION = re.compile(r"\bnccl-tests version (\S+).{0,60}?nccl-library=(\d+)|\brccl-tests: Version (\S+)")
_NCCL = re.compile(r"\b(?:NCCL|RCCL) version\s*:?\s*(\S+)")
_STARTING = re.compile(r"Collective test (starting|concluded): (\S+)")
_PROGRAM = re.compile(
    r"\b((?:all_?reduce|all_?gather|reduce_scatter|all_?to_?allv?|alltoallv?|broadcast|reduce|gather|scatter|sendrecv|hypercube)_perf)"
)
_BOUNDS = re.compile(r"Out of bounds values\s*:\s*(\S+)(?:\s+(OK|FAILED))?")
_AVERAGE = re.compile(r"Avg bus bandwidth\s*:\s*(\S+)(?:\s+(OK|FAILED))?")
# what nccl-tests itself says; 1.x names no host. What NCCL was told wrongly is no fault of the cluster
_FAULTS = (
    re.compile(r"(?<![\w.-])(?P<host>[\w.-]+): Test (?:NCCL|CUDA|HIP) failure \S+ '?(?P<what>[^'\n]*)"),
    re.compile(r"(?<![\w.-])(?P<host>[\w.-]+): (?P<what>Test timeout.*)"),
    re.compile(r"^\W*(?:NCCL|Cuda) failure \S+\.cu:\d+ '(?P<what>[^'\n]*)"),
)
_MISUSE = re.compile(r"invalid (?:usage|argument)")
_FAILURES = (
    *_FAULTS,
    re.compile(r"# error: (?P<what>.*)"),
    re.compile(r"(?P<what>Invalid number of GPUs: .*)"),
    re.compile(r"(?P<what>MPI_ABORT was invoked.*)"),
    re.compile(r"(?P<what>(?:mpirun|mpiexec|prterun) (?:noticed|detected).*)"),
    re.compile(r"(?P<what>(?:srun|slurmstepd): error: .*)"),
    re.compile(r"(?P<what>Segmentation fault.*)"),
)
# the order in which a run prints; an item of an earlier stage begins another run
VERSION, STARTING, SETTINGS, RANKS, HEADER_LINE, ROWS, BOUNDS, AVERAGE, CONCLUDED = range(9)


@dataclass
class _Builder:
    """One run while its lines come in."""

    stage: int = -1
    program: str = ""
    columns: Columns | None = None
    inplace_only: bool = False
    pending: Numbers | None = None
    found: Found = field(default_factory=Found)


@dataclass
class _Reader:
    """All runs of a text; one current run for each launcher tag, so that interleaved outputs stay apart."""

    runs: list[_Builder] = field(default_factory=list)
    current: dict[str, _Builder] = field(default_factory=dict)
    mentioned: str = ""

    def at(self, tag: str, stage: int) -> _Builder:
        """The run that an item of this stage belongs to."""
        builder = self.current.get(tag)
        if builder is None or stage < builder.stage:
            if builder is not None:
                _flush(builder)
            builder = _Builder(program=self.mentioned)
            self.current[tag] = builder
            self.runs.append(builder)
        builder.stage = max(builder.stage, stage)
        return builder


def parse(text: str, hints: Hints = NO_HINTS) -> tuple[ImportedRun, ...]:
    """Every run in a text. ``hints`` say what the table does not, and are checked by it.

    Never raises on any text; what is broken, missing or contradictory is in ``problems`` and ``failures``.
    """
    reader = _Reader()
    for line in _COLOUR.sub("", text).splitlines():
        _take(reader, line[:LONGEST])
    for builder in reader.runs:
        _flush(builder)
    tool = "rccl-tests" if re.search(r"\brccl-tests\b|\bnThreads: ", text) else "nccl-tests"
    return tuple(settle(b.found, tool, b.program, hints) for b in reader.runs)


def _take(reader: _Reader, line: str) -> None:
    tag_match = _TAG.match(line)
    tag = tag_match[1] if tag_match else ""
    body = line[tag_match.end() :] if tag_match else line
    if _failure(reader, tag, body):
        return
    body = _before_log(body)
    for taker in (_take_row, _take_header, _take_rank, _take_preamble, _take_footer):
        if taker(reader, tag, body):
            return
    if program := _PROGRAM.search(line):
        reader.mentioned = program[1]


def _before_log(line: str) -> str:
    """The part of a line before NCCL's own message, with the digits that stand glued to the host name."""
    match = _NCCL_LOG.search(line)
    if not match:
        return line
    glued = re.match(r"-?\d+(?=[A-Za-z])", match[0])
    return line[: match.start()] + (glued[0] if glued else "")


def _failure(reader: _Reader, tag: str, line: str) -> bool:
    pattern, match = next(((p, m) for p in _FAILURES if (m := p.search(line))), (None, None))
    if match is None:
        return False
    host = match.groupdict().get("host") or ""
    what = match["what"].strip(" /")
    # every host of a run complains, so a failure belongs to the run that is going on, whatever its tag
    builder = reader.current.get(tag) or (reader.runs[-1] if reader.runs else reader.at(tag, 0))
    builder.found.failures.append(f"{host}: {what}" if host else what)
    if pattern in _FAULTS and not _MISUSE.search(what):
        builder.found.faults.add(builder.found.failures[-1])
    return True


def _take_row(reader: _Reader, tag: str, line: str) -> bool:
    match = ROW.search(line)
    builder = reader.current.get(tag)
    if match:
        builder = reader.at(tag, ROWS)
        _flush(builder)
        builder.pending = _start(match, line)
        _finish_if_full(builder)
        return True
    if builder is None or builder.pending is None:
        return False
    values, rest = _numbers(line)
    if not values or rest.strip():
        return False
    builder.pending.values.extend(values)
    _finish_if_full(builder)
    return True


def _start(match: re.Match[str], line: str) -> Numbers:
    rest = line[match.end() :]
    op = _OP.match(rest)
    if op and op[1].lower() not in ("nan", "inf"):
        rest = rest[op.end() :]
    else:
        op = None
    values, after = _numbers(rest)
    # a table that is run in place alone leaves the four columns of out-of-place blank
    blank = re.match(r"\s*-?\d+(\s{25,})\S", rest)
    odd = bool(after.strip()) and not _STAMP.match(after)
    return Numbers(
        int(match[1]), int(match[2]), match[3], op[1] if op else "", values, bool(blank), odd, line.strip()
    )


def _numbers(text: str) -> tuple[list[str], str]:
    values, place = [], 0
    while match := _NUMBER.match(text, place):
        values.append(match[1])
        place = match.end()
    return values, text[place:]


def _finish_if_full(builder: _Builder) -> None:
    pending = builder.pending
    if pending and builder.columns and len(pending.values) >= builder.columns.numbers:
        _flush(builder)


def _flush(builder: _Builder) -> None:
    """Turn the pending row into one or two figures."""
    pending, builder.pending = builder.pending, None
    if pending is None:
        return
    columns = builder.columns or implied_columns(pending)
    rows = figures(pending, columns, builder.inplace_only) if columns else []
    if columns is None or (pending.odd and not rows):
        builder.found.odd.append(pending.line)
        return
    builder.found.headless = builder.columns is None
    builder.found.rows.extend(rows)
    if len(rows) < columns.groups:
        builder.found.short.append((pending.line, len(builder.found.rows), bool(rows), pending.blank))


def _take_header(reader: _Reader, tag: str, line: str) -> bool:
    if HEADER.search(line):
        builder = reader.at(tag, HEADER_LINE)
        builder.columns = columns_of(line)
        builder.found.redop = "redop" in line
        if builder.columns is None:
            builder.found.problems.append(
                f"the header line is cut or of a layout that is not known: {line.strip()!r}"
            )
        return True
    if line.partition("#")[2].split()[:1] in (["out-of-place"], ["in-place"]):
        reader.at(tag, HEADER_LINE).inplace_only = "out-of-place" not in line
        return True
    if re.search(r"\bbytes\s+N\s+type\b", line):
        reader.at(tag, HEADER_LINE).found.problems.append(
            "a table of nccl-tests 1.x, whose times are milliseconds, is not read; run 2.0 or later"
        )
        return True
    return False


def _take_rank(reader: _Reader, tag: str, line: str) -> bool:
    match = _RANK.search(line)
    if not match:
        return False
    builder = reader.at(tag, RANKS)
    builder.found.devices.append(
        DeviceLine(int(match[1]), match[3], int(match[4]), match[5], match[6].strip())
    )
    return True


def _take_preamble(reader: _Reader, tag: str, line: str) -> bool:
    if match := _VERSION.search(line):
        # rccl-tests prints its version after the settings, so that it begins nothing
        builder = reader.at(tag, VERSION if match[1] else SETTINGS)
        builder.found.version = match[1] or match[3]
        builder.found.nccl = match[2] or ""
    elif match := _STARTING.search(line):
        reader.at(tag, STARTING if match[1] == "starting" else CONCLUDED).program = match[2]
    elif match := _SETTINGS.search(line):
        reader.at(tag, SETTINGS).found.settings.update(dict(_SETTING.findall(match[0])))
    elif match := _NCCL.search(line):
        if builder_now := reader.current.get(tag):
            builder_now.found.nccl = builder_now.found.nccl or match[1]
    else:
        return False
    return True


def _take_footer(reader: _Reader, tag: str, line: str) -> bool:
    if match := _BOUNDS.search(line):
        found = reader.at(tag, BOUNDS).found
        found.bounds, found.bounds_word = match[1], match[2] or ""
    elif match := _AVERAGE.search(line):
        found = reader.at(tag, AVERAGE).found
        found.average = match[1]
        if match[2] == "FAILED":
            found.below_limit()
    else:
        return False
    return True
