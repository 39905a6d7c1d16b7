"""Finds, in the rows, who is suspected, who is named, and what cannot be determined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist, median

import numpy as np

from bench.judge.blame import confirm, swapped_rails, wording
from bench.judge.blame.matrix import Floats, Matrix, cells, matrix, transfers_among
from bench.judge.blame.scale import Scale, centre, scale
from bench.judge.blame.solve import Fault, ports_of, solve
from bench.judge.blame.suspects import Answer, Background, Blame, BlameRules, NvlinkRate, PairRate, Subject
from bench.model.late_dataclass import dataclass, replace
from bench.model.units import show_count, show_share
from bench.model.verdict import Status

NAMING, SUSPECTING = 4.0, 1.8
"""Sigmas of noise: what stands above SUSPECTING is measured again, what stands above NAMING is named.
So low because a path 5 % slow shows in one transfer; the limit on re-measurements keeps the deepest."""

WIDTH = {"path": 0, "gpu": 1, "port": 1, "leaf": 2, "node": 3, "rail": 3, "fabric": 0}
"""What can hide behind what. The fabric hides nothing: its loss is against the nominal rate."""

LOSSY = Scale(reference=1.0, noise=0.0, smallest=0.5, sigmas=0.0)


@dataclass(frozen=True)
class _Faults:
    """The faults of a matrix with the scale and losses that they were found on."""

    faults: tuple[Fault, ...]
    lossy: tuple[Fault, ...]
    loss: Floats
    scale: Scale


def blame(
    rows: Iterable[PairRate], rules: BlameRules | None = None, known: Background | None = None
) -> Answer:
    """The subjects to blame for what ``rows`` show, by ``rules`` and what else is ``known``."""
    known, rows = known or Background(), tuple(rows)
    if not rows:  # as after rings of nodes: the matrices of 1250 nodes take half a GB
        return _nothing(transfers_among(known.nodes, known.rails))
    return judge(matrix(rows, known.nodes, known.rails), rules or BlameRules(), known)


def confirmations(
    rows: Iterable[PairRate],
    rules: BlameRules,
    known: Background | None = None,
    limit: int | None = None,
) -> tuple[confirm.Test, ...]:
    """The transfers that settle the suspects of ``rows``, at most ``limit`` (six per node)."""
    known = known or Background()
    return retests(matrix(rows, known.nodes, known.rails), rules, known, limit)


def retests(
    m: Matrix, rules: BlameRules, known: Background, limit: int | None = None
) -> tuple[confirm.Test, ...]:
    """``confirmations`` of a matrix."""
    most = limit or 6 * len(m.nodes)
    again = bool((m.times > 0).any())
    found = _find(m, rules, known, rules.smallest, NAMING) if again else None
    least = _needed(m, found, known) if found else confirm.LEAST
    return confirm.confirmations(suspected(m, rules, known), m, most, known.leaves, least)


def _needed(m: Matrix, found: _Faults, known: Background) -> int:
    """See ``confirm.repeats_needed``."""
    wide = np.zeros(m.rate.shape, dtype=bool)
    for fault in found.faults:
        if fault.subject.kind != "path":
            wide |= cells(fault.subject, m, ports_of(fault.subject, known.leaves))
    return confirm.repeats_needed(m, found.scale.reference, found.scale.smallest, wide)


def explained_by(
    blames: Iterable[Blame], rows: Iterable[PairRate], known: Background | None = None
) -> Callable[[PairRate], bool]:
    """Whether a transfer goes through a subject of ``blames`` or an alternative of one; measured both ways, in either
    direction.
    """
    known = known or Background()
    m = matrix(rows, known.nodes, known.rails)
    taken = np.zeros(m.rate.shape, dtype=bool)
    for subject in (each for row in blames for each in (row.subject, *row.alternatives)):
        for part in swapped_rails.ports(subject):
            taken |= cells(part, m, ports_of(part, known.leaves))

    def goes(row: PairRate) -> bool:
        rail, a, b = m.rails.index(row.rail), m.nodes.index(row.a), m.nodes.index(row.b)
        ways = {"ab": [(a, b)], "ba": [(b, a)], "both": [(a, b), (b, a)]}[row.direction]
        return any(bool(taken[rail, sender, receiver]) for sender, receiver in ways)

    return goes


def suspected(m: Matrix, rules: BlameRules, known: Background) -> tuple[Fault, ...]:
    """The subjects to measure again, deepest loss first: found like ``judge``, but at half the effect; after a first
    re-measurement only those that would be named.
    """
    again = bool((m.times > 0).any())
    smallest, sigmas = (rules.smallest, NAMING) if again else (rules.smallest / 2, SUSPECTING)
    found = _find(m, rules, known, smallest, sigmas, fold=again)
    return tuple(sorted((*found.lossy, *found.faults), key=lambda fault: -fault.lost)) if found else ()


def judge(m: Matrix, rules: BlameRules, known: Background) -> Answer:
    """``blame`` of a matrix."""
    found = _find(m, rules, known, rules.smallest, NAMING)
    if found is None:
        return _nothing(m.expected)
    wired = (*swapped_rails.by_rates(m, found.scale), *swapped_rails.by_leaves(known.leaves))
    faults, swaps = swapped_rails.merged(found.faults, wired)
    found = replace(found, faults=faults)
    blames, withdrawn = _named(m, found, rules, known)
    blames = (*swaps, *blames)
    strays = {(each.node, each.rail) for each in wired}
    withdrawn = tuple(each for each in withdrawn if (each.node, each.rail) not in strays)
    unknown = (*_unknown(m, known, rules, blames), *wording.missing(m))
    return Answer(
        status=_status(blames, unknown),
        blames=blames,
        withdrawn=withdrawn,
        unknown=unknown,
        measured=int(np.isfinite(m.best).sum()),
        expected=m.expected,
        reference=found.scale.reference,
        noise=found.scale.noise,
        floor=found.scale.smallest,
    )


def _nothing(expected: int) -> Answer:
    """The answer where no rate was measured, of so many transfers."""
    what = "no pair of nodes was measured" if not expected else "no transfer has a usable rate"
    unknown = (f"{what}; measure all pairs",)
    return Answer(Status.INCONCLUSIVE, (), (), unknown, 0, expected, math.nan, math.nan, math.nan)


def _find(
    m: Matrix, rules: BlameRules, known: Background, smallest: float, sigmas: float, *, fold: bool = True
) -> _Faults | None:
    """The faults in the best rates of ``m``; None when nothing was measured."""
    rate = m.best
    if not m.expected or not np.isfinite(rate).any():
        return None
    single = m.rate if np.isfinite(m.rate).any() else rate
    measure = scale(rate, single, rules.noise, smallest, sigmas)
    dead = math.isnan(measure.reference)
    loss = np.where(np.isfinite(rate), 1.0, np.nan) if dead else 1 - rate / measure.reference
    fabric = _fabric(m, measure, rules)
    lossy = _lossy(m, loss, rules, known)
    seen = loss.copy()
    for fault in lossy:
        seen[cells(fault.subject, m, ports_of(fault.subject, known.leaves))] = np.nan
    # the median of k values is as sharp as 0.64 k of them
    times = np.where(m.times > 0, np.maximum(0.64 * m.times, 1.0), 1.0)
    slow = [] if dead else solve(seen, times, m, measure, known.leaves, fold=fold)
    return _Faults((*fabric, *slow), lossy, loss, measure)


def _fabric(m: Matrix, measure: Scale, rules: BlameRules) -> tuple[Fault, ...]:
    """All pairs slow against the nominal rate, or none getting through."""
    if math.isnan(measure.reference):
        lost = 1.0
    elif rules.nominal and measure.reference < rules.nominal * (1 - rules.smallest):
        lost = 1 - measure.reference / rules.nominal
    else:
        return ()
    rivals = tuple(Subject("node", name) for name in m.nodes) if len(m.nodes) == 2 else ()
    return (Fault(Subject("fabric"), lost, rivals),)


def _lossy(m: Matrix, loss: Floats, rules: BlameRules, known: Background) -> tuple[Fault, ...]:
    """The subjects that lose packets: the same search, on the transfers that retransmitted much."""
    counted = m.retransmits
    if not np.isfinite(counted).any():
        return ()
    seen = counted[np.isfinite(counted)]
    usual = 10 * float(np.quantile(seen, 0.25)) if seen.size >= 8 else 0.0
    bad = np.where(np.isfinite(counted), (counted > max(rules.lossy, usual)).astype(np.float64), np.nan)
    found = solve(bad, np.ones_like(bad), m, LOSSY, known.leaves)
    return tuple(replace(fault, lost=_lost(fault, loss, m, known)) for fault in found)


def _lost(fault: Fault, loss: Floats, m: Matrix, known: Background) -> float:
    inside = loss[cells(fault.subject, m, ports_of(fault.subject, known.leaves)) & np.isfinite(loss)]
    return max(float(np.median(inside)), 0.0) if inside.size else 0.0


def _named(
    m: Matrix, found: _Faults, rules: BlameRules, known: Background
) -> tuple[tuple[Blame, ...], tuple[Subject, ...]]:
    """(blames, those whom the re-measurement cleared)."""
    everyone = (*found.lossy, *found.faults)
    least = _needed(m, found, known)
    kept: list[Blame] = []
    gone: list[Subject] = []
    for fault in everyone:
        lossy = fault in found.lossy
        held = _held(fault, lossy, m, found, rules, known, least)
        if held is False:
            gone.append(fault.subject)
            continue
        clear = _by_symptoms(_across(_by_gpu(fault, rules, known), m, found.scale), known)
        kept.append(_blame(clear, lossy, held is True, m, found, everyone, rules, known))
    kept += _inside(rules, known, kept)
    before = replace(m, again=np.full_like(m.again, np.nan), times=np.zeros_like(m.times))
    first = _find(before, rules, known, rules.smallest, NAMING) if (m.times > 0).any() else None
    gone += confirm.cleared(first.faults, found.faults, m) if first else ()
    return tuple(sorted(kept, key=lambda row: -row.lost)), tuple(dict.fromkeys(gone))


def _held(
    fault: Fault, lossy: bool, m: Matrix, found: _Faults, rules: BlameRules, known: Background, least: int
) -> bool | None:
    """Whether re-measurements hold the fault up. All pairs slow together are each other's re-measurement."""
    if fault.subject.kind == "fabric":
        return int(np.isfinite(m.best).sum()) >= 4 or None
    if lossy:
        return confirm.verdict(fault, m.retransmits, m, rules.lossy, known.leaves)
    fresh = np.where(np.isfinite(m.again), 1 - m.again / found.scale.reference, np.nan)
    fresh = fresh - _explained_by_wider(fault, m, found, known)
    return confirm.verdict(fault, fresh, m, found.scale.smallest, known.leaves, least)


