"""Who is told what happens while phases run; a module of its own, since who starts a job needs no coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bench.model.measurement import Case, Measurement
from bench.probe.link_bytes import LinkBytes


class PhaseObserver(Protocol):
    """Is told what happens while phases run."""

    def measured(self, row: Measurement) -> None: ...

    def lost(self, case: Case, reason: str) -> None: ...

    def say(self, text: str) -> None: ...

    def beat(self, case: str, stage: str) -> None:
        """What the first rank does."""

    def links(self, node: str, links: Mapping[str, LinkBytes]) -> None:
        """What the rails of a node have carried."""
