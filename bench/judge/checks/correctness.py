"""Are the results right, and are the clocks believable?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from bench.judge.clock_rates import clocks_of_nodes, clocks_of_ranks, copied
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.wire.counters import calls
from bench.model.collectives import collective
from bench.model.measurement import Case, Mismatch, Window
from bench.model.timings import Blocks
from bench.model.units import show_count, show_seconds, show_some
from bench.plan.phase_names import STEADY, STEADY_AGAIN
from bench.store.rows import Row

from .imported_results import is_import

STALL, STALLED = 3.0, 0.05  # times the median block, and seconds longer: a stall, and no noise
# times: calls back to back overlap, and single ones wait for each other, but not so much; less where a call takes long
APART, LONG_APART, LONG_CALL = 10.0, 3.0, 0.01
CLOCKS_APART = (
    3600.0  # s that the clocks of two nodes may differ, or be set by, before a row is not this run's
)
CLOCKS_DIFFER = 1.05  # of the time by the host's clock, which a device's may differ by
STOPS = ("precision", "budget", "count", "failed")  # what ends the timing loop, and a case that broke
LEAST_OF_INTERVAL = 6  # values: the median of fewer has no confidence interval (stats.median_interval)
# clocks tick each µs, and noise is a thousandth of a call and more: so long blocks are never alike on so many ranks
LONG_BLOCK, ALIKE_BY_CHANCE = 1e-3, 10  # s, and times of a rank beyond those of the first block
ITS_CLOCK = "see its clock: cat /sys/devices/system/clocksource/*/current_clocksource, chronyc tracking; then run again"
MEASURE_PAIRS = (
    "measure pairs of ranks, so that one is named: railgauge run p2p -b 64K -e 64M on the same nodes"
)
START = 0.01  # s that a call by itself may wait to be started


@check(
    "correctness",
    wanted="0 wrong",
    source="RailGauge",
    on_inconclusive="run again, without -c 0 where it was given",
    bound=0.0,
)
def correctness(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every element that every rank received equals the truth; one wrong element fails its case."""
    groups: dict[str, list[Row]] = {}
    for row in evidence.rows:
        if row.measurement.extra.failed:
            continue  # nothing arrived to be verified: blame names who did not answer
        groups.setdefault(row.case.collective, []).append(row)
        if row.wrong or row.measurement.mismatches:
            yield _wrong(row, evidence)
    yield from _of_windows(evidence)
    imported = is_import(evidence)
    for name, rows in groups.items():
        tools = [row for row in rows if imported and _unverifiable(row)]
        for reason, count in Counter(map(_unverifiable, tools)).items():
            yield NotApplicable(f"{show_count(count, 'row')}: {reason}", name)
        yield from _of_collective(
            name, [row for row in rows if row not in tools] if tools else rows, evidence
        )


def _of_windows(evidence: Evidence) -> Iterator[Finding]:
    """What the windows of a steady load say; ``soak.results`` judges those of a soak."""
    for phase in (phase for phase in evidence.run.plan.phases if phase.name in (STEADY, STEADY_AGAIN)):
        cases = {case.id: case for case in phase.cases}
        mine = [window for window in evidence.run.windows if window.case in cases]
        wrong = [window for window in mine if any(window.wrong)]
        unseen = sum(not window_compared(cases[window.case], window) for window in mine)
        if wrong:
            bad = [rank for rank, count in zip(wrong[0].ranks, wrong[0].wrong, strict=False) if count]
            where = _ranks(bad, evidence.run.node_of)
            text = f"wrong elements in {len(wrong)} of {len(mine)} windows, first on {where}"
            yield Finding(phase.name, False, text, float(len(wrong)))
        elif unseen:
            text = f"the results of {unseen} of {len(mine)} windows were not compared on every rank"
            yield Finding(phase.name, None, text, wanted="every result compared")


def _of_collective(name: str, rows: list[Row], evidence: Evidence) -> Iterator[Finding]:
    # before timing as often as the manifest says, and once at least after it
    least = evidence.manifest.settings.repetitions + 1 if evidence.records_all else 0
    imported = is_import(evidence)
    unverified = [row for row in rows if row.wrong is None or not _compared_everywhere(row, imported, least)]
    count = show_count(len(rows), "row")
    if unverified:
        text = f"the results of {len(unverified)} of {count} were not compared on every rank that receives"
        yield Finding(name, None, text, wanted="every result compared")
    elif rows and not any(row.wrong or row.measurement.mismatches for row in rows):
        elements = sum(row.measurement.checked for row in rows)
        yield Finding(name, True, f"0 wrong of {elements} elements in {count}{_calls(rows)}", 0.0)


