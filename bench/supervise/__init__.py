"""The supervisors: one on every rank with its worker, and on rank 0 the coordinator over them.

A supervisor imports no torch and no CUDA. It starts the worker of each phase, passes on what the
worker says, and ends it when told. The coordinator decides: it holds the deadlines, writes the
journal, finds who is to blame when a phase breaks, and goes on with the cases that are left.

    limits    deadlines, the pace of looking, how a run ends early
    farewell  why a supervisor leaves before it is dismissed
    ending    who left, as rank 0 hears it
    rank      the supervisor of a rank
    chief     the coordinator over them
"""

from .coordinator import Coordinator, dismiss
from .departures import Departures
from .farewell import above, say
from .limits import COUNTERS, Limits, Lost, Pace, Stopped
from .supervisor import Supervisor

__all__ = [
    "COUNTERS",
    "Coordinator",
    "Departures",
    "Limits",
    "Lost",
    "Pace",
    "Stopped",
    "Supervisor",
    "above",
    "dismiss",
    "say",
]
