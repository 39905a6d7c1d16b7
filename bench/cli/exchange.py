"""import, export: results of other tools, and ours in their formats."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bench.model.errors import EXIT_HELP

from .json_output import JSON, print_json
from .option_types import PATH, Count, option, out_file, out_option, profile_option

FORMATS = (
    "nccl-tests",
    "csv",
    "junit",
    "prometheus",
    "alerts",
    "grafana",
    "github",
    "json",
)  # as bench.exchange has them


@click.command("import", epilog=EXIT_HELP)
@click.argument("files", nargs=-1, required=True, type=PATH)
@out_option("import")
@profile_option("Profile of the platform; auto: only say how the tables stand among published runs")
@option(
    "--gpu MODEL",
    "With --profile auto: model of the GPUs, such as H100, if the files do not tell",
    default="",
)
@option("--collective NAME", "Collective, if the files do not name it", default="")
@option("--ranks", "Number of ranks, if the files do not tell", Count(1))
@option("--nodes", "Number of nodes, if the files do not tell; ranks are counted node by node", Count(1))
@option("--unit UNIT", "Bandwidth unit of a perftest JSON: MB/sec, MiB/sec or Gb/sec", default="")
@option("--algorithm NAME", "NCCL algorithm, if the measurement forced one, e.g. ring", default="auto")
@JSON
def import_(
    files: tuple[Path, ...],
    out: Path | None,
    profile_name: str,
    gpu: str,
    collective: str,
    ranks: int | None,
    nodes: int | None,
    unit: str,
    algorithm: str,
    as_json: bool,
) -> int:
    """Import results of nccl-tests or perftest, and judge them.

    It reads the text and JSON (-J, --out_json) that they print, and writes a run folder.

    \b
        railgauge import all_reduce.log --nodes 2 --profile lambda-1cc-b200
        railgauge import all_reduce.log --profile auto --gpu H100 --nodes 2
    """
    if profile_name == "auto":
        if out is not None:
            raise click.UsageError("--profile auto answers and writes nothing: drop --out")
        return _among_published(files, collective, ranks, gpu, nodes, as_json)
    if gpu:
        raise click.UsageError("--gpu goes with --profile auto; a profile names its GPU itself")
    from bench.exchange.importing.run_folder import Wanted, import_files
    from bench.judge.verdicts import status
    from bench.model.profile import load
    from bench.model.verdict import EXIT
    from bench.run.finish import judge_and_save

    from .page import where_report, write_report
    from .start import new_folder
    from .terminal import summarise

    profile, folder = load(profile_name), out or new_folder("import")
    wanted = Wanted(collective, ranks, nodes, unit, algorithm)
    made = import_files(files, folder, profile, wanted, ("railgauge", *sys.argv[1:]))
    if not as_json:
        click.echo(made.text)
    judged = judge_and_save(folder, profile)
    write_report(judged)
    if as_json:
        from .answers import import_answer

        print_json(import_answer(judged, made))
    else:
        summarise(judged, verbose=False, short=False)
        where_report(folder)
    return EXIT[status(judged)]


def _among_published(
    files: tuple[Path, ...], collective: str, ranks: int | None, gpu: str, nodes: int | None, as_json: bool
) -> int:
    """Say of each table in one sentence how it stands among published runs; nothing is written."""
    from bench.exchange.importing.imported_rows import ImportRefused
    from bench.exchange.importing.published import among_published
    from bench.exchange.importing.run_folder import tables
    from bench.model.printable import on_one_line
    from bench.model.verdict import EXIT, overall

    found = []
    for file in files:
        for table in tables(file, collective, ranks):
            found.append(among_published(table, gpu, nodes))
            if not as_json:
                click.echo(f"{found[-1].status.shown}: {on_one_line(found[-1].sentence)}")
    if not found:
        raise ImportRefused(
            "the files hold no nccl-tests table; perftest results have no published runs here"
        )
    together = overall(each.status for each in found)
    if as_json:
        from .answers import AmongAnswer

        print_json(AmongAnswer(status=together, tables=tuple(found)))
    return EXIT[together]


@click.command(
    epilog="Exit status: 0 written, whatever the verdict; 2 wrong usage; 3 the run cannot be read."
)
@click.argument("run_folder", metavar="RUN", type=PATH)
@option("--format form", "", click.Choice(FORMATS), default="nccl-tests")
@out_file
@option("--step-summary", "Append the github format to the file that GITHUB_STEP_SUMMARY names", bool)
def export(run_folder: Path, form: str, out: Path | None, step_summary: bool) -> None:
    """Write a run in another tool's format.

    nccl-tests and csv hold the rows, junit one test case per verdict, prometheus a text file for node_exporter,
    grafana the dashboard that shows it, alerts the rules that Prometheus raises alerts by, github the summary of a
    workflow step, json all of it for jq and programs.

    \b
        railgauge export runs/tonight --format prometheus --out /var/lib/node_exporter/railgauge.prom
    """
    from bench.exchange.exporting.formats import export as text_of
    from bench.store import load, write_text

    if step_summary and form not in ("github", "nccl-tests"):
        raise click.UsageError(f"--step-summary writes the github format, not {form}")
    text = text_of(load(run_folder), "github" if step_summary else form)
    if step_summary:
        _append(_summary_file(), text)
    elif out is None:
        click.echo(text, nl=False)
    elif out.exists() and not out.is_file():  # a pipe or a device is written to, not replaced by a file
        _append(out, text)
    else:
        write_text(out, text)


def _summary_file() -> Path:
    """The file that GitHub shows beside a job; it is appended to, as other tools write there too."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        raise click.UsageError(
            "--step-summary: GITHUB_STEP_SUMMARY is not set; this is not a step of a GitHub job"
        )
    return Path(name)


def _append(path: Path, text: str) -> None:
    from bench.store import not_written

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise not_written(path, error) from None
