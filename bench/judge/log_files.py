"""NCCL's logs in a run folder: one file a phase and rank."""

from __future__ import annotations

from bench.nccl.log import Log, read_ranks
from bench.store import LOGS, Run


def log_of(run: Run, phase: str, containing: str = "") -> Log:
    """The logs that the ranks of the run wrote in one phase; a rank that wrote none is missing.

    ``containing``: only lines with this text are read; the rest of a long log costs nothing then.
    """
    texts = {}
    for rank in run.manifest.ranks:
        path = run.path / LOGS / f"{phase}.{rank.rank}.log"
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if containing:
                text = "\n".join(line for line in text.splitlines() if containing in line)
            texts[rank.rank] = text
    return read_ranks(texts)
