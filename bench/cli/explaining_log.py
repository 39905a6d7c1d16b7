"""railgauge explain LOG: what NCCL's own log says about a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench.exchange.importing.imported_rows import ImportRefused
from bench.exchange.importing.text_file import read_stream, read_text
from bench.judge.foreign_log import judge_log
from bench.model.printable import ranges
from bench.model.profile import load
from bench.model.rails import by_port
from bench.model.units import show_count, show_some
from bench.model.verdict import EXIT, Status, Verdict, overall
from bench.nccl.log import Log, joined, read
from bench.nccl.log_lines import SIGNS
from bench.nccl.log_summary import TAKE_AGAIN, LogSummary, summarise
from bench.nccl.rank_answers import RankAnswer

from .terminal import wrapped

_LABEL = 14


def explain_logs(names: Sequence[str], profile_name: str | None, as_json: bool) -> int:
    """Print what the logs say, and by a profile its verdicts; returns the exit status. ``-`` is standard input."""
    profile = load(profile_name) if profile_name else None
    log = _read(names)
    found = summarise(log, sockets_meant=profile is not None and not by_port(profile.rails))
    verdicts = judge_log(log, profile) if profile else ()
    status = overall([found.status, *(verdict.status for verdict in verdicts)])
    if as_json:
        from .answers import ExplainLogAnswer
        from .json_output import print_json

        print_json(ExplainLogAnswer(status=status, summary=found, verdicts=verdicts))
    else:
        click.echo("\n".join(_lines(found, verdicts)))
    return EXIT[status]


def _read(names: Sequence[str]) -> Log:
    """All processes of all files; a process stands once for each file that it is in."""
    texts = (
        read_stream(sys.stdin.buffer, "standard input", SIGNS)
        if name == "-"
        else read_text(Path(name), SIGNS)
        for name in dict.fromkeys(names)
    )
    log = joined(map(read, texts))
    if not log.processes:
        raise ImportRefused(f"no line of NCCL's log is in {', '.join(names)}; {TAKE_AGAIN}")
    return log


def _lines(found: LogSummary, verdicts: Sequence[Verdict]) -> Iterator[str]:
    heard = f"{show_count(len(found.ranks), 'rank')} of {found.of_ranks} ({ranges(found.ranks)})"
    heard = heard if found.ranks else "no line tells the ranks"
    yield _entry("Log", f"{heard}; {show_count(len(found.hosts), 'host')}: {show_some(found.hosts)}")
    for label, answers, otherwise in (
        ("NCCL", found.versions, "no line tells the version"),
        ("Network", found.networks, "no line tells which"),
        ("HCAs", found.hcas, ""),
        ("In use", found.hcas_used, ""),
        ("Sockets", found.interfaces, ""),
        ("GPUDirect", found.gpudirect, ""),
    ):
        yield from _answers(label, answers, otherwise)
    if found.channels:
        yield _entry("Channels", ", ".join(f"{count} by {name}" for name, count in found.channels.items()))
    else:
        yield _entry(
            "Channels", "none in this log: NCCL_DEBUG=INFO prints them (from 2.22 at the first call)"
        )
    chosen = "; ".join(choice.text for choice in found.algorithms[:8])
    yield _entry("Algorithm", chosen or "not in this log: add NCCL_DEBUG_SUBSYS=INIT,ENV,NET,TUNING")
    yield from _answers("Settings", found.settings[:24], "NCCL read no variable, or the log lacks ENV lines")
    for warning in found.warnings:
        times = f"{warning.count} times, " if warning.count > 1 else ""
        yield _entry("Warning", f"{warning.text} ({times}{warning.who})")
    for verdict in verdicts:
        yield _entry(verdict.status.shown, f"{verdict.check}: {verdict.measured}; wanted: {verdict.wanted}")
    yield ""
    for odd in found.odd:
        yield wrapped(f"odd: {odd.what}")
        yield wrapped(f"-> {odd.remedy}", "  ")
    for text in found.missing:
        yield wrapped(f"not known: {text}")
    if found.missing:
        yield wrapped(f"-> {TAKE_AGAIN}", "  ")
    if not found.odd and not found.missing:
        yield "nothing is odd" + (" but what the profile does not allow" if _denied(verdicts) else "")


def _denied(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.status is not Status.PASS for verdict in verdicts)


def _answers(label: str, answers: Sequence[RankAnswer], otherwise: str) -> Iterator[str]:
    for number, answer in enumerate(answers):
        yield _entry(
            "" if number else label,
            f"{answer.value} ({answer.who})" if answer.ranks or answer.processes else answer.value,
        )
    if not answers and otherwise:
        yield _entry(label, otherwise)


def _entry(label: str, text: str) -> str:
    return wrapped(text, label.ljust(_LABEL), " " * _LABEL)
