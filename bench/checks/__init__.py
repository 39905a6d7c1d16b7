"""The checks: each one function and one row of ``CHECKS``; evidence and profile in, verdicts out.

A check sees what the run folder holds and nothing else, so that any run can be judged again anywhere.
"""

from . import blame, coverage, limits, numbers  # noqa: F401  each module adds its rows to CHECKS
from .registry import CHECKS, Check, Evidence, check

__all__ = ["CHECKS", "Check", "Evidence", "check"]
