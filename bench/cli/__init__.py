"""The command line: parse, call, print, exit status. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import UserDict
from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from pathlib import Path

import click

from bench import __version__
from bench.measure.open_files import raise_limit
from bench.model.errors import (
    EXIT_HELP,
    EXIT_INCONCLUSIVE,
    EXIT_USAGE,
    RailGaugeError,
    broken_installation,
    exit_status,
)
from bench.model.redact import secrets, veil

from .standard_streams import patient, trouble

OTHERS_WAIT = 1.0
MEANING = {1: "FAIL", EXIT_USAGE: "wrong usage", EXIT_INCONCLUSIVE: "INCONCLUSIVE"}
# command → its module, and the first sentence of its docstring, which --help shows without loading the module
COMMANDS = {
    "accept": ("measuring", "Acceptance test: measure, judge by a profile, write a report."),
    "run": ("measuring", "Measure one collective, with nccl-tests' flags and table."),
    "soak": ("measuring", "Keep a steady load and watch it over time."),
    "plan": ("planning", "Show what accept would measure on a cluster, and for how long."),
    "resume": ("resuming", "Go on with an interrupted accept or run."),
    "launch": ("launching", "Start a command on the hosts of a file, or print how."),
    "nightly": ("nightly", "Run a short test and compare it with earlier nights."),
    "watch": ("watching", "Watch the rails while a job of somebody else runs."),
    "gate": ("gating", "Tell in one line whether this node may take a job."),
    "act": ("acting", "Keep the nodes that a run has found faulty out of work."),
    "history": ("history", "Show and maintain what railgauge nightly recorded."),
    "probe": ("probing", "Show the hardware, versions and settings of every node."),
    "explain": ("probing", "Show which HCAs NCCL_IB_HCA=SPEC selects, or what NCCL's LOG tells."),
    "profiles": ("probing", "List profiles, print one, or draft one from this machine."),
    "judge": ("judging", "Judge a run folder again, on any machine."),
    "report": ("judging", "Write the report of a run folder again."),
    "verify": ("judging", "Check that the evidence in a run folder is as it was when the run ended."),
    "compare": ("judging", "Compare two runs: the ratio of each case, with its confidence."),
    "schema": (
        "judging",
        "Print the JSON Schema of a file of the run folder, of what a command prints with --json, or of all.",
    ),
    "charts": ("charts", "Write charts and pages to embed in documentation."),
    "import": ("exchange", "Import results of nccl-tests or perftest, and judge them."),
    "export": ("exchange", "Write a run in another tool's format."),
}


class LoadedCommands(UserDict[str, click.Command]):
    """Every command by its name; the module of one is imported when it is looked up."""

    def __missing__(self, name: str) -> click.Command:
        module = vars(import_module(f".{COMMANDS[name][0]}", __name__))
        command = module.get(name) or module[f"{name}_"]  # import is a word of Python
        assert isinstance(command, click.Command)
        self.data[name] = command
        return command

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(click.Group):
    """The commands of the table; an unknown one is answered with their names."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, as click writes it from the commands themselves."""
        width = formatter.width - 6 - max(map(len, COMMANDS))
        rows = ((name, click.Command(name, help=COMMANDS[name][1])) for name in sorted(COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.get_short_help_str(width)) for name, row in rows])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise click.UsageError(f"no command {args[0]!r}; known: {', '.join(sorted(self.commands))}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    commands=LoadedCommands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_HELP,
)
@click.version_option(__version__, prog_name="railgauge")
def cli() -> None:
    """Measure and judge the network of a GPU cluster: NCCL, InfiniBand, every rail.

    Start with: railgauge accept --profile local
    """


