"""Rows as nccl-tests prints them, and as CSV.

The table is nccl-tests' own (src/util.cu, 2.19.6), without its trailing blanks, so that the scripts
people have keep working: 13 columns, times in µs, bandwidths in GB/s, numbers by ``float_text``. A
collective that ran in place alone leaves the out-of-place columns blank, as nccl-tests does. What
stands in ``bench.exchange.importing`` reads it back to the printed digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from bench.model.collectives import collective
from bench.model.elements import element
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Rank
from bench.model.printable import csv_line
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


CSV: dict[str, Callable[[Row], object]] = {
    "phase": lambda row: row.case.phase,
    "collective": lambda row: row.case.collective,
    "algorithm": lambda row: row.case.algorithm,
    "rail": lambda row: row.case.rail,
    "ranks": lambda row: row.ranks,
    "first_rank": lambda row: row.measurement.ranks[0] if row.ranks else None,
    "placement": lambda row: row.case.placement,
    "dtype": lambda row: row.case.dtype,
    "op": lambda row: row.case.op,
    "root": lambda row: row.case.root,
    "size_bytes": lambda row: row.case.size,
    "count": lambda row: row.case.count,
    "seconds": lambda row: row.seconds,
    "p50_seconds": lambda row: row.isolated.p50,
    "p99_seconds": lambda row: row.isolated.p99,
    "algbw_bytes_per_second": lambda row: row.algbw,
    "busbw_bytes_per_second": lambda row: row.busbw,
    "busbw_gigabytes_per_second": lambda row: row.busbw / GIGA,
    "busbw_gigabits_per_second": lambda row: row.busbw / GIGA * BITS,
    "wrong": lambda row: row.wrong,
    "checked": lambda row: row.measurement.checked,
}


def csv_text(
    rows: Iterable[Row], names: Sequence[str] = (), more: Callable[[Row], Sequence[object]] = lambda _: ()
) -> str:
    """One line a row, base units; what was not measured or not checked is an empty cell, never 0.

    ``more`` gives the cells of the further columns ``names``.
    """
    lines = (csv_line((*(value(row) for value in CSV.values()), *more(row))) for row in rows)
    return csv_line((*CSV, *names)) + "".join(lines)
