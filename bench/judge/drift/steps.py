"""Steps in a history: on which night, how large, and what else changed that night.

The segmentation is ``ruptures``' kernel method (Celisse et al. 2018, Gaussian kernel, PELT). Its bounded
kernel lets a single bad night weigh no more than any other, so dips are not taken for steps.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from statistics import median
from typing import Any

from bench.judge.drift.robust import spread
from bench.model.errors import RailGaugeError
from bench.model.late_dataclass import dataclass
from bench.store.history.nights import NightValue, changed

# Penalty per change point, in units of log(nights). 0.6 finds steps two nights earlier, but sees one in
# every third series whose nights are correlated by 0.5; 1.0 does in less than every twentieth.
PENALTY = 1.0
# Width of the kernel exp(-gamma d²), with d in standard deviations
GAMMA = 0.2
# Nights on each side without which there is no step
SHORTEST = 3
# A fingerprint that changed so many nights away from a step may still be its cause: a step is located
# to a night or two, and a change can take effect with the next job.
NEAR = 2
_FLOOR = 0.003
_COMPILED = "ruptures.detection._detection.ekcpd"


class NoRuptures(RailGaugeError, ImportError):
    """``ruptures`` is not installed; the message names the extra."""


@dataclass(frozen=True)
class LevelStep:
    """A lasting change of level.

    night   first night of the new level
    before, after   medians of the segments on both sides, in the unit of the series
    change  ``after / before - 1``
    cause   parts of the fingerprint that changed at that night or within ``NEAR`` of it; () if none did
    """

    night: NightValue
    before: float
    after: float
    change: float
    cause: tuple[str, ...]


def steps(
    nights: Sequence[NightValue], practical: float = 0.015, penalty: float = PENALTY
) -> tuple[LevelStep, ...]:
    """The steps of at least ``practical`` in a history, oldest first; nights without a figure are left out.

    Raises NoRuptures if the library is missing. Fewer than ``2 * SHORTEST`` nights have no steps.
    """
    measured = [night for night in nights if night.measured]
    levels = [night.level for night in measured]
    edges = _merge(levels, segment(levels, penalty), practical)
    found = []
    for left, start, right in zip(edges, edges[1:], edges[2:], strict=False):
        before, after = median(levels[left:start]), median(levels[start:right])
        found.append(LevelStep(measured[start], before, after, after / before - 1, _cause(measured, start)))
    return tuple(found)


def segment(levels: Sequence[float], penalty: float = PENALTY) -> list[int]:
    """The edges of the segments of equal distribution: 0, the first night of each later one, the length."""
    count = len(levels)
    if count < 2 * SHORTEST:
        return [0, count]
    centre = median(levels)
    # The spread of differences between neighbours does not see steps, the spread of the levels does
    differences = [after - before for before, after in itertools.pairwise(levels)]
    scale = max(spread(differences, 0.0) / math.sqrt(2), _FLOOR * centre)
    scaled = [(level - centre) / scale for level in levels]
    return [0, *_kernel_segments(scaled, penalty * math.log(count))]


def _merge(levels: Sequence[float], edges: list[int], practical: float) -> list[int]:
    """Take away the smallest step until none is below ``practical``."""
    edges = list(edges)
    while len(edges) > 2:
        medians = [median(levels[left:right]) for left, right in itertools.pairwise(edges)]
        sizes = [abs(after / before - 1) for before, after in itertools.pairwise(medians)]
        smallest = min(range(len(sizes)), key=sizes.__getitem__)
        if sizes[smallest] >= practical:
            break
        del edges[smallest + 1]
    return edges


def _cause(nights: Sequence[NightValue], start: int) -> tuple[str, ...]:
    for distance in range(NEAR + 1):
        for index in sorted({start - distance, start + distance}):
            if 0 < index < len(nights):
                parts = changed(nights[index - 1].fingerprint, nights[index].fingerprint)
                if parts:
                    return parts
    return ()


def _kernel_segments(scaled: Sequence[float], penalty: float) -> list[int]:
    """The last edges of the segments. Raises NoRuptures."""
    search = _search()
    import numpy

    path = search(numpy.array(scaled, dtype=float)[:, None], penalty, SHORTEST, GAMMA)
    edges, at = list[int](), len(scaled)
    while at:
        edges.append(at)
        at = int(path[at])
    return edges[::-1]


def _search() -> Callable[[Any, float, int, float], Sequence[int]]:
    """What ``KernelCPD(kernel="rbf").predict`` calls: for each night the last edge before it. Raises NoRuptures.

    It is loaded without the package around it, whose import takes longer than all else that a query does: scipy.
    """
    package = importlib.util.find_spec("ruptures")
    if package is None or package.submodule_search_locations is None:
        raise NoRuptures(
            "change points: ruptures is not installed, wanted for the date; pip install 'railgauge[nightly]'"
        )
    where = [f"{path}/detection/_detection" for path in package.submodule_search_locations]
    spec = PathFinder.find_spec(_COMPILED, where)
    if _COMPILED not in sys.modules and spec is not None and spec.loader is not None:
        sys.modules[_COMPILED] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_COMPILED])
    search: Callable[[Any, float, int, float], Sequence[int]]
    search = importlib.import_module(_COMPILED).ekcpd_pelt_Gaussian
    return search
