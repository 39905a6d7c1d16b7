"""Is any row slower than its equals, and how many rows have neither a bound nor equals?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.row_peers import DIP, ONE_WAY, Comparison, contradictions, one_way_slow, slow_talk
from bench.model.units import show_count, show_rate, show_seconds, show_share, show_size
from bench.plan.phase_names import CROSS, FIRST, INSIDE, LINKS, NODES, RERUN, UNEVEN_PHASES, phase_words
from bench.store.rows import Row

from .bounds import who, with_ceiling

UNBOUNDED = "limits.rows"  # the verdict that says how many rows nothing is held against
LATE = "see what holds up small messages: the power state of processors and PCIe, another load on the rails"
LESS = "measure that collective by itself; see NCCL's log for the way its messages take and its channels"
ONE_SIDED = (
    "see the PCIe settings of the platform (ACS, relaxed ordering, IOMMU), and nvbandwidth on one node"
)
MOST = 8  # series without a bound that are named
GOOD = Finding("all rows", True, "")  # of a large run there are 100 000, which are only counted


def no_speed(evidence: Evidence) -> str:
    if evidence.backend != "nccl":
        return "gloo measures the processors of the nodes, and for their speed there is no floor"
    return "" if evidence.profile.limits else "the profile sets no floor for speed"


@check(
    "limits.equals",
    subject="all rows",
    wanted="as fast as its equals",
    source="the same run: equal nodes, GPUs and pairs, and larger messages",
    on_fail="it was slow both times: look at the clocks, NVLink and PCIe of that GPU or node, or run that size alone",
    on_inconclusive="measure again: it was slow once, and was not measured a second time",
    every="every row is as fast as its equals",
    unit="comparisons",
    unless=(no_speed,),
)
def equals(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No row is slower than its equals or than a larger message, or far slower than its links in another phase."""
    found = evidence.comparisons
    if not found:
        yield NotApplicable("no row has equals")
    named = _whole_gpus(found)
    for rank, (times, worst) in named.items():
        text = f"is slow in all {times} of its pairs; {_measured(worst)}"
        yield Finding(_gpu(rank, evidence), _ok(worst), text, worst.row.busbw)
    for each in found:
        if each.slow and each.row.case.phase == INSIDE and set(each.row.measurement.ranks) & set(named):
            continue
        if not each.slow:
            yield GOOD
            continue
        quick = each.again is not None and not each.confirmed
        note = f"{_measured(each)}; measured again it was as fast as its equals" if quick else ""
        where, case = _subject(each.row, evidence), each.row.case.id
        yield Finding(where, _ok(each), _measured(each), each.row.busbw, note=note, case=case)
    for phase, row, usual in slow_talk(evidence.rows, len(evidence.ranks)):
        text = f"{show_size(row.case.size)} between two GPUs take {show_seconds(row.seconds)} at the median; {usual}"
        subject = f"{row.case.collective}, {phase_words(phase)}"
        yield Finding(subject, None, text, row.seconds, step=LATE, case=row.case.id)
    for row, usual in contradictions(evidence.rows, evidence.run.node_of):
        reached = f"{show_size(row.case.size)} reach {show_rate(row.busbw)}"
        text = f"{reached}; {usual}: the lower must be {show_share(DIP)} of the other"
        yield Finding(row.case.id, None, text, row.busbw, step=LESS, case=row.case.id)
    for row, usual in one_way_slow(evidence.rows):
        text = f"{show_rate(row.busbw)} at the median of all GPUs; {usual}, of which {show_share(ONE_WAY)} are wanted"
        yield Finding(row.case.collective, None, text, row.busbw, step=ONE_SIDED, case=row.case.id)


def _ok(each: Comparison) -> bool | None:
    return False if each.confirmed else None if each.slow and each.again is None else True


def _measured(each: Comparison) -> str:
    row, second = each.row, each.again
    text = f"{show_size(row.case.size)} take {show_seconds(row.seconds)} ({show_rate(row.busbw)})"
    text += f", measured again {show_seconds(second.seconds)}" if second else ""
    return f"{text}; {each.usual}"


def _whole_gpus(found: tuple[Comparison, ...]) -> dict[int, tuple[int, Comparison]]:
    """Ranks that are slow in all of their pairs inside a node: how many, and the worst of them."""
    pairs = [each for each in found if each.row.case.phase == INSIDE]
    every = Counter(rank for each in pairs for rank in each.row.measurement.ranks)
    slow = Counter(rank for each in pairs if each.slow for rank in each.row.measurement.ranks)
    whole = [rank for rank, times in slow.items() if times == every[rank] > 1]
    return {
        rank: (
            every[rank],
            max(
                (each for each in pairs if rank in each.row.measurement.ranks),
                key=lambda each: each.row.seconds / each.allowed,
            ),
        )
        for rank in whole
    }


def _gpu(rank: int, evidence: Evidence) -> str:
    at = evidence.gpu_of_rank.get(rank)
    return f"{evidence.run.node_of.get(rank, '?')} {f'GPU {at}' if at is not None else f'rank {rank}'}"


def _subject(row: Row, evidence: Evidence) -> str:
    if row.ranks == len(evidence.ranks):
        return row.case.id
    return f"{who(row, evidence)}, {row.case.collective}"


@check(UNBOUNDED, subject="all rows", source="the profile")
def unbounded(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """How many of the measured rows are held against a bound, or against their equals."""
    rows = [row for row in evidence.rows if not row.case.phase.startswith(("evidence", RERUN))]
    held = _held(evidence) if not no_speed(evidence) else _bounded(evidence)
    free = [row for row in rows if id(row) not in held]
    if not free:
        if rows:
            yield Finding(
                "all rows",
                True,
                f"all {show_count(len(rows), 'result')} were compared with a floor or with their equals",
            )
        return
    series = Counter(f"{row.case.phase} {row.case.collective}" for row in free)
    why = no_speed(evidence)
    have = "has" if len(free) == 1 else "have"
    text = f"{len(free)} of {show_count(len(rows), 'result')} {have} nothing to be compared with"
    text += f": {why}" if why else ""
    yield NotApplicable(
        text, evidence=tuple(f"{name}: {show_count(n, 'result')}" for name, n in series.most_common(MOST))
    )


def _bounded(evidence: Evidence) -> set[int]:
    """The rows that a bound of the profile speaks of, and the transfers that blame compares."""
    limits = evidence.limits("busbw", "p50", "wire_share")
    held = {id(row) for limit in limits for row in evidence.rows_of(limit)}
    held |= {id(row) for row, _ in with_ceiling(evidence)}
    if evidence.rails.kind != "none":
        looks = tuple(name for name in (FIRST, CROSS, *UNEVEN_PHASES) if name != INSIDE)
        held |= {id(row) for row in evidence.rows if row.case.phase.startswith(looks)}
    return held


def _held(evidence: Evidence) -> set[int]:
    held = _bounded(evidence) | {id(each.row) for each in evidence.comparisons}
    also = (LINKS, *((NODES,) if evidence.profile.alone else ()))
    return held | {id(row) for row in evidence.rows if row.case.phase in also}
