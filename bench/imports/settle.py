"""What a text or a JSON said → a run: which collective, how many ranks, and what does not fit."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import fmean

from bench.collectives import Collective
from bench.collectives import collective as known_collective
from bench.elements import UnknownName
from bench.units import GIGA, show_count

from .imported import Device, ImportedRow, ImportedRun
from .nccl_tests_rows import number
from .ranks import Range, blocks_of, by_checks, candidates, in_blocks, infer, ratio, times


@dataclass
class Found:
    """What one run's lines said, before any of it is checked.

    odd     rows that could not be read; short: (line, rows so far, whether any was kept, left blank)
    """

    rows: list[ImportedRow] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    version: str = ""
    nccl: str = ""
    bounds: str = ""
    bounds_word: str = ""
    average: str = ""
    failures: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    short: list[tuple[str, int, bool, bool]] = field(default_factory=list)
    headless: bool = False


def settle(found: Found, tool: str, program: str, collective: str, ranks: int | None) -> ImportedRun:
    """The run, with everything that can be checked checked; never raises."""
    problems = [*found.problems, *_unread(found)]
    name = _collective(found.rows, program, collective, problems)
    rows = tuple(replace(row, collective=name) for row in found.rows)
    listed = _listed(found.devices, problems)
    inferred, count = _ranks(rows, name, listed, ranks, problems)
    average = number(found.average) * GIGA if found.average else math.nan
    bounds = int(found.bounds) if found.bounds.isdecimal() else None
    _check_rows(rows, problems)
    whole = _check_summary(rows, found, bounds, average, problems)
    if found.failures:
        problems.append(f"the run failed: {'; '.join(dict.fromkeys(found.failures))}")
    return ImportedRun(
        tool=tool,
        collective=name,
        rows=rows,
        ranks=count,
        listed=listed,
        inferred=inferred,
        devices=tuple(found.devices),
        version=found.version,
        nccl=found.nccl,
        settings=dict(found.settings),
        average=average if math.isfinite(average) else None,
        out_of_bounds=bounds,
        failures=tuple(dict.fromkeys(found.failures)),
        problems=tuple(problems),
        complete=whole and not found.failures,
    )


def _unread(found: Found) -> list[str]:
    problems = []
    if found.odd:
        problems.append(f"{len(found.odd)} rows hold no numbers and are not read, such as {found.odd[0]!r}")
    last = len(found.rows)
    cut = [line for line, at, kept, blank in found.short if not kept or (at == last and not blank)]
    if cut and not (found.average and all(kept for _, _, kept, _ in found.short)):
        problems.append(f"a row is cut: {cut[-1]!r}")
    if found.headless:
        problems.append("the header line is missing; the columns are taken from their number")
    return problems


def _kind(program: str) -> Collective | None:
    """The collective of ``all_reduce_perf``, ``alltoall``; None of an unknown one."""
    bare = program.rsplit("/", 1)[-1].removesuffix("_perf")
    try:
        return known_collective(bare) if bare else None
    except UnknownName:
        return None


def _collective(rows: list[ImportedRow], program: str, given: str, problems: list[str]) -> str:
    kind = _kind(given or program)
    named = kind.name if kind else ""
    whose = f"{given!r} was given" if given else f"the text names {program!r}"
    if (given or program) and not named:
        problems.append(f"{whose}, which is no collective that is known here")
    possible = candidates(rows) if rows else ()
    if not rows or not possible:
        return named
    # point-to-point between pairs is ours alone: nothing but its name tells it from sendrecv
    if named in possible or (given and not kind) or (kind and not kind.nccl_tests):
        return named
    possible = by_checks(possible, rows)
    if named:
        problems.append(f"{whose}, but the rows are those of {' or '.join(possible)}")
        return "" if given or len(possible) > 1 else possible[0]
    if len(possible) > 1:
        problems.append(f"the rows may be those of {' or '.join(possible)}; say which with --collective")
        return ""
    return possible[0]


def _listed(devices: list[Device], problems: list[str]) -> int:
    if not devices:
        return 0
    seen = Counter(device.rank for device in devices)
    count = max(seen) + 1
    if len(seen) < count:
        problems.append(f"the device list shows {len(seen)} of {count} ranks")
    repeated = max(seen.values())
    if repeated > 1:
        problems.append(
            f"a rank is listed {repeated} times: several runs printed at once; "
            "nccl-tests built without MPI starts one run in each process"
        )
    return count


def _ranks(
    rows: tuple[ImportedRow, ...], name: str, listed: int, given: int | None, problems: list[str]
) -> tuple[Range | None, int | None]:
    """What busbw/algbw admits, and the number of ranks that is then believed."""
    kind = _kind(name)
    inferred = None
    if kind and times(kind):
        inferred, misfits = infer(rows, times(kind))
        if misfits:
            problems.append(f"busbw/algbw of {misfits} rows fits no number of ranks of {name}")
    if kind and in_blocks(kind):
        inferred = _by_blocks(rows, inferred, problems)
    for count, source in ((given, "were given"), (listed, "are listed")):
        if count and inferred and not inferred[0] <= count <= inferred[1]:
            problems.append(_mismatch(rows, name, count, source, inferred))
    if inferred and inferred[0] == inferred[1]:
        return inferred, inferred[0]
    believed = next(
        (n for n in (given, listed) if n and (not inferred or inferred[0] <= n <= inferred[1])), None
    )
    if believed is None and rows and name:
        admits = f": busbw/algbw admits {inferred[0]} to {inferred[1]}" if inferred else ""
        problems.append(f"the number of ranks cannot be told{admits}; give --ranks")
    return inferred, believed


def _by_blocks(rows: tuple[ImportedRow, ...], inferred: Range | None, problems: list[str]) -> Range | None:
    """size/(count · element) is the number of ranks of gather-like collectives."""
    seen = Counter(blocks for row in rows if row.size and (blocks := blocks_of(row)))
    if not seen:
        return inferred
    most = seen.most_common(1)[0][0]
    if len(seen) > 1:
        problems.append(f"size/count says {' and '.join(map(str, sorted(seen)))} ranks in one table")
    return most, most


def _mismatch(rows: tuple[ImportedRow, ...], name: str, count: int, source: str, inferred: Range) -> str:
    best = max((row for row in rows if ratio(row)), key=lambda row: row.busbw, default=None)
    least, most = inferred
    which = str(least) if least == most else f"{least} to {most}"
    shown = f" of {best.busbw / best.algbw:.4g}" if best is not None else ""
    return f"{count} ranks {source}, but busbw/algbw{shown} is {name} on {which} ranks"


def _check_rows(rows: tuple[ImportedRow, ...], problems: list[str]) -> None:
    odd = [row for row in rows if not usable(row) and row.size > 0]
    if odd:
        worst = odd[0]
        problems.append(
            f"{show_count(len(odd), 'figure')} without a time or a rate, such as size {worst.size}: {_lacking(worst)}"
        )
    uneven = [row for row in rows if row.size > 0 and row.count > 0 and blocks_of(row) is None]
    if uneven:
        problems.append(
            f"{show_count(len(uneven), 'size')} without a whole number of blocks of the count, such "
            f"as {uneven[0].size}"
        )
    wrong = sum(1 for row in rows if row.wrong)
    if wrong:
        problems.append(f"{show_count(wrong, 'figure')} with wrong elements")
    if rows and all(row.wrong is None and row.error is None for row in rows):
        problems.append("no result was checked (N/A): wrong elements would not have been seen")


def _lacking(row: ImportedRow) -> str:
    """Which figure of a row is none: ``algbw nan``."""
    figures = {"time": row.seconds, "algbw": row.algbw, "busbw": row.busbw}
    least = {"time": math.ulp(0.0)}
    bad = [
        f"{name} {value:g}" for name, value in figures.items() if not least.get(name, 0.0) <= value < math.inf
    ]
    return ", ".join(bad)


def usable(row: ImportedRow) -> bool:
    """Whether a figure can be a measurement: a finite time above 0 and finite bandwidths."""
    numbers_good = all(map(math.isfinite, (row.seconds, row.algbw, row.busbw)))
    return numbers_good and row.seconds > 0 and row.size > 0 and row.algbw >= 0 and row.busbw >= 0


def _check_summary(
    rows: tuple[ImportedRow, ...], found: Found, bounds: int | None, average: float, problems: list[str]
) -> bool:
    """Whether the footer is there and is that of these rows."""
    if not rows:
        problems.append("a summary without rows" if found.average or found.bounds else "no table of results")
        return False
    if bounds or found.bounds_word == "FAILED":
        problems.append(f"nccl-tests counts {found.bounds} cases out of bounds: {found.bounds_word}")
    if not found.bounds or not found.average:
        problems.append("the run is incomplete: it has no footer")
        return False
    if bounds is None or not math.isfinite(average):
        problems.append(f"the footer holds no numbers: {found.bounds!r}, {found.average!r}")
        return False
    figures = [row.busbw for row in rows if math.isfinite(row.busbw)]
    mean = fmean(figures) if figures else math.nan
    # a rounded figure is off by at most its half digit, so is the average
    slack = max(row.digits[2] for row in rows) + 1e-4 * abs(average)
    if not abs(mean - average) <= slack:
        problems.append(
            f"the average of the rows is {mean / GIGA:.6g} GB/s, the footer says {average / GIGA:.6g}: "
            "rows are missing, or it belongs to another run"
        )
        return False
    return True
