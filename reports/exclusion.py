"""What must carry nothing, and the four layers of evidence that it did not: for a reader who was not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.model.units import show_size
from bench.model.verdict import Status, Verdict, overall
from bench.nccl.log import read_ranks
from bench.store import LOGS, Run

from .markup import Child, Html, tag
from .pieces import Shown, badge, fold, section, verdict_table
from .tables import Cell, number, table
from .traffic import carried, deltas


@dataclass(frozen=True)
class Layer:
    """One row: the check that judges it, its heading, what was asked of whom."""

    check: str
    title: str
    about: str


LAYERS = (
    Layer(
        "exclusion.selector",
        "What NCCL's selector takes",
        "the setting that the workers got, evaluated as NCCL evaluates it, on the devices that each node has",
    ),
    Layer(
        "exclusion.census",
        "What each node has",
        "the adapters that every node shows, by name and kind: a name that moved would exclude the wrong one",
    ),
    Layer(
        "exclusion.log",
        "What NCCL says that it uses",
        "the list of adapters, or of interfaces, in NCCL's own log, rank by rank",
    ),
    Layer(
        "exclusion.bytes",
        "What the excluded ports carried",
        "byte counters of every port, read before and after each phase; a noise floor is allowed",
    ),
)
BESIDE = ("exclusion.own_environment", "nccl.network", "nccl.gpudirect", "nccl.warnings")
NET_LINE = "NET/"  # what the lines of NCCL's log have in them that name the adapters in use


def exclusion(shown: Shown) -> Html | None:
    """The section of the page; None for a platform that excludes nothing."""
    rails = shown.profile.rails
    names = list(dict.fromkeys(name for name in (*rails.excluded, rails.management) if name))
    if rails.kind == "none" or not names:
        return None
    found = {layer.check: _of(shown.run, layer.check) for layer in LAYERS}
    states = {check: _together(verdict.status for verdict in rows) for check, rows in found.items()}
    beside = [verdict for check in BESIDE for verdict in _of(shown.run, check)]
    told = {"exclusion.log": _log(shown.run), "exclusion.bytes": _bytes(shown)}
    parts = [
        [
            tag("h3", f"{at}. {layer.title} ", badge(states[layer.check])),
            tag("p", layer.about, class_="soft"),
            _verdicts(found[layer.check]),
            told.get(layer.check),
        ]
        for at, layer in enumerate(LAYERS, 1)
    ]
    return section(
        "exclusion",
        f"Exclusion of {', '.join(names)}: four layers of evidence",
        tag(
            "p",
            badge(_together(states.values())),
            f" The profile wants nothing measured to cross {', '.join(names)}; each layer answers by itself.",
        ),
        parts,
        fold(f"Beside them: {len(beside)} verdicts", verdict_table(beside)) if beside else None,
    )


def _of(run: Run, check: str) -> list[Verdict]:
    return [verdict for verdict in run.verdicts if verdict.check == check]


def _together(statuses: Iterable[Status]) -> Status:
    """Of verdicts or of layers: what applies nowhere is a SKIP, and where there is none it could not be told."""
    known = list(statuses)
    return Status.SKIP if known and set(known) == {Status.SKIP} else overall(known)


def _verdicts(verdicts: Sequence[Verdict]) -> Child:
    """Each verdict in a sentence, with what was seen of every node or rank below it."""
    if not verdicts:
        return tag("p", "Nothing was judged: whether this layer holds is not known.")
    lines = []
    for verdict in verdicts:
        wanted = f" Wanted: {verdict.wanted} ({verdict.source})." if verdict.wanted else ""
        step = f" Next: {verdict.next_step}." if verdict.next_step else ""
        seen = tag("ul", [tag("li", text) for text in verdict.evidence]) if verdict.evidence else None
        few = len(verdict.evidence) <= 4
        lines.append(
            tag(
                "li",
                tag("strong", verdict.subject),
                f": {verdict.measured}.{wanted}{step}",
                (seen if few else fold(f"what was seen ({len(verdict.evidence)})", seen)) if seen else None,
            )
        )
    return tag("ul", lines)


def _log(run: Run) -> Html | None:
    """The lists of adapters and of interfaces as NCCL wrote them, and which ranks wrote each."""
    texts = {rank.rank: _net_lines(run, rank.rank) for rank in run.manifest.ranks}
    wrote = read_ranks({rank: text for rank, text in texts.items() if text})
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
    if not lists:
        return None
    rows = [
        (tag("code", text), Cell(ranges(ranks), min(ranks, default=-1)), number(len(set(ranks)), 9))
        for text, ranks in lists.items()
    ]
    return table(("as NCCL wrote it", "ranks", "how many"), rows, "What NCCL says it uses")


def _net_lines(run: Run, rank: int) -> str:
    """The lines on networks of a rank's log; empty where there is none."""
    path = run.path / LOGS / f"evidence.{rank}.log"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(f"{line}\n" for line in text.splitlines() if NET_LINE in line)


def ranges(ranks: Iterable[int]) -> str:
    """``0-7, 12``."""
    spans: list[list[int]] = []
    for rank in sorted(set(ranks)):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in spans)


def _bytes(shown: Shown) -> Html:
    """Excluded ports beside the rails, phase by phase."""
    rows = carried(deltas(shown.run), shown.profile)
    out = [row for row in rows if row.excluded]
    if not out:
        return tag("p", "No byte counter of an excluded port was recorded.")
    lines = []
    for row in out:
        rails = [each for each in rows if each.phase == row.phase and not each.excluded and each.most]
        lines.append(
            (
                row.phase,
                Cell(tag("code", row.port), row.port),
                _size(row.most),
                f"{row.told} of {row.of}",
                _size(max((each.most or 0 for each in rails), default=None)),
            )
        )
    head = (
        "phase",
        "excluded port",
        "sent, most of all nodes",
        "nodes that told",
        "the busiest other port sent",
    )
    return table(head, lines, "Bytes on excluded ports", "dense")


def _size(count: int | None) -> Cell:
    return Cell("not told", "", True) if count is None else Cell(show_size(count), count, True)
