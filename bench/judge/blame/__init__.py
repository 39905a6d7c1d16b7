"""Who is to blame: transfers between all pairs of nodes on all rails -> node, GPU, port, path, rail, leaf.

rows = first pass over ``bench.model.rounds.rounds(nodes)``
rows += confirmations(rows) measured again, each ``BlameRules.repeats`` times
blame(rows).named
"""

from bench.judge.blame.confirm import Test
from bench.judge.blame.find_culprits import blame, confirmations, explained_by, judge, retests
from bench.judge.blame.matrix import Matrix, matrix
from bench.judge.blame.solve import Fault
from bench.judge.blame.suspects import (
    Answer,
    Background,
    Blame,
    BlameRules,
    NvlinkRate,
    PairRate,
    Subject,
    Symptom,
)
