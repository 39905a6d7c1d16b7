"""What stands on the first page: the verdict in a sentence, a map of the rails, tiles, the readings as bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.judge.problems import Problem, Problems, places_in, problems_of
from bench.judge.scope import scope
from bench.judge.wire import TargetReadings
from bench.model.units import BITS, GIGA, show_count, show_share
from bench.model.verdict import Status
from bench.store import Run

from .charts.rails import NOBODY, SLOW, marked_rails, natural, node_rails
from .exclusion import layer_states, together
from .summary import NOT_PLANNED, Shown, coverage, headline, read_target, unmeasured
from .tables import verdict_table
from .views import View

MOST = 4  # problems that stand in full on the first page; the others are in the table below it
LONGEST = 420  # pixels of a bar that reaches the target


@dataclass(frozen=True)
class Tile:
    """One answer: to what, the answer, whether it is a good one, and how it came about."""

    title: str
    answer: str
    status: Status
    text: str


@dataclass(frozen=True)
class Bar:
    """A reading of the target; ``share`` of it, and as text."""

    name: str
    share: float
    rate: str
    percent: str
    good: bool

    @property
    def length(self) -> float:
        """In pixels of the page."""
        return round(min(self.share, 1.1) * LONGEST, 1)


def verdict(shown: Shown) -> View:
    """The first page."""
    status, counts = headline(shown.run)
    found = problems_of(shown.run)
    target = read_target(shown.judged)
    return {
        "status": status,
        "counts": counts,
        "sentence": "" if found.first else sentence(status, shown),
        "problems": [
            (each, hardware(shown.run, each), verdict_table(each.symptoms)) for each in found.first[:MOST]
        ],
        "more": _more(found),
        "map": rail_map(shown),
        "tiles": tiles(shown, target),
        "target": target,
        "bars": bars(shown, target),
        "floor": floor_of(shown) * LONGEST,
    }


def attention(shown: Shown) -> View | None:
    """Failures that are not on the first page, and all that is inconclusive."""
    found = problems_of(shown.run)
    failures = [each.verdict for each in found.first[MOST:]]
    if not failures and not found.inconclusive:
        return None
    return {"first": verdict_table(failures), "rest": verdict_table(found.inconclusive)}


def hardware(run: Run, problem: Problem) -> str:
    """What identifies the port of a problem to whoever mends it; "" where it is no single port, or nothing is known."""
    found = places_in(run)(problem.verdict.subject)
    ports = [port for node in run.nodes for port in node.ports if (node.name, port.name) in found]
    if len(found) != 1 or not ports:
        return ""
    known = {"GUID": ports[0].guid or ports[0].node_guid, "board": ports[0].board, "firmware": ports[0].fw,
             "type": ports[0].hca_type}  # fmt: skip
    return " · ".join(f"{name} {value}" for name, value in known.items() if value)


def sentence(status: Status, shown: Shown) -> str:
    """What the run shows where no problem says it."""
    if status is Status.PASS:
        return f"PASS of what {scope(shown.run.verdicts, shown.profile.name)}."
    return (
        "Nothing failed, but not everything could be judged." if shown.run.verdicts else "Nothing was judged."
    )


def _more(found: Problems) -> str:
    """What the table below the first page lists."""
    rest, inconclusive = len(found.first) - MOST, len(found.inconclusive)
    parts = [show_count(rest, "more problem")] if rest > 0 else []
    return " and ".join(
        [*parts, *([show_count(inconclusive, "inconclusive finding")] if inconclusive else [])]
    )


def tiles(shown: Shown, target: TargetReadings | None) -> list[Tile]:
    """The answers that a buyer asks for first."""
    found = [_share(target, floor_of(shown)), _excluded(shown), _correct(shown), _coverage(shown)]
    return [tile for tile in found if tile]


def _share(target: TargetReadings | None, floor: float) -> Tile | None:
    rings = [each for each in target.readings if each.told and each.kind == "ring"] if target else []
    if not rings or not target or not target.target:
        return None
    least = min(rings, key=lambda each: each.rate)
    text = f"{least.name}: {least.rate * BITS / GIGA:,.0f} Gb/s on each node's rails"
    status = Status.FAIL if least.share < floor else target.status
    return Tile(f"Share of {target.target.text}", show_share(least.share), status, text)


def _excluded(shown: Shown) -> Tile | None:
    found = layer_states(shown)
    if found is None:
        return None
    names, states = found
    passed = sum(status is Status.PASS for status in states)
    applicable = sum(status is not Status.SKIP for status in states)
    answer = f"shown by {passed} of {applicable} layers" if applicable else "not applicable"
    return Tile(
        f"{names} excluded", answer, together(states), "selector · census · NCCL's log · byte counters"
    )


def _correct(shown: Shown) -> Tile:
    counts = [count for row in shown.run.measurements for count in row.wrong if count is not None]
    checked = sum(row.checked for row in shown.run.measurements)
    if not checked:
        return Tile("Results", "unchecked", Status.INCONCLUSIVE, "no result was compared with the truth")
    status = Status.FAIL if sum(counts) else Status.PASS
    return Tile("Results", f"{sum(counts):,} wrong elements", status, f"of {checked:,} that were compared")


def _coverage(shown: Shown) -> Tile:
    rows = [row for row in coverage(shown.run) if row.planned]
    complete = bool(rows) and all(row.measured == row.planned for row in rows)
    text = " · ".join(
        f"{row.what}: " + (f"{row.measured} of " if row.measured != row.planned else "") + f"{row.planned}"
        for row in rows
    )
    left_out = sum(row.became == NOT_PLANNED for row in unmeasured(shown.run))
    answer = "all that was planned" if complete else "incomplete"
    more = f" · {show_count(left_out, 'phase')} {NOT_PLANNED}" if left_out else ""
    return Tile("Coverage", answer, Status.PASS if complete else Status.INCONCLUSIVE, text + more)


def bars(shown: Shown, target: TargetReadings | None) -> list[Bar]:
    """The readings of the target that have a figure."""
    floor = floor_of(shown)
    return [
        Bar(each.name, each.share, f"{each.rate * BITS / GIGA:,.0f} Gb/s", show_share(each.share), each.share >= floor)
        for each in (target.readings if target else ()) if each.told and math.isfinite(each.share)
    ]  # fmt: skip


def floor_of(shown: Shown) -> float:
    """The least share of the target that the profile wants; 0 without such a bound."""
    nodes = len(shown.run.manifest.nodes)
    floors = (
        limit.bound.value
        for limit in shown.profile.limits
        if limit.quantity == "wire_share" and limit.nodes[0] <= nodes <= limit.nodes[1]
    )
    return max(floors, default=0.0)


@dataclass(frozen=True)
class RailMap:
    """Rails × nodes as cells (x, y, bad, words) of ``width`` × 13; the labels of both axes, and of the worst cell."""

    cells: list[tuple[float, int, bool, str]]
    width: float
    rails: list[tuple[int, str]]
    nodes: list[tuple[float, str]]
    worst: tuple[float, int, str] | None
    good: int


def rail_map(shown: Shown) -> RailMap | None:
    """None where no pairs of nodes were measured."""
    if shown.f.pairs.empty:
        return None
    table = marked_rails(node_rails(shown.f.pairs, shown.f.blamed), shown.f.blamed)
    step, names = min(70.0, 552 / len(shown.f.nodes)), natural(table["rail"])
    across = {node: round(80 + at * step, 1) for at, node in enumerate(shown.f.nodes)}
    down = {rail: 18 + 15 * at for at, rail in enumerate(names)}
    accused = set(table["rail"][table["blame"] != NOBODY])
    cells, worst = [], None
    for row in table.sort_values("change", kind="stable").to_dict("records"):
        # of two nodes the median of a rail is that of its only partner: the fault of one is not the other's
        innocent = len(shown.f.nodes) == 2 and row["rail"] in accused
        bad = row["blame"] != NOBODY or (row["change"] < -SLOW and not innocent)
        x, y, text = (
            across[row["node"]],
            down[row["rail"]],
            f"{row['node']} {row['rail']}: {_percent(row['change'])}",
        )
        cells.append((x, y, bad, f"{text}, {row['gbps']:,.4g} Gb/s"))
        worst = worst or ((x, y, f"{row['node']} {row['rail']} {_percent(row['change'])}") if bad else None)
    every = max(1, math.ceil(len(shown.f.nodes) / 8))
    labels = [(across[node], node) for node in shown.f.nodes[::every]]
    good = sum(not bad for _, _, bad, _ in cells)
    rails = [(y + 10, rail) for rail, y in down.items()]
    return RailMap(cells, round(step - 1.2, 1), rails, labels, worst, good)


def _percent(change: float) -> str:
    return f"{100 * change:+.0f} %".replace("-", "−")
