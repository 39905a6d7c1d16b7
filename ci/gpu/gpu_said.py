"""What an item of gpu-check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from here import FAILED, NOT_POSSIBLE


@dataclass(frozen=True)
class Said:
    """``text`` is one line; ``details`` go to summary.json."""

    status: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


def not_possible(reason: str) -> Said:
    return Said(NOT_POSSIBLE, reason)


def failed(reason: str, **details: Any) -> Said:
    return Said(FAILED, reason, details)
