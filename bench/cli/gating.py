"""gate: may this node take a job? Quick enough for a prolog, and never longer than its limit."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.errors import EXIT_HELP, EXIT_INCONCLUSIVE

from .json_output import JSON, print_json
from .option_types import PATH, SECONDS, option, profile_option

if TYPE_CHECKING:
    from bench.run.gate import GateAnswer

LIMITS = {1: 5.0, 2: 60.0, 3: 120.0}  # seconds of each level


@click.command(epilog=f"{EXIT_HELP} --inconclusive turns 3 into 0 or 1.")
@profile_option("Profile of the platform; list them with: railgauge profiles")
@option(
    "--level",
    "1: facts, settings and error counters. 2: also what one node can measure alone. 3: also pairs with --neighbour",
    click.IntRange(1, 3),
    default=1,
)
@option("--neighbour HOST", "Level 3: a healthy node that is free now, reached by ssh", default="")
@option("--limit", "Hard time limit; what hangs is left behind  [default: 5s, 60s, 120s by level]", SECONDS)
@option(
    "--inconclusive",
    "Exit status of an INCONCLUSIVE gate: 0 or 1 instead of 3",
    click.Choice(["pass", "fail"]),
)
@option(
    "--state FILE",
    "File in which a gate keeps the error counters for the next one  [default: /var/lib/railgauge/gate.json; of "
    "other users than root, ~/.local/state/railgauge/gate.json]",
    PATH,
)
@option("--forget", "Start again from the present error counters, e.g. after a repair", bool)
@option("--history DIR", "Fail where the last night of this node in the history was a regression", default="")
@option(
    "--cluster NAME",
    "Name of the cluster in the history  [default: the machine's, Slurm's, the profile's, else the only one]",
    default="",
)
@JSON
def gate(
    profile_name: str,
    level: int,
    neighbour: str,
    limit: float | None,
    inconclusive: str | None,
    state: Path | None,
    forget: bool,
    history: str,
    cluster: str,
    as_json: bool,
) -> int:
    """Tell in one line whether this node may take a job.

    Nothing is measured at level 1, and neither MPI nor torch is needed. Error counters are compared with those of the
    last gate of this boot that passed.

    \b
        railgauge gate --profile lambda-1cc-h100
        railgauge gate --profile lambda-1cc-h100 --level 3 --neighbour node17
    """
    from bench.launch import scratch
    from bench.model.profile import load
    from bench.model.typed_json import decode, encode
    from bench.model.verdict import EXIT, Status
    from bench.probe.host import node_name
    from bench.run.gate import GateAnswer, GateOptions
    from bench.run.gate import gate as look
    from bench.run.time_limit import Failed, TookTooLong, within
    from bench.store.gate_state import usual_file

    if (level == 3) != bool(neighbour):
        raise click.UsageError("--level 3 needs --neighbour HOST, and only level 3 uses it")
    seconds = limit or LIMITS[level]
    profile = load(profile_name)
    options = GateOptions(
        profile_name, profile, level, state or usual_file(), forget, history, cluster, neighbour, seconds
    )
    begun = time.monotonic()
    try:
        with scratch.folder() if level > 1 else nullcontext(Path()) as made:
            asked = replace(options, scratch=made)
            answer = decode(GateAnswer, within(seconds, lambda say: encode(look(asked, say))))
    except (TookTooLong, Failed) as error:
        if error.exit_status != EXIT_INCONCLUSIVE:
            raise
        answer = GateAnswer(
            node=node_name(),
            level=level,
            status=Status.INCONCLUSIVE,
            sentence=str(error),
            profile=profile.name,
            seconds=time.monotonic() - begun,
        )
    if as_json:
        print_json(answer)
    else:
        click.echo(_line(answer))
    code = EXIT[answer.status]
    if code == EXIT_INCONCLUSIVE and inconclusive:
        code = 0 if inconclusive == "pass" else 1
    return code


def _line(answer: GateAnswer) -> str:
    from bench.model.printable import on_one_line
    from bench.model.units import show_seconds

    text = answer.sentence
    # the sentence of a problem mostly begins with the node
    where = "" if text.startswith(answer.node) else f"{answer.node}: "
    kept = "".join(f"; see: railgauge report {folder}" for folder in answer.folders)
    return on_one_line(
        f"{answer.status.shown}: {where}{text}{kept} (gate level {answer.level}, {show_seconds(answer.seconds)})"
    )
