"""What a verdict calls for: the one table from checks to actions."""

from __future__ import annotations

from bench.model.verdict import Action, Status, Verdict

# by the check, or by all that begin so; the first that fits
OF_CHECK: tuple[tuple[Action, str], ...] = (
    (
        Action.RESEAT_CABLE,
        "rails.state rails.physical rails.rate rails.width rails.wiring growth.errors gate.counters soak.errors fabric "
        "watch.events blame.rails blame.intermittent rails.alone",
    ),
    (Action.REPLACE_HCA, "rails.count rails.guids pcie."),
    (Action.FIX_CONFIGURATION, "gpus.name gpus.mig gpus.persistence gpus.compute_mode gpus.idle gpus.uuids"),
    (
        Action.RESET_GPU,
        "gpus. nvlink. correctness limits.alone limits.host_copies limits.device_copies nccl.diagnostics",
    ),
    (
        Action.FIX_CONFIGURATION,
        "host. rails. exclusion. environment. versions. nccl. growth.throttling",
    ),
    (
        Action.RE_MEASURE,
        "coverage. limits. wire. soak. watch. drift. gate. blame. growth. clock import. kernel.",
    ),
)


def action_of(verdict: Verdict) -> Action:
    """The action that a verdict calls for: measure again when INCONCLUSIVE, nothing unless it is FAIL."""
    if verdict.status is Status.INCONCLUSIVE:
        return Action.RE_MEASURE
    if verdict.status is not Status.FAIL:
        return Action.NONE
    found = (action for action, names in OF_CHECK for name in names.split() if _fits(verdict.check, name))
    return next(found, Action.NONE)


def _fits(check: str, name: str) -> bool:
    return check.startswith(name) if name.endswith(".") else check == name
