"""Checks what was read of a result: which collective it is, how many ranks it had, and what does not fit."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

from bench.model.collectives import Collective
from bench.model.collectives import collective as known_collective
from bench.model.elements import UnknownName
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.units import GIGA, number, show_count, show_some

from .imported_rows import DeviceLine, ImportedRow, ImportedRun
from .infer_ranks import (
    UNVERIFIED_IN_PLACE,
    Range,
    blocks_of,
    by_checks,
    by_name,
    by_ranks,
    candidates,
    in_blocks,
    infer,
    ratio,
    share_factor,
)


@dataclass
class Found:
    """What the lines of one run held, before any of it is checked.

    odd     rows that could not be read; short: (line, rows so far, whether any was kept, left blank)
    redop   whether the header has such a column; None without a header
    """

    rows: list[ImportedRow] = field(default_factory=list)
    devices: list[DeviceLine] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    version: str = ""
    nccl: str = ""
    bounds: str = ""
    bounds_word: str = ""
    average: str = ""
    failures: list[str] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    short: list[tuple[str, int, bool, bool]] = field(default_factory=list)
    headless: bool = False
    cut: bool = False
    redop: bool | None = None

    def below_limit(self) -> None:
        """nccl-tests has compared its average with the limit that was set, which it missed."""
        self.failures.append("the average busbw is below 90 % of NCCL_TESTS_MIN_BW")
        self.faults.add(self.failures[-1])


@dataclass(frozen=True)
class Hints:
    """What is known beside the text: the file's name, and what --collective and --ranks say."""

    file: str = ""
    collective: str = ""
    ranks: int | None = None


NO_HINTS = Hints()


def settle(found: Found, tool: str, program: str, hints: Hints) -> ImportedRun:
    """The run, with everything that can be checked checked; never raises."""
    problems = [*found.problems, *_unread(found)]
    listed = _listed(found.devices, problems)
    bounds = int(found.bounds) if found.bounds.isdecimal() else None
    name = _collective(found, program, hints, hints.ranks or listed, bounds, problems)
    rows = tuple(_named(row, name, bounds) for row in found.rows)
    inferred, count = _ranks(rows, name, listed, hints.ranks, problems)
    average = number(found.average) * GIGA if found.average else math.nan
    _check_rows(rows, problems)
    whole = _check_summary(rows, found, bounds, average, problems)
    failures = tuple(dict.fromkeys(found.failures))
    if failures:
        problems.append(f"the run failed: {show_some(failures, separator='; ')}")
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
        failures=failures,
        faults=tuple(failure for failure in failures if failure in found.faults),
        problems=tuple(problems),
        complete=whole and not failures and not found.cut,
    )


def _named(row: ImportedRow, name: str, bounds: int | None) -> ImportedRow:
    """The row under the collective's name; the printed count is dropped where the tool verifies no such result."""
    unverified = row.placement == "in" and name in UNVERIFIED_IN_PLACE and not bounds
    return replace(row, collective=name, wrong=None if unverified else row.wrong)


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


def _collective(
    found: Found, program: str, hints: Hints, count: int, bounds: int | None, problems: list[str]
) -> str:
    """Our name of the collective, by the text's words and by the rows; "" where these leave it open."""
    kind = _kind(hints.collective or program)
    named = kind.name if kind else ""
    whose = f"{hints.collective!r} was given" if hints.collective else f"the text names {program!r}"
    if (hints.collective or program) and not named:
        problems.append(f"{whose}, which is no collective that is known here")
    possible = candidates(found.rows, found.redop)
    # point-to-point between pairs is ours alone: nothing but its name tells it from sendrecv
    if not possible or named in possible or (hints.collective and not kind) or (kind and not kind.nccl_tests):
        return named
    possible = by_ranks(by_checks(possible, found.rows, bounds), found.rows, count)
    if named:
        problems.append(f"{whose}, but the rows are those of {' or '.join(possible)}")
        return "" if hints.collective or len(possible) > 1 else possible[0]
    possible = by_name(possible, hints.file)
    if len(possible) > 1:
        problems.append(f"the rows may be those of {' or '.join(possible)}; say which with --collective")
        return ""
    return possible[0]


def _listed(devices: list[DeviceLine], problems: list[str]) -> int:
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
    """The numbers of ranks that busbw/algbw admits, and the one that is then believed."""
    kind = _kind(name)
    inferred = None
    if kind and share_factor(kind):
        inferred, misfits = infer(rows, share_factor(kind))
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
        problems.append(f"the number of ranks cannot be determined{admits}; give --ranks")
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
