"""Judges a run folder against a profile: checks, blame, drift. Reads evidence, never the machine."""
