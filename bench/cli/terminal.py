"""What a person sees: progress while it runs, rows as they come, the verdict at the end.

Progress goes to standard error and only to a terminal; results go to standard output.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.exchange.exporting.nccl_tests import lines_of, table_footer, table_header, table_line
from bench.judge.peaks import peak_rows
from bench.judge.problems import Problem, problems_of, steps
from bench.judge.scope import next_after_pass, scope, simulated
from bench.judge.verdicts import spoken
from bench.judge.watched import is_watch, loads
from bench.model.late_dataclass import dataclass, field
from bench.model.measurement import Case
from bench.model.printable import on_one_line
from bench.model.units import show_both, show_count, show_rate, show_seconds, show_size
from bench.model.verdict import Status, Verdict, overall
from bench.plan.phase_names import BUDGET, GIVEN_UP
from bench.store import Manifest, Phase, Plan
from bench.store.case_progress import goes_on
from bench.store.rows import Row, row_of

from .progress_bar import ProgressBar

WIDTH = 80  # columns of the lines at the end
MOST_PROBLEMS = 16
MOST_INCONCLUSIVE = 4
MOST_RELATED = 3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.judge.evidence import Evidence
    from bench.model.activity import NodeActivity
    from bench.model.facts import Node
    from bench.model.measurement import Measurement
    from bench.model.profile import Rails
    from bench.plan.estimate import Estimate
    from bench.probe.link_bytes import LinkBytes

    from .live_table import LiveTable


@dataclass
class Terminal:
    """A ProgressDisplay (see ``run.options``) that writes to the terminal.

    ``table``: print rows as nccl-tests does; ``as_json``: print what was probed as one JSON object.
    """

    quiet: bool = False
    verbose: bool = False
    table: bool = False
    as_json: bool = False
    _cases: dict[str, Case] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _phase: str = ""
    _done: int = 0
    _all: int = 0
    _left: float = 0.0
    _begun: float = field(default_factory=time.monotonic)
    _bar: ProgressBar | None = None
    _live: LiveTable | None = None

    def planned(self, plan: Plan, manifest: Manifest) -> None:
        self._cases = {case.id: case for case in plan.cases}
        self._all = len(plan.cases)
        self._left = sum(phase.seconds for phase in plan.phases)
        for short in plan.shortages:
            self.say(f"not measured: {short.text}")
        for text in (text for name, text in plan.skipped if name == BUDGET):
            self.say(f"time limit: {text}")
        if given_up := [text for name, text in plan.skipped if name == GIVEN_UP]:
            self.say(f"given up for want of time, in this order: {'; '.join(given_up)}")
        if not self.quiet:
            nodes = manifest.nodes
            where = on_one_line(nodes[0]) if len(nodes) == 1 else f"{len(nodes)} nodes"
            limit = f", at most {show_seconds(self._left)}" if self._left else ""
            self.say(
                f"{show_count(len(manifest.ranks), 'rank')} on {where}, {manifest.backend}; "
                f"{show_count(self._all, 'case')}{limit}"
            )
            given = manifest.settings.worker_environment
            if given:
                words = " ".join(f"{name}={value}" for name, value in given.items())
                self.say(f"profile {manifest.profile_name} sets for the workers: {words}")
        self.table = self.table and not self.quiet
        if self.table and plan.cases:
            self._out(table_header(plan.cases[0].collective, manifest.ranks).rstrip("\n"))
        self._open()

    def planned_more(self, phase: Phase) -> None:
        self._cases |= {case.id: case for case in phase.cases}
        self._all += len(phase.cases)
        self._left += phase.seconds
        if not self.quiet:
            self.say(
                f"{phase.title}: {show_count(len(phase.cases), 'case')} more, at most {show_seconds(phase.seconds)}"
            )

    def phase(self, phase: Phase) -> None:
        self._phase = phase.title
        self._update(phase.name)

    def measured(self, row: Measurement) -> None:
        self._done += 1
        made = row_of(self._cases[row.case], row)
        if self.table:
            self._table_row(made)
        elif self.verbose:
            self._out(_line(made))
        self._update(row.case)

    def lost(self, case: Case, reason: str) -> None:
        self._done += 1
        self.say(f"lost: {case.id}: {reason}")

    def interrupted(self, folder: Path, command: tuple[str, ...]) -> None:
        self._close()
        resume = f"; to continue: railgauge resume {folder}" if goes_on(command) else ""
        self.say(f"interrupted; the results so far are kept{resume}; to see them: railgauge report {folder}")

    def beat(self, case: str, stage: str) -> None:
        if case:
            self._update(f"{case} {stage}")

    def ranks_are_there(self, nodes: Sequence[Node], rails: Rails) -> None:
        """On a terminal, prepare the table of the rails of this run."""
        if sys.stderr.isatty():
            self._live = _live_table(nodes, rails)

    def watching(self, nodes: Sequence[Node], rails: Rails) -> None:
        self._live = _live_table(nodes, rails)
        self._open()
        self._update("Ctrl-C ends it")
        if not self.quiet:
            self.say(f"watching {show_count(len(nodes), 'node')}; Ctrl-C ends it")

    def links(self, node: str, links: Mapping[str, LinkBytes]) -> None:
        if self._live is not None:
            self._live.look(time.monotonic() - self._begun, node, links)

    def activity(self, seconds: float, node: str, activity: NodeActivity) -> None:
        if self._live is not None:
            from .live_table import event_line

            for event in self._live.update(seconds, node, activity):
                if self._bar is None:  # else the table shows it
                    self.say(event_line(event))

    def finished(self, judged: Evidence) -> None:
        self._close()
        measured = judged.rows
        if is_watch(judged):
            from .live_table import closing_lines

            for line in closing_lines(loads(judged)):
                self._out(line)
        if self.table and measured:
            lines = next(iter(lines_of(measured).values()))
            self._out(table_footer(measured[0].case.collective, lines).rstrip("\n"))
        summarise(judged, self.verbose, self.quiet or self.table)

    def probed(self, judged: Evidence) -> None:
        """The facts of every node as a table, then what the checks that need no measurement say."""
        if self.as_json:
            from .answers import probe_answer
            from .json_output import print_json

            print_json(probe_answer(judged, judged.nodes, judged.run.path))
            return
        from .facts_table import table

        self._out(table(list(judged.nodes), judged.rails)[0].rstrip("\n"))
        summarise(judged, self.verbose, short=True)

    def estimated(self, found: Estimate, manifest: Manifest) -> None:
        """What a dry run shows instead of measuring."""
        from .planning import show_plan

        show_plan(found, manifest.profile_name, Counter(rank.node for rank in manifest.ranks), self.as_json)

    def _table_row(self, row: Row) -> None:
        """A line of the table once all placements of its size are there."""
        self._rows.append(row)
        same = [case for case in self._cases.values() if case.size == row.case.size]
        here = [seen for seen in self._rows if seen.case.size == row.case.size]
        if len(here) == len(same):
            self._out(table_line(next(iter(lines_of(here).values()))[0]))

    def _open(self) -> None:
        if self.quiet or not sys.stderr.isatty():
            return
        self._bar = ProgressBar(self._live)
        self._bar.start()

    def _update(self, what: str) -> None:
        if self._bar is not None:
            left = max(0.0, self._left - (time.monotonic() - self._begun))
            self._bar.update(f"{self._phase or 'watching'}: {what}", self._done, self._all, left)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _out(self, text: str) -> None:
        if self._bar is not None:
            self._bar.print(text)
        else:
            print(text, flush=True)

    def say(self, text: str) -> None:
        print(f"railgauge: {on_one_line(text)}", file=sys.stderr, flush=True)


def summarise(judged: Evidence, verbose: bool, short: bool, profile_name: str = "") -> None:
    """Print the verdict: what was measured, the problems with their causes first, what was judged, and the counts.

    ``profile_name``: by whom it was judged, where that is not the run's own profile.
    """
    if not short:
        _peaks(judged)
    run = judged.run
    if verbose:
        for verdict in run.verdicts:
            print(f"{verdict.status.shown}: {verdict.check}: {verdict.message}")
    found = problems_of(run)
    shown = (*found.first[:MOST_PROBLEMS], *map(Problem, found.inconclusive[:MOST_INCONCLUSIVE]))
    for problem, step in zip(shown, steps(shown), strict=True):
        print(f"\n{_problem_lines(problem, step)}")
    if len(found.listed) > len(shown):
        print(f"\nand {len(found.listed) - len(shown)} more: railgauge report {run.path}")
    if shown:
        print()
    scoped = scope(run.verdicts, profile_name or run.profile_name)
    passed = overall(verdict.status for verdict in run.verdicts) is Status.PASS
    more = "" if verbose else "; --verbose lists every verdict"
    print(wrapped(f"{'PASS of what ' if passed else ''}{scoped}{more}"))
    for text in spoken(run):
        print(wrapped(text))
    if passed and run.measurements:
        print(wrapped(f"next: {next_after_pass(run, str(run.path))}"))
    for text in filter(None, (found.tally, simulated(run))):
        print(wrapped(text))
    print(one_line(run.verdicts), flush=True)


def one_line(verdicts: tuple[Verdict, ...]) -> str:
    """``PASS: 21 passed, 0 failed, 0 inconclusive, 2 not applicable``."""
    count = {status: sum(verdict.status is status for verdict in verdicts) for status in Status}
    return (
        f"{overall(verdict.status for verdict in verdicts).shown}: {count[Status.PASS]} passed, "
        f"{count[Status.FAIL]} failed, {count[Status.INCONCLUSIVE]} inconclusive, "
        f"{count[Status.NOT_APPLICABLE]} not applicable"
    )


def _problem_lines(problem: Problem, step: str) -> str:
    found = problem.verdict
    slight = " (slight)" if problem.slight else ""
    lines = [wrapped(f"{problem.status.shown}{slight}: {problem.sentence}")]
    if found.wanted:
        source = f" ({found.source})" if found.source else ""
        lines.append(wrapped(f"wanted: {found.wanted}{source}; {found.check}", "  "))
    for each in problem.related[:MOST_RELATED]:
        lines.append(wrapped(f"also: {each.subject}: {each.measured}", "  "))
    if step:
        lines.append(wrapped(f"next: {step}", "  "))
    if problem.follows:
        lines.append(f"  {problem.follows}")
    return "\n".join(lines)


def wrapped(text: str, indent: str = "", then: str = "") -> str:
    """At most WIDTH columns a line, and no word broken; what a terminal would obey is written out.

    ``then``: how lines after the first begin, else two columns further in.
    """
    return "\n".join(
        textwrap.wrap(
            on_one_line(text), WIDTH, initial_indent=indent, subsequent_indent=then or f"{indent}  ",
            break_long_words=False, break_on_hyphens=False,
        )
    )  # fmt: skip


def _peaks(judged: Evidence) -> None:
    found = peak_rows(judged)
    width = max((len(top.series) for top in found), default=0)
    for top in found:
        row = top.row
        wrong = "unchecked" if row.wrong is None else f"{row.wrong} wrong"
        groups = f", slowest of {top.groups} groups" if top.groups > 1 else ""
        print(
            f"  {top.series:{width}} busbw {show_both(row.busbw):>28} at {show_size(row.case.size):>8}   "
            f"{row.ranks} ranks{groups}   {wrong}"
        )


def _line(row: Row) -> str:
    return (
        f"  {row.case.id:56} {show_seconds(row.seconds):>9}  algbw {show_rate(row.algbw):>11}  "
        f"busbw {show_rate(row.busbw):>11}  p99 {show_seconds(row.isolated.p99):>9}  {row.measurement.stop}"
    )


def _live_table(nodes: Sequence[Node], rails: Rails) -> LiveTable:
    from .live_table import LiveTable

    return LiveTable(rails, nodes)
