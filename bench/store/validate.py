"""What the lines of a run folder may hold: every value of its type, and possible; Misfit names the field otherwise.

A file that somebody edited, or that a disk gave back otherwise, must not be judged as if it had been measured. The
rows of 64 nodes are read in a second or two, so what they hold is asked of all their values at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import chain
from typing import Any

from bench.model.collectives import collective
from bench.model.elements import REDUCTIONS, UnknownName, element
from bench.model.measurement import Apart, Case, Measurement, Mismatch, Window
from bench.model.timings import LONGEST, Blocks, Seconds
from bench.model.typed_json import Misfit, load, shown

from .files import IMPORTED
from .names import check_case, check_line, check_phase, check_run
from .run import Loss, Manifest, Phase, Plan, Refusal

NUMBERS = frozenset((int, float))
COUNTS = frozenset((int,))
MAYBE_COUNTS = frozenset((int, type(None)))
WHEN = ("before", "after")
MOST = 1 << 63  # of bytes, elements, calls or seconds: more fits in no counter
YEAR_5000 = 1e11  # seconds since 1970, nearly: no clock is set so


@dataclass(frozen=True)
class Job:
    """What lines are held against: the ranks of the run, and whether other tools measured it, who tell less."""

    ranks: frozenset[int]
    imported: bool = False


def job(manifest: Manifest) -> Job:
    return Job(frozenset(rank.rank for rank in manifest.ranks), manifest.launcher == IMPORTED)


@dataclass(frozen=True)
class _Settings:
    """Of what was asked for, the words that are read again; see ``acceptance`` and ``interchange``."""

    pid: int = 1
    precision: float = 0.0
    budget: float = 0.0
    iterations: int | None = 0
    repetitions: int = 0
    hang: float = 0.0
    resumed: int = 0
    worker_environment: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    layout: str = ""


def manifest(row: Mapping[str, Any]) -> Manifest:
    """What was asked for and where it ran."""
    found: Manifest = load(Manifest, row, "manifest")
    settings: _Settings = load(_Settings, found.settings, "manifest.settings")
    for name in ("pid", "precision", "budget", "iterations", "repetitions", "hang", "resumed"):
        _at_least(0, getattr(settings, name) or 0, f"manifest.settings.{name}")
    _time(found.started, "manifest.started")
    check_run(found.id, "manifest.id")
    _all_apart([rank.rank for rank in found.ranks], "manifest.ranks")
    if not found.ranks:
        raise Misfit("manifest.ranks: [] where one rank at least was wanted")
    for place, rank in enumerate(found.ranks):
        _at_least(0, rank.rank, f"manifest.ranks[{place}].rank")
        _at_least(0, rank.local_rank, f"manifest.ranks[{place}].local_rank")
    places = {(rank.node, rank.local_rank) for rank in found.ranks}
    if len(places) < len(found.ranks):
        raise Misfit("manifest.ranks: two ranks at the same place of one node")
    return found


@dataclass(frozen=True)
class _Plan:
    phases: tuple[_Phase, ...]
    refused: tuple[Refusal, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Phase:
    name: str
    title: str
    cases: tuple[Any, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def plan(row: Mapping[str, Any], of: Job) -> Plan:
    """What was to be measured."""
    found: _Plan = load(_Plan, row, "plan")
    phases = []
    for number, phase in enumerate(found.phases):
        place = f"plan.phases[{number}]"
        check_phase(phase.name, f"{place}.name")
        _at_least(0, phase.seconds, f"{place}.seconds")
        cases = tuple(_case(case, of, f"{place}.cases[{at}]") for at, case in enumerate(phase.cases))
        phases.append(Phase(**{**phase.__dict__, "cases": cases}))
    for number, refused in enumerate(found.refused):
        _at_least(0, refused.needed, f"plan.refused[{number}].needed")
        _at_least(0, refused.available, f"plan.refused[{number}].available")
    _all_apart([case.id for phase in phases for case in phase.cases], "plan.phases: ids of cases")
    return Plan(tuple(phases), found.refused, found.skipped)


@dataclass(frozen=True)
class _Case:
    """As ``Case``, with the groups left for those who look at all of them at once."""

    id: str
    phase: str
    collective: str
    size: int
    count: int
    groups: tuple[Any, ...]
    dtype: str = "float32"
    op: str = "none"
    root: int = -1
    placement: str = "out"
    algorithm: str = "auto"
    rail: str = ""


def _case(row: object, of: Job, place: str) -> Case:
    found: _Case = load(_Case, row, place)
    check_case(found.id, f"{place}.id")
    check_phase(found.phase, f"{place}.phase")
    if set(map(type, found.groups)) - {list, tuple} or not all(found.groups):
        raise Misfit(f"{place}.groups: {shown(found.groups)} where lists of ranks were wanted")
    members = list(chain.from_iterable(found.groups))
    if not {*map(type, members)} <= COUNTS or not of.ranks.issuperset(members):
        raise Misfit(f"{place}.groups: {shown(found.groups)} where ranks of the run were wanted")
    _all_apart(members, f"{place}.groups")
    _at_least(0, found.size, f"{place}.size")
    _at_least(0, found.count, f"{place}.count")
    _at_least(-1, found.root, f"{place}.root")
    for name, known in (("dtype", element), ("collective", collective)):
        try:
            known(getattr(found, name))
        except UnknownName as error:
            raise Misfit(f"{place}.{name}: {error}") from None
    if found.op not in ("none", *REDUCTIONS):
        raise Misfit(f"{place}.op: {shown(found.op)} where one of {', '.join(REDUCTIONS)} was wanted")
    if found.placement not in ("out", "in"):
        raise Misfit(f"{place}.placement: {shown(found.placement)} where out or in was wanted")
    return Case(**{**found.__dict__, "groups": tuple(map(tuple, found.groups))})


def measurement(row: dict[str, Any], of: Job) -> Measurement:
    """What the clocks said, with the times of as many ranks as it names."""
    try:
        found = Measurement.from_json(row)
        odd = _odd(found, of)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        odd = _unreadable(row)
    if odd:
        name, _, wanted = odd.partition(": ")
        raise Misfit(f"{name}: {shown(row.get(name))} where {wanted} wanted" if wanted in WANTED else odd)
    return found


def impossible(row: Measurement) -> str:
    """What of a measurement cannot be, such as ``isolated: (0.0,) where seconds above 0 …``; "" when all can."""
    of = Job(frozenset(row.ranks), imported=True)
    try:
        odd = _odd(replace(row, pipelined=Blocks(row.pipelined), isolated=Seconds(row.isolated)), of)
    except (TypeError, ValueError, OverflowError) as error:
        return str(error)
    name, _, wanted = odd.partition(": ")
    return f"{name}: {shown(getattr(row, name))} where {wanted} wanted" if wanted in WANTED else odd


def _odd(row: Measurement, of: Job) -> str:
    return _odd_times(row, of) or _odd_counts(row, of) or _odd_rest(row)


RANKS = "ranks of the run, each once, were"
TIMES = "seconds above 0, of one rank or a list of each block's ranks, were"
COUNT, EACH, TEXT, TIME = "a count was", "a count for each rank was", "a text was", "a time was"
WANTED = frozenset((RANKS, TIMES, COUNT, EACH, TEXT, TIME))


def _odd_times(row: Measurement, of: Job) -> str:
    n, blocks = len(row.ranks), row.pipelined
    assert isinstance(blocks, Blocks) and isinstance(row.isolated, Seconds)
    if not (n and of.ranks.issuperset(row.ranks) and len({*row.ranks}) == n):
        return f"ranks: {RANKS}"
    # other tools tell one time for all ranks
    if not (blocks.possible and (blocks.width in (0, n) or (of.imported and blocks.width == 1))):
        return f"pipelined: {TIMES}"
    return "" if row.isolated.possible else f"isolated: {TIMES}"


def _odd_counts(row: Measurement, of: Job) -> str:
    n = len(row.ranks)
    if (
        type(row.calls) is not int
        or not (1 if len(row.pipelined) and not of.imported else 0) <= row.calls < MOST
    ):
        return f"calls: {COUNT}"
    counted = [count for count in row.wrong if count is not None]
    if counted and not ({*map(type, counted)} == COUNTS and min(counted) >= 0):
        return f"wrong: {EACH}"
    if len(row.wrong) != n and not (of.imported and len(row.wrong) < 2):
        return f"wrong: {EACH}"
    return "" if row.apart is None or _fits(row.apart, n) else f"apart: {EACH}"


def _fits(apart: Apart, n: int) -> bool:
    """Whether each of its six is told of ``n`` ranks: counts, and seconds that are 0 where there were none."""
    counts = chain(apart.short, apart.shortest, apart.long, apart.longest)
    seconds = (*apart.short_by, *apart.long_by)
    return (
        {len(getattr(apart, name)) for name in Apart.__dataclass_fields__} == {n}
        and all(type(count) is int and 0 <= count < MOST for count in counts)
        and all(type(value) in NUMBERS and 0 <= value < LONGEST for value in seconds)
    )


def _odd_rest(row: Measurement) -> str:
    for name, count in (("checked", row.checked), ("warmup", row.warmup)):
        if type(count) is not int or not 0 <= count < MOST:
            return f"{name}: {COUNT}"
    for name, time in (("started", row.started), ("ended", row.ended)):
        if type(time) not in NUMBERS or not 0 <= time < YEAR_5000:
            return f"{name}: {TIME}"
    if type(row.case) is not str or type(row.stop) is not str:
        return f"{'case' if type(row.case) is not str else 'stop'}: {TEXT}"
    if type(row.width) not in NUMBERS or not row.width >= -1:
        return f"width: {COUNT}"
    return _odd_extra(row.extra) if row.extra or type(row.extra) is not dict else ""


def _odd_extra(extra: object) -> str:
    if type(extra) is not dict:
        return "extra: what such a case tells beside was wanted"
    again = extra.get("retransmits", [])
    if not isinstance(again, list) or not {*map(type, again)} <= MAYBE_COUNTS:
        return f"extra.retransmits: {shown(again)} where counts were wanted"
    for name in ("failed", "rail", "stage", "source", "nccl"):
        if not isinstance(extra.get(name, ""), str):
            return f"extra.{name}: {shown(extra[name])} where a text was wanted"
    return ""


def _unreadable(row: Mapping[str, Any]) -> str:
    """Which field cannot be read at all."""
    for each in fields(Measurement):
        if each.name not in row and each.default is MISSING is each.default_factory:
            return f"{each.name}: is missing"
    for name in row:
        if name not in Measurement.__dataclass_fields__ and name != "last":
            return f"{name}: no field of a measurement"
    for name, (make, wanted) in READ.items():
        try:
            make(row.get(name))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return f"{name}: {wanted}"
    return f"ranks: {RANKS}"


def _mismatches(rows: Any) -> tuple[Mismatch, ...]:
    return tuple([Mismatch(**item) for item in rows])


def _apart(row: Any) -> Apart | None:
    return Apart.from_json(row) if row else None


READ: dict[str, tuple[Callable[[Any], object], str]] = {
    "ranks": (frozenset, RANKS),
    "pipelined": (Blocks, TIMES),
    "isolated": (Seconds, TIMES),
    "wrong": (tuple, EACH),
    "mismatches": (_mismatches, COUNT),
    "apart": (_apart, EACH),
}


def window(row: Mapping[str, Any], of: Job) -> Window:
    """A part of a steady load."""
    found: Window = load(Window, row, "window")
    for name in ("slowest", "isolated", "ended"):
        if not 0 < getattr(found, name) < LONGEST:
            raise Misfit(f"{name}: {shown(getattr(found, name))} where seconds above 0 were wanted")
    if not all(0 < value < LONGEST for value in found.seconds):
        raise Misfit(f"seconds: {shown(found.seconds)} where seconds above 0 were wanted")
    if found.ranks and not (len(found.ranks) == len(found.seconds) == len(found.wrong)):
        raise Misfit(f"ranks: {shown(found.ranks)} where as many as seconds and wrong were wanted")
    if not of.ranks.issuperset(found.ranks):
        raise Misfit(f"ranks: {shown(found.ranks)} where ranks of the run were wanted")
    _at_least(1, found.calls, "calls")
    _at_least(0, found.checked, "checked")
    for count in found.wrong:
        _at_least(0, count or 0, "wrong")
    return found


@dataclass(frozen=True)
class _Phased:
    name: str
    state: str


@dataclass(frozen=True)
class _Joined:
    phase: str
    ranks: int
    seconds: Mapping[str, Any]
    versions: Any = None


@dataclass(frozen=True)
class _Torn:
    file: str
    number: int


@dataclass(frozen=True)
class _Note:
    text: str


@dataclass(frozen=True)
class _Timed:
    time: float


LINES: dict[str, type] = {
    "phase": _Phased,
    "joined": _Joined,
    "torn": _Torn,
    "note": _Note,
    "loss": Loss,
    "end": _Timed,
}


def line(row: dict[str, Any], of: Job) -> dict[str, Any]:
    """A line of the journal that is no measurement; of kinds that are not read here it may hold anything."""
    kind = row.get("kind")
    if not isinstance(kind, str):
        raise Misfit("kind: is missing" if kind is None else f"kind: {shown(kind)} where a text was wanted")
    if kind == "window":
        return {"kind": kind, "row": window(row, of)}
    if kind in LINES:
        load(LINES[kind], row, kind)
        check_line({"phase": row["name"]} if kind == "phase" else row)
    if kind == "end":
        _time(row["time"], "time")
    return row


def counters(row: Mapping[str, Any]) -> None:
    """The counters of all nodes, before or after a phase."""
    check_phase(row.get("phase"), "phase")
    if row.get("when") not in WHEN:
        raise Misfit(f"when: {shown(row.get('when'))} where before or after was wanted")
    shots = row.get("snapshots")
    if not isinstance(shots, list):
        raise Misfit(f"snapshots: {shown(shots)} where a list was wanted")
    for number, shot in enumerate(shots):
        for place, value, wanted in _unsound(shot):
            raise Misfit(f"snapshots[{number}]{place}: {shown(value)} where {wanted} was wanted")


def _unsound(shot: Any) -> Iterator[tuple[str, object, str]]:
    if not isinstance(shot, dict):
        yield "", shot, "an object"
        return
    for name in ("time", "monotonic"):
        value = shot.get(name)
        if value is None or type(value) not in NUMBERS or not 0 <= value < math.inf:
            yield f".{name}", value, "a time"
    readings = shot.get("readings")
    if not isinstance(readings, dict):
        yield ".readings", readings, "an object"
        return
    for subject, groups in readings.items():
        if not isinstance(groups, dict):
            yield f".readings.{subject}", groups, "an object"
            continue
        for group, values in groups.items():
            if not isinstance(values, dict):
                yield f".readings.{subject}.{group}", values, "an object"
            elif not {*map(type, values.values())} <= COUNTS or (values and min(values.values()) < 0):
                name, value = next(each for each in values.items() if type(each[1]) is not int or each[1] < 0)
                yield f".readings.{subject}.{group}.{name}", value, "a count"


@dataclass(frozen=True)
class _Spell:
    case: str
    begun: float
    samples: int
    silent: int
    clock_sm: tuple[float, ...]
    clock_memory: tuple[float, ...]
    temperature: tuple[float, ...]
    power: tuple[float, ...]
    reasons: Mapping[str, int]
    changes: tuple[tuple[float, tuple[str, ...]], ...]


@dataclass(frozen=True)
class _Health:
    """See ``bench.supervise.monitor``: what a supervisor saw beside its worker."""

    phase: str
    rank: int
    gpu: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[_Spell, ...] = ()
    note: str = ""
    memory: tuple[tuple[float, ...], ...] = ()
    errors: tuple[tuple[float, str, int], ...] = ()
    looks: int = 0
    followed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def health(row: Mapping[str, Any], of: Job) -> None:
    """What a supervisor saw beside its worker."""
    found: _Health = load(_Health, row, "health")
    check_line(row)
    if found.rank not in of.ranks:
        raise Misfit(f"rank: {found.rank} where a rank of the run was wanted")


@dataclass(frozen=True)
class _Tool:
    node: str
    version: str
    knows: tuple[str, ...]
    missing: str


@dataclass(frozen=True)
class _Side:
    node: str
    hca: str
    number: int
    numa: int | None = None
    gpu: str = ""
    gpu_address: str = ""
    dmabuf: bool = False


@dataclass(frozen=True)
class _Ended:
    words: tuple[str, ...]
    code: int | None
    text: str


@dataclass(frozen=True)
class _Transfer:
    round: int
    sender: _Side
    receiver: _Side
    server: _Ended
    client: _Ended | None
    again: bool


@dataclass(frozen=True)
class _Left:
    why: str


VERBS_LINES: dict[str, type] = {"tool": _Tool, "transfer": _Transfer, "left": _Left}


def verbs(row: Mapping[str, Any]) -> None:
    """What perftest said; see ``bench.measure.perftest.record``."""
    kind = row.get("kind")
    if not isinstance(kind, str):
        raise Misfit("kind: is missing" if kind is None else f"kind: {shown(kind)} where a text was wanted")
    if kind in VERBS_LINES:
        load(VERBS_LINES[kind], row, kind)


def _at_least(least: int, value: float, place: str) -> None:
    if not least <= value < MOST:
        raise Misfit(f"{place}: {shown(value)} where {least} at least was wanted")


def _time(value: float, place: str) -> None:
    if not 0 <= value < YEAR_5000:
        raise Misfit(f"{place}: {shown(value)} where a time was wanted")


def _all_apart(values: Collection[object], place: str) -> None:
    if len(set(values)) < len(values):
        raise Misfit(f"{place}: the same twice")
