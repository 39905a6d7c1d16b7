"""The four layers of every rail side by side: link, verbs, point-to-point, collective, and which of them loses."""

from __future__ import annotations

from bench.judge.wire import RailLayers, RailRow, of_layers
from bench.judge.wire.rail_figures import Figure
from bench.judge.wire.rail_layers import NAMES
from bench.model.facts import FactsError
from bench.model.majority import shared_by
from bench.model.profile import Profile
from bench.model.units import BITS, GIGA, show_share
from bench.model.verdict import Status
from bench.store import Run

from .frames import Frames
from .markup import Child, Html, tag
from .pieces import Shown, badge, fold, section
from .summary import COUNTED, MARKS, WORDS
from .tables import ABSENT, Cell, table

TITLE = "Layers of each rail"
ABOUT = (
    "The link's rate, ib_write_bw, NCCL between two GPUs and the rail's share of a collective, each the slower "
    "direction, in Gb/s and GB/s: where one is far below the one to its left, that layer loses."
)
HEAD = ("node", "rail", *(f"{name} Gb/s (GB/s)" for name in NAMES), "which loses", "status")
MOST = 64  # rows that stand open; of more, those that do not pass


def read_layers(run: Run, f: Frames, profile: Profile) -> RailLayers | None:
    """The table of a run; None where it has neither perftest's words nor a reason why not."""
    if not run.verbs:
        return None
    try:
        nodes = list(run.nodes)
    except FactsError as error:
        return RailLayers((), Status.ERROR, f"the facts are damaged: {error}")
    return of_layers(run, f.measured, profile, nodes)


def layers(shown: Shown) -> Html | None:
    """The section of the page; None for a run in which perftest was not asked."""
    found = read_layers(shown.run, shown.f, shown.profile)
    if found is None:
        return None
    said = tag("p", badge(found.status), f" {found.text}")
    if not found.rows:
        return section("layers", TITLE, said)
    first = (
        found.rows if len(found.rows) <= MOST else tuple(r for r in found.rows if r.status is not Status.PASS)
    )
    parts = [_table(first[:MOST])] if first else []
    if len(first[:MOST]) < len(found.rows):
        parts.append(fold(f"All {len(found.rows)} rails", _table(found.rows)))
    reasons = [tag("li", text) for text in unknowns(found)[:MOST]]
    why = [tag("p", "Not known:"), tag("ul", reasons)] if reasons else []
    return section("layers", TITLE, said, tag("p", ABOUT, class_="soft"), *parts, *why)


def _table(found: tuple[RailRow, ...]) -> Html:
    lines: list[tuple[Cell | Child, ...]] = [
        (
            row.node,
            Cell(tag("code", row.rail), row.rail),
            *(_cell(figure) for figure in row.figures.values()),
            _loser(row),
            Cell(badge(row.status), list(COUNTED).index(row.status)),
        )
        for row in found
    ]
    return table(HEAD, lines, TITLE)


def _cell(figure: Figure) -> Cell:
    """The rate; hovered over, how it came about. Of what is absent, why."""
    if not figure.told:
        return Cell(tag("span", ABSENT, title=figure.text), "", True)
    return Cell(tag("span", _both(figure), title=figure.text), figure.rate, True)


def _both(figure: Figure) -> str:
    return f"{figure.rate * BITS / GIGA:,.4g} ({figure.rate / GIGA:,.4g})" if figure.told else ABSENT


def _loser(row: RailRow) -> str:
    if row.loser:
        return f"{NAMES[row.loser.layer]}, {show_share(row.loser.lost)}"
    if row.status is Status.PASS:
        return "none"
    unknown = [name for name, figure in row.figures.items() if not figure.told and figure.should]
    return f"not known: {', '.join(unknown)}" if unknown else row.text


def unknowns(found: RailLayers) -> list[str]:
    """Each reason why a layer is not known, once, with the rails that it holds for."""
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        for reason in row.missing:
            reasons.setdefault(reason, []).append(f"{row.node} {row.rail}")
    return [f"{reason} ({shared_by(rails, 'rails', 2)})" for reason, rails in reasons.items()]


def markdown_layers(
    run: Run, f: Frames, profile: Profile, most: int
) -> tuple[str, list[tuple[str, ...]], list[str]] | None:
    """What is said of the layers, at most ``most`` rows of HEAD, the worst first, and why layers are not known;
    None as ``read_layers``.
    """
    found = read_layers(run, f, profile)
    if found is None:
        return None
    order = list(COUNTED)
    worst = sorted(found.rows, key=lambda row: order.index(row.status))
    lines = [
        (
            row.node,
            row.rail,
            *(_both(figure) for figure in row.figures.values()),
            _loser(row),
            f"{MARKS[row.status]} {WORDS[row.status]}",
        )
        for row in worst[:most]
    ]
    return f"{MARKS[found.status]} {WORDS[found.status]}: {found.text}", lines, unknowns(found)[:most]
