"""Results of other tools into a run folder.

An import is a run folder like any other, with what an import cannot have left out and said to be left out:
no facts, no counters, no logs but NCCL's lines on its algorithms. Raw files are not copied: those of
nccl-tests -J hold the whole environment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from bench import __version__
from bench.exchange.importing import convert, perftest
from bench.exchange.importing.detect import read
from bench.exchange.importing.imported_rows import ImportedRun, ImportRefused
from bench.exchange.importing.reconcile import Hints
from bench.exchange.importing.text_file import read_text
from bench.judge.wire.algorithm import MARK, OURS
from bench.judge.wire.group_shape import NO_LAYOUT
from bench.measure.perftest.output import UNITS, LinkRun
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Case, Measurement, Rank
from bench.model.profile import Profile
from bench.model.units import show_count
from bench.store import IMPORTED, Manifest, Phase, Plan, Recorder, Settings

LAUNCHER = IMPORTED
# a file may come from anybody: these are ten times what a cluster's tests print, and judged within minutes
MOST_FIGURES = 10_000
MOST_TIMES = 1_500_000  # figures times ranks
MOST_PROBLEMS = 100
ABSENT = (
    ("evidence", "an import holds no NCCL logs"),
    ("rails", "an import does not say what each rail carried"),
    ("counters", "an import holds no port counters"),
)
TITLES = {convert.PHASE: "imported collectives", perftest.PHASE: "imported perftest results"}

Pair = tuple[Case, Measurement]


@dataclass(frozen=True)
class Wanted:
    """What a person says that the files do not: each is "" or None where the files must tell.

    nodes       how many, ranks numbered node by node
    unit        of a perftest JSON's bandwidth
    algorithm   forced when the tables were taken, such as ring
    """

    collective: str = ""
    ranks: int | None = None
    nodes: int | None = None
    unit: str = ""
    algorithm: str = "auto"


FROM_FILES = Wanted()


@dataclass(frozen=True)
class ImportedFolder:
    """A run folder made of files. ``nodes``: None where the files do not tell. Each of ``problems`` will be judged."""

    path: Path
    figures: int
    ranks: int
    nodes: int | None
    problems: tuple[str, ...]

    @property
    def text(self) -> str:
        nodes = "nodes unknown" if self.nodes is None else show_count(self.nodes, "node")
        ranks = show_count(self.ranks, "rank")
        lines = [f"{show_count(self.figures, 'figure')} of {ranks}, {nodes}: {self.path}"]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*lines, f"judge it: railgauge judge {self.path}"])


@dataclass
class _Found:
    """What the files held, before it is a run."""

    pairs: list[Pair] = field(default_factory=list)
    runs: list[ImportedRun] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tuning: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    complete: bool = True
    figures: int = 0


def import_files(
    files: Sequence[Path],
    out: Path,
    profile: Profile,
    wanted: Wanted = FROM_FILES,
    command: Sequence[str] = (),
) -> ImportedFolder:
    """Read result files into the new run folder ``out``, to be judged by ``profile``.

    Raises ImportRefused where nothing can be used, or the files are of different numbers of ranks (the
    message says which flag would help); RunError where the folder cannot be written.
    """
    _check_words(wanted)
    found = _Found()
    for file in _once(files):
        _take(file, wanted, found)
    if (more := len(found.problems) - MOST_PROBLEMS) > 0:
        found.problems[MOST_PROBLEMS:] = [f"and {more} more problems"]
    if not found.pairs:
        raise ImportRefused(f"nothing can be imported: {'; '.join(found.problems) or 'no file was given'}")
    count = _ranks(found.pairs)
    if count * len(found.pairs) > MOST_TIMES:
        raise ImportRefused(
            f"{len(found.pairs)} figures of {count} ranks are too many to judge; import fewer"
        )
    members, layout, note = _layout(found.runs, count, wanted.nodes, profile)
    pairs = _own_names(_across(pair, members) for pair in found.pairs)
    _write(out, pairs, members, layout, note, found, files, profile, command)
    nodes = None if layout == NO_LAYOUT else len({rank.node for rank in members})
    return ImportedFolder(out, len(pairs), len(members), nodes, tuple(found.problems))


def _check_words(wanted: Wanted) -> None:
    """Raise ImportRefused for a name that nothing knows; a table's own words are checked where it is read."""
    for what, given, known in (
        ("algorithm", wanted.algorithm, ("auto", *dict.fromkeys(OURS.values()))),
        ("unit", wanted.unit, ("", *UNITS)),
    ):
        if given not in known:
            raise ImportRefused(f"no {what} {given!r}; known: {', '.join(word for word in known if word)}")


