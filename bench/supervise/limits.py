"""Deadlines, the pace of looking, and the two ways in which a run ends early."""

from __future__ import annotations

import time
from dataclasses import dataclass

SHORTEST, LONGEST = 0.002, 0.05  # seconds between two looks for messages
TRIES = 2  # workers that may break one after the other before a phase is given up
BARREN = 2  # phases without one measurement, one after the other, after which the run is given up


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds: to join, without any progress in a case, and to hear from everybody at the end."""

    join: float = 180.0
    hang: float = 60.0
    quit: float = 6.0

    @property
    def bound(self) -> float:
        """Seconds within which measuring has ended, whatever hangs or dies; 120 s more where a node stops between
        two phases, and ``guard.LONGEST`` until the launcher is gone too.

        The phase that broke is tried TRIES times, and BARREN phases may follow; each try waits for its longest
        deadline and for its workers' end.
        """
        return TRIES * (1 + BARREN) * (max(self.join, self.hang) + self.quit) + self.quit


@dataclass
class Pace:
    """How long to sleep between two looks: short while there is talk, longer and longer when there is none.

    Four supervisors that look 20 times a second take less than 1 % of a core together; an MPI wait would
    take all of it.
    """

    _sleep: float = SHORTEST

    def rest(self, busy: bool) -> None:
        self._sleep = SHORTEST if busy else min(LONGEST, self._sleep * 1.5)
        time.sleep(self._sleep)


class Stopped(Exception):
    """A person asked to stop; what was measured is kept."""


class Lost(Exception):
    """A supervisor does not answer; the message names it, and so does ``culprits`` by itself."""

    def __init__(self, text: str, culprits: str = "") -> None:
        super().__init__(text)
        self.culprits = culprits
