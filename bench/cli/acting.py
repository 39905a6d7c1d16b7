"""act: turns a run's verdicts into commands of a scheduler, and prints them or, with --yes, runs them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .option_types import PATH, SHARE, option, profile_option

if TYPE_CHECKING:
    from bench.exchange.acting.drain_commands import SchedulerStep
    from bench.judge.actions import NodeAction
    from bench.judge.evidence import Evidence

WAYS = ("slurm", "kubernetes", "nagios", "events")
AT_MOST = "5%"


@click.command(
    epilog="Exit status: 0 no node is faulty, or everything was done (without --yes: printed); 1 --at-most left a node "
    "in work, or with --neighbour a node did not pass; 2 wrong usage, or a folder that is not yours; 3 the scheduler "
    "failed, or the run folder is damaged. As a plugin of Nagios: 0 OK, 2 CRITICAL, 3 UNKNOWN."
)
@click.argument("run_folder", metavar="RUN", type=PATH)
@option(
    "--slurm", "Drain faulty nodes with the verdict's sentence, reserve suspected ones for maintenance", bool
)
@option("--kubernetes", "Taint, mark and cordon faulty nodes by your kubectl", bool)
@option("--nagios", "Print one line and end with a status as a plugin of Nagios does", bool)
@option("--events", "Print one health event per node as JSON, in NVSentinel's schema", bool)
@option("--yes", "Do it; without it the commands are printed", bool)
@option("--undo", "Take back what was done about this run", bool)
@option(
    "--neighbour HOST",
    "With --undo: only for nodes that pass railgauge gate --level 3 beside this healthy node, started there by ssh",
)
@option("--node NAME", "Only this node")
@option(
    "--at-most",
    "Share of the scheduler's nodes that RailGauge may keep out of work at once, suspects included",
    SHARE,
    default=AT_MOST,
)
@option("--trust", "Also accept a folder that you did not make: it decides which nodes are drained", bool)
@profile_option("Judge by this profile  [default: the run's own]", None)
def act(
    run_folder: Path,
    slurm: bool,
    kubernetes: bool,
    nagios: bool,
    events: bool,
    yes: bool,
    undo: bool,
    neighbour: str | None,
    node: str | None,
    at_most: float,
    trust: bool,
    profile_name: str | None,
) -> int:
    """Keep the nodes that a run has found faulty out of work.

    Only what failed counts: INCONCLUSIVE drains nobody. What was done is kept in the run folder and can be undone.

    \b
        railgauge act runs/2026-11-22 --slurm
        railgauge act runs/2026-11-22 --slurm --yes
        railgauge act runs/2026-11-22 --undo --neighbour n3 --node n17 --yes
    """
    chosen = [name for name, given in zip(WAYS, (slurm, kubernetes, nagios, events), strict=True) if given]
    if neighbour and not undo:
        raise click.UsageError("--neighbour is for --undo: it shows that a node may work again")
    if undo and not chosen:
        return _undo(run_folder, node or "", yes, neighbour or "", profile_name)
    if undo:
        raise click.UsageError(f"--undo takes back whatever was done about this run: drop --{chosen[0]}")
    if len(chosen) != 1:
        raise click.UsageError(f"choose one of: {', '.join(f'--{name}' for name in WAYS)}")
    judged = _judged(run_folder, profile_name, trust)
    if judged.manifest.simulated:
        raise click.UsageError(
            f"{run_folder} is simulated: no node was measured, so there is nothing to act on"
        )
    found = _wanted(judged, node)
    if chosen[0] in ("nagios", "events"):
        return _print_for_others(chosen[0], judged, found)
    return _scheduled(chosen[0], judged, found, at_most, yes)


def _judged(folder: Path, profile_name: str | None, trust: bool) -> Evidence:
    """The run, judged now: what its verdicts.json says may be anybody's."""
    from bench.judge.verdicts import judge
    from bench.model.profile import load
    from bench.store import load as load_run
    from bench.store.owner_seal import not_own

    from .page import own_profile

    run = load_run(folder)
    if not trust and (why := not_own(folder)):
        raise click.UsageError(
            f"{folder} may not be your own: {why}. It would decide which nodes are drained; if you trust who made "
            "it, add --trust"
        )
    return judge(run, load(profile_name) if profile_name else own_profile(folder))


def _wanted(judged: Evidence, node: str | None) -> tuple[NodeAction, ...]:
    from bench.exchange.acting.drain_commands import checked
    from bench.judge.actions import node_actions

    return checked([each for each in node_actions(judged.run) if node in (None, each.node)])


