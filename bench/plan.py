"""From profile and ranks to phases of cases, with their bytes, before anything starts.

A case that does not fit in memory is refused here, by name and with both figures: never by an
out-of-memory crash in the middle of the night.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .collectives import COLLECTIVES, Collective, collective, count_of, size_of
from .elements import element, reduction
from .model import Case, Rank
from .pairs import rounds
from .profile import Profile, Sweep
from .store import Phase, Plan, Refusal

ROTATED = 64 << 20  # bytes of buffers that a small message rotates through: more than a last-level cache
MOST_BUFFERS = 16
MOST_SIZES = 10_000  # of one sweep; more is a slip of the finger
EVIDENCE_SECONDS = 0.3  # for one case; its log is wanted, not its speed
RAIL_SECONDS = 0.5  # every pair of a round measures so long, so that all rails are loaded all the time
SCRATCH = 32 << 20  # bytes for the truth, chunk by chunk
TORCH_HOST = 400 << 20  # resident bytes of a worker that has imported torch and done nothing
NCCL_RESERVE = 3 << 30  # bytes of GPU memory that the context and NCCL's own channels take
EVIDENCE = {
    "NCCL_DEBUG": "INFO",
    "NCCL_DEBUG_SUBSYS": "INIT,BOOTSTRAP,ENV,NET,GRAPH,TUNING",
}


class PlanError(ValueError):
    """Nothing can be planned from what was asked; the message says what is wrong with it."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank may use, and on what: the smallest over all ranks."""

    available: int
    where: str


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


def sweep_cases(phase: str, request: Request, groups: tuple[tuple[int, ...], ...]) -> list[Case]:
    """Cases of one sweep; sizes that round to the same message, or to nothing, appear once or not at all."""
    row, kind = collective(request.collective), element(request.dtype)
    if row.reduces and reduction(request.op).floating_only and not kind.floating:
        raise PlanError(f"{request.op} of {kind.name} does not exist: {request.op} needs a floating type")
    n = max(len(group) for group in groups)
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
    return list(cases.values())


