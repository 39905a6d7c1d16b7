"""perftest's ib_{write,read,send}_{bw,lat}: the table on the terminal and the file of --out_json.

The unit stands in the table's header: MB/sec and MiB/sec are both 2^20 bytes, Gb/sec is 125,000,000
bytes. The JSON carries none; it follows from size × message rate, which is compared with the header too.
perftest 4.5 writes no valid JSON (no quotes, trailing commas), so that is read by key. A broken clock
yields 0, ``inf`` or ``-nan`` with exit status 0, and a dead data path a header without rows: both are
problems, never results. A run that dies after some sizes has measured those.

Formats: linux-rdma/perftest src/perftest_parameters.{h,c} at v4.5-0.17 and 00b55b6 (26.x); before 3.0 a latency
table ends with t_typical.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from bench.model.late_dataclass import dataclass, field
from bench.model.units import BITS, GIGA, MEGA, MICRO, number, show_count, show_some

UNITS = {"MB/sec": float(1 << 20), "MiB/sec": float(1 << 20), "Gb/sec": GIGA / BITS}
PRECISION = 0.02  # size × message rate against the bandwidth: both are rounded

LONGEST = 4096  # characters of a line that are looked at
_TITLE = re.compile(
    r"\b(RDMA_Write|RDMA_Read|Send|Atomic)(?:_imm)?[ _](?:[\w ]{0,40}?[ _])?(BW|Latency)[ _]Test\b"
)
_VERBS = {"RDMA_Write": "write", "RDMA_Read": "read", "Send": "send", "Atomic": "atomic"}
_COMMAND = re.compile(r"\bib_(write|read|send|atomic)_(bw|lat)\b")
_BW_HEADER = re.compile(r"#bytes\s+(#sl\s+)?#iterations\s+BW peak\[([^\]]*)\]\s+BW average\[([^\]]*)\]")
_LAT_HEADER = re.compile(r"#bytes\s+#iterations\s+(t_(?:min|avg)\[.*)")
_LATENCY = re.compile(r"(t_\w+)\[([^\]]*)\]|(99(?:\.9)?)% percentile")
_FACTS = {
    "device": re.compile(r"\bDevice\s*:\s*(\S+)"),
    "link_type": re.compile(r"\bLink type\s*:\s*(\S+)"),
    "mtu": re.compile(r"\bMtu\s*:\s*(\d+)"),
    "qps": re.compile(r"\bNumber of qps\s*:\s*(\d+)"),
    "connection": re.compile(r"\bConnection type\s*:\s*(\S+)"),
}
_GPU = re.compile(r"allocated GPU buffer|initializing CUDA|CUDA_MEM_DEVICE|--use_cuda|--use_rocm")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan|inf)", re.IGNORECASE)
_FAILURE = re.compile(
    r"(Unable to (?:init|create|connect|open)[^\n]*|Couldn't [^\n]*|Failed to [^\n]*|Failed status [^\n]*"
    r"|Error: (?:BW result|Msg rate)[^\n]*|Completion with error[^\n]*|IB device \S+ not found[^\n]*"
    r"|\S+: command not found)"
)
_FAULT = re.compile(r"Failed status|Completion with error|Error: (?:BW result|Msg rate)")
_KEY = re.compile(r"[A-Za-z][\w. -]*")


@dataclass(frozen=True)
class PerftestRow:
    """One message size, in base units.

    peak, average   bytes/s; peak is NaN where perftest was told not to look for it
    messages        per second; NaN in a latency row
    latency         seconds by perftest's names (``t_typical``, ``percentile_99``); empty in a bandwidth row
    valid           whether it can be a result: finite and above 0
    """

    size: int
    iterations: int
    peak: float = math.nan
    average: float = math.nan
    messages: float = math.nan
    latency: dict[str, float] = field(default_factory=dict)
    valid: bool = True


@dataclass(frozen=True)
class LinkRun:
    """One table. ``tool`` is ib_write_bw and the like, "" when the text does not tell."""

    tool: str
    unit: str
    rows: tuple[PerftestRow, ...]
    facts: dict[str, str]
    gpu_memory: bool = False
    bidirectional: bool = False
    failures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    complete: bool = True

    @property
    def source(self) -> str:
        return self.tool

    @property
    def subject(self) -> str:
        """``ib_write_bw on mlx5_3``."""
        return f"{self.tool or 'perftest'} on {self.facts.get('device', 'an unnamed device')}"

    @property
    def valid(self) -> bool:
        """Whether there are rows, all of them are results, and nothing is cut or failed."""
        good = bool(self.rows) and all(row.valid for row in self.rows)
        return good and self.complete and not self.failures

    @property
    def faults(self) -> tuple[str, ...]:
        """The failures that are the link's: a transfer ended with an error, or below the limit that was set."""
        return tuple(failure for failure in self.failures if _FAULT.search(failure))


