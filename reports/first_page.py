"""What stands on the first page: the verdict in a sentence, a map of the rails, tiles, the readings as bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.judge.checks.row_peers import UNBOUNDED
from bench.judge.problems import Problem, Problems, problems_of, steps
from bench.judge.scope import next_after_pass, scope
from bench.judge.verdicts import spoken
from bench.judge.watched import is_watch
from bench.judge.wire import TargetReadings
from bench.model.late_dataclass import dataclass
from bench.model.units import BITS, GIGA, show_count, show_share
from bench.model.verdict import Status
from bench.plan.phase_names import INSTEAD, phase_words

from .exclusion import layer_states, together
from .port_facts import port_facts
from .rail_map import rail_map
from .sections import View
from .summary import NOT_PLANNED, PageInput, coverage, headline, read_target, unmeasured
from .tables import verdict_table

MOST = 4  # problems that stand in full on the first page; the others are in the table below it
ANSWERS = {
    Status.PASS: "yes",
    Status.FAIL: "no",
    Status.INCONCLUSIVE: "not sure",
    Status.NOT_APPLICABLE: "not applicable",
}
SHORT = ("NCCL's setting", "the list of devices", "NCCL's log", "byte counters")  # of exclusion.LAYERS
MOST_LEFT = 5  # things that were not measured, of which a PASS does not speak
LONGEST = 420  # pixels of a bar that reaches the target
# of what a reading is, by its kind: why the others differ from it
NOTES = {
    "counters": "bytes that left the slowest node",
    "ring": "every call waits for the slowest rail",
    "rails": "each rail by itself, added up",
}


@dataclass(frozen=True)
class Tile:
    """One answer: to what, the answer, whether it is a good one, and how it came about."""

    title: str
    answer: str
    status: Status
    text: str


@dataclass(frozen=True)
class Bar:
    """A reading of the target; ``share`` of it, and as text; ``note``: what was read."""

    name: str
    share: float
    rate: str
    percent: str
    good: bool
    note: str

    @property
    def length(self) -> float:
        """The bar's length in pixels of the page."""
        return round(min(self.share, 1.1) * LONGEST, 1)


def verdict(shown: PageInput) -> View:
    """The first page."""
    status, counts = headline(shown.run)
    found = problems_of(shown.run)
    first = leading(found)
    target = read_target(shown.judged)
    return {
        "status": status,
        "headline": found.summary or counts,
        "counts": ". ".join(filter(None, (counts, found.tally))) if found.summary else "",
        "next": as_sentence(next_after_pass(shown.run, shown.run.path.name)) if status is Status.PASS else "",
        "sentence": "" if found.first else sentence(status, shown, target),
        "problems": [
            (each, step, port_facts(shown.judged, each), verdict_table(each.symptoms), _proof(each))
            for each, step in zip(first, steps(first), strict=True)
        ],
        "more": _more(found),
        "again": " ".join(shown.run.manifest.command) if found.first else "",
        "uncovered": uncovered(shown) if status is Status.PASS else [],
        "map": rail_map(shown),
        "tiles": tiles(shown, target),
        "target": target,
        "bars": bars(shown, target),
        "floor": floor_of(shown) * LONGEST,
    }


def _proof(found: Problem) -> list[str]:
    """What stands beneath a problem: findings on the same place, who wants it so, the evidence."""
    lines = [f"{each.subject}: {each.measured}" for each in found.related]
    source = found.verdict.source
    lines += [f"{found.verdict.wanted}: {source}"] if found.verdict.wanted and source else []
    return [*lines, *found.verdict.evidence, *(line for each in found.related for line in each.evidence)]


def attention(shown: PageInput) -> View | None:
    """Failures that are not on the first page, and all that is inconclusive."""
    found = problems_of(shown.run)
    failures = [each.verdict for each in found.first[MOST:]]
    rest = found.inconclusive if found.first else found.inconclusive[MOST:]
    if not failures and not rest:
        return None
    return {"first": verdict_table(failures), "rest": verdict_table(rest)}


