"""A display that keeps what it is told."""

from __future__ import annotations

from typing import Any


class Told:
    """Keeps the sentences and the verdicts that it is told, and passes over all else."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.runs: list[object] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def finished(self, judged: object) -> None:
        self.runs.append(judged)

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None
