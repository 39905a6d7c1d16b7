"""The largest packet of InfiniBand ports, which sysfs does not tell: the verbs library is asked by ``ibv_devinfo``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.model.facts import Port
from bench.model.verdict import Status
from bench.probe.fabric import devinfo
from bench.probe.fabric.pasted_text import Refused
from bench.probe.fabric.run_tools import ToolAnswer, ask

TOOL = "ibv_devinfo"
LIMIT = 20.0  # s; it opens every HCA


def sized(
    ports: Sequence[Port], told: list[str], ask: Callable[[Sequence[str], float], ToolAnswer] = ask
) -> tuple[Port, ...]:
    """``ports`` with their MTUs, as far as they can be asked; why not is added to ``told``."""
    answer = ask((TOOL,), LIMIT)
    if answer.status is not Status.PASS:
        told.append(f"{TOOL}: {answer.reason}")
        return tuple(ports)
    try:
        found = devinfo.parse(answer.text)
    except Refused as error:
        told.append(f"{TOOL}: {error}")
        return tuple(ports)
    known = {(hca.name, port.number): port for hca in found.adapters for port in hca.ports}
    return tuple(
        replace(port, mtu=seen.active_mtu, max_mtu=seen.max_mtu)
        if (seen := known.get((port.hca, port.number)))
        else port
        for port in ports
    )
