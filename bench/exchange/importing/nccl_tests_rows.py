"""The columns of an nccl-tests table: header line → layout, tokens of a row → figures."""

from __future__ import annotations

import math
import re

from bench.model.late_dataclass import dataclass
from bench.model.units import GIGA, MICRO, number

from .imported_rows import TYPES, ImportedRow

HEADER = re.compile(r"\bsize\s+count\b")
_GROUP = ("time", "algbw", "busbw", "wrong")
_DIFFERENCE = re.compile(r"\de(?:-\d\d|\+0[0-5])")  # by %5.0le; a count by %g has no exponent below a million
_NAMES = {"cputime": "time", "#wrong": "wrong", "error": "error", "wrong": "wrong"}


@dataclass(frozen=True)
class Columns:
    """A layout. ``group``: the columns of one placement; ``tail``: numbers after the last group."""

    redop: bool
    root: bool
    group: tuple[str, ...]
    groups: int
    cpu: bool = False
    tail: int = 0

    @property
    def numbers(self) -> int:
        """Numbers of a row behind size, count, type and redop."""
        return self.root + self.groups * len(self.group) + self.tail


@dataclass
class Numbers:
    """A row as tokens. ``blank``: its first group is left blank; ``odd``: text follows that is no number."""

    size: int
    count: int
    dtype: str
    op: str
    values: list[str]
    blank: bool
    odd: bool
    line: str


def columns_of(line: str) -> Columns | None:
    """The layout that a header line states; None when it is cut or unknown."""
    match = HEADER.search(line)
    names = line[match.start() :].split() if match else []
    if names[:3] != ["size", "count", "type"]:
        return None
    rest = names[3:]
    redop = "redop" in rest[:1]
    root = "root" in rest[: 1 + redop]
    rest = rest[redop + root :]
    starts = [place for place, name in enumerate(rest) if name in ("time", "cputime")]
    if not starts or starts[0] != 0 or len(starts) > 2:
        return None
    tail = [name for name in rest if name in ("timestamp", "#iters", "iters")]
    body = [name for name in rest if name not in tail]
    size = starts[1] if len(starts) == 2 else len(body)
    group = tuple(_NAMES.get(name, name) for name in body[:size])
    again = tuple(_NAMES.get(name, name) for name in body[size:])
    if group[:3] != _GROUP[:3] or group[3:4] not in (("wrong",), ("error",)) or (again and again != group):
        return None
    numbers_after = sum(name != "timestamp" for name in tail)
    return Columns(redop, root, group, len(starts), "cputime" in rest, numbers_after)


def implied_columns(row: Numbers) -> Columns | None:
    """The layout of a row whose header is missing, by the number of its columns."""
    last = "error" if any(map(_DIFFERENCE.fullmatch, row.values)) else "wrong"
    one = (*_GROUP[:3], last)
    for group in (one, (*one, "i_min", "i_max", "i_p99", "i_cv%")):
        for root in (True, False):
            columns = Columns(bool(row.op), root, group, 2)
            if len(row.values) == columns.numbers and not row.odd:
                return columns
    return None


def figures(row: Numbers, columns: Columns, inplace_only: bool) -> list[ImportedRow]:
    """One figure for each placement that the row has whole."""
    values = list(row.values)
    root = int(float(values.pop(0))) if columns.root and values and _is_whole(values[0]) else None
    if columns.root and root is None:
        return []
    width = len(columns.group)
    if columns.groups == 1:
        places = ["in" if inplace_only else "out"]
    else:
        places = ["in"] if row.blank and len(values) < 2 * width else ["out", "in"]
    groups = [(place, values[k * width : (k + 1) * width]) for k, place in enumerate(places)]
    return [_figure(row, columns, root, place, group) for place, group in groups if len(group) == width]


def _figure(row: Numbers, columns: Columns, root: int | None, place: str, group: list[str]) -> ImportedRow:
    named = dict(zip(columns.group, group, strict=True))
    printed = (named["time"], named["algbw"], named["busbw"])
    units = (MICRO, GIGA, GIGA)
    error = number(named["error"]) if "error" in named and named["error"] != "N/A" else None
    # `error` is the largest difference, not a count: 0 means that no element differs, else it is not told
    wrong = _whole(named.get("wrong", "N/A")) if error is None else (0 if error == 0 else None)
    seconds, algbw, busbw = (number(text) * unit for text, unit in zip(printed, units, strict=True))
    digits = tuple(half_digit(text) * unit for text, unit in zip(printed, units, strict=True))
    return ImportedRow(
        collective="",
        size=row.size,
        count=row.count,
        dtype=TYPES[row.dtype][0],
        op=row.op,
        root=root,
        placement=place,
        seconds=seconds,
        algbw=algbw,
        busbw=busbw,
        wrong=wrong,
        error=error,
        clock="cpu" if columns.cpu else "gpu",
        digits=(digits[0], digits[1], digits[2]),
    )


def half_digit(text: str) -> float:
    """Half a unit of the last printed digit: 0.005 of ``35.20``, 0.5 of ``16215``, 5e4 of ``1.2e+06``."""
    match = re.fullmatch(r"[-+]?\d+(?:\.(\d+))?(?:[eE]([-+]?\d+))?", text)
    return 0.5 * 10.0 ** (max(-300, min(int(match[2] or 0), 300)) - len(match[1] or "")) if match else 0.0


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,9}", text) is not None


def _whole(text: str) -> int | None:
    value = number(text)
    return int(value) if math.isfinite(value) else None