def _print_for_others(way: str, judged: Evidence, found: Sequence[NodeAction]) -> int:
    from bench.exchange.acting.events import health_events
    from bench.exchange.acting.events import nagios as plugin
    from bench.judge.problems import problems_of
    from bench.judge.verdicts import status
    from bench.model.printable import on_one_line

    if way == "events":
        for line in health_events(found, judged.run.ended or judged.manifest.started):
            click.echo(line)
        return 0
    listed = problems_of(judged.run).listed
    text = on_one_line(listed[0].sentence) if listed else f"{judged.manifest.id} passed"
    line, code = plugin(status(judged), text, found)
    click.echo(line)
    return code


def _scheduled(way: str, judged: Evidence, found: Sequence[NodeAction], at_most: float, yes: bool) -> int:
    from bench.exchange.acting import kubernetes, slurm
    from bench.exchange.acting.drain_commands import allowed, perform, require_known

    if not found:
        click.echo("no FAIL of this run names a node: there is nothing to do")
        return 0
    cluster = slurm.cluster() if way == "slurm" else kubernetes.cluster()
    require_known(found, cluster.nodes, way.capitalize())
    new = [each for each in found if not cluster.settled(each)]
    room = allowed(at_most, len(cluster.nodes), len(cluster.ours))
    over = [each for each in new if each.node not in cluster.ours][room:]
    steps = cluster.steps([each for each in new if each not in over], judged.manifest.id)
    for each in (each for each in found if each not in new):
        click.echo(f"# {each.node} {cluster.settled(each)}")
    if yes:
        perform(steps, judged.run.path)
        for step in steps:
            click.echo(f"done: {step.words}")
    else:
        _printed(steps)
    for each in over:
        click.echo(
            f"railgauge: {each.node} is left in work: --at-most {100 * at_most:g} % allows {room} more of "
            f"{len(cluster.nodes)} nodes. Is the profile right? {each.reason}",
            err=True,
        )
    return 1 if over else 0


def _undo(folder: Path, node: str, yes: bool, neighbour: str, profile_name: str | None) -> int:
    from bench.exchange.acting import kubernetes, slurm
    from bench.exchange.acting.drain_commands import to_undo, undo
    from bench.store.owner_seal import not_own

    if why := not_own(folder):
        raise click.UsageError(f"{folder} may not be your own: {why}; undo what was done by hand")
    steps = to_undo(folder, node)
    if not steps:
        click.echo("there is nothing to take back")
        return 0
    moot = (*slurm.moot(steps), *kubernetes.moot(steps))
    refused = _refused([step.node for step in steps if step not in moot], neighbour, folder, profile_name)
    steps = tuple(step for step in steps if step.node not in refused)
    ours = [step for step in steps if step not in moot]
    for step in (step for step in steps if step in moot):
        click.echo(f"# no longer ours, so it is left as it is: {step.words}")
    if yes:
        undo(folder, steps, moot=moot)
        for step in ours:
            click.echo(f"taken back: {step.words}")
    else:
        _printed(ours, back=True)
    for name, why in refused.items():
        click.echo(f"railgauge: {name} stays out of work: {why}", err=True)
    return 1 if refused else 0


def _refused(nodes: Sequence[str], neighbour: str, folder: Path, profile_name: str | None) -> dict[str, str]:
    """node → why it does not pass the gate beside ``neighbour``; without a neighbour no gate is asked."""
    from bench.model.verdict import Status
    from bench.run.remote_gate import gate_of
    from bench.store.read import manifest_of

    if not neighbour:
        return {}
    if neighbour in nodes:
        raise click.UsageError(f"--neighbour {neighbour} is itself out of work: give a healthy node")
    profile = profile_name or manifest_of(folder).profile_name
    answers = {node: gate_of(node, neighbour, profile) for node in dict.fromkeys(nodes)}
    for node, answer in answers.items():
        click.echo(f"# gate of {node}: {answer.status.shown}: {answer.sentence}")
    return {node: answer.sentence for node, answer in answers.items() if answer.status is not Status.PASS}


def _printed(steps: Sequence[SchedulerStep], back: bool = False) -> None:
    for step in steps:
        click.echo(f"# {step.words}")
        for words in step.undo if back else step.commands:
            click.echo(shlex.join(words))
    click.echo("railgauge: nothing was done; --yes does it", err=True)
