"""The table of checks and the evidence that they see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.model.verdict import Verdict

from .evidence import Evidence

Judge = Callable[[Evidence], Iterator[Verdict]]


@dataclass(frozen=True)
class Check:
    """One row: its name, what it proves (its docstring's first line), the function.

    ``early``: it needs no measurement, so it runs before the first byte of traffic too.
    """

    name: str
    about: str
    judge: Judge
    early: bool = False


CHECKS: dict[str, Check] = {}


def check(name: str, early: bool = False) -> Callable[[Judge], Judge]:
    """Add a function to the table under ``name``."""

    def add(function: Judge) -> Judge:
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        CHECKS[name] = Check(name, (function.__doc__ or "").strip().split("\n")[0], function, early)
        return function

    return add
