"""The nouns, units and formulas that everything else speaks of. Nothing here reads a machine or a file of a run."""
