"""Deadlines, the pace of polling, and the two ways in which a run ends early."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.model.late_dataclass import dataclass

SHORTEST, LONGEST = 0.002, 0.05  # seconds between two polls for messages
TRIES = 2  # workers that may break one after the other before a phase is given up
# between two messages of rank 0 to every rank, while there is nothing else to send
RANK_0_HEARTBEAT_SECONDS = 30.0
# without one, after which rank 0 counts as frozen; the longest that it works by itself is 400 s
SILENT_SECONDS = 900.0
COUNTERS = 60.0  # seconds for every node to read its counters between two phases
BARREN = 2  # phases in a row without one measurement, after which the run is given up


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds: to join, without any progress in a case, and for all answers at the end."""

    join: float = 180.0
    hang: float = 60.0
    quit: float = 6.0

    @property
    def stall(self) -> float:
        """Seconds of tries in a row that measured nothing, after which the run is given up."""
        return self.join + 2 * self.hang

    @property
    def bound(self) -> float:
        """Seconds within which measuring has ended, whatever hangs or dies: the last try that measures nothing
        begins before ``stall`` is over, waits for its longest deadline and for its workers' end, and is dismissed.

        COUNTERS more where a node stops between two phases; then the report is drawn, and ``watchdog.LONGEST`` after
        that the launcher is gone too.
        """
        return self.stall + max(self.join, self.hang) + 2 * self.quit


@dataclass
class Pace:
    """How long to sleep between two polls: short while messages arrive, longer and longer when none do.

    Four supervisors that poll 20 times a second take less than 1 % of a core together; an MPI wait would
    take all of it.
    """

    _sleep: float = SHORTEST

    def rest(self, busy: bool, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = SHORTEST if busy else min(LONGEST, self._sleep * 1.5)
        sleep(self._sleep)


class RunEndsEarly(Exception):
    """The run ends early; the message says why, and ``culprits`` who is to blame, "" where nobody is.

    ``nodes``: without these the others can go on.
    """

    def __init__(self, text: str, culprits: str = "", nodes: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.culprits, self.nodes = culprits, tuple(nodes)


class Stopped(RunEndsEarly):
    """Rank 0 received a signal to end, or its launcher is gone; what was measured is kept."""


class Lost(RunEndsEarly):
    """A supervisor does not answer, or has left."""
