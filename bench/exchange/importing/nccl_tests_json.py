"""nccl-tests ``-J`` files, JSON_FILE_VERSION 1 to 3 (NVIDIA/nccl-tests src/util.cu, 2.17.9 to 2.20).

Booleans are the strings "true" and "false", the root is a space-padded string, not-a-number is the
string "nan" and infinity a bare ``inf``, which is no JSON; a killed run leaves the file open. ``env``
holds every variable of the process, secrets too: only those of the allow-list are read.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from bench.model.units import GIGA, MICRO, number

from .imported_rows import TYPES, DeviceLine, ImportedRow, ImportedRun
from .infer_ranks import MOST_RANKS
from .reconcile import NO_HINTS, Found, Hints, settle

ALLOWED = ("NCCL_", "TORCH_NCCL_", "UCX_", "OMPI_MCA_", "CUDA_", "GLOO_")
_INFINITE = re.compile(r"([:\[,]\s*)(-?)inf(?=\s*[,}\]])")


def parse(text: str, hints: Hints = NO_HINTS) -> ImportedRun:
    """The run of one file. Never raises on any text: what is broken or cut is in ``problems``."""
    content, whole = _content(text)
    found = Found(cut=not whole)
    if not whole:
        found.problems.append("the JSON is cut or broken; only what stands before that is read")
    config = _mapping(content.get("config"))
    args = [item for item in _sequence(content.get("args")) if isinstance(item, str)]
    found.settings = _settings(config, content)
    found.nccl = _text(content.get("nccl_version"))
    for item in _sequence(config.get("devices")):
        _device(found, _mapping(item))
    for item in _sequence(content.get("results")):
        _result(found, _mapping(item))
    found.failures = [_text(item) for item in _sequence(content.get("errors")) if _text(item)]
    found.bounds = _text(_mapping(content.get("out_of_bounds")).get("count"))
    found.bounds_word = {"true": "OK", "false": "FAILED"}.get(
        _text(_mapping(content.get("out_of_bounds")).get("okay")), ""
    )
    average = _mapping(content.get("average_bus_bandwidth"))
    found.average = _text(average.get("bandwidth"))
    if average.get("okay") == "false":
        found.below_limit()
    if whole and "start_time" in content and not content.get("end_time"):
        found.cut = True
        found.problems.append("the run was ended before it wrote its end_time")
    program = args[0].rsplit("/", 1)[-1] if args else ""
    program = re.sub(r"_perf.*", "_perf", program)  # NAME_SUFFIX builds call it all_reduce_perf_mpi
    return settle(found, "nccl-tests", program, hints)


def _content(text: str) -> tuple[dict[str, Any], bool]:
    """The file's object, and whether all of it could be read."""
    text = _INFINITE.sub(r"\1\2Infinity", text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return _rescued(text), False
    return _mapping(content), isinstance(content, dict)


def _rescued(text: str) -> dict[str, Any]:
    """The complete values of a broken object: its scalars, its config, and each whole result."""
    content: dict[str, Any] = {}
    for key in ("args", "config", "out_of_bounds", "average_bus_bandwidth", "errors", "nccl_version"):
        if match := re.search(
            rf'"{key}"\s*:', text
        ):  # the first alone: a hostile file repeats it without end
            content[key], _ = _decoded(text, match.end())
    start = re.search(r'"results"\s*:\s*\[', text)
    place, results = (start.end() if start else len(text)), []
    while place < len(text):
        value, place = _decoded(text, place)
        if value is None:
            break
        results.append(value)
        comma = re.compile(r"\s*,").match(text, place)
        if not comma:
            break
        place = comma.end()
    content["results"] = results
    return content


def _decoded(text: str, place: int) -> tuple[Any, int]:
    spaces = re.compile(r"\s*").match(text, place)
    try:
        value, end = json.JSONDecoder().raw_decode(text, spaces.end() if spaces else place)
    except (ValueError, RecursionError):
        return None, len(text)
    return value, end


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _float(value: object) -> float:
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, (int, float)):
        return number(str(value))
    return number(value.strip()) if isinstance(value, str) else math.nan


def _int(value: object) -> int | None:
    whole = _float(value)
    return int(whole) if math.isfinite(whole) and whole == int(whole) else None


def _settings(config: dict[str, Any], content: dict[str, Any]) -> dict[str, str]:
    """The scalars of the configuration, the times, and the allowed variables as ``env NAME``."""
    settings = {key: _text(value) for key, value in config.items() if _text(value)}
    settings |= {
        key: _text(content.get(key)) for key in ("start_time", "end_time") if _text(content.get(key))
    }
    for item in _sequence(content.get("env")):
        name, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
        if equals and name.startswith(ALLOWED):
            settings[f"env {name}"] = value
    return settings


def _device(found: Found, item: dict[str, Any]) -> None:
    rank, device = _int(item.get("rank")), _int(item.get("device"))
    if rank is None or not 0 <= rank < MOST_RANKS:
        found.problems.append("a device of the list has no rank")
        return
    found.devices.append(
        DeviceLine(
            rank,
            _text(item.get("hostname")),
            -1 if device is None else device,
            _text(item.get("device_hex")),
            _text(item.get("device_info")),
        )
    )


def _result(found: Found, item: dict[str, Any]) -> None:
    size, count = _int(item.get("size")), _int(item.get("count"))
    kind = TYPES.get(_text(item.get("type")))
    if size is None or count is None or kind is None or not (0 <= size < 1 << 63 and 0 <= count < 1 << 63):
        found.odd.append(str({key: item.get(key) for key in ("size", "count", "type")}))
        return
    for key, place in (("out_of_place", "out"), ("in_place", "in")):
        body = _mapping(item.get(key))
        if not body:
            continue
        times = _mapping(item.get(f"{key}_per_iter")).get("times_us")
        found.rows.append(
            ImportedRow(
                collective="",
                size=size,
                count=count,
                dtype=kind[0],
                op=_text(item.get("redop")) or "none",
                root=_int(item.get("root")),
                placement=place,
                seconds=_float(body.get("cpu_time", body.get("time"))) * MICRO,
                algbw=_float(body.get("alg_bw")) * GIGA,
                busbw=_float(body.get("bus_bw")) * GIGA,
                wrong=_int(body.get("nwrong")),
                clock="cpu" if "cpu_time" in body else "gpu",
                iterations=tuple(_float(value) * MICRO for value in _sequence(times)),
                digits=(0.5e-6 * MICRO, 0.5e-6 * GIGA, 0.5e-6 * GIGA),  # printed by %lf
            )
        )
