"""RailGauge measures and judges: facts, cases, measurements, verdicts.

Modules stand in layers (tests/test_layers.py holds the list); a module imports only what
stands above it there.
"""

__version__ = "0.1.0"
