"""The ``Network.ib`` part of SuperBench's sysinfo JSON: ibv_devinfo and ibstat text folded into nested keys.

It is unfolded into text again and read by the two parsers, so that there is one reading of each field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from bench.fabric import devinfo, ibstat
from bench.fabric.lines import Refused


@dataclass(frozen=True)
class Sysinfo:
    status: ibstat.Ibstat | None
    info: devinfo.Devinfo | None


def parse(text: str) -> Sysinfo:
    """Either half may be absent (None); raises ``Refused`` where both are."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not a sysinfo JSON: {error}") from None
    for key in ("Network", "ib"):
        tree = tree.get(key, tree) if isinstance(tree, dict) else tree
    status, info = (
        (tree.get(key) for key in ("ib_device_status", "ib_device_info"))
        if isinstance(tree, dict)
        else (None, None)
    )
    if not isinstance(status, dict) and not isinstance(info, dict):
        raise Refused("not a sysinfo JSON: neither 'ib_device_status' nor 'ib_device_info' in it")
    return Sysinfo(
        status=ibstat.parse("\n".join(_unfold(status))) if isinstance(status, dict) else None,
        info=devinfo.parse("\n".join(_unfold(info))) if isinstance(info, dict) else None,
    )


def _unfold(tree: dict[str, object], depth: int = 0) -> Iterator[str]:
    """Lines of nested keys; a key that holds a dict is a head line of its own.

    The real files are four deep.
    """
    for key, value in tree.items():
        if isinstance(value, dict):
            yield key
            yield from _unfold(value, depth + 1) if depth < 8 else ()
        elif not isinstance(value, list):
            yield f"{key}: {value}" if value != "" else f"{key}:"
