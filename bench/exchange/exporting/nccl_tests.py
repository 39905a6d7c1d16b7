"""Rows as nccl-tests prints them, and as CSV.

The table is nccl-tests' own (src/util.cu, 2.19.6), without its trailing blanks, so that the scripts
people have keep working: 13 columns, times in µs, bandwidths in GB/s, numbers by ``float_text``. A
collective that ran in place alone leaves the out-of-place columns blank, as nccl-tests does. What
stands in ``bench.exchange.importing`` reads it back to the printed digits.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench.model.collectives import collective
from bench.model.elements import element
from bench.model.measurement import Rank
from bench.model.units import BITS, GIGA, MICRO
from bench.store.rows import Row

BLANK = " " * 33
HEADER = (
    "#",
    f"# {'':10}  {'':12}  {'':8}  {'':6}  {'':6}           out-of-place                       in-place",
    f"# {'size':>10}  {'count':>12}  {'type':>8}  {'redop':>6}  {'root':>6}"
    + 2 * f"  {'time':>7}  {'algbw':>6}  {'busbw':>6}  {'#wrong':>6}",
    f"# {'(B)':>10}  {'(elements)':>12}  {'':8}  {'':6}  {'':6}"
    + f"  {'(us)':>7}  {'(GB/s)':>6}  {'(GB/s)':>6}  {'':6}"
    + f"  {'(us)':>7}  {'(GB/s)':>6}  {'(GB/s)':>6}",
)


@dataclass(frozen=True)
class Figures:
    """One placement: seconds of a call, bytes/s, and wrong elements (None: nothing was compared)."""

    seconds: float
    algbw: float
    busbw: float
    wrong: int | None


@dataclass(frozen=True)
class Line:
    """One line of the table; ``dtype`` by our name. A placement that did not run is None."""

    size: int
    count: int
    dtype: str
    op: str = "none"
    root: int = -1
    out: Figures | None = None
    into: Figures | None = None


def float_text(value: float, width: int) -> str:
    """``value`` in at most ``width`` characters: two decimals, one, none, then an exponent (getFloatStr)."""
    for decimals in (2, 1, 0):
        text = f"{value:.{decimals}f}"
        if len(text) <= width:
            return text.rjust(width)
    return f"{value:.{1 if width >= 7 else 0}e}"[:width].rjust(width)


def table_header(name: str, ranks: Sequence[Rank] = ()) -> str:
    """What stands above the rows: the collective, the ranks and the column titles; ends with a newline."""
    row = collective(name)
    lines = [f"# Collective test starting: {row.nccl_tests or row.name}_perf", "#"]
    if ranks:
        lines.append("# Using devices")
    for rank in ranks:
        lines.append(
            f"#  Rank {rank.rank:2d} Group  0 Pid {0:6d} on {rank.node:>10} device {rank.local_rank:2d} "
            f"[0000:00:00] {rank.device}"
        )
    return "\n".join((*lines, *HEADER)) + "\n"


def table_line(line: Line) -> str:
    """One row without its newline, to be printed as soon as it is measured."""
    start = f"{line.size:12d}  {line.count:12d}  {_type_text(line.dtype):>8}  {line.op:>6}  {line.root:6d}"
    out = _figures_text(line.out) if line.out else BLANK
    return (start + out + (_figures_text(line.into) if line.into else "")).rstrip()


def table_footer(name: str, lines: Iterable[Line]) -> str:
    """nccl-tests' last lines. The average is over all sizes and judges nothing."""
    figures = [part for line in lines for part in (line.out, line.into) if part]
    bad = sum(1 for part in figures if part.wrong)
    checked = any(part.wrong is not None for part in figures)
    verdict = f"{bad} {'FAILED' if bad else 'OK'}" if checked else "0 unchecked"
    average = fmean(part.busbw for part in figures) / GIGA if figures else math.nan
    row = collective(name)
    return (
        f"# {'Out of bounds values':20} : {verdict}\n"
        f"# {'Avg bus bandwidth':20} : {average:g}\n"
        "#\n"
        f"# Collective test concluded: {row.nccl_tests or row.name}_perf\n"
    )


def table(name: str, lines: Sequence[Line], ranks: Sequence[Rank] = ()) -> str:
    """A whole table of one collective."""
    return (
        table_header(name, ranks) + "".join(f"{table_line(x)}\n" for x in lines) + table_footer(name, lines)
    )


def lines_of(rows: Iterable[Row]) -> dict[tuple[str, tuple[int, ...], str, str], list[Line]]:
    """Lines by (collective, ranks, algorithm, rail), out of place and in place of a size side by side.

    Rows without a time stay in, as ``nan``: a table that leaves them out would look whole.
    """
    tables: dict[tuple[str, tuple[int, ...], str, str], dict[tuple[object, ...], Line]] = {}
    for row in rows:
        case = row.case
        where = tables.setdefault((case.collective, row.measurement.ranks, case.algorithm, case.rail), {})
        key = (case.size, case.count, case.dtype, case.op, case.root, case.phase)
        line = where.get(key) or Line(case.size, case.count, case.dtype, case.op, case.root)
        figures = Figures(row.seconds, row.algbw, row.busbw, row.wrong)
        where[key] = replace(line, out=figures) if case.placement == "out" else replace(line, into=figures)
    return {key: list(lines.values()) for key, lines in tables.items()}


def _type_text(dtype: str) -> str:
    """nccl-tests' name of an element type where it has another one."""
    aliases = element(dtype).aliases
    return aliases[0] if aliases and dtype.startswith("float") else dtype


def _figures_text(part: Figures) -> str:
    wrong = "N/A" if part.wrong is None else f"{float(part.wrong):g}"
    time = float_text(part.seconds / MICRO, 7)
    return f"  {time}  {float_text(part.algbw / GIGA, 6)}  {float_text(part.busbw / GIGA, 6)}  {wrong:>6}"


CSV_COLUMNS = (
    "phase",
    "collective",
    "algorithm",
    "rail",
    "ranks",
    "first_rank",
    "placement",
    "dtype",
    "op",
    "root",
    "size_bytes",
    "count",
    "seconds",
    "p50_seconds",
    "p99_seconds",
    "algbw_bytes_per_second",
    "busbw_bytes_per_second",
    "busbw_gigabytes_per_second",
    "busbw_gigabits_per_second",
    "wrong",
    "checked",
)


def csv_text(
    rows: Iterable[Row], names: Sequence[str] = (), more: Callable[[Row], Sequence[object]] = lambda _: ()
) -> str:
    """One line a row, base units; what was not measured or not checked is an empty cell, never 0.

    ``more`` gives the cells of the further columns ``names``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *names])
    for row in rows:
        writer.writerow([_cell(value) for value in (*_csv_values(row), *more(row))])
    return text.getvalue()


def _csv_values(row: Row) -> tuple[object, ...]:
    case, ranks = row.case, row.measurement.ranks
    return (
        case.phase,
        case.collective,
        case.algorithm,
        case.rail,
        len(ranks),
        ranks[0] if ranks else None,
        case.placement,
        case.dtype,
        case.op,
        case.root,
        case.size,
        case.count,
        row.seconds,
        row.isolated.p50,
        row.isolated.p99,
        row.algbw,
        row.busbw,
        row.busbw / GIGA,
        row.busbw / GIGA * BITS,
        row.wrong,
        row.measurement.checked,
    )


def _cell(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