def _once(files: Sequence[Path]) -> Sequence[Path]:
    """``files``, of which none may be given twice: its rows would count as two measurements."""
    count = Counter(file.resolve() for file in files)
    twice = [str(file) for file in dict.fromkeys(files) if count[file.resolve()] > 1]
    if twice:
        raise ImportRefused(f"given more than once: {', '.join(twice)}")
    return files


def _take(file: Path, wanted: Wanted, found: _Found) -> None:
    """Add one file; what cannot be used of it is a problem, for the rest may be good."""
    text = read_text(file)
    seen = read(text, Hints(file.name, wanted.collective, wanted.ranks), wanted.unit)
    found.tuning += [line for line in text.splitlines() if MARK in line]
    for table in seen.nccl:
        if _taken(file.name, table, found, partial(convert.measured, table, algorithm=wanted.algorithm)):
            found.runs.append(table)
    for link in seen.links:
        _taken(file.name, link, found, partial(perftest.measured, link))


def tables(file: Path, collective: str, ranks: int | None) -> tuple[ImportedRun, ...]:
    """The nccl-tests tables of one file."""
    return read(read_text(file), Hints(file.name, collective, ranks)).nccl


def _taken(
    name: str, run: ImportedRun | LinkRun, found: _Found, measured: Callable[[], tuple[Pair, ...]]
) -> bool:
    """Whether a run's figures are taken in; its problems and faults are in any case."""
    found.figures += len(run.rows)
    if found.figures > MOST_FIGURES:
        raise ImportRefused(f"{name}: more than {MOST_FIGURES} figures; import fewer at once")
    found.problems += [f"{name}: {problem}" for problem in run.problems]
    found.faults += [f"{name}: {run.subject}: {fault}" for fault in run.faults]
    found.complete &= run.complete
    found.tools.append(run.source)
    try:
        found.pairs += measured()
    except ImportRefused as reason:
        found.problems.append(f"{name}: left out: {reason}")
        return False
    return True


def _ranks(pairs: Sequence[Pair]) -> int:
    """How many ranks the job had; perftest's two ends are part of any job."""
    counts = {len(case.groups[0]) for case, _ in pairs if case.phase == convert.PHASE}
    if len(counts) > 1:
        listed = " and ".join(str(count) for count in sorted(counts))
        raise ImportRefused(f"the files are of {listed} ranks: import each number of ranks on its own")
    return counts.pop() if counts else 2


