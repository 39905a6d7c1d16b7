"""The checks: each one function and one row of ``CHECKS``; evidence and profile in, verdicts out.

A check sees what the run folder holds and nothing else, so that any run can be judged again anywhere.
"""

# each module adds its rows to CHECKS, in this order: what is there, how it is set up, what was measured
from . import host, identities, ports, port_tables, mtu, pcie, gpus, kernel_log, versions, environment  # noqa: I001
from . import exclusion_settings, own_log, fabric
from . import (
    exclusion_bytes,
    error_counters,
    pauses,
    throttling_and_mtu,
    coverage,
    correctness,
    imported_results,
)
from . import (
    bounds,
    row_peers,
    wire_share,
    blame,
    stragglers,
    screening,
    pinned_rails,
    nearest_hca,
    rail_names,
)
from . import (
    intended_rails,
    intermittent_rails,
    rail_share,
    packet_size,
    rail_wiring,
    drift,
    rail_layers,
    rail_latency,
    gpu_clocks,
    nvlink_pairs,
    soak,
    watch,
)
from bench.judge.evidence import Evidence
from bench.judge.registry import CHECKS, Check, check