def _explained_by_wider(fault: Fault, m: Matrix, found: _Faults, known: Background) -> Floats:
    """[R, N, N] what wider faults explain already: a port of a slow rail must be slower than its rail."""
    explained = np.zeros(m.rate.shape)
    for other in found.faults:
        if WIDTH[other.subject.kind] > WIDTH[fault.subject.kind]:
            inside = cells(other.subject, m, ports_of(other.subject, known.leaves))
            explained[inside] = np.maximum(explained[inside], other.lost)
    return explained


def _by_gpu(fault: Fault, rules: BlameRules, known: Background) -> Fault:
    """A port whose GPU is slow inside its node as well is the GPU's fault."""
    slow = {(run.node, run.rail): run.gpu for run, _, _ in _slow_inside(rules, known)}
    for subject in (fault.subject, *fault.rivals):
        if subject.kind == "port" and (subject.node, subject.rail) in slow:
            name = slow[subject.node, subject.rail]
            return Fault(replace(subject, kind="gpu", name=name), fault.lost)
    return fault


def _across(fault: Fault, m: Matrix, measure: Scale) -> Fault:
    """Decide between rivals by cross-rail transfers: a port that is fast with another partner is clear."""
    if not fault.rivals or fault.subject.kind != "port":
        return fault
    ports = [s for s in (fault.subject, *fault.rivals) if s.kind == "port"]
    ends = {(s.node, s.rail) for s in ports}
    losses = {s: _slow_across(s, ends, m, measure) for s in ports}
    slow = [s for s, seen in losses.items() if seen and all(seen)]
    clear = [s for s, seen in losses.items() if seen and not all(seen)]
    if len(slow) == 1:
        return Fault(slow[0], fault.lost)
    if len(slow) == 2:
        return Fault(Subject("rail", rail=fault.subject.rail), fault.lost)
    whole = ["rail"] if clear else []  # a slow rail slows all of its ports
    left = [s for s in (fault.subject, *fault.rivals) if s not in clear and s.kind not in whole]
    return Fault(left[0], fault.lost, tuple(left[1:]))


