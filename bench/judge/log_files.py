"""NCCL's logs in a run folder: one file a phase and rank."""

from __future__ import annotations

from bench.nccl.log import Log, read_ranks
from bench.store import LOGS, Run


def log_of(run: Run, phase: str, containing: str = "") -> Log:
    """The logs that the ranks of the run wrote in one phase; a rank that wrote none is missing.

    ``containing``: only lines with this text are read; the rest of a long log costs nothing then.
    """
    texts, folder = {}, run.path / LOGS
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for rank in run.manifest.ranks:
        name = f"{phase}.{rank.rank}.log"
        if name in there and (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            if containing:
                text = "\n".join(line for line in text.splitlines() if containing in line)
            texts[rank.rank] = text
    return read_ranks(texts)
