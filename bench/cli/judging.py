"""judge, report, compare: the commands that read run folders."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import __version__
from bench.model.errors import EXIT_HELP

from .forked_map import forked_map
from .json_output import JSON, print_json
from .option_types import PATH, SITE, TITLE, VERDICTS, option, profile_option

PAPERS = ("a4", "us-letter")
MOST_EDITED = 8  # verdicts that verify names

if TYPE_CHECKING:
    from bench.judge.evidence import Evidence
    from bench.judge.registry import Check
    from bench.model.verdict import Verdict


@click.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=PATH)
@profile_option("Judge by this profile  [default: the run's own]", None)
@VERDICTS
@JSON
def judge(run_folder: Path, profile_name: str | None, verbose: bool, as_json: bool = False) -> int:
    """Judge a run folder again, on any machine."""
    from bench.model.profile import load
    from bench.model.verdict import EXIT
    from bench.store import load as load_run
    from reports import evidence

    from .page import own_profile, refresher, warn_unclosed

    gc.disable()  # a process of seconds; looking for cycles among the rows of 64 nodes takes a third of them
    profile = load(profile_name) if profile_name else own_profile(run_folder)
    with ThreadPoolExecutor(1) as beside:  # it adds up every file while Python loads what judges
        seen = beside.submit(evidence, run_folder)
        from bench.judge.verdicts import judge, status

        from .terminal import summarise
    judged = judge(load_run(run_folder), profile, each=_each_check)
    unsaved = _save(judged, refresher(run_folder, seen.result()))
    warn_unclosed(judged.run)
    if as_json:
        from .answers import judge_answer

        print_json(judge_answer(judged, unsaved))
    else:
        summarise(judged, verbose, short=True, profile_name=profile.name)
    if unsaved:
        click.echo(f"railgauge: {unsaved}", err=True)
    return EXIT[status(judged)]


def _each_check(find: Callable[[Check], list[Verdict]], checks: Sequence[Check]) -> list[list[Verdict]]:
    """``map``, in several processes."""
    from bench.model.verdict import Verdict

    return forked_map(list[Verdict], find, checks)


def _save(judged: Evidence, refresh: Callable[[Evidence], None]) -> str:
    """Save the judged run as ``finish.try_to_save`` does, but not into a folder that a running run writes."""
    from bench.run.finish import try_to_save
    from bench.store import RunError, held

    try:
        with held(judged.run.path):
            return try_to_save(judged, refresh)
    except RunError as error:
        return f"{error}; the verdict is shown here and not saved"


@click.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=PATH)
@TITLE
@SITE
@option("--pdf", "Also write report.pdf, to be printed and signed", bool)
@option("--paper", "", click.Choice(PAPERS), default=PAPERS[0])
def report(
    run_folder: Path,
    title: str | None = None,
    site: str | None = None,
    pdf: bool = False,
    paper: str = PAPERS[0],
) -> int:
    """Write the report of a run folder again."""
    from bench.judge.verdicts import status
    from bench.model.verdict import EXIT
    from bench.run.finish import judge_and_save
    from bench.store import held, judged_by
    from bench.store.titles import save_titles
    from reports import evidence, sealed_verdicts, write, write_pdf

    from .page import last_profile, warn_unclosed, where_report

    gc.disable()  # as above
    text, profile = judged_by(run_folder), last_profile(run_folder)
    with held(run_folder):
        if title is not None or site is not None:
            save_titles(run_folder, title, site)
        with ThreadPoolExecutor(1) as beside:  # as above; what draws takes as long
            digest = beside.submit(evidence, run_folder)
            import_module("reports.export")
        seen = digest.result()
        known = sealed_verdicts(run_folder, profile, seen)
        judged = judge_and_save(run_folder, profile, closing=False, known=known, each=_each_check)
        write(judged, seen)
        printed = write_pdf(judged, paper) if pdf else None
    warn_unclosed(judged.run)
    if text:
        click.echo(
            f"judged by {profile.name}, as last time; to use the run's own profile: railgauge judge {run_folder}"
        )
    where_report(run_folder)
    if printed:
        click.echo(f"print: {printed}")
    return EXIT[status(judged)]


@click.command(
    epilog="Exit status: 0 PASS, 1 FAIL, 2 wrong usage, 3 no digests were recorded, or another version judged."
)
@click.argument("run_folder", metavar="RUN", type=PATH)
@option("--sha256 DIGEST", "The digest on a printed report: the folder must be the evidence of that report")
def verify(run_folder: Path, sha256: str | None) -> int:
    """Check that the evidence in a run folder is as it was when the run ended.

    It holds every file against SHA256SUMS of the folder, which sha256sum --check reads too, the reports against what
    was drawn, and verdicts.json against what judging the evidence by the same profile says.
    """
    from bench.model.verdict import EXIT, Status
    from bench.run.finish import edited_verdicts
    from bench.store import load, manifest_of
    from bench.store.sums import changed_reports, changes, evidence_digest

    from .page import last_profile

    made_by = manifest_of(run_folder).versions.get("railgauge", "")
    found, digest = [*changes(run_folder), *changed_reports(run_folder)], evidence_digest(run_folder)
    if sha256 is not None and digest != sha256.strip().lower():
        found.append(f"the report with the digest {sha256} was made of other evidence")
    # evidence that was changed is judged otherwise anyway
    edited = [] if found else edited_verdicts(load(run_folder), last_profile(run_folder), _each_check)
    status = Status.FAIL if found or edited else Status.PASS
    if edited and made_by != __version__:
        status = Status.INCONCLUSIVE
        edited = [f"the run is of RailGauge {made_by or 'without a version'}, this is {__version__}", *edited]
    for line in (*found, *edited[:MOST_EDITED]):
        click.echo(line)
    click.echo(f"{status.shown}: SHA-256 of the evidence: {digest}")
    return EXIT[status]


@click.command(
    epilog="Exit status: 0 B is not slower, 1 B is slower somewhere, 2 wrong usage or runs that cannot be compared, "
    "3 INCONCLUSIVE."
)
@click.argument("folders", metavar="A... [vs] B...", nargs=-1, required=True, type=PATH)
@option("--anyway", "Compare runs of different plans or machines; the result says so", bool)
@JSON
def compare(folders: tuple[Path, ...], anyway: bool, as_json: bool = False) -> int:
    """Compare two runs: the ratio of each case, with its confidence.

    Launches on one machine differ too: three launches of each side tell a difference between machines from one
    between launches.

    \b
        railgauge compare A1 A2 A3 vs B1 B2 B3
    """
    from bench.exchange.compare_runs import compare_runs
    from bench.model.verdict import EXIT
    from bench.store import load

    a, b = _sides(folders)
    for one, other in combinations((*a, *b), 2):
        if one.exists() and other.exists() and one.samefile(other):
            raise click.UsageError(f"{one} and {other} are the same run; there is nothing to compare")
    runs_a, runs_b = [load(path) for path in a], [load(path) for path in b]
    for first, second in combinations((*runs_a, *runs_b), 2):
        if (first.manifest.id, first.manifest.started) == (second.manifest.id, second.manifest.started):
            raise click.UsageError(
                f"{first.path} and {second.path} are copies of one run; there is nothing to compare"
            )
    answer = compare_runs(runs_a, runs_b, anyway)
    if as_json:
        from .answers import compare_answer

        print_json(compare_answer(runs_a, runs_b, answer))
    else:
        click.echo(answer.text)
    return EXIT[answer.status]


def _sides(folders: Sequence[Path]) -> tuple[Sequence[Path], Sequence[Path]]:
    words = [str(folder) for folder in folders]
    if "vs" not in words and len(words) == 2:
        return folders[:1], folders[1:]
    at = words.index("vs") if words.count("vs") == 1 else 0
    if at == 0 or at == len(words) - 1:
        raise click.UsageError(
            "give two run folders, or several a side with the word vs between: A1 A2 vs B1 B2"
        )
    return folders[:at], folders[at + 1 :]


@click.command(epilog=EXIT_HELP)
@click.argument("names", metavar="[FILE|COMMAND]", nargs=-1)
def schema(names: tuple[str, ...]) -> None:
    """Print the JSON Schema of a file of the run folder, of what a command prints with --json, or of all.

    Of a .jsonl file it is that of each line.

    \b
        railgauge schema journal.jsonl
        railgauge schema history list
    """
    import json

    from bench.store.schema import FILES, schema_of
    from bench.store.schema import schema as of

    from .answers import ANSWERS

    known = {name: of(name) for name in FILES}
    known |= {name: schema_of(f"railgauge {name}", kind, whole=True) for name, kind in ANSWERS.items()}
    wanted = " ".join(names).removeprefix("railgauge ")  # each schema's title has it
    if wanted and wanted not in known:
        raise click.UsageError(f"no schema of {wanted!r}; known: {', '.join(known)}")
    click.echo(json.dumps(known[wanted] if wanted else known, indent=1))