def _slow_across(port: Subject, ends: set[tuple[str, str]], m: Matrix, measure: Scale) -> list[bool]:
    """Whether each cross-rail transfer of ``port`` with a port not under suspicion is slow."""
    seen = []
    for (sender, out, receiver, into), (rate, times) in m.cross.items():
        sends, receives = (sender, out) == (port.node, port.rail), (receiver, into) == (port.node, port.rail)
        other = (receiver, into) if sends else (sender, out)
        if other in ends or not ((sends and port.direction != "rx") or (receives and port.direction != "tx")):
            continue
        seen.append(bool(1 - rate / measure.reference > measure.floor(np.array(max(0.64 * times, 1.0)))))
    return seen


def _by_symptoms(fault: Fault, known: Background) -> Fault:
    """Decide between rivals by a symptom that only one of them has."""
    marked = [
        s
        for s in (fault.subject, *fault.rivals)
        if s.kind in ("port", "node") and wording.symptoms_of(s, known)
    ]
    return Fault(marked[0], fault.lost) if fault.rivals and len(marked) == 1 else fault


def _blame(
    fault: Fault,
    lossy: bool,
    confirmed: bool,
    m: Matrix,
    found: _Faults,
    everyone: Sequence[Fault],
    rules: BlameRules,
    known: Background,
) -> Blame:
    seen = wording.evidence(fault, found.loss, m, found.scale.reference, known, rules.nominal)
    return Blame(
        subject=fault.subject,
        lost=fault.lost,
        confidence=1.0 if lossy else _confidence(fault, m, found.scale, known) * (1.0 if confirmed else 0.8),
        confirmed=confirmed,
        evidence=seen,
        next_step=wording.next_step(fault, m, everyone),
        alternatives=fault.rivals,
        metric="retransmits" if lossy else "rate",
    )


