"""The checks: each one function and one row of ``CHECKS``; evidence and profile in, verdicts out.

A check sees what the run folder holds and nothing else, so that any run can be judged again anywhere.
"""

# each module adds its rows to CHECKS, in this order: what is there, how it is set up, what was measured
from bench.judge.evidence import Evidence
from bench.judge.registry import CHECKS, Check, check

__all__ = ["CHECKS", "Check", "Evidence", "check"]
