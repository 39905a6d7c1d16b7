"""The checks: each one function and one row of ``CHECKS``; evidence and profile in, verdicts out.

A check sees what the run folder holds and nothing else, so that any run can be judged again anywhere.
"""

# each module adds its rows to CHECKS, in this order: what is there, how it is set up, what was measured
from . import host, ports, mtu, pcie, gpus, versions, environment, exclusion, fabric  # noqa: F401, I001
from . import quiet, growth, causes, coverage, lost, numbers, imported, limits, wire, blame, waiting  # noqa: F401
from . import screening, pinned, own, naming, carried, wiring  # noqa: F401
from . import drift, layers  # noqa: F401
from . import load, links, soak  # noqa: F401
from .registry import CHECKS, Check, check
from .evidence import Evidence

__all__ = ["CHECKS", "Check", "Evidence", "check"]