def leading(found: Problems) -> tuple[Problem, ...]:
    """What stands in full on the first page: what failed; where nothing did, what is inconclusive."""
    return (found.first or tuple(map(Problem, found.inconclusive)))[:MOST]


def sentence(status: Status, shown: PageInput, target: TargetReadings | None) -> str:
    """What the run shows where no failure says it."""
    if not shown.run.verdicts:
        return "Nothing was judged."
    if status is not Status.PASS:
        return "Nothing failed, but this is no PASS: not everything could be judged."
    least = _least(target)
    reached = f": {least.name} reaches {show_share(least.share)} of {least.of}" if least else ""
    return f"No fault was found in what was judged{reached}."


def uncovered(shown: PageInput) -> list[str]:
    """What a PASS speaks of, and what it does not: rows without a bound, topics, phases that were not measured."""
    said = (scope(shown.run.verdicts, shown.profile.name), *spoken(shown.run))
    found = list(map(as_sentence, said))
    plan = {phase.name for phase in shown.run.plan.phases}
    needless = {phase_words(name) for name, instead in INSTEAD.items() if instead in plan}
    left = [f"{each.what} ({each.why})" for each in unmeasured(shown.run) if each.what not in needless]
    more = f"; and {len(left) - MOST_LEFT} more, listed under Coverage" if len(left) > MOST_LEFT else ""
    return [*found, *([f"Not measured: {'; '.join(left[:MOST_LEFT])}{more}."] if left else [])]


def as_sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    return f"{capital(text)}."


def capital(text: str) -> str:
    """The text with a capital letter; a command stays as it is typed."""
    return text if text.startswith("railgauge ") else text[:1].upper() + text[1:]


def _more(found: Problems) -> str:
    """What the table below the first page lists."""
    rest = len(found.first) - MOST
    inconclusive = len(found.inconclusive) - (0 if found.first else MOST)
    parts = [show_count(rest, "more problem")] if rest > 0 else []
    what = "inconclusive finding" if found.first else "more inconclusive finding"
    return " and ".join([*parts, *([show_count(inconclusive, what)] if inconclusive > 0 else [])])


def tiles(shown: PageInput, target: TargetReadings | None) -> list[Tile]:
    """The tiles that answer what a buyer asks first; none for a watch, which measures nothing."""
    if is_watch(shown.judged):
        return []
    share = _share(target, shown, floor_of(shown))
    found = [share, _excluded(shown), _correct(shown), _coverage(shown)]
    return [*found, *_bounded(shown)] if share.status is Status.NOT_APPLICABLE else found


def _share(target: TargetReadings | None, shown: PageInput, floor: float) -> Tile:
    least, sold = _least(target), shown.profile.rails.target
    if not sold:
        text = f"profile {shown.profile.name} names no rate of the rails"
        return Tile("Share of the rails' rate", "not applicable", Status.NOT_APPLICABLE, text)
    if not least or not target:
        text = "no all_reduce or all_gather forced to Ring over several nodes says it"
        return Tile(f"Share of {sold.text}", "unknown", Status.INCONCLUSIVE, text)
    parts = [f"{least.name}, {least.rate} on each node"]
    parts += [f"floor {show_share(floor)}"] if floor else []
    parts += [f"other readings {least.others}"] if least.others else []
    text = "; ".join(parts)
    status = Status.FAIL if least.share < floor else target.status
    return Tile(f"Share of {least.of}", show_share(least.share), status, text)


@dataclass(frozen=True)
class _Least:
    """The slowest Ring reading of the target; ``others``: from which to which share the other readings go."""

    name: str
    share: float
    rate: str
    of: str
    others: str