def _confidence(fault: Fault, m: Matrix, measure: Scale, known: Background) -> float:
    """Probability that noise alone would not have shown the effect, shared among the rivals."""
    inside = cells(fault.subject, m, ports_of(fault.subject, known.leaves)) & np.isfinite(m.best)
    error = measure.noise / math.sqrt(max(int(np.maximum(m.times, 1)[inside].sum()) * 0.64, 1.0))
    return NormalDist().cdf(fault.lost / error) / (1 + len(fault.rivals))


def _slow_inside(rules: BlameRules, known: Background) -> list[tuple[NvlinkRate, float, int]]:
    """(GPU, share lost, how often measured) of GPUs slow inside their node, against the fast ones."""
    runs: dict[tuple[str, str, str], list[float]] = {}
    for run in known.inside:
        if math.isfinite(run.rate) and run.rate >= 0:
            runs.setdefault((run.node, run.rail, run.gpu), []).append(run.rate)
    rates = {key: median(values) for key, values in runs.items()}
    reference = centre(np.array(list(rates.values()), dtype=np.float64), rules.noise) if rates else math.nan
    floor = max(rules.smallest, NAMING * rules.noise)
    return [
        (NvlinkRate(*key, rate), 1 - rate / reference, len(runs[key]))
        for key, rate in rates.items()
        if 1 - rate / reference > floor
    ]


def _inside(rules: BlameRules, known: Background, kept: Sequence[Blame]) -> list[Blame]:
    """GPUs slow inside their node that no transfer over the network has named yet."""
    named = {(row.subject.node, row.subject.name) for row in kept if row.subject.kind == "gpu"}
    return [
        Blame(
            subject=Subject("gpu", run.node, rail=run.rail, name=run.gpu),
            lost=lost,
            confidence=0.99 if times > 1 else 0.8,
            confirmed=times > 1,
            evidence=(f"loses {show_share(lost)} inside its node, in {times} runs without the network",),
            next_step=wording.NEXT["gpu"],
            metric="inside",
        )
        for run, lost, times in _slow_inside(rules, known)
        if (run.node, run.gpu) not in named
    ]


def _unknown(m: Matrix, known: Background, rules: BlameRules, blames: Sequence[Blame]) -> tuple[str, ...]:
    lines = []
    if m.broken:
        lines.append(
            f"{show_count(m.broken, 'row')} without a possible rate (NaN, negative, too large); measure them again"
        )
    if rules.nominal is None and len(m.nodes) == 2:
        lines.append(
            "two nodes without a nominal rate: a slow node looks like a healthy one; give the nominal rate"
        )
    silent = sum(not math.isfinite(run.rate) for run in known.inside)
    if silent:
        lines.append(f"{silent} GPUs have no rate inside their node; measure them again")
    waiting = sum(not row.confirmed for row in blames)
    if waiting:
        lines.append(f"{waiting} suspects were not measured again; measure what confirmations() lists")
    return tuple(lines)


def _status(blames: Sequence[Blame], unknown: Sequence[str]) -> Status:
    if any(row.confirmed for row in blames):
        return Status.FAIL
    return Status.INCONCLUSIVE if blames or unknown else Status.PASS
