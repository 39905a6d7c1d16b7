"""Turns verdicts into actions on a scheduler's nodes: drained, tainted, reported; each can be taken back."""