@dataclass
class _Columns:
    """A table while its lines come in. ``columns``: of latencies by name, empty of bandwidths and before a header."""

    tool: str = ""
    title: bool = False
    unit: str = ""
    header: bool = False
    levels: bool = False  # a column of service levels
    columns: tuple[str, ...] = ()
    rows: list[PerftestRow] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    gpu: bool = False
    both: bool = False
    failures: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def parse(text: str) -> tuple[LinkRun, ...]:
    """Every table of a text; a title without a table is one without rows. Never raises on any text."""
    tables = [_Columns()]
    for whole in text.splitlines():
        table, line = tables[-1], whole[:LONGEST]
        if title := _TITLE.search(line):
            table = _next(tables) if table.title or table.header else table
            table.tool = _tool(title)
            table.title, table.both = True, "Bidirectional" in line
        elif command := _COMMAND.search(line):
            table = _next(tables) if table.header else table
            table.tool = table.tool or f"ib_{command[1]}_{command[2]}"
            _surroundings(table, line)
        elif not (_header(tables, line) or _row(tables[-1], line)):
            _surroundings(table, line)
    gpu = bool(_GPU.search(text))
    return tuple(_settled(table, gpu) for table in tables if table.title or table.header or table.failures)


def _next(tables: list[_Columns]) -> _Columns:
    tables.append(_Columns())
    return tables[-1]


def _tool(match: re.Match[str]) -> str:
    return f"ib_{_VERBS[match[1]]}_{'bw' if match[2] == 'BW' else 'lat'}"


def _header(tables: list[_Columns], line: str) -> bool:
    bandwidth, latency = _BW_HEADER.search(line), _LAT_HEADER.search(line)
    if not (bandwidth or latency):
        return False
    table = _next(tables) if tables[-1].rows else tables[-1]
    table.header = True
    if bandwidth:
        table.levels, table.unit = bool(bandwidth[1]), bandwidth[3]
        if table.unit not in UNITS:
            table.problems.append(f"the unit {table.unit!r} is not known; known: {', '.join(UNITS)}")
    elif latency:
        columns = _LATENCY.findall(latency[1])
        table.columns = tuple(name or f"percentile_{percent}" for name, _, percent in columns)
        table.unit = columns[0][1]
        if table.unit != "usec":
            table.problems.append(f"latencies in {table.unit!r} are not read; run without -C")
    return True


def _row(table: _Columns, line: str) -> bool:
    tokens = line.split()
    if not (table.header and tokens and all(_NUMBER.fullmatch(token) for token in tokens)):
        return False
    needed = 2 + len(table.columns) if table.columns else 5 + table.levels
    if len(tokens) < needed or not (tokens[0].isdecimal() and tokens[1].isdecimal()):
        table.problems.append(f"a row is cut: {line.strip()!r}")
        return True
    values = [number(token) for token in tokens]
    if table.levels:
        del values[1]
    size, iterations, rest = int(values[0]), int(values[1]), values[2:]
    if table.columns:
        table.rows.append(latency_row(size, iterations, dict(zip(table.columns, rest, strict=False))))
    else:
        table.rows.append(bandwidth_row(size, iterations, rest, table.unit))
    return True


def bandwidth_row(size: int, iterations: int, values: list[float], unit: str) -> PerftestRow:
    """A row of peak, average (in ``unit``) and 10⁶ messages per second; a peak of 0 was not looked for."""
    factor = UNITS.get(unit, math.nan)
    peak, average, messages = values[0] * factor, values[1] * factor, values[2] * MEGA
    good = math.isfinite(average) and average > 0 and size > 0 and iterations > 0
    return PerftestRow(size, iterations, peak if peak else math.nan, average, messages, valid=good)


def latency_row(size: int, iterations: int, micros: dict[str, float]) -> PerftestRow:
    """A row of microseconds by name."""
    latency = {name: value * MICRO for name, value in micros.items()}
    main = latency.get("t_typical", latency.get("t_avg", math.nan))
    good = math.isfinite(main) and main > 0 and all(map(math.isfinite, latency.values())) and iterations > 0
    return PerftestRow(size, iterations, latency=latency, valid=good)


def _surroundings(table: _Columns, line: str) -> None:
    for name, pattern in _FACTS.items():
        if match := pattern.search(line):
            table.facts.setdefault(name, match[1])
    table.gpu = table.gpu or bool(_GPU.search(line))
    if failure := _FAILURE.search(line):
        table.failures.append(failure[1].strip())


