"""accept, run, soak: the commands that measure."""

from __future__ import annotations

import click

from bench.model.errors import EXIT_HELP

from .invocation import Invocation, Measuring
from .option_types import (
    SECONDS,
    SHARE,
    SIZE,
    Count,
    Finite,
    SharedOptions,
    accept_options,
    option,
    shared_options,
)

MINUTE = 60.0


def measure(typed: Invocation) -> int:
    """Measure, as one rank of a job or by starting that job; the exit status."""
    from .start import start  # what measures takes a second to import, and --help needs none of it

    return start(typed)


DATATYPE = option("-d --datatype TYPE", "Element type", default="float")


@click.command(cls=Measuring, epilog=EXIT_HELP)
@shared_options
@option(
    "--budget",
    "Time limit for the whole run, e.g. 10m, start-up and probing included. Phases that do not fit are listed "
    "first; a run without them cannot PASS",
    SECONDS,
)
@option("--cross-rail", "Also measure GPU i against GPU j of other nodes; this finds swapped rails", bool)
@option("--all-pairs", "Measure all pairs of nodes, also of more than 64; else rings of nodes", bool)
@option("--one-way", "Measure each direction of a node pair separately; skip the bidirectional pass", bool)
@option(
    "--pinned/--no-pinned",
    "Also measure each rail alone, with workers pinned to it  [default: with NCCL]",
    default=None,
)
@option("--dry-run", "Show what these ranks would measure, and for how long; nothing is measured", bool)
@option("--json as_json", "With --dry-run: print one JSON object, as railgauge plan --json does", bool)
def accept(
    shared: SharedOptions,
    budget: float | None,
    cross_rail: bool,
    all_pairs: bool,
    one_way: bool,
    pinned: bool | None,
    dry_run: bool,
    as_json: bool,
) -> Invocation:
    """Acceptance test: measure, judge by a profile, write a report.

    Without a launcher this machine is tested; under mpirun or srun, with one rank per GPU, a cluster:

    \b
        railgauge accept --profile local
        mpirun -n 16 --host node1:8,node2:8 railgauge accept --profile lambda-1cc-h100
    """
    if as_json and not dry_run:
        raise click.UsageError("--json needs --dry-run here; for a finished run: railgauge judge RUN --json")
    options = accept_options(budget, cross_rail, all_pairs, one_way, pinned)
    return Invocation("accept", shared, measure, accept=options, dry_run=dry_run, as_json=as_json)


@click.command(cls=Measuring, epilog=EXIT_HELP)
@click.argument("collective")
@option("-b --begin", "Smallest message size", SIZE, default="32M")
@option("-e --end", "Largest message size  [default: --begin]", SIZE)
@option("-f --factor", "Multiply the message size by N at each step", Count(2), default=2)
@option("-i --stepbytes", "Increase the message size by SIZE at each step (instead of --factor)", SIZE)
@option(
    "-n --iters", "Number of timed iterations  [default: until --precision is reached, 3 s at most]", Count(1)
)
@option(
    "--precision",
    "Stop when the 95 % confidence interval is narrower than this share of the median",
    SHARE,
    default="1%",
)
@option("-w --warmup-iters", "Number of warm-up iterations  [default: until the times are stable]", Count(1))
@option(
    "-c --check",
    "Verify the results of N calls; with 0 nothing is verified and the run cannot PASS",
    Count(0),
    default=1,
)
@DATATYPE
@option("-o --op OP", "Reduction: sum, avg, min, max, prod", default="sum")
@option("-r --root RANK", "Root rank", Count(0), default=0)
@option(
    "-G --cudagraph", "Replay each call from a CUDA graph, without the overhead of Python and torch", bool
)
@option("-R --register", "Measure in buffers that are registered with NCCL", bool)
@shared_options
def run(
    shared: SharedOptions,
    collective: str,
    begin: int,
    end: int | None,
    factor: int,
    stepbytes: int | None,
    iters: int | None,
    precision: float,
    warmup_iters: int | None,
    check: int,
    datatype: str,
    op: str,
    root: int,
    cudagraph: bool,
    register: bool,
) -> Invocation:
    """Measure one collective, with nccl-tests' flags and table.

    \b
        railgauge run all_reduce -b 8 -e 128M -f 2
    """
    from bench.measure.loop import TimingRules
    from bench.model import collectives
    from bench.plan import Request

    row, end = collectives.collective(collective), end or begin
    if begin > end:
        raise click.UsageError(f"--begin {begin} is larger than --end {end}")
    ways = {"graph": cudagraph, "registered": register}
    algorithm = "+".join(name for name, wanted in ways.items() if wanted) or "auto"
    sweep = Request(
        row.name, begin, end, factor, stepbytes or 0, datatype, op, root, row.placements, algorithm
    )
    rules = TimingRules(precision, iterations=iters, warmup=warmup_iters)
    return Invocation("run", shared, measure, rules=rules, repetitions=check, sweeps=(sweep,))


@click.command(cls=Measuring, epilog=EXIT_HELP)
@click.argument("collective", default="all_reduce")
@option("--minutes N", "Duration of the load, in minutes", Finite(0.05, 10080), required=True)
@option("--size", "Message size of each call", SIZE, default="64M")
@option(
    "--window",
    "Interval between two points of the chart; longer in a long soak, which keeps at most 720",
    SECONDS,
    default="5s",
)
@DATATYPE
@shared_options
def soak(
    shared: SharedOptions, collective: str, minutes: float, size: int, window: float, datatype: str
) -> Invocation:
    """Keep a steady load and watch it over time.

    It watches bandwidth, error counters, throttling and RailGauge's own memory.

    \b
        railgauge soak --minutes 30
        mpirun -n 16 --host node1:8,node2:8 railgauge soak --minutes 60 --size 1G --profile lambda-1cc-h100
    """
    from bench.measure.loop import TimingRules
    from bench.measure.soak import window_seconds
    from bench.model import collectives
    from bench.plan import Request

    seconds = minutes * MINUTE
    rules = TimingRules(budget=seconds, window=window_seconds(seconds, window))
    sweep = Request(collectives.collective(collective).name, size, size, dtype=datatype)
    return Invocation("soak", shared, measure, rules=rules, sweeps=(sweep,))
