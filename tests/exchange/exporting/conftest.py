"""One nightly run of eight nodes with everything in it that an export has to tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.store import Plan, Run
from tests import made_nights as made
from tests import runs


def faults(case, group):
    """all_reduce is slow at the largest size, and one rail is."""
    if case.collective == "all_reduce" and case.size > 1 << 20 and len(group) == 16:
        return 1.2
    return 1.3 if case.collective == "p2p" and 5 in group else 1.0


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("pyarrow")
    folder: Path = tmp_path_factory.mktemp("night")
    eight = runs.ranks(8, 2)
    made.before(folder / "history", folder / "like", 12, where=eight)
    return made.nightly(folder / "tonight", folder / "history", 12, faults, where=eight)


@pytest.fixture(scope="session")
def bare(night: Run) -> Run:
    """The run without its figures: small enough for hypothesis to print."""
    nothing = {"facts": (), "measurements": (), "counters": (), "phases": (), "verdicts": (), "history": {}}
    return replace(night, plan=Plan(()), **nothing)
