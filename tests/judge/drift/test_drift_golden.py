"""All that drift says of made histories, held to a golden file: what was allowed each night, and in which words."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.drift import (
    Acceptance,
    Baseline,
    DriftRules,
    NightValue,
    Series,
    fingerprint,
    judge,
    peers,
    replay,
    series_verdict,
)
from bench.judge.drift.baseline import Excess, excess, follow
from bench.judge.drift.judge_series import QUANTITIES
from bench.judge.drift.robust import allowance, median_variance, tail
from bench.judge.drift.steps import LevelStep
from bench.model.units import show_rate
from bench.model.verdict import Status, Verdict
from golden import Golden, opened, shown

LEVELS = {"busbw": 390e9, "latency": 12e-6}
OLD, NEW, THIRD = (fingerprint({"driver": each, "nccl": "2.20"}) for each in ("550.90", "560.28", "570.1"))
DAY = 86400.0
# a share of the level in each night, None where nothing was measured
Walk = Callable[[int], float | None]
WALKS: dict[str, Walk] = {
    "steady": lambda night: 1.0,
    "a dip": lambda night: 0.9 if night in (4, 30) else 1.0,
    "a step down": lambda night: 0.93 if night >= 30 else 1.0,
    "a step down and back": lambda night: 0.95 if 30 <= night < 36 else 1.0,
    "a step up": lambda night: 1.06 if night >= 30 else 1.0,
    "a step up and back": lambda night: 1.06 if 30 <= night < 37 else 1.0,
    "a small step down": lambda night: 0.975 if night >= 30 else 1.0,
    "a slow decay": lambda night: 1 - 0.0007 * night,
    "a slow rise": lambda night: 1 + 0.0007 * night,
    "slow from the third night on": lambda night: 0.8 if night >= 3 else 1.0,
    "impossible at times": lambda night: {5: 4.0, 30: 3.1, 31: 1000.0, 40: 1 / 1000}.get(night, 1.0),
    "nothing at times": lambda night: None if night % 5 == 2 else 0.0 if night % 11 == 7 else 1.0,
}
NIGHTS = 75
RULES = DriftRules(  # whose limits are figures that binary fractions hit to the bit
    window=6,
    least=4,
    practical=0.25,
    floor=1e-9,
    spans=((1, 3.0), (3, 2.5)),
    creep=(3, 3.0),
    early=(2, 0.5),
    implausible=4.0,
)
SHARES = (0.25, 0.5, 0.625, 0.75, 0.8125, 0.875, 1.0, 1.125, 1.25, 1.5, 2.0, 4.0, 5.0)
FLEETS = ("at the limit", "quiet", "noisy", "one", "two", "three", "half", "lost", "seven", "eight", "times")
PARTS = [
    *(f"{walk}, {quantity}" for walk in WALKS for quantity in LEVELS),
    *(f"{count} nights, {better}" for count in (0, 1, 2, 3, 4, 6) for better in ("more", "less")),
    "spans",
    "decay",
    "first nights",
    "fingerprints",
    "words",
    "accepted levels",
    *(f"fleet: {name}" for name in FLEETS),
    "tables",
]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("drift.txt"), PARTS)


def nights(walk: Walk, quantity: str, count: int = NIGHTS) -> list[NightValue]:
    """Every second night was measured again; 0.4 % of noise that is always the same."""
    dice, found = random.Random(5), []
    for at in range(count):
        share = walk(at)
        value = LEVELS[quantity] * (share or 0.0) ** QUANTITIES[quantity].better if share else share
        first, second = (value and value * (1 + 0.004 * dice.gauss(0, 1)) for _ in range(2))
        if first is not None:
            found.append(NightValue(f"r{at}", (20000 + at) * DAY, first, OLD, second if at % 2 else None))
    return found


def words(row: Verdict) -> str:
    return f"{row.status.value}: {row.message} | {shown(row.value)} {shown(row.bound)} {shown(row.evidence)}"


def short(found: Excess) -> str:
    far = f"{found.change:.4g} of {found.limit:.4g} is {found.beyond}"
    return f"{far}, {found.span} nights beside {found.reference:.6g}" + " first" * found.creeping


@pytest.mark.parametrize("quantity", LEVELS)
@pytest.mark.parametrize("walk", WALKS)
def test_what_is_said_of_each_night(golden: Golden, walk: str, quantity: str) -> None:
    series = Series("c1", "all_reduce", "1 GiB", quantity)
    found = nights(WALKS[walk], quantity)
    lines = []
    for mark in replay(series, found)[::2]:
        inside = " ".join(map(shown, (mark.epoch, mark.level, mark.low, mark.high)))
        lines.append(f"{mark.night.run} {shown(mark.night.value)}: {mark.label.value} {inside}")
    for at in (2, 5, 31, 40, len(found) - 1):
        again = (found[at].value, LEVELS[quantity], None)
        rows = (judge(series, found, replace(found[at], rerun=rerun)) for rerun in again)
        lines += dict.fromkeys(f"{found[at].run}: {words(series_verdict(each))}" for each in rows)
    golden.hold(f"{walk}, {quantity}", lines)


@pytest.mark.parametrize(("better", "way"), [(+1, "more"), (-1, "less")])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6])
def test_where_a_night_begins_to_count(golden: Golden, count: int, better: int, way: str) -> None:
    """Beside nights that agree to the bit, at each limit to the bit and beside it."""
    level, lines = 1024.0, []
    base = Baseline((level,) * count, (level,) * count, (level,) * min(count, 2))
    for share in SHARES if count else ():
        for value in (share * level * (1 - 1e-9), share * level, share * level * (1 + 1e-9)):
            lines.append(f"{value:.8f}: {short(excess(base, value, better, RULES))}")
    for share in (0.5, 0.75, 0.875, 1.125, 1.25, 4.0):
        for rerun in (None, share * level, level, 2 * level - share * level):
            night = NightValue("r", 5.0, share * level, OLD, rerun)
            after = follow(replace(base, raised=(level * 1.5,) * 3), night, better, RULES)
            learned = (
                len(after.accepted),
                len(after.anchor),
                after.accepted[-1:],
                after.recent,
                after.raised,
            )
            lines.append(f"{share} and {shown(rerun)}: {shown(learned)} {after.since}")
    lines.append(
        shown(follow(base, NightValue("r", 5.0, level, OLD, status=Status.FAIL), better, RULES) == base)
    )
    golden.hold(f"{count} nights, {way}", lines)


def test_which_nights_are_taken_together(golden: Golden) -> None:
    """The last nights were slower or faster, tonight is anything."""
    lines, noisy = [], (1.0, 1.01, 0.99, 1.02, 0.98, 1.0)
    for rules in (RULES, DriftRules(least=4, window=6, creep=(3, 3.0))):
        for recent in ((0.75,), (0.75, 0.75), (0.9, 0.9, 0.9, 0.9), (1.25, 1.25), (1.1, 1.1, 1.1, 1.1)):
            for share in (0.5, 0.75, 0.86, 0.875, 0.9, 0.95, 0.97, 1.0, 1.05, 1.125, 1.25):
                for accepted in ((1.0,) * 6, noisy):
                    found = excess(Baseline(accepted, (), recent), share, +1, rules)
                    lines.append(f"{recent} {share}: {short(found)}")
    golden.hold("spans", lines)


def test_what_is_held_against_the_first_nights(golden: Golden) -> None:
    lines = []
    for anchor in ((1.0,) * 5, (1.0,) * 6, (1.0, 1.01, 0.99, 1.02, 0.98, 1.0)):
        for recent in ((0.7,), (0.7, 0.7), (0.75, 0.75), (1.3, 1.3)):
            for share in (0.5, 0.75, 0.875, 0.9, 1.0, 1.125, 1.25):
                base = Baseline((0.75,) * 6, anchor, recent)
                found = (short(excess(base, share, better, RULES)) for better in (+1, -1))
                lines.append(f"{len(anchor)} {recent} {share}: {'; '.join(found)}")
    golden.hold("decay", lines)


def test_what_is_said_after_the_fingerprint_has_changed(golden: Golden) -> None:
    """So many nights with each fingerprint, then tonight, with and without a level that was accepted."""
    series, lines = Series("c1", "all_reduce", "1 GiB", "busbw"), []
    for shape in (
        ((14, OLD, 1.0),),
        ((10, OLD, 1.0),),
        ((9, OLD, 1.0),),
        ((14, OLD, 1.0), (1, NEW, 1.0)),
        ((14, OLD, 1.0), (9, NEW, 0.9)),
        ((14, OLD, 1.0), (12, NEW, 0.9)),
        ((14, OLD, 1.0), (12, NEW, 1.1), (3, THIRD, 1.1)),
        ((14, OLD, 1.0), (12, NEW, 0.9), (3, THIRD, 0.9)),
        ((14, NEW, 0.9), (12, OLD, 1.0), (2, NEW, 0.9)),
    ):
        past: list[NightValue] = []
        for count, parts, share in shape:
            past += [
                NightValue(f"r{at}", at * DAY, share * (100 + at % 3 / 10), parts)
                for at in range(len(past) + 1, len(past) + 1 + count)
            ]
        lines.append(f"{[(count, dict(parts)['driver'], share) for count, parts, share in shape]}")
        for parts in (OLD, NEW, THIRD):
            for share, again in ((1.0, None), (0.9, None), (0.9, 0.9), (1.2, 1.2), (5, None)):
                night = NightValue(
                    "tonight", (len(past) + 1) * DAY, 100 * share, parts, again and 100 * again
                )
                word = Acceptance("c1", past[-3].time, "ada", past[-1].time, "why")
                for accepted in ((), (word,)):
                    found = judge(series, past, night, accepted)
                    row = series_verdict(found)
                    rest = (found.nights, found.since, found.wants_rerun, row.evidence)
                    said = f"{row.status.value}: {row.measured} | {row.next_step}"
                    lines.append(f"    {shown(rest)} {said} | {shown(row.value)} {shown(row.bound)}")
    golden.hold("fingerprints", lines)


def test_what_counts_among_the_first_nights(golden: Golden) -> None:
    """They differ by themselves, by less than what counts and by more."""
    lines = []
    for accepted in ((1024.0,), (960.0, 1088.0), (896.0, 1024.0, 1088.0), (1024.0, 1024.0, 1280.0)):
        for share in (0.1, 0.24, 0.25, 0.26, 0.49, 0.5, 0.51, 0.6, 1.5, 3.99, 4.0):
            for better in (+1, -1):
                found = excess(Baseline(accepted, accepted), 1024 * share, better, RULES)
                lines.append(f"{accepted} {share} {better}: {short(found)}")
    golden.hold("first nights", lines)


NIGHTS_OF_WORDS = (
    (1.0, None, Status.PASS),
    (1.0, None, Status.FAIL),
    (1.0, None, Status.INCONCLUSIVE),
    (1.0, None, Status.NOT_APPLICABLE),
    (math.nan, None, Status.PASS),
    (0.0, 1.0, Status.PASS),
    (0.9, math.nan, Status.PASS),
    (0.9, 0.0, Status.PASS),
    (0.9, 1.2, Status.PASS),
    (1.2, 0.9, Status.PASS),
    (1.2, 1.0, Status.PASS),
    (5.0, math.nan, Status.PASS),
    (5.0, 1.0, Status.PASS),
    (5.0, 1.5, Status.PASS),
    (5.0, 0.5, Status.PASS),
)


def test_in_which_words_a_night_is_judged(golden: Golden) -> None:
    """Also what no night of the others shows: two nights together, the date of a step, why there is none."""
    lines = []
    for quantity in ("busbw", "latency", "furlongs"):
        series = Series("c1", "all_reduce", "1 GiB", quantity)
        past = [NightValue(f"r{at}", at * DAY, 100 + at % 3 / 10, OLD) for at in range(1, 15)]
        for value, again, status in (*NIGHTS_OF_WORDS, (None, None, Status.PASS)):
            night = NightValue("tonight", 20 * DAY, 100 * (value or 0), OLD, again and 100 * again, status)
            found = judge(series, past, None if value is None else night)
            row = words(series_verdict(found))
            lines.append(f"{quantity} {value} {again} {status.value}: {found.wants_rerun} {row}")
            if found.first is None or value != 0.9:
                continue
            two = replace(
                found, first=replace(found.first, span=2), second=None, unattributed="no ruptures here"
            )
            step = LevelStep(past[2], 100.0, 90.0, -0.1, ())
            several = replace(found, steps=(step, replace(step, cause=("driver 1 → 2",), change=0.25)))
            lines += [words(series_verdict(each)) for each in (two, several)]
    golden.hold("words", lines)


def test_what_is_held_against_levels_that_were_accepted(golden: Golden) -> None:
    """Two of them, each from the very second of a night on."""
    series = Series("c1", "all_reduce", "1 GiB", "busbw")
    found = [NightValue(f"r{at}", at * DAY, 100 - at // 13 * 10, OLD) for at in range(1, 39)]
    accepted = [Acceptance("c1", at * DAY, "ada", at * DAY, "why") for at in (26, 13)]
    lines = [f"{shown(mark)}" for mark in replay(series, found, accepted)]
    for at in (12, 13, 14, 25, 26, 37):
        row = series_verdict(judge(series, found, found[at], accepted))
        lines.append(f"{found[at].run}: {words(row)}")
    golden.hold("accepted levels", lines)


def fleet(name: str) -> tuple[dict[str, float | None], dict[str, float]]:
    """The values of a fleet by their subjects, and the second measurements of some."""
    dice = random.Random(3)
    count = {"seven": 7, "eight": 8}.get(name, 16)
    noise = {"quiet": 0.0001, "noisy": 0.02}.get(name, 0.004)
    found: dict[str, float | None] = {
        f"n{at} rail {at % 4}": 48e9 * (1 + noise * dice.gauss(0, 1)) for at in range(count)
    }
    if name == "at the limit":
        found |= dict.fromkeys(found, 1024.0) | {"n1 rail 1": 768.0, "n2 rail 2": 768.0, "n3 rail 3": 768.5}
        return found, {"n1 rail 1": 768.0, "n2 rail 2": 768.5}
    slow = {
        "quiet": (0.985,),
        "one": (0.8,),
        "two": (0.9, 0.97),
        "three": (0.9, 0.95, 0.96),
        "half": (0.7,) * 8,
    }
    names = [*found]
    for at, share in enumerate(slow.get(name, ())):
        found[names[at]] = 48e9 * share
    if name in ("lost", "eight"):
        found[names[1]], found[names[2]] = None, 48e9 * 0.9
    if name == "times":
        return {each: 1 / value for each, value in found.items() if value} | {"slow": 1 / 40e9}, {}
    return found, {names[1]: 48e9 * 0.97, names[2]: 48e9} if name in ("two", "three") else {}


@pytest.mark.parametrize("name", FLEETS)
def test_what_is_said_of_a_fleet(golden: Golden, name: str) -> None:
    values, reruns = fleet(name)
    rules = replace(peers.STANDARD, practical=0.25) if name == "at the limit" else peers.STANDARD
    found = peers.compare_with_peers(values, -1 if name == "times" else +1, reruns, rules)
    rows = [words(row) for row in peers.verdicts("c1 rails", found, show_rate)]
    golden.hold(f"fleet: {name}", [*map(shown, found), shown(peers.suspects(found)), *rows])


def test_how_far_is_too_far(golden: Golden) -> None:
    lines = [f"{count}: {median_variance(count):.6g}" for count in range(1, 12)]
    for count in (2, 3, 10, 30, 300):
        lines += [
            f"{k} {span} {count}: {allowance(k, span, count):.6g}"
            for k in (2.1, 3.0)
            for span in (1, 3, 5, 14)
        ]
        lines += [f"{far} {count}: {tail(far, count):.6g}" for far in (-2.0, 0.0, 1.0, 3.0, 8.0)]
    for chances in ((), (0.9,), (0.05,), (0.05, 0.9), (0.025, 0.9), (0.04, 0.05), (0.001, 0.04, 0.06)):
        lines.append(f"{chances}: {peers.benjamini_hochberg(chances, 0.05)}")
    golden.hold("tables", lines)
