"""The names of phases, by which their rows are found."""

from __future__ import annotations

FIRST, AGAIN = "rails", "suspects"  # all pairs on all rails; suspects retested, a second time as "suspects-2"
REPEATED = "rails-again"  # rounds of the first phase repeated as they were, all rails at once
# across rails; one rail alone, "pinned-3"; rings, "screen-2"
CROSS, PINNED, SCREEN = "cross", "pinned", "screen"
STEADY, STEADY_AGAIN = "steady", "steady-again"  # every rail at once for many short windows; a second time
INSIDE = "inside"  # GPUs against each other inside their nodes
LINKS = "links"  # the same on a job of one node
NODES = "nodes"  # each node by itself
RERUN = "rerun"  # what was slow in a phase, measured once more: "rerun-collectives"
WATCH = "watch"  # nothing is measured: the job of somebody else runs
BUDGET, GIVEN_UP = "budget", "given up"  # rows of what a plan leaves out: one on the budget, one for each cut
# how phases are called in which not all rails of a node are loaded alike
UNEVEN_PHASES = (AGAIN, CROSS, PINNED, SCREEN, INSIDE, REPEATED, STEADY)
INSTEAD = {SCREEN: FIRST, LINKS: INSIDE}  # a phase that is not needed where the other measures the same

# what a phase measures, for people; a run has longer titles of the phases that it planned
WORDS = {
    FIRST: "all rails between all nodes", AGAIN: "suspects measured again", REPEATED: "slow transfers measured again",
    CROSS: "across the rails", PINNED: "each rail alone", SCREEN: "nodes in rings", STEADY: "steady load",
    STEADY_AGAIN: "steady load again", INSIDE: "GPUs inside their nodes", LINKS: "GPUs of the node",
    NODES: "each node alone", RERUN: "measured once more", BUDGET: "time limit", GIVEN_UP: "time limit",
    "collectives": "collectives", "ring": "collectives as a ring", "pairs": "neighbours", "evidence": "NCCL's log",
    "copies": "copies of each GPU", "graphs": "CUDA graphs", "registered": "registered buffers",
    "verbs": "ib_write_bw on each rail", "soak": "soak", WATCH: "beside a running job",
}  # fmt: skip


def phase_words(name: str) -> str:
    """The name of a phase for people: ``pinned-3`` is "each rail alone, 3"."""
    if name in WORDS:
        return WORDS[name]
    stem, _, rest = name.partition("-")
    if stem == RERUN:
        return f"{WORDS[RERUN]}: {phase_words(rest)}"
    return f"{WORDS[stem]}, {rest}" if stem in WORDS else name
