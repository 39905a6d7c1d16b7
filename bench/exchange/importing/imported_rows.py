"""What an import yields: rows as printed, the run around them, and what is wrong with either."""

from __future__ import annotations

from bench.model.elements import ELEMENTS
from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.late_dataclass import dataclass, field


class ImportRefused(RailGaugeError, ValueError):
    """A result that cannot become measurements; the message says what is missing and how to give it."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class ImportedRow:
    """One figure of an nccl-tests table, in base units, with the digits as printed.

    collective   our name; "" when the table does not tell
    size         bytes of the size column; count: its elements
    root         None where the layout has no such column
    placement    "out" or "in" (place)
    seconds      of one call; ``clock`` is "cpu" where the column is the launch time alone
    algbw, busbw bytes/s as printed, rounded to 0.01 GB/s or fewer digits
    wrong        elements; None when nothing was compared (N/A is unchecked, never 0)
    error        nccl-tests up to 2.11: largest difference from the truth instead of a count
    """

    collective: str
    size: int
    count: int
    dtype: str
    op: str
    root: int | None
    placement: str
    seconds: float
    algbw: float
    busbw: float
    wrong: int | None
    error: float | None = None
    clock: str = "gpu"
    iterations: tuple[float, ...] = ()
    digits: tuple[float, float, float] = (0.0, 0.0, 0.0)  # half a unit of the last digit: s, B/s, B/s


@dataclass(frozen=True)
class DeviceLine:
    """One line of "Using devices"."""

    rank: int
    host: str
    device: int
    bus: str
    name: str


@dataclass(frozen=True)
class ImportedRun:
    """One table and what stood around it.

    ranks        how many there were; None when neither the list nor busbw/algbw tells
    listed       ranks that the device list speaks of; 0 without a list
    inferred     (least, most) ranks that busbw/algbw admits; None when it says nothing
    average      "Avg bus bandwidth" in bytes/s: of all sizes, so it judges nothing
    out_of_bounds  cases with errors, as the footer counts them; None without a footer
    failures     lines that say that the run failed, "host: what"; ``faults``: those that the tool found in the cluster
    problems     what is wrong or cannot be determined; empty only when all of it fits together
    complete     whether the run printed its footer and nothing failed
    """

    tool: str
    collective: str
    rows: tuple[ImportedRow, ...]
    ranks: int | None
    listed: int = 0
    inferred: tuple[int, int] | None = None
    devices: tuple[DeviceLine, ...] = ()
    version: str = ""
    nccl: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    average: float | None = None
    out_of_bounds: int | None = None
    failures: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    complete: bool = False

    @property
    def source(self) -> str:
        """``nccl-tests 2.18.2``."""
        return f"{self.tool} {self.version}".rstrip()

    @property
    def subject(self) -> str:
        return self.collective or self.tool


# our element names and bytes by nccl-tests' and rccl-tests' names, 2.0 to 2.20; what is not measured here is read too
TYPES = {
    **{name: (row.name, row.bytes) for row in ELEMENTS.values() for name in (row.name, *row.aliases)},
    "char": ("int8", 1), "uint32": ("uint32", 4), "uint64": ("uint64", 8),
    **dict.fromkeys(("f8e4m3", "fp8_e4m3", "float8_e4m3"), ("float8_e4m3", 1)),
    **dict.fromkeys(("f8e5m2", "fp8_e5m2", "float8_e5m2"), ("float8_e5m2", 1)),
}  # fmt: skip
TYPE_BYTES = dict(TYPES.values())
