"""Two runs side by side: the ratio of each case with its confidence, or "cannot tell".

The ratio is time of A over time of B, so above 1 means that B is faster. Its interval is that of the
medians by order statistics (no assumption about the distribution), taken at the unfavourable ends: it
covers at least 90 % without a random number. Where a run was repeated, each side's interval is
stretched over the medians of its repetitions, because launches differ by more than the calls of one
launch do. One launch on each side cannot show that, and the text says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .stats import median_interval
from .units import show_seconds

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
    "binding",
    "scheduling",
    "threads",
    "timing",
)
DIFFERS_ON_PURPOSE = ("torch", "nccl", "driver", "firmware", "kernel", "environment", "started", "hosts")

Samples = Sequence[Sequence[float]]  # [repetition][iteration] seconds


@dataclass(frozen=True)
class Difference:
    """A key that is not alike; "" where a run did not record it."""

    key: str
    a: str
    b: str

    @property
    def text(self) -> str:
        return f"{self.key}: {self.a or 'not recorded'} against {self.b or 'not recorded'}"


class UnlikeRuns(ValueError):
    """Two runs that cannot be compared; ``differences`` names the keys."""

    def __init__(self, differences: tuple[Difference, ...]) -> None:
        listed = "; ".join(difference.text for difference in differences)
        super().__init__(f"the runs differ in {listed}; measure alike, or compare --anyway")
        self.differences = differences


@dataclass(frozen=True)
class Ratio:
    """One case on both sides.

    a, b        medians in seconds; NaN on a side without samples
    ratio       a / b with its interval (low, high): above 1, B is faster
    outcome     "faster" or "slower" (B against A), "same", "cannot tell", "only a", "only b"
    """

    case: str
    a: float
    b: float
    ratio: float
    low: float
    high: float
    outcome: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """``differences``: keys that were overridden; ``unknown``: keys that neither run recorded."""

    ratios: tuple[Ratio, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    text: str


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
    tolerance: float = TOLERANCE,
) -> Comparison:
    """All cases of two runs, A's order first. Samples are seconds by case; facts are by ``ALIKE`` key.

    Raises UnlikeRuns when a key differs, unless ``anyway``, and ValueError when no case is in both.
    """
    differences = differing(a_facts, b_facts)
    if differences and not anyway:
        raise UnlikeRuns(differences)
    if not set(a) & set(b):
        raise ValueError("the runs have no case in common; compare runs of the same plan")
    unknown = tuple(key for key in ALIKE if not a_facts.get(key) and not b_facts.get(key))
    names = [*a, *(name for name in b if name not in a)]
    ratios = tuple(ratio(name, a.get(name, ()), b.get(name, ()), tolerance) for name in names)
    return Comparison(ratios, differences, unknown, _summary(ratios, differences, unknown, a, b))


def ratio(case: str, a: Samples, b: Samples, tolerance: float = TOLERANCE) -> Ratio:
    """One case: its ratio, interval and outcome."""
    if not (_sound(a) and _sound(b)):
        text = f"{case}: cannot tell: a sample is no time above 0"
        return Ratio(case, math.nan, math.nan, math.nan, math.nan, math.nan, "cannot tell", text)
    all_a, all_b = _pooled(a), _pooled(b)
    if not all_a or not all_b:
        outcome = "only a" if all_a else "only b" if all_b else "cannot tell"
        middle_a, middle_b = (median(all_a) if all_a else math.nan), (median(all_b) if all_b else math.nan)
        return Ratio(case, middle_a, middle_b, math.nan, math.nan, math.nan, outcome, f"{case}: {outcome}")
    low_a, high_a = interval(a)
    low_b, high_b = interval(b)
    low, high = low_a / high_b, high_a / low_b if low_b > 0 else math.inf
    middle_a, middle_b = median(all_a), median(all_b)
    value = middle_a / middle_b
    outcome = _outcome(low, high, tolerance)
    if outcome == "cannot tell":
        wide = f"between {low:.3g} and {high:.3g}" if math.isfinite(high) else "open: too few samples"
        said = f"cannot tell: the interval is {wide}"
    else:
        said = f"{outcome} ({low:.3f} to {high:.3f})"
    shown = f"{show_seconds(middle_a)} and {show_seconds(middle_b)}, ratio {value:.3f}"
    return Ratio(case, middle_a, middle_b, value, low, high, outcome, f"{case}: {shown}: {said}")


def _pooled(samples: Samples) -> list[float]:
    return [value for part in samples for value in part]


def _sound(samples: Samples) -> bool:
    return all(math.isfinite(value) and value > 0 for value in _pooled(samples))


def interval(samples: Samples) -> tuple[float, float]:
    """(low, high) seconds of the median: of all samples, stretched over the repetitions' own medians.

    (0, inf) when there are fewer than 6 samples.
    """
    low, high = median_interval(_pooled(samples))
    middles = [median(part) for part in samples if part]
    if not middles or not math.isfinite(high):
        return 0.0, math.inf
    return min(low, *middles), max(high, *middles)


def _outcome(low: float, high: float, tolerance: float) -> str:
    """What an interval of a/b says: it must lie on one side of 1 to be a difference, near it to be none."""
    least, most = 1 / (1 + tolerance), 1 + tolerance
    if least <= low and high <= most:
        return "same"
    if low > 1:
        return "faster"
    if high < 1:
        return "slower"
    return "cannot tell"


def _summary(
    ratios: Sequence[Ratio],
    differences: Sequence[Difference],
    unknown: Sequence[str],
    a: Mapping[str, Samples],
    b: Mapping[str, Samples],
) -> str:
    outcomes = ("faster", "slower", "same", "cannot tell", "only a", "only b")
    counted = [(sum(item.outcome == outcome for item in ratios), outcome) for outcome in outcomes]
    parts = ["B against A: " + ", ".join(f"{count} {outcome}" for count, outcome in counted if count)]
    if differences:
        listed = "; ".join(difference.text for difference in differences)
        parts.append(f"compared although the runs differ in {listed}")
    if unknown:
        parts.append(f"not recorded by either run: {', '.join(unknown)}")
    if all(len(samples) < 2 for run in (a, b) for samples in run.values()):
        parts.append("one launch each: what differs from launch to launch is not in the intervals")
    return "; ".join(parts)
