"""The four layers of evidence that excluded adapters carried nothing."""

from __future__ import annotations

from collections.abc import Iterable

from bench.model.late_dataclass import dataclass
from bench.model.printable import ranges
from bench.model.verdict import Status, Verdict, overall
from bench.nccl.log import Log
from bench.plan.phase_names import phase_words
from bench.store import Run

from .sections import View
from .summary import PageInput
from .tables import Cell, ReportTable, code, number, size, verdict_table
from .traffic import carried


@dataclass(frozen=True)
class Layer:
    """One row: the check that judges it, its heading, what the evidence is, and the text where there is none."""

    check: str
    title: str
    about: str
    missing: str = ""


LAYERS = (
    Layer(
        "exclusion.selector", "Devices that NCCL's selector takes",
        "the setting that the workers received, evaluated as NCCL evaluates it, on the devices of each node",
    ),
    Layer(
        "exclusion.census", "Devices of each node",
        "the adapters of every node, by name and kind: after a renaming, the wrong one would be excluded",
    ),
    Layer(
        "exclusion.log", "Devices that NCCL reports",
        "the list of adapters, or of interfaces, in NCCL's own log, for each rank",
    ),
    Layer(
        "exclusion.bytes", "Bytes on the excluded ports",
        "byte counters of every port, read before and after each phase; a noise floor is allowed",
        "No byte counter of an excluded port was recorded.",
    ),
)  # fmt: skip
RELATED = ("exclusion.own_environment", "nccl.network", "nccl.gpudirect", "nccl.warnings")


def exclusion(shown: PageInput) -> View | None:
    """The values of the section; None for a platform that excludes nothing."""
    known = layer_states(shown)
    if known is None:
        return None
    names, states = known
    found = [_of(shown.run, layer.check) for layer in LAYERS]
    evidence = (None, None, _log(shown.judged.log), _bytes(shown))
    return {
        "names": names,
        "status": together(states),
        "layers": list(zip(LAYERS, states, found, evidence, strict=True)),
        "related": verdict_table([verdict for check in RELATED for verdict in _of(shown.run, check)]),
    }


def layer_states(shown: PageInput) -> tuple[str, list[Status]] | None:
    """The excluded names and the status of each of LAYERS; None for a platform that excludes nothing."""
    rails = shown.profile.rails
    names = list(dict.fromkeys(name for name in (*rails.excluded, rails.management) if name))
    if rails.kind == "none" or not names:
        return None
    layers = (_of(shown.run, layer.check) for layer in LAYERS)
    return ", ".join(names), [together(verdict.status for verdict in rows) for rows in layers]


def _of(run: Run, check: str) -> list[Verdict]:
    return [verdict for verdict in run.verdicts if verdict.check == check]


def together(statuses: Iterable[Status]) -> Status:
    """The status of several verdicts or layers: NOT APPLICABLE where all are, INCONCLUSIVE where there is none."""
    known = list(statuses)
    return Status.NOT_APPLICABLE if known and set(known) == {Status.NOT_APPLICABLE} else overall(known)


def _log(wrote: Log) -> ReportTable | None:
    """The lists of adapters and of interfaces as NCCL wrote them, and which ranks wrote each."""
    lists: dict[str, list[int]] = {}
    for process in wrote.processes:
        for using in process.using:
            # what follows names the node's own address
            lists.setdefault(using.text.partition("; OOB")[0], []).extend(wrote.ranks_of(process))
        for sockets in process.sockets:
            names = " ".join(f"[{each.index}]{each.name}" for each in sockets.interfaces)
            cut = "" if sockets.complete else " (cut)"
            listed = f"NET/{sockets.network}: {names}{cut}"
            lists.setdefault(listed, []).extend(wrote.ranks_of(process))
    rows = [
        (code(text), Cell(ranges(ranks), min(ranks, default=-1)), number(len(set(ranks)), 9))
        for text, ranks in lists.items()
    ]
    head = ("line of NCCL's log", "ranks", "number of ranks")
    return ReportTable("Devices that NCCL reports", head, rows) if rows else None


def _bytes(shown: PageInput) -> ReportTable | None:
    """Excluded ports beside the rails, phase by phase."""
    rows = carried(shown.judged)
    busiest: dict[str, int] = {}
    for row in rows:
        if row.most and not row.excluded:
            busiest[row.phase] = max(row.most, busiest.get(row.phase, 0))
    lines = [
        (phase_words(row.phase), Cell(row.port, row.port, kind="code"), size(row.most), f"{row.known} of {row.of}",
         size(busiest.get(row.phase)))
        for row in rows if row.excluded
    ]  # fmt: skip
    head = ("phase", "excluded port", "sent, most of all nodes", "nodes with a reading", "busiest other port")
    return ReportTable("Bytes on excluded ports", head, lines, "dense") if lines else None