def _least(target: TargetReadings | None) -> _Least | None:
    rings = [each for each in target.readings if each.told and each.kind == "ring"] if target else []
    if not rings or not target or not target.target:
        return None
    least = min(rings, key=lambda each: each.rate)
    shares = sorted(each.share for each in target.readings if each.told and each is not least)
    others = f"{100 * shares[0]:.1f} to {show_share(shares[-1])}" if shares else ""
    return _Least(
        least.name, least.share, f"{least.rate * BITS / GIGA:,.0f} Gb/s", target.target.text, others
    )


def _bounded(shown: PageInput) -> Iterator[Tile]:
    """The tile on how many rows have a bound, where no tile says how fast they should be."""
    found = [each for each in shown.run.verdicts if each.check == UNBOUNDED]
    if found:
        free, _, rest = found[0].measured.partition(" of ")
        none = "for no result" if rest.startswith(f"{free} ") else "not for all results"
        held = found[0].status is Status.PASS
        yield Tile("Floors", "for every result" if held else none, found[0].status, found[0].measured)


def _excluded(shown: PageInput) -> Tile:
    found = layer_states(shown)
    if found is None:
        text = f"profile {shown.profile.name} names no adapter to leave out"
        return Tile("Adapters left out?", "not applicable", Status.NOT_APPLICABLE, text)
    names, states = found
    passed = sum(status is Status.PASS for status in states)
    applicable = sum(status is not Status.NOT_APPLICABLE for status in states)
    status = together(states)
    shown_by = f", shown in {show_count(passed, 'way')}" if passed == applicable else ""
    answer = f"{ANSWERS[status]}{shown_by}" if applicable else "not applicable"
    return Tile(f"{names} left out?", answer, status, by_layer(states))


# by its place in a text: what speaks against it comes first
_SAID = {
    Status.FAIL: "against it:",
    Status.INCONCLUSIVE: "not known by",
    Status.PASS: "shown by",
    Status.NOT_APPLICABLE: "not applicable:",
}


def by_layer(states: Sequence[Status]) -> str:
    """Which layers show that it is left out, and which do not."""
    titles = {
        status: [t for t, each in zip(SHORT, states, strict=True) if each is status] for status in _SAID
    }
    said = _SAID | ({Status.PASS: "for it:"} if titles[Status.FAIL] else {})
    return "; ".join(f"{said[status]} {', '.join(found)}" for status, found in titles.items() if found)


def _correct(shown: PageInput) -> Tile:
    counts = [count for row in shown.run.measurements for count in row.wrong if count is not None]
    checked = sum(row.checked for row in shown.run.measurements)
    if not checked:
        return Tile("Results", "unchecked", Status.INCONCLUSIVE, "no result was compared with the truth")
    status = Status.FAIL if sum(counts) else Status.PASS
    return Tile(
        "Results",
        show_count(sum(counts), "wrong element"),
        status,
        f"of {checked:,} that were compared",
    )


def _coverage(shown: PageInput) -> Tile:
    rows = [row for row in coverage(shown.judged) if row.planned]
    complete = bool(rows) and all(row.measured == row.planned for row in rows)
    text = ", ".join(
        (f"{row.measured:,} of " if row.measured != row.planned else "") + show_count(row.planned, row.what)
        for row in rows
    )
    left_out = sum(row.became == NOT_PLANNED for row in unmeasured(shown.run))
    answer = "complete" if complete else "incomplete"
    more = f"; {show_count(left_out, 'optional test')} not planned" if left_out else ""
    return Tile("Coverage", answer, Status.PASS if complete else Status.INCONCLUSIVE, text + more)


def bars(shown: PageInput, target: TargetReadings | None) -> list[Bar]:
    """The readings of the target that have a figure."""
    floor = floor_of(shown)
    return [
        Bar(each.name, each.share, f"{each.rate * BITS / GIGA:,.0f} Gb/s", show_share(each.share), each.share >= floor,
            NOTES[each.kind])
        for each in (target.readings if target else ()) if each.told and math.isfinite(each.share)
    ]  # fmt: skip


def floor_of(shown: PageInput) -> float:
    """The least share of the target that the profile wants; 0 without such a bound."""
    return shown.f.share
