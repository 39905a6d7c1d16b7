"""Plans the phases and cases from profile and ranks, with their bytes and seconds, before anything starts."""

from bench.plan.budget import AFTER, COUNTERS, CUTS, fit_to_budget
from bench.plan.job import AcceptOptions, Job, by_node
from bench.plan.memory import NCCL_RESERVE, TORCH_HOST, Memory, fit, needed
from bench.plan.phases import acceptance, seconds, start_seconds
from bench.plan.rails import PAIR_RULES, pair_cases
from bench.plan.screening_phases import step_phase
from bench.plan.single_node_phases import job_groups
from bench.plan.sweep import PlanError, Request, sizes, sweep_cases
