"""The largest packet of InfiniBand ports, which sysfs does not tell: the verbs library is asked by ``ibv_devinfo``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.model.facts import Port
from bench.model.verdict import Status
from bench.probe.fabric.run_tools import ToolAnswer, ask

TOOL = "ibv_devinfo"
LIMIT = 20.0  # s; it opens every HCA
_LINE = re.compile(r"^[ \t]*(hca_id|port|max_mtu|active_mtu):[ \t]*(\S{1,40})", re.MULTILINE)


def with_mtu(
    ports: Sequence[Port], notes: list[str], ask: Callable[[Sequence[str], float], ToolAnswer] = ask
) -> tuple[Port, ...]:
    """``ports`` with their MTUs, as far as they can be asked; a source that gave nothing is added to ``notes``."""
    answer = ask((TOOL,), LIMIT)
    known = parse(answer.text) if answer.status is Status.PASS else {}
    if not known:
        notes.append(f"{TOOL}: {answer.reason if answer.status is not Status.PASS else 'it named no port'}")
    return tuple(
        replace(port, mtu=seen.get("active_mtu"), max_mtu=seen.get("max_mtu"))
        if (seen := known.get((port.hca, port.number)))
        else port
        for port in ports
    )


def parse(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """``active_mtu`` and ``max_mtu`` in bytes, by HCA and port number; what is no number is left out."""
    found: dict[tuple[str, int], dict[str, int]] = {}
    hca, port = "", 0
    for key, value in _LINE.findall(text):
        if key == "hca_id":
            hca = value
        elif key == "port":
            port = int(value) if value.isdecimal() else 0
            found[hca, port] = {}
        elif value.isdecimal() and (hca, port) in found:
            found[hca, port][key] = int(value)
    return found
