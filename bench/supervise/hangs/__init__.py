"""Why nothing moves, and who holds the others up: from heartbeats, byte counters and what libraries recorded.

seen    what rank 0 heard of every rank -> their places
who     places of all ranks -> a sentence and the culprits
gone    supervisors that left -> who took the job down
flight  torch's flight recorder: which collective each rank entered last
ras     what NCCL's RAS service says of a job
"""

from bench.measure.flight_recorder import behind
from bench.supervise.hangs.culprits import Culprits, Link, Place, broke, hung, names, silent, unreachable
from bench.supervise.hangs.departed import CUT, FAILED, ORPHAN, TOLD, Gone, blamed, farewells, with_last
from bench.supervise.hangs.rank_state import Seen, flown, heartbeats, places, record

__all__ = [
    "CUT",
    "FAILED",
    "ORPHAN",
    "TOLD",
    "Culprits",
    "Gone",
    "Link",
    "Place",
    "Seen",
    "behind",
    "blamed",
    "broke",
    "farewells",
    "flown",
    "heartbeats",
    "hung",
    "names",
    "places",
    "record",
    "silent",
    "unreachable",
    "with_last",
]
