"""Which tool wrote a file, and its runs."""

from __future__ import annotations

import re

from bench.measure.perftest import output
from bench.measure.perftest.output import LinkRun
from bench.model.late_dataclass import dataclass

from . import nccl_tests, nccl_tests_json
from .imported_rows import ImportedRun, ImportRefused
from .reconcile import Hints

_NCCL_TEXT = re.compile(
    r"\bsize\s+count\s+type\b|\bnThreads?:? \d+ nGpus|Avg bus bandwidth\s*:|Out of bounds values\s*:"
    r"|Test (?:NCCL|CUDA|HIP) failure|\(B\)\s+\(elements\)|\bbytes\s+N\s+type\b|Collective test starting"
)
_PERF_TEXT = re.compile(
    r"#bytes\s+(?:#sl\s+)?#iterations|\b(?:RDMA_Write|RDMA_Read|Send|Atomic)\b[\w ]{0,40} (?:BW|Latency) Test"
)
_NCCL_JSON = re.compile(
    r'"(?:nccl_version|out_of_bounds|average_bus_bandwidth|warmup_iters|out_of_place)"\s*:'
)
_PERF_JSON = re.compile(r'"?test_info"?\s*:\s*\{|^[ \t]*"?MsgSize"?\s*:', re.MULTILINE)

KINDS = ("nccl-tests json", "perftest json", "nccl-tests text", "perftest text")


def detect(text: str) -> tuple[str, ...]:
    """The kinds of result in a text, of ``KINDS``; empty when there are none."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        if _NCCL_JSON.search(text) or re.search(r'^\s*\{\s*"version"\s*:\s*\d+\s*,\s*"start_time"', text):
            return ("nccl-tests json",)
        if _PERF_JSON.search(text):
            return ("perftest json",)
    found = []
    if _NCCL_TEXT.search(text) or nccl_tests.ROW.search(text):
        found.append("nccl-tests text")
    if _PERF_TEXT.search(text):
        found.append("perftest text")
    return tuple(found)


@dataclass(frozen=True)
class Imported:
    """All runs of one file."""

    kinds: tuple[str, ...]
    nccl: tuple[ImportedRun, ...]
    links: tuple[LinkRun, ...]


def read(text: str, hints: Hints, unit: str = "") -> Imported:
    """The runs of a file; ImportRefused when it is of no known kind."""
    kinds = detect(text)
    if not kinds:
        raise ImportRefused(f"{hints.file}: no results are found in it; known: {', '.join(KINDS)}")
    nccl: tuple[ImportedRun, ...] = ()
    links: tuple[LinkRun, ...] = ()
    if "nccl-tests json" in kinds:
        nccl += (nccl_tests_json.parse(text.lstrip("\ufeff"), hints),)
    if "nccl-tests text" in kinds:
        nccl += nccl_tests.parse(text, hints)
    if "perftest json" in kinds:
        links += (output.parse_json(text.lstrip("\ufeff"), unit),)
    if "perftest text" in kinds:
        links += output.parse(text)
    return Imported(kinds, nccl, links)