def _layout(
    runs: Sequence[ImportedRun], count: int, nodes: int | None, profile: Profile
) -> tuple[tuple[Rank, ...], str, str]:
    """Which rank ran where, how that is known, and the note that says so."""
    if not runs:
        return (Rank(0, "end0", 0), Rank(1, "end1", 0)), "listed", "perftest has two ends, a rank each"
    listed = next((run for run in runs if _whole_list(run, count)), None)
    if listed is not None:
        found = _listed(listed)
        hosts = len({rank.node for rank in found})
        if nodes and nodes != hosts:
            raise ImportRefused(f"--nodes {nodes} was given, but the device list names {hosts} hosts")
        return found, "listed", ""
    if nodes:
        if count % nodes:
            raise ImportRefused(f"{count} ranks do not spread evenly over --nodes {nodes}")
        return _even(count, count // nodes), "given", f"{nodes} nodes were given; the files name no hosts"
    if profile.gpus and count % profile.gpus == 0:
        note = f"the files name no hosts: {profile.gpus} ranks a node are assumed, as {profile.name} has GPUs"
        return _even(count, profile.gpus), "assumed", note
    note = "the files do not tell which ranks share a node: give --nodes"
    return _even(count, count), "listed" if count == 1 else NO_LAYOUT, note


def _whole_list(run: ImportedRun, count: int) -> bool:
    return sorted(device.rank for device in run.devices) == list(range(count))


def _listed(run: ImportedRun) -> tuple[Rank, ...]:
    seen: Counter[str] = Counter()
    ranks = []
    for device in sorted(run.devices, key=lambda each: each.rank):
        ranks.append(
            Rank(device.rank, device.host, seen[device.host], f"cuda:{device.device} {device.name}".rstrip())
        )
        seen[device.host] += 1
    return tuple(ranks)


def _even(count: int, each: int) -> tuple[Rank, ...]:
    return tuple(Rank(i, f"node{i // each}", i % each, "unknown") for i in range(count))


def _across(pair: Pair, members: Sequence[Rank]) -> Pair:
    """perftest's two ends put on the first rank of two nodes; a table stays as it is."""
    case, measurement = pair
    if case.phase != perftest.PHASE:
        return pair
    firsts = list({rank.node: rank.rank for rank in reversed(members)}.values())[::-1]
    if len(firsts) < 2:
        raise ImportRefused("perftest results are of two nodes, the tables of one: import them apart")
    ends = (firsts[0], firsts[1])
    return replace(case, groups=(ends,)), replace(measurement, ranks=ends)


def _own_names(pairs: Iterable[Pair]) -> list[Pair]:
    """Rename a case that an earlier table has too: each table is a launch of its own."""
    seen: Counter[str] = Counter()
    named = []
    for case, measurement in pairs:
        seen[case.id] += 1
        name = case.id if seen[case.id] == 1 else f"{case.id}/table-{seen[case.id]}"
        named.append((replace(case, id=name), replace(measurement, case=name)))
    return named


def _write(
    out: Path,
    pairs: Sequence[Pair],
    members: tuple[Rank, ...],
    layout: str,
    note: str,
    found: _Found,
    files: Sequence[Path],
    profile: Profile,
    command: Sequence[str],
) -> None:
    names = list(dict.fromkeys(case.phase for case, _ in pairs))
    phases = tuple(
        Phase(name, TITLES[name], tuple(case for case, _ in pairs if case.phase == name)) for name in names
    )
    with Recorder(out) as recorder:
        recorder.manifest(
            Manifest(
                id=out.resolve().name,
                started=time.time(),
                command=tuple(command) or ("railgauge", "import", *map(str, files)),
                profile_name=profile.name,
                profile_text=profile.text,
                launcher=LAUNCHER,
                backend=_backend(found),
                ranks=members,
                settings=Settings(
                    files=tuple(file.name for file in files),
                    layout=layout,
                    problems=tuple(found.problems),
                    faults=tuple(found.faults),
                ),
                versions=_versions(found),
            )
        )
        recorder.plan(Plan(phases, skipped=ABSENT))
        if found.tuning:
            recorder.log(f"{convert.PHASE}.0.log", "\n".join(found.tuning) + "\n")
        for text in filter(None, (note, *found.problems)):
            recorder.note(f"import: {text}")
        for _, measurement in pairs:
            recorder.measurement(measurement)
        if found.complete:
            recorder.end()


def _backend(found: _Found) -> str:
    if not found.runs:
        return "verbs"
    return "rccl" if any(run.tool == "rccl-tests" for run in found.runs) else "nccl"


def _versions(found: _Found) -> dict[str, str]:
    nccl = ", ".join(dict.fromkeys(run.nccl for run in found.runs if run.nccl))
    tools = ", ".join(dict.fromkeys(filter(None, found.tools)))
    return {"railgauge": __version__, "tool": tools, **({"nccl": nccl} if nccl else {})}
