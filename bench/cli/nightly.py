"""nightly: check the history before anything is measured, measure a night, tell a chat about it afterwards."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from bench.model.errors import EXIT_HELP, EXIT_USAGE

from .invocation import Invocation, Measuring
from .option_types import SECONDS, SharedOptions, option, shared_options


@click.command(cls=Measuring, epilog=EXIT_HELP)
@option(
    "--history DIR|URL",
    "Where the nights of all clusters are kept: a folder, also on NFS, or a bucket URL that fsspec knows",
    required=True,
)
@option("--budget", "Time limit for the whole night, retests included", SECONDS, default="10m")
@option(
    "--cluster NAME",
    "Name of the cluster in the history  [default: the machine's on one node, Slurm's, else the profile's]",
    default="",
)
@option(
    "--new",
    "Start a new history although earlier runs were recorded (without it an empty history is an error: probably "
    "a disk that is not mounted)",
    bool,
)
@click.option(
    "--webhook",
    default="",
    envvar="RAILGAUGE_WEBHOOK",
    metavar="URL",
    help="Send a digest to a chat's incoming webhook; set RAILGAUGE_WEBHOOK instead to keep it out of process lists",
)
@option(
    "--report-url URL",
    "Where the folder of run folders is served: the digest links URL/RUN/report.html  [default: it names the path]",
    default="",
)
@shared_options
def nightly(
    shared: SharedOptions,
    history: str,
    budget: float,
    cluster: str,
    new: bool,
    webhook: str,
    report_url: str,
) -> Invocation:
    """Run a short test and compare it with earlier nights.

    A suspected regression is measured again at once; only a confirmed one fails. It is started as accept is:

    \b
        railgauge nightly --history /nfs/railgauge
        srun --mpi=pmix railgauge nightly --history /nfs/railgauge --profile lambda-1cc-h100
    """
    from bench.plan import AcceptOptions
    from bench.run.options import Nightly

    night = Nightly(history, cluster, budget, new)
    return Invocation(
        "nightly",
        shared,
        perform,
        accept=AcceptOptions(budget=budget),
        nightly=night,
        webhook=webhook,
        report_url=report_url,
    )


def perform(typed: Invocation) -> int:
    """Measure a night and send its digest, which never changes the exit status."""
    from bench import launch
    from bench.exchange.exporting import webhook
    from bench.model.profile import load
    from bench.store.history import lasting
    from bench.store.history.location import complete

    from .local_job import OURS
    from .start import new_folder, start

    assert typed.nightly is not None
    if typed.report_url and not typed.report_url.startswith(("https://", "http://")):
        raise click.UsageError(f"--report-url {typed.report_url} is no address; give https://HOST/...")
    if typed.webhook:
        webhook.refuse(typed.webhook)
        # it may hold a secret: neither the run folder's command nor mpirun's may show it
        sys.argv[1:] = without(sys.argv[1:], "--webhook")
    where = launch.launch_context(os.environ)
    complete()  # before the night, not after it
    # an address that nothing opens, or that keeps nothing, is the same mistake on every rank
    lasting(typed.nightly.history)
    out = typed.shared.out or new_folder(load(typed.shared.profile_name).name)
    if not where.launcher:
        ready(typed.nightly.history, out, typed.nightly.new)
    code = start(replace(typed, shared=replace(typed.shared, out=out)))
    if typed.webhook and where.rank == 0 and OURS not in os.environ and code != EXIT_USAGE:
        send_digest(typed.webhook, out, typed.report_url)
    return code


def ready(history: str, out: Path, new: bool) -> None:
    """Make the history's folder and list it once, so that what is wrong with it is reported before the night."""
    from bench.judge.drift.past import still_there
    from bench.store.history import create, strangers

    if not new:
        still_there(history, out)
    create(history)
    strangers(history)


def send_digest(address: str, folder: Path, base: str = "") -> None:
    """Send the digest of a run; a failure is reported and changes nothing."""
    from bench.exchange.exporting import webhook
    from bench.exchange.exporting.digest import payload
    from bench.store import RunError, load

    try:
        webhook.send(address, payload(load(folder), base))
    except (webhook.NotSent, RunError) as error:
        click.echo(f"railgauge: webhook: {error}; the verdict stands", err=True)


def without(words: list[str], option: str) -> list[str]:
    """``words`` without an option and its value, in both spellings."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
