"""Measures one case on this rank's group: allocates buffers, verifies results, times calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from bench.measure.backend.buffers import allocate
from bench.measure.backend.correctness import Data
from bench.measure.backend.cuda_graphs import replayed
from bench.measure.backend.device import Unsupported
from bench.measure.backend.group import Group
from bench.measure.backend.one_rail import open_pair
from bench.measure.backend.registered_buffers import registered
from bench.measure.backend.spot_checks import Spots
from bench.measure.backend.tcp_retransmits import retransmitted
from bench.measure.backend.verification import Verifier, mismatch_of
from bench.measure.loop import TRUST, Launch, Timings, measure
from bench.measure.soak import steady
from bench.measure.work_order import CAPTURING, Progress, WorkOrder, first_line
from bench.model.buffers import rotation
from bench.model.collective_calls import Call
from bench.model.collectives import collective
from bench.model.elements import cancelling, element, pattern, reduction
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case, Extra, Measurement, Window
from bench.model.timings import Blocks, Seconds
from bench.model.typed_json import to_json

RAIL_LIMIT = 8.0  # seconds that a pair waits for a rail that does not answer


Result = TypeVar("Result")
Tell = Callable[..., None]  # a message to the supervisor: its kind, its fields


@dataclass(frozen=True)
class CaseContext:
    """What a case needs from its worker: the work order, the progress record, the channel to the supervisor."""

    order: WorkOrder
    progress: Progress
    tell: Tell


def measure_on_rail(
    case: Case, mine: tuple[int, ...], here: Group, store: Any, to: CaseContext
) -> Measurement:
    """Measure a pair over one interface.

    A rail that is down, or swallows what is sent, is a result and not the end of the phase: the pair
    gives up after a while, says why, and both go on to their next partners.
    """
    order = to.order
    rail = order.rails[order.local_rank % len(order.rails)] if case.rail == "own" else case.rail
    place = mine.index(order.rank)
    to.progress.stage = f"connecting over {rail}"
    try:
        talk = open_pair(store, f"{order.name}/{case.id}", mine, place, rail, RAIL_LIMIT)
        group = replace(here, members=mine, place=place, talk=talk)
        row = measure_case(case, group, to)
        again = group.share([_number(retransmitted(rail))])
        return replace(row, extra=Extra(retransmits=tuple(_count(line[0]) for line in again)))
    except RuntimeError as error:
        return failed(case, mine, error, rail=rail, stage=to.progress.stage)


def failed(
    case: Case, members: tuple[int, ...], error: Exception, rail: str = "", stage: str = ""
) -> Measurement:
    """The row of a case that could not be measured, with the reason; the phase goes on with its other cases."""
    return Measurement(
        case=case.id,
        ranks=members,
        pipelined=Blocks(()),
        calls=0,
        isolated=Seconds(()),
        wrong=(None,) * len(members),
        checked=0,
        mismatches=(),
        stop="failed",
        width=None,
        warmup=0,
        extra=Extra(failed=first_line(error), rail=rail, stage=stage),
    )


def _number(count: int | None) -> float:
    return -1.0 if count is None else float(count)


def _count(number: float) -> int | None:
    return None if number < 0 else int(number)


def measure_case(case: Case, group: Group, to: CaseContext) -> Measurement:
    """Verify a case's results, time it, verify again; every rank of the group returns the same.

    Unsupported, on every rank alike, where this torch or device cannot do what the case asks for.
    """
    started, order, progress = time.time(), to.order, to.progress
    with ExitStack() as stack:
        results = _prepare(case, group, to, stack)
        progress.stage = "checking"
        for repetition in range(order.repetitions):
            results.one(repetition)
        results.prepare_timing(order.repetitions)
        if "graph" in case.algorithm:
            progress.stage = CAPTURING
            graphs = replayed(results.launch, len(results.buffers), group.device)
            results.launch = _all_or_none(lambda: stack.enter_context(graphs), group)
        progress.stage, progress.calls = "timing", 0
        times = _time(case, group, results, to)
        if order.repetitions:
            progress.stage = "verifying"
            results.after_timing(order.repetitions + 1, time.time() - started)
        progress.stage = "sharing"
        extra = _extra(group, results.call, times)
        lines = group.share(results.line())
    return Measurement(
        case=case.id,
        ranks=group.members,
        pipelined=Blocks([[round(value, 10) for value in block] for block in times.pipelined]),
        calls=times.calls,
        isolated=Seconds(round(value, 10) for value in times.isolated),
        wrong=tuple(int(line[0]) if line[1] else None for line in lines),
        checked=int(sum(line[1] for line in lines)),
        mismatches=tuple(mismatch_of(line, group.members[i]) for i, line in enumerate(lines) if line[4]),
        stop=times.stop,
        width=times.width if times.width < 1e9 else None,
        warmup=times.warmup,
        started=started,
        ended=time.time(),
        extra=extra,
        apart=times.apart,
        verified=int(min((line[2] for line in lines if line[1]), default=0)),
        made=int(max(line[3] for line in lines)),
    )


def _prepare(case: Case, group: Group, to: CaseContext, stack: ExitStack) -> Verifier:
    row, kind = collective(case.collective), element(case.dtype)
    n, rank, root = len(group.members), group.place, max(case.root, 0)
    op = reduction(case.op) if row.reduces else None
    torch_op = getattr(dist.ReduceOp, {"prod": "PRODUCT"}.get(case.op, case.op.upper())) if op else None
    call = Call(group.talk, group.handle, group.members, rank, root, torch_op)
    to.progress.stage = "allocating"
    pool = None
    if "registered" in case.algorithm:
        pool = _all_or_none(lambda: stack.enter_context(registered(group.handle, group.device)), group)
    with pool.allocating() if pool else nullcontext():
        buffers = allocate(
            row,
            case.count,
            getattr(torch, kind.name),
            case.placement,
            (rank, n, root),
            rotation(case),
            group.device,
        )
    if pool:
        _all_or_none(pool.register, group)

    def launch(i: int) -> None:
        to.progress.calls += 1
        which = i % len(buffers)
        row.call(call, buffers.send[which], buffers.recv[which])

    data = Data(kind, op, pattern(kind, case.op, n), n)
    together = row.together if case.placement == "in" else ""
    truth = row.truth(rank, n, root)
    accumulates = row.reduces and together in ("same", "slice-of-send")
    return Verifier(
        group=group,
        buffers=buffers,
        data=data,
        truth=truth,
        shared=bool(together),
        accumulates=accumulates,
        spots=Spots(data, buffers, truth, rank, case.count, accumulates),
        launch=launch,
        start=cancelling(kind, case.op, rank, n) if row.symmetric and together == "same" else 0,
    )


def _all_or_none(act: Callable[[], Result], group: Group) -> Result:
    """The result of ``act``. Raises Unsupported on all ranks where one raised it: the others would wait for it."""
    trouble, result = "", None
    try:
        result = act()
    except Unsupported as error:
        trouble = str(error)
    if any(row[0] for row in group.share([float(bool(trouble))])):
        raise Unsupported(trouble or "another rank cannot do what this case asks for")
    return cast(Result, result)


def _time(case: Case, group: Group, results: Verifier, to: CaseContext) -> Timings:
    """Time until they are precise or, where the rules ask for windows, under steady load for the whole budget."""
    rules = to.order.rules
    if not rules.window:
        return measure(group, results.call, rules, results if to.order.repetitions else TRUST)

    def ended(window: Window) -> None:
        if group.place == 0:
            to.tell("window", **to_json(replace(window, case=case.id, ranks=group.members)))

    def check(number: int) -> list[float]:
        wrong, checked = results.wrong, results.checked
        results.one(number)
        return [results.wrong - wrong, results.checked - checked]

    return steady(group, results.call, check, rules, ended)


LAUNCHES = 32  # calls whose launch is timed: few enough that no queue of the driver's fills up


def _extra(group: Group, launch: Launch, times: Timings) -> Extra:
    """The host time to launch one call on a GPU while others are in flight: [rank] seconds.

    On a CPU a call returns when it is done, so starting it is no time of its own.
    """
    if group.device.type != "cuda":
        return Extra()
    calls = min(LAUNCHES, max(times.calls, 1))
    group.together()
    begun = time.perf_counter()
    for i in range(calls):
        launch(i)
    spent = (time.perf_counter() - begun) / calls
    group.clock.settle()
    return Extra(launch=tuple(round(row[0], 9) for row in group.share([spent])))
