"""From verdicts to actions on the nodes of a scheduler: drained, tainted, reported; each with its way back."""