def _calls(rows: Sequence[Row]) -> str:
    """``, 210 of 9800 calls verified``; "" of journals that do not say."""
    verified, made = (sum(getattr(row.measurement, name) for row in rows) for name in ("verified", "made"))
    return f", {verified} of {show_count(made, 'call')} verified" if made else ""


def _compared_everywhere(row: Row, imported: bool, least: int) -> bool:
    """Whether every rank that receives compared what it received, and all of it, in each call that was verified, of
    which there are ``least``; 0: the run may be of a version that did not count them.

    True of tables of other tools, which count over all ranks.
    """
    case, found = row.case, row.measurement
    if len(found.wrong) != len(found.ranks) or found.checked == 0:
        return imported
    if (found.made or least) and not max(1, least) <= found.verified <= found.made:
        return False
    return all_compared(case, found.wrong, found.checked, max(1, found.verified))


def all_compared(case: Case, wrong: Sequence[int | None], checked: int, calls: int = 1) -> bool:
    """Whether every rank that receives compared all that it received in so many calls. ``wrong``: one of each rank."""
    blocks = _blocks(case.collective, len(wrong), max(case.root, 0))
    everyone = None not in wrong or all(
        count is not None for count, block in zip(wrong, blocks, strict=True) if block
    )
    return everyone and checked >= calls * case.count * sum(blocks)


def window_compared(case: Case, window: Window) -> bool:
    return len(window.wrong) == len(window.ranks) and all_compared(case, window.wrong, window.checked)


@lru_cache(maxsize=1024)
def _blocks(name: str, n: int, root: int) -> tuple[int, ...]:
    """How many blocks each of ``n`` ranks receives of a collective; 0 of one that receives none."""
    row = collective(name)
    # of a symmetric collective each rank receives as many: the truth of all 512 would be a quarter of a million origins
    found = [
        row.received(r, n, root) if row.truth(r, n, root) else 0 for r in range(1 if row.symmetric else n)
    ]
    return tuple(found * n if row.symmetric else found)


def _unverifiable(row: Row) -> str:
    """Why nobody could verify a row; "" for one that was verified or could have been."""
    return row.measurement.extra.unverified if row.wrong is None else ""


def _wrong(row: Row, evidence: Evidence) -> Finding:
    nodes = evidence.run.node_of
    first, suspects, where = _origin(row, nodes)
    step = "railgauge run with the same size on the same nodes names the rank and the element"
    if suspects:
        named = " and ".join(dict.fromkeys(nodes.get(rank, "that node") for rank in suspects))
        step = f"take {named} out, test memory and GPU there (dcgmi diag -r 3), and run again"
    elif first:
        told, step = _by_pairs(row, evidence)
        where += told
    text = f"{show_count(row.wrong or 0, 'wrong element')} {where}"
    if first:
        text += f"; first in call {first.repetition + 1} at rank {first.rank} index {first.index}: "
        text += f"got {_element(first.got)}, wanted {_element(first.wanted)}"
    return Finding(row.case.id, False, text, float(row.wrong or 0), step=step, case=row.case.id)


def _by_pairs(row: Row, evidence: Evidence) -> tuple[str, str]:
    """What the pairs of a row's ranks tell that were verified in the same run, where all ranks are wrong alike, and the
    next step.
    """
    ranks = {*row.measurement.ranks}
    pairs = [each for each in evidence.rows if each.ranks == 2 and ranks.issuperset(each.measurement.ranks)]
    found = [each for each in pairs if each.wrong is not None]
    if not found or len(ranks) == 2:
        return "", MEASURE_PAIRS
    bad = dict.fromkeys(each.measurement.ranks for each in found if each.wrong)
    if not bad:
        step = "suspect what reduces: try another NCCL, then NCCL_NVLS_ENABLE=0 and NCCL_COLLNET_ENABLE=0"
        return f"; none of {show_count(len(found), 'row')} of pairs of them was", step
    named = show_some([f"ranks {a} and {b}" for a, b in bad], of="pairs")
    return (
        f"; wrong too between {named}",
        "take out the node that all of these pairs have in common, and run again",
    )


def _element(value: float | None) -> str:
    return "no finite number" if value is None else f"{value:g}"


