"""Probes read one machine and return facts; they judge nothing.

One module per source. Each takes the root of the file system, so that a copied tree is read like a machine,
and keeps reading a file and parsing its text apart: every ``parse_*`` function takes text and never raises.
"""
