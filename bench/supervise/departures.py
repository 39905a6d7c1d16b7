"""How a run ends before its end: who left, and whether rank 0 itself is to go. Kept by the coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bench.supervise.control.tcp import Message
from bench.supervise.hangs.culprits import Culprits
from bench.supervise.hangs.departed import CUT, FAILED, Gone, blamed, farewells

GATHER = 0.4  # s from the first sign on, in which the others' last words arrive
HURRY = 0.05  # the same where time is short: Open MPI kills rank 0 half a second after the first death


@dataclass
class Departures:
    """``told``: who told rank 0 to end, ``orphaned``: whose end left it alone, "" while nobody.

    Of a rank the first word counts: its line closes after it.
    """

    told: Callable[[], str] = lambda: ""
    orphaned: Callable[[], str] = lambda: ""
    clock: Callable[[], float] = time.monotonic
    gone: dict[int, Gone] = field(default_factory=dict)
    _since: float = 0.0

    def stop(self) -> str:
        """Why rank 0 is to end, "" while it is not."""
        return self.told() or self.orphaned()

    def hear(self, rank: int, node: str, message: Message) -> bool:
        """Whether the message says that a supervisor left."""
        if message.get("said") not in ("lost", "farewell"):
            return False
        self.gone.setdefault(rank, Gone(rank, node, str(message.get("how", CUT)), str(message["text"])))
        return True

    def over(self, nodes: Sequence[str]) -> Culprits | None:
        """Why the run cannot go on, and by whom, once all that can be known of it has arrived; else None."""
        ending = self.stop()
        killed = any(each.how in (CUT, FAILED) for each in self.gone.values())
        if not ending and not self.gone:
            return None
        self._since = self._since or self.clock()
        if self.clock() - self._since < (HURRY if killed or self.told() else GATHER):
            return None
        found = blamed(list(self.gone.values()), nodes, ending) or Culprits(ending, "")
        left = farewells(self.gone) if ending else ""
        return replace(found, reason=f"{found.reason}; left before: {left}") if left else found
