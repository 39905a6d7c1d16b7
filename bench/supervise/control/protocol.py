"""The protocol of the star, and a star of one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

Message = dict[str, Any]


class Control(Protocol):
    """One supervisor's end of the star.

    A peer that is lost is told by a message of its own: rank 0 hears ``{"said": "lost", "text": why}``
    from it, the others hear ``{"do": "quit", "lost": why}`` from a rank 0 that is gone. MPI itself does not
    tell that: see ``lifeline``.
    """

    rank: int
    size: int

    def send(self, to: int, message: Message) -> None:
        """Start sending; returns at once."""

    def receive(self) -> Iterator[tuple[int, Message]]:
        """(sender, message) of all that has arrived."""

    def flush(self, limit: float) -> bool:
        """Wait until all that was sent has left, at most ``limit`` seconds; whether it has."""

    def close(self) -> None:
        """Leave the star; everybody leaves at about the same time."""

    def abandon(self, status: int) -> None:
        """End this process, and with it the job, although somebody does not answer."""


class Alone:
    """A star of one: messages to oneself."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        self._waiting: deque[Message] = deque()

    def send(self, to: int, message: Message) -> None:
        self._waiting.append(message)

    def receive(self) -> Iterator[tuple[int, Message]]:
        while self._waiting:
            yield 0, self._waiting.popleft()

    def flush(self, limit: float) -> bool:
        return True

    def close(self) -> None:
        return

    def abandon(self, status: int) -> None:
        return
