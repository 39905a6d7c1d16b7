"""Two runs side by side: the ratio of each case with its confidence, or "inconclusive".

The ratio is time of A over time of B, so above 1 means that B is faster. Its interval is that of the
medians by order statistics (no assumption about the distribution), taken at the unfavourable ends: it
covers at least 90 % without a random number. Where a run was repeated, each side's interval is
stretched over the medians of its repetitions, because launches differ by more than the calls of one
launch do. Fewer than LAUNCHES on a side cannot show by how much, so nothing is called faster or slower
then; with enough of them a difference must also stand out from what the launches of all cases differ by,
corrected for how many cases are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, median

from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.late_dataclass import dataclass, replace
from bench.model.stats import median_interval, quantile
from bench.model.verdict import Status

LAUNCHES = 3  # of each side, from which on they tell how much one launch differs from the next
MISTAKES = 0.05  # comparisons of equal machines that may name any case at all
EFFECT = 0.05  # what a difference must be beyond its interval: less is no reason to open a ticket
CALM = 0.75  # quantile of the cases' spreads that each of them has at least: three launches may agree by luck
TOLERANCE = 0.03  # a difference below this matters to nobody; the noise of a quiet cluster is 1 to 3 %

# what must be alike for a ratio to say anything; versions may differ, they are often what is compared
ALIKE = (
    "backend",
    "device",
    "nodes",
    "ranks",
    "ranks_per_node",
    "rails",
    "launcher",
    "threads",
    "timing",
)
KNOWN_AS = {"threads": ("threads (OMP_NUM_THREADS)", "not set")}  # to whom reads of them

Samples = Sequence[Sequence[float]]  # [repetition][iteration] seconds


@dataclass(frozen=True)
class Difference:
    """A key that is not alike; "" where a run did not record it."""

    key: str
    a: str
    b: str

    @property
    def text(self) -> str:
        # what is set in no environment was seen to be so; another key was not recorded
        name, absent = KNOWN_AS.get(self.key, (self.key, "not recorded"))
        return f"{name}: {self.a or absent} against {self.b or absent}"


class NotComparable(RailGaugeError, ValueError):
    """Two runs that have no case in common."""

    exit_status = EXIT_USAGE


class UnlikeRuns(NotComparable):
    """Two runs that cannot be compared; ``differences`` names the keys."""

    def __init__(self, differences: tuple[Difference, ...]) -> None:
        listed = "; ".join(difference.text for difference in differences)
        super().__init__(f"the runs differ in {listed}; measure alike, or compare --anyway")
        self.differences = differences


@dataclass(frozen=True)
class Ratio:
    """One case on both sides.

    a, b        medians in seconds; NaN on a side without samples
    a_busbw, b_busbw  bytes per second; None where there is none
    ratio       a / b with its interval (low, high): above 1, B is faster
    outcome     "faster" or "slower" (B against A), "same", "inconclusive", "only a", "only b"
    """

    case: str
    a: float
    b: float
    ratio: float
    low: float
    high: float
    outcome: str
    a_busbw: float | None = None
    b_busbw: float | None = None


@dataclass(frozen=True)
class RunComparison:
    """``differences``: keys that were overridden; ``unknown``: keys that neither run recorded."""

    ratios: tuple[Ratio, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    text: str

    @property
    def status(self) -> Status:
        """FAIL: B is slower somewhere; INCONCLUSIVE: a case is; else PASS."""
        outcomes = {ratio.outcome for ratio in self.ratios}
        if "slower" in outcomes:
            return Status.FAIL
        return Status.PASS if outcomes and outcomes <= {"faster", "same"} else Status.INCONCLUSIVE


def differing(
    a: Mapping[str, str], b: Mapping[str, str], keys: Sequence[str] = ALIKE
) -> tuple[Difference, ...]:
    """The keys whose values differ; a key that one side lacks differs."""
    return tuple(
        Difference(key, a.get(key, ""), b.get(key, "")) for key in keys if a.get(key, "") != b.get(key, "")
    )


def compare(
    a: Mapping[str, Samples],
    b: Mapping[str, Samples],
    a_facts: Mapping[str, str],
    b_facts: Mapping[str, str],
    *,
    anyway: bool = False,
    launches: tuple[int, int] = (1, 1),
) -> RunComparison:
    """All cases of two runs, A's order first. Samples are seconds by case; facts are by ``ALIKE`` key.

    ``launches``: how many runs of each side the samples are of.

    Raises UnlikeRuns when a key differs, unless ``anyway``, and NotComparable when no case is in both.
    """
    differences = differing(a_facts, b_facts)
    if differences and not anyway:
        raise UnlikeRuns(differences)
    if not set(a) & set(b):
        raise NotComparable("the runs have no case in common; compare runs of the same plan")
    unknown = tuple(key for key in ALIKE if not a_facts.get(key) and not b_facts.get(key))
    names = [*a, *(name for name in b if name not in a)]
    ratios = tuple(ratio(name, a.get(name, ()), b.get(name, ())) for name in names)
    few = min(launches) < LAUNCHES
    ratios = tuple(map(_within_launch_noise, ratios)) if few else _beyond_launches(ratios, a, b)
    text = _summary(ratios, differences, unknown)
    if few:
        said = f"{launches[0]} and {launches[1]} launches: what differs from launch to launch is not known"
        text += f"; {said}: run each three times, then: railgauge compare A1 A2 A3 vs B1 B2 B3"
    return RunComparison(ratios, differences, unknown, text)


def _within_launch_noise(found: Ratio) -> Ratio:
    """A difference that the launches alone may have made."""
    if found.outcome not in ("faster", "slower"):
        return found
    return replace(found, outcome="inconclusive")


def _beyond_launches(
    ratios: Sequence[Ratio], a: Mapping[str, Samples], b: Mapping[str, Samples]
) -> tuple[Ratio, ...]:
    """The ratios; a difference counts only beyond what launches differ by, given the number of cases."""
    spreads = {each.case: spread_of(a.get(each.case, ()), b.get(each.case, ())) for each in ratios}
    known = [value for value in spreads.values() if math.isfinite(value)]
    floor = quantile(known, CALM) if known else math.inf
    deviations = NormalDist().inv_cdf(1 - MISTAKES / 2 / max(1, len(known)))

    def stands(found: Ratio) -> bool:
        sides = (len(a[found.case]), len(b[found.case]))
        error = max(spreads[found.case], floor) * math.sqrt(sum(1 / count for count in sides))
        return abs(math.log(found.ratio)) > deviations * error

    return tuple(
        each if each.outcome not in ("faster", "slower") or stands(each) else _within_launch_noise(each)
        for each in ratios
    )


def spread_of(a: Samples, b: Samples) -> float:
    """Standard deviation of a launch's median among its side's, as a logarithm; NaN of one launch a side or fewer."""
    sides = [[math.log(median(part)) for part in side if part] for side in (a, b) if _sound(side)]
    freedom = sum(len(side) - 1 for side in sides)
    if len(sides) < 2 or freedom < 2:
        return math.nan
    squares = sum((value - fmean(side)) ** 2 for side in sides for value in side if side)
    return math.sqrt(squares / freedom)


def ratio(case: str, a: Samples, b: Samples) -> Ratio:
    """One case: its ratio, interval and outcome."""
    if not (_sound(a) and _sound(b)):
        return Ratio(case, math.nan, math.nan, math.nan, math.nan, math.nan, "inconclusive")
    middle_a, middle_b = (median(side) if side else math.nan for side in (_pooled(a), _pooled(b)))
    if math.isnan(middle_a) or math.isnan(middle_b):
        outcome = "only b" if _pooled(b) else "only a" if _pooled(a) else "inconclusive"
        return Ratio(case, middle_a, middle_b, math.nan, math.nan, math.nan, outcome)
    low_a, high_a = interval(a)
    low_b, high_b = interval(b)
    low, high = low_a / high_b, high_a / low_b if low_b > 0 else math.inf
    return Ratio(case, middle_a, middle_b, middle_a / middle_b, low, high, _outcome(low, high))


def _pooled(samples: Samples) -> list[float]:
    return [value for part in samples for value in part]


def _sound(samples: Samples) -> bool:
    return all(math.isfinite(value) and value > 0 for value in _pooled(samples))


def interval(samples: Samples) -> tuple[float, float]:
    """(low, high) seconds of the median of all samples, stretched over the medians of the repetitions.

    (0, inf) when there are fewer than 6 samples.
    """
    low, high = median_interval(_pooled(samples))
    middles = [median(part) for part in samples if part]
    if not middles or not math.isfinite(high):
        return 0.0, math.inf
    return min(low, *middles), max(high, *middles)


def _outcome(low: float, high: float) -> str:
    """What an interval of a/b says: it must lie EFFECT beyond 1 to be a difference, near it to be none."""
    if low >= 1 / (1 + TOLERANCE) and high <= 1 + TOLERANCE:
        return "same"
    if low > 1 + EFFECT:
        return "faster"
    if high < 1 / (1 + EFFECT):
        return "slower"
    return "inconclusive"


def _summary(ratios: Sequence[Ratio], differences: Sequence[Difference], unknown: Sequence[str]) -> str:
    outcomes = ("faster", "slower", "same", "inconclusive", "only a", "only b")
    counted = [(sum(item.outcome == outcome for item in ratios), outcome) for outcome in outcomes]
    parts = ["B against A: " + ", ".join(f"{count} {outcome}" for count, outcome in counted if count)]
    if differences:
        listed = "; ".join(difference.text for difference in differences)
        parts.append(f"compared although the runs differ in {listed}")
    if unknown:
        parts.append(f"not recorded by either run: {', '.join(unknown)}")
    return "; ".join(parts)
