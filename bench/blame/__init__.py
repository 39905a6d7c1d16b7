"""Who is to blame: transfers between all pairs of nodes on all rails -> node, GPU, port, path, rail, leaf.

rows = first pass over ``pairs.rounds(nodes)``
rows += confirmations(rows) measured again, each ``Rules.repeats`` times
blame(rows).named
"""

from bench.blame.confirm import Test
from bench.blame.judge import blame, confirmations, judge, retests, suspects, through
from bench.blame.matrix import Matrix, matrix
from bench.blame.rows import Answer, Blame, Inside, Known, PairRate, Rules, Sign, Subject
from bench.blame.solve import Fault

__all__ = [
    "Answer",
    "Blame",
    "Fault",
    "Inside",
    "Known",
    "Matrix",
    "PairRate",
    "Rules",
    "Sign",
    "Subject",
    "Test",
    "blame",
    "confirmations",
    "judge",
    "matrix",
    "retests",
    "suspects",
    "through",
]
