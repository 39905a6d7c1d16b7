"""One sweep of one collective: the sizes, and the cases that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model.collectives import Collective, collective, count_of, least_size, size_of
from bench.model.elements import element, reduction
from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.groups import Groups, group_sizes
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Case
from bench.model.units import show_size

MOST_SIZES = 10_000  # of one sweep; more is a slip of the finger


class PlanError(RailGaugeError, ValueError):
    """Nothing can be planned from what was asked; the message says what is wrong with it."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class Request:
    """A sweep of one collective, as ``railgauge run`` takes it. ``step``: bytes to add instead of a factor."""

    collective: str
    begin: int
    end: int
    factor: int = 2
    step: int = 0
    dtype: str = "float32"
    op: str = "sum"
    root: int = 0
    placements: tuple[str, ...] = ()
    algorithm: str = "auto"


def sizes(begin: int, end: int, factor: int, step: int = 0) -> Iterator[int]:
    """Message sizes as nccl-tests steps them: times ``factor``, or plus ``step`` bytes when given."""
    size = begin
    while size <= end:
        yield size
        size = size + step if step else size * factor


def sweep_cases(phase: str, request: Request, groups: Groups) -> list[Case]:
    """Cases of one sweep; sizes that round to the same message, or to nothing, appear once or not at all."""
    row, kind = collective(request.collective), element(request.dtype)
    if row.reduces and reduction(request.op).floating_only and not kind.floating:
        raise PlanError(f"{request.op} of {kind.name} does not exist: {request.op} needs a floating type")
    n = max(group_sizes(groups))
    if n < row.least:
        raise PlanError(
            f"{row.name} needs {row.least} ranks, this job has {n}: start more with --ranks or mpirun -n"
        )
    if row.rooted and request.root >= n:
        raise PlanError(f"root {request.root} does not exist: the ranks of this job are 0 to {n - 1}")
    if request.begin < 1:
        raise PlanError(f"the smallest message is {request.begin} bytes: begin with 1 or more")
    if request.step and (request.end - request.begin) // request.step >= MOST_SIZES:
        raise PlanError(
            f"a step of {request.step} bytes from {request.begin} to {request.end} makes more than {MOST_SIZES} "
            "sizes: take a larger step, or a factor"
        )
    placements = request.placements or row.placements[:1]
    cases: dict[str, Case] = {}
    for wanted in sizes(request.begin, request.end, request.factor, request.step):
        count = count_of(row, wanted, kind, n)
        if count == 0:
            continue
        for placement in placements:
            case = _case(phase, row, request, count, n, placement, groups)
            cases.setdefault(case.id, case)
    if not cases:
        raise PlanError(
            f"no size from {show_size(request.begin)} to {show_size(request.end)} holds a message: "
            f"{row.name} of {kind.name} on {n} ranks needs {show_size(least_size(row, kind, n))} at least"
        )
    return list(cases.values())


def cases_of(phase: str, requests: Iterable[Request], groups: Groups) -> tuple[Case, ...]:
    """The cases of several sweeps, one after the other."""
    return tuple(case for request in requests for case in sweep_cases(phase, request, groups))


def _case(
    phase: str,
    row: Collective,
    request: Request,
    count: int,
    n: int,
    placement: str,
    groups: Groups,
) -> Case:
    kind = element(request.dtype)
    size = size_of(row, count, kind, n)
    op = request.op if row.reduces else "none"
    root = request.root if row.rooted else -1
    parts = [phase, row.name, str(size), kind.name, op, placement]
    if root > 0:
        parts.append(f"root-{root}")
    if request.algorithm != "auto":
        parts.append(request.algorithm)
    return Case(
        id="/".join(parts),
        phase=phase,
        collective=row.name,
        size=size,
        count=count,
        groups=groups,
        dtype=kind.name,
        op=op,
        root=root,
        placement=placement,
        algorithm=request.algorithm,
    )
