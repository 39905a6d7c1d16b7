"""The evidence of one run: the folder as it was read, and what is derived from it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.model.facts import Node
from bench.store import Run
from bench.store.rows import Row


@dataclass(frozen=True)
class Evidence:
    """A run as the checks see it: the folder, and the rows derived from it."""

    run: Run
    rows: tuple[Row, ...]
    nodes: tuple[Node, ...] = ()

    @property
    def node_count(self) -> int:
        return len(self.run.manifest.nodes)
