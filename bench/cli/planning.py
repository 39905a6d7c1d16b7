"""plan: what an acceptance run would measure, and how long it would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .json_output import JSON, print_json
from .option_types import SECONDS, Count, accept_options, option, profile_option

if TYPE_CHECKING:
    from bench.plan.estimate import Estimate


@click.command(epilog="Exit status: 0, or 2 for wrong usage and a time limit into which nothing fits.")
@profile_option("Plan by this profile")
@option("--nodes", "Number of nodes", Count(1), required=True)
@option(
    "--gpus-per-node --gpus", "Number of ranks on each node  [default: the profile's GPUs, else 2]", Count(1)
)
@option("--budget", "Time limit for the whole run, e.g. 20m: what does not fit is listed", SECONDS)
@option("--cross-rail", "Like accept --cross-rail", bool)
@option("--all-pairs", "Like accept --all-pairs", bool)
@option("--one-way", "Like accept --one-way", bool)
@option("--pinned/--no-pinned", "Like accept --pinned  [default: with NCCL]", default=None)
@JSON
def plan(
    profile_name: str,
    nodes: int,
    gpus_per_node: int | None,
    budget: float | None,
    cross_rail: bool,
    all_pairs: bool,
    one_way: bool,
    pinned: bool | None,
    as_json: bool,
) -> None:
    """Show what accept would measure on a cluster, and for how long.

    Nothing is measured, and no GPU, MPI or torch is needed:

    \b
        railgauge plan --profile lambda-1cc-h100 --nodes 64
        railgauge plan --profile lambda-1cc-h100 --nodes 64 --budget 20m
    """
    from bench.model.profile import load
    from bench.plan.estimate import estimate

    profile = load(profile_name)
    most = max(profile.gpu_counts, default=2)
    gpus = gpus_per_node or most
    if profile.gpu_counts and gpus > most:
        raise click.UsageError(f"profile {profile.name} is for nodes of {most} GPUs, not of {gpus}")
    accept = accept_options(budget, cross_rail, all_pairs, one_way, pinned)
    found = estimate(profile, nodes, gpus, accept)
    show_plan(found, profile.name, {f"n{at}": gpus for at in range(nodes)}, as_json)


def show_plan(found: Estimate, profile_name: str, ranks_on: Mapping[str, int], as_json: bool) -> None:
    """Print the estimate, as a table or as one JSON object. ``ranks_on``: node → its ranks."""
    if not as_json:
        click.echo(_text(found, ranks_on))
        return
    from .answers import LeftOutItem, PlanAnswer

    answer = PlanAnswer(
        profile=profile_name,
        nodes=len(ranks_on),
        gpus_per_node=max(ranks_on.values()),
        ranks=sum(ranks_on.values()),
        backend=found.backend,
        cases=sum(phase.cases for phase in found.phases),
        seconds=found.seconds,
        phases=found.phases,
        left_out=tuple(LeftOutItem(what, reason) for what, reason in found.left_out),
    )
    print_json(answer)


def _text(found: Estimate, ranks_on: Mapping[str, int]) -> str:
    from bench.model.units import show_count, show_seconds, show_size
    from bench.plan.phase_names import BUDGET, GIVEN_UP

    where = "GPU memory" if found.backend == "nccl" else "memory a rank"
    rows = [("phase", "cases", "at most", "a node sends up to", where, "")]
    for phase in found.phases:
        wire = "unknown" if phase.wire_bytes is None else show_size(phase.wire_bytes)
        size = show_size(phase.memory)
        rows.append((phase.name, str(phase.cases), show_seconds(phase.seconds), wire, size, phase.title))
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    lines = [
        "  ".join(
            (row[0].ljust(widths[0]), *(row[at].rjust(widths[at]) for at in range(1, 5)), row[5])
        ).rstrip()
        for row in rows
    ]
    cases = sum(phase.cases for phase in found.phases)
    nodes, each = show_count(len(ranks_on), "node"), {*ranks_on.values()}
    several = f"{show_count(sum(ranks_on.values()), 'rank')} on {nodes}"
    who = f"{nodes} with {show_count(each.pop(), 'rank')} each" if len(each) == 1 else several
    what = f"{who}, {found.backend}"
    lines += ["", f"{what}: {show_count(cases, 'case')} in at most {show_seconds(found.seconds)}"]
    for name, reason in found.left_out:
        if name == BUDGET:
            lines += ["time limit:", *(f"  {part}" for part in reason.split("; "))]
        else:
            lines.append(f"{name}: {reason}" if name == GIVEN_UP else f"left out: {name}: {reason}")
    return "\n".join(lines)
