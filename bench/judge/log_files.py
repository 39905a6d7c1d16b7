"""NCCL's logs in a run folder: one file a phase and rank."""

from __future__ import annotations

from bench.nccl.log import Log, read_ranks
from bench.store import LOGS, Run


def log_of(run: Run, phase: str) -> Log:
    """The logs that the ranks of the run wrote in one phase; a rank that wrote none is missing."""
    paths = {rank.rank: run.path / LOGS / f"{phase}.{rank.rank}.log" for rank in run.manifest.ranks}
    return read_ranks(
        {
            rank: path.read_text(encoding="utf-8", errors="replace")
            for rank, path in paths.items()
            if path.is_file()
        }
    )
