"""What phases are called: code that looks for the rows of one begins here."""

from __future__ import annotations

FIRST, AGAIN = "rails", "suspects"  # all pairs on all rails; a second look is "suspects-2"
REPEATED = "rails-again"  # rounds of the first phase as they were, all rails at once
CROSS, PINNED, SCREEN = "cross", "pinned", "screen"  # across rails; one rail alone, "pinned-3"; "screen-2"
INSIDE = "inside"  # GPUs against each other inside their nodes
LINKS = "links"  # the same on a job of one node
BUDGET, GIVEN_UP = "budget", "given up"  # what a plan leaves out for want of time: the whole, and each
