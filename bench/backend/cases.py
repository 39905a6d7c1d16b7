"""One case on this rank's group: buffers, correctness, timing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from bench.backend.buffers import Buffers, allocate
from bench.backend.group import Group
from bench.backend.rail import open_pair
from bench.backend.tcp import retransmitted
from bench.backend.truth import POISON, Data
from bench.collectives import Call, Origin, collective
from bench.elements import element, pattern, reduction
from bench.measure import Launch, measure
from bench.model import Case, Measurement, Mismatch
from bench.order import Order, Progress, first_line

RAIL_LIMIT = 8.0  # seconds that a pair waits for a rail that does not answer


def measure_on_rail(
    case: Case, mine: tuple[int, ...], here: Group, store: Any, order: Order, progress: Progress
) -> Measurement:
    """Measure a pair over one interface.

    A rail that is down, or swallows what is sent, is a result and not the end of the phase: the pair
    gives up after a while, says why, and both go on to their next partners.
    """
    rail = order.rails[order.local_rank % len(order.rails)] if case.rail == "own" else case.rail
    place = mine.index(order.rank)
    progress.stage = f"connecting over {rail}"
    try:
        talk = open_pair(store, f"{order.name}/{case.id}", mine, place, rail, RAIL_LIMIT)
        group = replace(here, members=mine, place=place, talk=talk)
        row = measure_case(case, group, order, progress)
        again = group.share([_number(retransmitted(rail))])
        return replace(row, extra={"retransmits": [_count(line[0]) for line in again]})
    except RuntimeError as error:
        return Measurement(
            case=case.id,
            ranks=mine,
            pipelined=(),
            calls=0,
            isolated=(),
            last=(),
            wrong=(None,) * len(mine),
            checked=0,
            mismatches=(),
            stop="failed",
            width=-1.0,
            warmup=0,
            extra={"failed": first_line(error), "rail": rail},
        )


def _number(count: int | None) -> float:
    return -1.0 if count is None else float(count)


def _count(number: float) -> int | None:
    return None if number < 0 else int(number)


def measure_case(case: Case, group: Group, order: Order, progress: Progress) -> Measurement:
    """Check the results of a case, then time it; every rank of the group returns the same."""
    row, kind = collective(case.collective), element(case.dtype)
    n, rank, root = len(group.members), group.place, max(case.root, 0)
    op = reduction(case.op) if row.reduces else None
    torch_op = getattr(dist.ReduceOp, {"prod": "PRODUCT"}.get(case.op, case.op.upper())) if op else None
    call = Call(group.talk, group.handle, group.members, rank, root, torch_op)
    data = Data(kind, op, pattern(kind, case.op, n), n)
    progress.stage = "allocating"
    place = (rank, n, root)
    buffers = allocate(
        row,
        case.count,
        getattr(torch, kind.name),
        case.placement,
        place,
        order.rotation[case.id],
        group.device,
    )
    started = time.time()

    def launch(i: int) -> None:
        progress.calls += 1
        which = i % len(buffers)
        row.call(call, buffers.send[which], buffers.recv[which])

    progress.stage = "checking"
    found = _check(data, launch, buffers, row.truth(rank, n, root), group, order.repetitions)
    for send in buffers.send[1:]:
        send.copy_(buffers.send[0])
    progress.stage, progress.calls = "timing", 0
    times = measure(group, launch, order.rules)
    progress.stage = "sharing"
    verdicts = group.share(found)
    return Measurement(
        case=case.id,
        ranks=group.members,
        pipelined=tuple(tuple(round(value, 10) for value in block) for block in times.pipelined),
        calls=times.calls,
        isolated=tuple(round(value, 10) for value in times.isolated),
        last=times.last,
        wrong=tuple(int(line[0]) if line[1] else None for line in verdicts),
        checked=int(sum(line[1] for line in verdicts)),
        mismatches=tuple(_unpack(line, group.members[i]) for i, line in enumerate(verdicts) if line[2]),
        stop=times.stop,
        width=times.width if times.width < 1e9 else -1.0,
        warmup=times.warmup,
        started=started,
        ended=time.time(),
    )


def _check(
    data: Data,
    launch: Launch,
    buffers: Buffers,
    truth: tuple[Origin, ...],
    group: Group,
    repetitions: int,
) -> list[float]:
    """[wrong, checked, whether a mismatch follows, its index, repetition, got, wanted] of this rank."""
    wrong, checked, first = 0, 0, None
    for repetition in range(repetitions):
        which = repetition % len(buffers)
        received = buffers.recv[which]
        received.fill_(POISON)
        data.fill(buffers.send[which], group.place, repetition)
        group.together()
        launch(which)
        group.clock.settle()
        if truth:
            count, mismatch = data.wrong(received, truth, group.place, repetition)
            wrong, first = wrong + count, first or mismatch
            checked += received.numel()
    if first is None:
        return [wrong, checked, 0, 0, 0, 0, 0]
    return [wrong, checked, 1, first.index, first.repetition, first.got, first.wanted]


def _unpack(line: list[float], rank: int) -> Mismatch:
    return Mismatch(rank=rank, index=int(line[3]), repetition=int(line[4]), got=line[5], wanted=line[6])
