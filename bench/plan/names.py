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
BUDGET, GIVEN_UP = "budget", "given up"  # rows of what a plan leaves out: one on the budget, one for each cut
# how phases are called in which not all rails of a node are loaded alike
UNEVEN_PHASES = (AGAIN, CROSS, PINNED, SCREEN, INSIDE, REPEATED, STEADY)