def _case(
    phase: str,
    row: Collective,
    request: Request,
    count: int,
    n: int,
    placement: str,
    groups: tuple[tuple[int, ...], ...],
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


def _largest(case: Case) -> int:
    """Bytes of one send and one receive buffer on the rank that has the most."""
    row, kind = COLLECTIVES[case.collective], element(case.dtype)
    n, root = max(len(group) for group in case.groups), max(case.root, 0)
    shared = case.placement == "in"
    most = 0
    for rank in {0, 1 % n, root}:
        sides = (row.sent(rank, n, root), row.received(rank, n, root))
        most = max(most, max(sides) if shared else sum(sides))
    return most * case.count * kind.bytes


def rotation(case: Case) -> int:
    """How many buffers a case rotates through, so that small messages are not served from a cache."""
    largest = _largest(case)
    return max(1, min(MOST_BUFFERS, ROTATED // largest)) if largest else 1


def needed(case: Case, backend: str) -> int:
    """Bytes that this case takes on its largest rank: rotated buffers, scratch, what the backend copies."""
    copies = _largest(case) if backend == "gloo" else 0
    return rotation(case) * _largest(case) + copies + SCRATCH


def fit(phases: Sequence[Phase], backend: str, memory: Memory) -> Plan:
    """The plan with the cases that do not fit taken out and named."""
    kept, refused = [], []
    for phase in phases:
        cases = []
        for case in phase.cases:
            bytes_needed = needed(case, backend)
            if bytes_needed > memory.available:
                refused.append(Refusal(case.id, bytes_needed, memory.available, memory.where))
            else:
                cases.append(case)
        kept.append(replace(phase, cases=tuple(cases)))
    return Plan(tuple(phase for phase in kept if phase.cases), tuple(refused))


def acceptance(
    profile: Profile, ranks: Sequence[Rank], backend: str, budget: float
) -> tuple[list[Phase], list[tuple[str, str]]]:
    """Phases of an acceptance run, and those left out with the reason. ``budget``: seconds for one case."""
    made = [make(profile, ranks, backend) for make in PHASES]
    phases = [phase for phase in made if isinstance(phase, Phase)]
    skipped = [left for left in made if not isinstance(left, Phase)]
    return [replace(phase, seconds=_seconds(phase, budget)) for phase in phases], skipped


def _seconds(phase: Phase, budget: float) -> float:
    """At most: a worker's start, then the budget of each case with the last turn that may overrun it."""
    return len(phase.cases) * (phase.rules.get("budget", budget) * 1.3 + 0.1) + 4


Left = tuple[str, str]  # a phase that does not apply: its name, and why


def _evidence(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    if backend != "nccl":
        return "evidence", "NCCL is not in use, so it logs nothing"
    sweep = profile.sweep
    # at the largest size, because NCCL's choice of algorithm there is what the bounds' readings rest on
    wanted = [("all_to_all", min(sweep.end, 64 << 20))]
    wanted += [(name, sweep.end) for name in ("all_reduce", "all_gather", "reduce_scatter")]
    requests = [Request(name, size, size, dtype=sweep.dtype) for name, size in wanted]
    cases = [case for request in requests for case in sweep_cases("evidence", request, everyone(ranks))]
    title = "a short run with NCCL's log on"
    return Phase("evidence", title, tuple(cases), EVIDENCE, {"budget": EVIDENCE_SECONDS})


def _neighbours(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    sweep = profile.sweep
    if len(ranks) < 2 or not sweep.pairs:
        return "pairs", "one rank has no partner" if sweep.pairs else "the profile asks for none"
    cases = [
        case
        for name in sweep.pairs
        for size in sweep.pair_sizes
        for case in sweep_cases("pairs", Request(name, size, size, dtype=sweep.dtype), everyone(ranks))
    ]
    return Phase("pairs", "point-to-point between neighbours", tuple(cases))


def _rails(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    nodes = by_node(ranks)
    if len(nodes) < 2:
        return "rails", "one node has no rails to another"
    if len({len(members) for members in nodes}) > 1:
        return "rails", "the nodes have different numbers of ranks: start equally many on each"
    cases = []
    for number, meets in enumerate(rounds(range(len(nodes)))):
        pairs = tuple((a, b) for one, two in meets for a, b in zip(nodes[one], nodes[two], strict=True))
        cases += pair_cases("rails", f"round-{number}", pairs, profile, backend)
    title = "point-to-point between all node pairs, all rails at once"
    return Phase("rails", title, tuple(cases), rules=PAIR_RULES)


PAIR_RULES = {"precision": 0.0, "budget": RAIL_SECONDS}
BOTH, THERE, BACK = "both", "there", "back"


def pair_cases(
    phase: str, name: str, pairs: tuple[tuple[int, int], ...], profile: Profile, backend: str
) -> list[Case]:
    """A round of disjoint pairs of ranks: both directions at once, then each direction by itself.

    Both at once loads the rails fully; only one direction by itself says which of the two is slow.
    """
    size = max(profile.sweep.pair_sizes, default=1 << 22)
    own = "own" if backend == "nccl" or profile.rails.devices else ""
    turned = tuple((b, a) for a, b in pairs)
    ways = ((BOTH, "p2p_bidirectional", pairs), (THERE, "p2p", pairs), (BACK, "p2p", turned))
    return [
        replace(case, id=f"{case.id}/{name}/{way}", rail=own)
        for way, collective_name, groups in ways
        for case in sweep_cases(
            phase, Request(collective_name, size, size, dtype=profile.sweep.dtype), groups
        )
    ]


def _nodes(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    nodes = by_node(ranks)
    if len(nodes) < 2 or any(len(members) < 2 for members in nodes):
        return "nodes", "one node, or one rank a node: the collectives already say it"
    request = Request("all_reduce", profile.sweep.end, profile.sweep.end, dtype=profile.sweep.dtype)
    return Phase(
        "nodes", "all_reduce inside each node, all nodes at once", tuple(sweep_cases("nodes", request, nodes))
    )


def _collectives(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    cases = [
        case
        for name in profile.sweep.collectives
        for case in sweep_cases("collectives", _request(name, profile.sweep), everyone(ranks))
    ]
    return Phase("collectives", "collectives over the sizes", tuple(cases))


def _ring(profile: Profile, ranks: Sequence[Rank], backend: str) -> Phase | Left:
    if backend != "nccl" or len(by_node(ranks)) < 2:
        return "ring", "forcing Ring means something with NCCL on several nodes"
    sweep = replace(profile.sweep, begin=max(profile.sweep.begin, profile.sweep.end // 4), factor=2)
    cases = [
        case
        for name in ("all_reduce", "all_gather")
        for case in sweep_cases("ring", replace(_request(name, sweep), algorithm="ring"), everyone(ranks))
    ]
    return Phase("ring", "forced to Ring: what the wires carry", tuple(cases), {"NCCL_ALGO": "Ring"})


PHASES = (_evidence, _neighbours, _rails, _nodes, _collectives, _ring)


def everyone(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """One group of all ranks."""
    return (tuple(rank.rank for rank in ranks),)


def _request(name: str, sweep: Sweep) -> Request:
    return Request(name, sweep.begin, sweep.end, sweep.factor, dtype=sweep.dtype)


def by_node(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """Ranks of each node, nodes in the order of their first rank."""
    nodes: dict[str, list[int]] = {}
    for rank in ranks:
        nodes.setdefault(rank.node, []).append(rank.rank)
    return tuple(tuple(members) for members in nodes.values())