def _origin(row: Row, nodes: Mapping[int, str]) -> tuple[Mismatch | None, tuple[int, ...], str]:
    """(first wrong element, ranks under suspicion, where it is wrong).

    In a collective that copies, the place of an element in the receive buffer tells which rank sent it. In one that
    reduces, a wrong element of one call is in the input of later ones: the ranks that were wrong first are meant,
    and nobody where all were wrong alike.
    """
    members, found = row.measurement.ranks, row.measurement.mismatches
    if not found:
        each = len(row.measurement.wrong) == len(members)
        wrong = (
            tuple(rank for rank, count in zip(members, row.measurement.wrong, strict=True) if count)
            if each
            else ()
        )
        return None, wrong, f"on {_ranks(wrong, nodes)}" if wrong else "on ranks that the table does not name"
    call = min(mismatch.repetition for mismatch in found)
    early = [mismatch for mismatch in found if mismatch.repetition == call]
    receivers = tuple(mismatch.rank for mismatch in early)
    senders = {_sender(row, mismatch) for mismatch in early}
    if None not in senders and len(senders) == 1:
        (sender,) = (rank for rank in senders if rank is not None)
        suspects = (sender,) if len(receivers) > 1 or receivers[0] == sender else (sender, receivers[0])
        return (
            early[0],
            suspects,
            f"sent by {_ranks((sender,), nodes)} and received by {_ranks(receivers, nodes)}",
        )
    if len(receivers) == len(members) > 1:
        return early[0], (), f"on all {len(members)} ranks alike"
    return early[0], receivers, f"on {_ranks(receivers, nodes)}"


def _sender(row: Row, mismatch: Mismatch) -> int | None:
    """The rank whose data stand where the mismatch is; None where several ranks' data are reduced into one."""
    members, case = row.measurement.ranks, row.case
    if mismatch.rank not in members:
        return None
    place = members.index(mismatch.rank)
    truth = collective(case.collective).truth(place, len(members), max(case.root, 0))
    block = mismatch.index // case.count if case.count else 0
    if block >= len(truth) or len(truth[block].ranks) != 1:
        return None
    return members[truth[block].ranks[0]]


def _ranks(ranks: Sequence[int], nodes: Mapping[int, str]) -> str:
    """``rank 3 (node1), rank 4 (node1)``, and how many more."""
    return show_some([f"rank {rank} ({nodes.get(rank, '?')})" for rank in ranks], of="ranks")


@check(
    "clock",
    wanted="a positive time",
    source="RailGauge",
    on_inconclusive="run again; if it stays, send the run folder to RailGauge",
)
def clock(evidence: Evidence) -> Iterator[Finding]:
    """Every row has finite, positive times of every rank, and those of calls back to back fit those of single calls."""
    tried = [row for row in evidence.rows if not row.measurement.extra.failed]  # blame judges those
    bad = [(row, why) for row in tried if (why := _unbelievable(row, evidence))]
    bad += copied(tried) if evidence.records_all else ()
    for row, why in bad:
        yield Finding(row.case.id, None, why, case=row.case.id)
    nodes, ranks = [*clocks_of_nodes(evidence.run)], [*clocks_of_ranks(evidence.rows)]
    yield from (Finding(name, None, why, step=ITS_CLOCK) for name, why in nodes)
    yield from (Finding(f"rank {rank}", None, why, step=ITS_CLOCK) for rank, why in ranks)
    if tried and not bad and not nodes and not ranks:
        yield Finding("all rows", True, f"a positive time in {show_count(len(tried), 'row')}")


def _unbelievable(row: Row, evidence: Evidence) -> str:
    """Why a row's times are not believed, "" where they are. Tables of other tools hold one time for all ranks."""
    seconds, blocks = _seconds(row), Blocks.of(row.measurement.pipelined)
    if not _is_time(seconds):
        return f"{seconds} seconds a call"
    if outside := _outside_the_run(row, evidence):
        return outside
    ranks = len(row.measurement.ranks)
    if blocks and blocks.width != ranks and not is_import(evidence):
        return f"its blocks have the times of {blocks.width} of {ranks} ranks"
    if (timed := calls(row.measurement, 0)) > row.measurement.made > 0:
        return f"its times are of {timed} calls, and {row.measurement.made} were made"
    if misfit := _stopped_too_early(row, evidence) or _repeats(row, evidence):
        return misfit
    # a processor that others use may be away for a while: only of GPUs are times alike
    judged = evidence.backend == "nccl" and row.case.phase not in (STEADY, STEADY_AGAIN, "soak")
    uneven = _uneven(row) if judged and blocks else ""
    return uneven or _longer_than_the_row(row, evidence)


def _has_times(row: Row, evidence: Evidence) -> bool:
    """Whether a row says when it was measured: not in an imported table, nor where the clock was set back beyond the
    run's start.
    """
    ended = evidence.run.ended
    set_back = ended is not None and ended < evidence.manifest.started
    return bool(row.measurement.started) and not is_import(evidence) and not set_back


