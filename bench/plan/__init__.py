"""From profile and ranks to phases of cases, with their bytes and seconds, before anything starts."""

from bench.plan.budget import AFTER, COUNTERS, CUTS, within
from bench.plan.gpu import whole
from bench.plan.job import AcceptOptions, Job, alone, by_node, everyone
from bench.plan.memory import (
    NCCL_RESERVE,
    TORCH_HOST,
    Memory,
    fit,
    needed,
)
from bench.plan.phases import PHASES, acceptance, seconds
from bench.plan.rails import PAIR_RULES, pair_cases
from bench.plan.screen import step_phase
from bench.plan.sweep import PlanError, Request, sizes, sweep_cases

__all__ = [
    "AFTER",
    "COUNTERS",
    "CUTS",
    "NCCL_RESERVE",
    "PAIR_RULES",
    "PHASES",
    "TORCH_HOST",
    "AcceptOptions",
    "Job",
    "Memory",
    "PlanError",
    "Request",
    "acceptance",
    "alone",
    "by_node",
    "everyone",
    "fit",
    "needed",
    "pair_cases",
    "seconds",
    "sizes",
    "step_phase",
    "sweep_cases",
    "whole",
    "within",
]
