"""RailGauge measures and judges: facts, cases, measurements, verdicts.

Its twelve rooms are in ARCHITECTURE.md; a room imports only rooms above it there (tests/test_layers.py).
"""

__version__ = "0.1.0"