def _longer_than_the_row(row: Row, evidence: Evidence) -> str:
    """What a clock that runs too fast leaves behind: calls that took longer than all of their measuring."""
    found = row.measurement
    lasted = found.ended - found.started
    if not _has_times(row, evidence):
        return ""
    parts = (row.blocks * found.calls, row.together)  # NaN where nothing was timed so
    took = sum(each for each in parts if not math.isnan(each))
    if took <= CLOCKS_DIFFER * lasted + START:
        return ""
    measuring = f"all of its measuring {show_seconds(lasted)}" if lasted > 0 else "it ended before it began"
    return f"its calls took {show_seconds(took)}, and {measuring}"


def _outside_the_run(row: Row, evidence: Evidence) -> str:
    """Why a row cannot be of this run, by its times."""
    found, ended = row.measurement, evidence.run.ended
    if not found.started and evidence.records_all:
        return "it does not say when it was measured"
    if not _has_times(row, evidence):
        return ""
    if found.started < evidence.manifest.started - CLOCKS_APART:
        return f"began {show_seconds(evidence.manifest.started - found.started)} before the run"
    if ended is not None and found.ended > ended + CLOCKS_APART:
        return f"ended {show_seconds(found.ended - ended)} after the run"
    return ""


def _stopped_too_early(row: Row, evidence: Evidence) -> str:
    """What cannot be of the timing loop: it times calls by themselves too, and knows a precision by six of each."""
    found = row.measurement
    blocks, alone = len(found.pipelined), len(found.isolated)
    if is_import(evidence):
        return ""
    if not blocks or not alone:
        return "no call was timed by itself" if blocks else "no calls were timed back to back"
    if found.stop not in STOPS:
        return f"the loop does not stop for {found.stop!r}"
    if found.stop == "precision" and found.width is None:
        return "it is said to have become precise, and not how precise"
    if found.stop == "precision" and min(blocks, alone) < LEAST_OF_INTERVAL:
        shown = f"{show_count(blocks, 'block')} and {show_count(alone, 'call')}"
        return f"it is said to have become precise by {shown}, and fewer than {LEAST_OF_INTERVAL} have no interval"
    return ""


def _repeats(row: Row, evidence: Evidence) -> str:
    """What a clock that repeats itself leaves behind: every block took as long as the first, to the last digit, on each
    rank.

    The clock of a host may be so coarse; then calls by themselves are alike too.
    """
    found = row.measurement
    blocks, alone = Blocks.of(found.pipelined), found.isolated
    if row.quickest != row.slowest or row.slowest * found.calls < LONG_BLOCK or is_import(evidence):
        return ""
    few = (len(blocks) - 1) * blocks.width < ALIKE_BY_CHANCE
    coarse = evidence.backend != "nccl" and 2 * len({*alone}) <= len(alone)
    if few or coarse or any(block != blocks[0] for block in blocks):
        return ""
    return f"all of its {len(blocks)} blocks took {show_seconds(row.seconds)} a call, to the last digit on every rank"


def longest_without_stall(usual: float, calls: int = 1) -> float:
    """The seconds a call that a block of so many ``calls`` may take before it counts as stalled."""
    return max(STALL * usual, usual + STALLED / calls)


def _uneven(row: Row) -> str:
    """What a stall in some of the calls leaves behind, which the median of all blocks hides."""
    usual = row.seconds
    least = longest_without_stall(usual, max(1, row.measurement.calls))
    blocks = Blocks.of(row.measurement.pipelined).slowest if row.slowest > least else []
    slow = [block for block in blocks if block > least]
    if len(slow) >= max(2, len(blocks) / 4):
        count = f"{len(slow)} of {len(blocks)} blocks"
        return f"{count} took {show_seconds(min(slow))} a call and more, and the median {show_seconds(usual)}"
    apart = LONG_APART if usual >= LONG_CALL else APART
    low, high = usual / apart, apart * usual + START
    if row.measurement.isolated and not low <= row.alone <= high:
        return f"a call by itself takes {show_seconds(row.alone)}, and back to back {show_seconds(usual)}"
    return ""


def _seconds(row: Row) -> float:
    """A row's time; NaN where one of its times is, even where the median of the slowest ranks is not."""
    found = row.measurement
    if found.pipelined and not math.isfinite(Blocks.of(found.pipelined).total):
        return math.nan
    if found.isolated and not math.isfinite(row.together):
        return math.nan
    return row.seconds if found.pipelined else row.alone


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds > 0
