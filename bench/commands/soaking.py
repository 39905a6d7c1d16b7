"""What ``railgauge soak`` asks the measuring code for."""

from __future__ import annotations

from typing import Any

from bench.collectives import collective
from bench.measure import Rules
from bench.plan import Request
from bench.steady import window_seconds

MINUTE = 60.0


def asked(given: dict[str, Any]) -> tuple[Rules, tuple[Request, ...]]:
    """The rules of a steady load and the one message that it is made of."""
    row = collective(given["collective"])
    seconds = given["minutes"] * MINUTE
    rules = Rules(budget=seconds, window=window_seconds(seconds, given["window"]))
    request = Request(row.name, given["size"], given["size"], dtype=given["datatype"])
    return rules, (request,)