def _settled(table: _Columns, gpu: bool) -> LinkRun:
    problems, failures = list(table.problems), tuple(dict.fromkeys(table.failures))
    if not table.rows:
        problems.append(
            "no results" if problems else "no results: the data path is dead, or the output was cut"
        )
    bad = [row for row in table.rows if not row.valid]
    if bad:
        problems.append(
            f"{show_count(len(bad), 'row')} with no results, such as {bad[0].size} bytes: zero, infinite or not a "
            "number; perftest's clock was broken or no data was transferred"
        )
    if not table.columns and _disagrees(table.rows, UNITS.get(table.unit, math.nan)):
        problems.append(f"bandwidth and size × message rate disagree: {table.unit} may not be the unit")
    if failures:
        problems.append(f"the run failed: {show_some(failures, 4, separator='; ')}")
    rows, gpu = tuple(table.rows), gpu or table.gpu
    return LinkRun(table.tool, table.unit, rows, table.facts, gpu, table.both, failures, tuple(problems))


def _disagrees(rows: list[PerftestRow], factor: float) -> bool:
    """Whether the largest message's bandwidth is not its size times its rate."""
    seen = [row for row in rows if row.valid and math.isfinite(row.messages) and row.messages > 0]
    if not seen:
        return False
    best = max(seen, key=lambda row: row.average)
    # the rate is printed with six decimals of a million a second, the bandwidth with two of its unit
    slack = PRECISION + 0.5 / best.messages + 0.005 * factor / best.average
    return abs(best.size * best.messages / best.average - 1) > slack


def parse_json(text: str, unit: str = "") -> LinkRun:
    """The run of one --out_json file, valid or of 4.5. ``unit``: its bandwidth's, if known. Never raises."""
    values, whole = _flat(text)
    title = _TITLE.search(values.get("test", ""))
    tool = _tool(title) if title else ""
    problems = [] if whole else ["the JSON is cut"]
    size, iterations = number(values.get("MsgSize", "")), number(values.get("n_iterations", ""))
    rows: tuple[PerftestRow, ...] = ()
    if not (math.isfinite(size) and math.isfinite(iterations)):
        problems.append("no results: it has no MsgSize and n_iterations")
    elif "BW_average" in values:
        row, unit = _json_bandwidth(values, int(size), int(iterations), unit, problems)
        rows = (row,)
    elif "t_avg" in values:
        named = ((name, number(value)) for name, value in values.items())
        micros = {name: value for name, value in named if name.startswith(("t_", "percentile_"))}
        rows, unit = (latency_row(int(size), int(iterations), micros),), "usec"
    else:
        problems.append("no results: it has neither BW_average nor t_avg")
    if rows and not rows[0].valid:
        problems.append("the result is zero, infinite or not a number: perftest's clock was broken")
    names = (("Device", "device"), ("Link_type", "link_type"), ("Mtu", "mtu"))
    facts = {ours: values[theirs] for theirs, ours in (*names, ("Number_of_qps", "qps")) if theirs in values}
    gpu = "cuda_device" in values or values.get("Use_ROCm_memory") == "ON"
    both = "Bidirectional" in values.get("test", "")
    return LinkRun(tool, unit, rows, facts, gpu, both, (), tuple(problems), whole)


def _json_bandwidth(
    values: dict[str, str], size: int, iterations: int, unit: str, problems: list[str]
) -> tuple[PerftestRow, str]:
    printed = [number(values.get(key, "")) for key in ("BW_peak", "BW_average", "MsgRate")]
    bytes_per_second = size * printed[2] * MEGA
    slack = PRECISION + sum(
        half / value for half, value in zip((0.005, 0.5e-6), printed[1:], strict=True) if value > 0
    )
    likely = [
        name
        for name in ("MiB/sec", "Gb/sec")
        if printed[1] > 0 and abs(bytes_per_second / (printed[1] * UNITS[name]) - 1) <= slack
    ]
    if unit and unit not in UNITS:
        problems.append(f"the unit {unit!r} is not known; known: {', '.join(UNITS)}")
    elif unit and likely and UNITS[likely[0]] != UNITS[unit]:
        problems.append(f"{unit} was given, but size × message rate says {likely[0]}")
    elif not unit and len(likely) == 1:
        unit = likely[0]
    elif not unit:
        problems.append("the JSON carries no unit and its message rate does not tell it; give it")
    return bandwidth_row(size, iterations, printed, unit), unit


def _flat(text: str) -> tuple[dict[str, str], bool]:
    """All scalars by key, and whether the text holds the end of its object."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        pairs = (line.partition(":") for line in text.splitlines())
        found = {key.strip(' \t"'): value.strip(' \t",') for key, _, value in pairs if "{" not in value}
        found = {key: value for key, value in found.items() if _KEY.fullmatch(key) and '"' not in value}
        return found, text.count("{") == text.count("}") > 0
    return _leaves(content), isinstance(content, dict)


def _leaves(content: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            found.update({k: str(v) for k, v in value.items() if not isinstance(v, (dict, list))})
        else:
            found[key] = str(value)
    return found