@cli.result_callback()
def leave(code: int | None, **_: object) -> None:
    """What a command returns is the exit status; None is 0."""
    sys.exit(code or 0)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    keep_out(os.environ)
    raise_limit()
    # whatever the umask is, no other user may add to the folders that we make, such as ~/.local
    os.umask(os.umask(0o077) | 0o002)
    with patient(secrets(sys.argv)):
        code = _run()
        if code:
            _in_json(f"the command ended with status {code}: see standard error", code)
        lost = trouble()
        if lost:
            code = code or EXIT_INCONCLUSIVE
            _say(f"cannot write to standard output: {lost}", code)
    if code:
        _tell(f"exit status {code} ({MEANING.get(code, 'no verdict')}); see the messages above")
    gc.freeze()  # the process ends: Python would free every row of a large run one by one, for a second
    sys.exit(code)


def keep_out(environment: MutableMapping[str, str]) -> None:
    """Keep the current folder out of what our processes import: it may hold a ``torch.py`` of the user's.

    Python 3.10 does not know the variable: see ``bench.launch.python``. A source tree that was found by standing in it
    is named instead.
    """
    environment["PYTHONSAFEPATH"] = "1"
    tree, paths = str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "").split(os.pathsep)
    if sys.path[0] in ("", tree) and tree not in paths:
        environment["PYTHONPATH"] = os.pathsep.join([tree, *filter(None, paths)])


def without_local_rank(words: Sequence[str]) -> list[str]:
    """A command line less the ``--local_rank=N`` that deepspeed and old launchers of torch add to any script.

    Raises UsageError where N is no number.
    """
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, number = word.partition("=")
        if name not in ("--local_rank", "--local-rank"):
            left.append(word)
        elif not (number if equals else next(rest, "")).isdecimal():
            raise click.UsageError(f"{name} takes the number of a rank, as launchers add it")
    return left


def _run() -> int:
    """Run the command; its exit status, after its mistakes were reported."""
    try:
        Path.cwd()
    except OSError as error:
        _say(f"the current folder cannot be used ({error.strerror}): change to another one", EXIT_USAGE)
        return EXIT_USAGE
    try:
        sys.argv[1:] = without_local_rank(sys.argv[1:])
        cli(standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_INCONCLUSIVE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        _say("interrupted", EXIT_INCONCLUSIVE)
        return EXIT_INCONCLUSIVE
    except click.ClickException as error:
        text = error.format_message()
        if text.startswith("Usage: "):  # no command was given: the help as it is
            click.echo(text, err=True)
        else:
            _say(text, EXIT_USAGE)
        return EXIT_USAGE
    except Exception as error:  # the edge: every mistake is reported here, and the process ends
        return _mistake(error)
    return 0


def _mistake(error: Exception) -> int:
    code = exit_status(error)
    if isinstance(error, RailGaugeError):
        _say(str(error), code)
    else:
        import traceback

        traceback.print_exc()
        bug = "this is a bug in RailGauge and no verdict on the cluster; please report it"
        _say(broken_installation(error) if isinstance(error, ImportError) else bug, code)
    return code


def _say(text: str, code: int) -> None:
    # with many ranks each of them meets the same mistake, and a launcher ends all when one has ended: the first
    # reports at once, the others only if they are still there a moment later, so the mistake is theirs alone
    rank = _rank()
    if rank != "0":
        import socket

        time.sleep(OTHERS_WAIT)
        text = f"{text} (rank {rank} on {socket.gethostname()})"
    click.echo(f"railgauge: {text}", err=True)
    _in_json(text, code)
    _tell(text)


def _in_json(text: str, code: int) -> None:
    """Print the error as JSON for a program that reads standard output, which rank 0 alone writes."""
    if _rank() == "0":
        from .json_output import print_error

        print_error(sys.argv, veil(text, secrets(sys.argv)), code)


def _rank() -> str:
    from bench.launch.table import RANKS

    return next((os.environ[name] for name in RANKS if os.environ.get(name)), "0")


def _tell(text: str) -> None:
    from bench.launch import torchrun_error_file

    torchrun_error_file.write_error_file(veil(text, secrets(sys.argv)), os.environ)
