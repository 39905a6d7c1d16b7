"""What supervisors say to rank 0, as classes: whoever has the token may be of another version, broken, or lying.

A message that does not fit ends the run for its sender, as if its connection had broken, and never rank 0. A rank
speaks for itself: it reports groups of its own, and the port of the store comes from the rank that opens it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.measure.flight_recorder import Flight
from bench.measure.perftest.processes import PortNumber
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Measurement, Rank, Window
from bench.model.run_folder_lines import HealthLine, WorkerGpu
from bench.model.typed_json import Count, Duration, Misfit, decode_strictly, load
from bench.model.units import show_some
from bench.probe.link_bytes import LinkBytes

from .hangs.rank_state import Cases


@dataclass(frozen=True)
class Beat:
    """A heartbeat: where the worker is, how old that is, the state of its process, and the rails of its node."""

    case: str
    stage: str
    calls: Count
    age: Duration | None = None
    state: str = ""
    links: Mapping[str, tuple[Duration, bool | None]] = field(default_factory=dict)
    rails: Mapping[str, LinkBytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    status: int
    words: str
    log: str
    health: dict[str, Any] | None


@dataclass(frozen=True)
class Health:
    health: dict[str, Any]


@dataclass(frozen=True)
class FromWorker:
    heard: dict[str, Any]


@dataclass(frozen=True)
class Store:
    port: PortNumber


@dataclass(frozen=True)
class Ready:
    seconds: Mapping[str, Duration]
    versions: Mapping[str, str]
    gpu: WorkerGpu | None
    plan: str


@dataclass(frozen=True)
class WorkerFailure:
    error: str
    text: str
    at: Beat


SAID: dict[str, Any] = {"beat": Beat, "ended": Ended, "health": Health, "worker": FromWorker}
HEARD: dict[str, Any] = {
    "store": Store, "ready": Ready, "failed": WorkerFailure, "flight": Flight,
}  # fmt: skip


def check(message: Mapping[str, Any]) -> None:
    """Raise Misfit for a message that no supervisor sends. One of an unknown kind is nobody's concern.

    Measurements and windows are checked where they are read, ``measurement_of`` and ``window_of``.
    """
    kind = SAID.get(message["said"])
    if kind is None:
        return
    load(kind, message)
    if message.get("health"):
        load(HealthLine, message["health"] | {"phase": "any", "rank": 0})
    if kind is FromWorker:
        heard = message["heard"]
        if not isinstance(heard.get("kind"), str):
            raise Misfit("heard.kind: is no text")
        if heard["kind"] in HEARD:
            load(HEARD[heard["kind"]], heard)


def window_of(heard: Mapping[str, Any], source: int, ranks: Sequence[Rank], cases: Cases) -> Window:
    """A window that ``source`` reports, its ranks by the numbers of the run. Raises Misfit where it is not its own."""
    window = load(Window, heard)
    return replace(window, ranks=_own_group(window.case, window.ranks, source, ranks, cases))


def measurement_of(
    text: object, source: int, ranks: Sequence[Rank], cases: Cases
) -> tuple[Measurement, bytes]:
    """A measurement that ``source`` reports in JSON, its ranks by the numbers of the run; and that JSON where it can
    stand in the journal as it is, else b"". Raises Misfit where it is not its own.
    """
    if not isinstance(text, bytes):
        raise Misfit("a row is no text")
    strict = decode_strictly(Measurement, text)
    row = strict or load(Measurement, _lenient(text))
    members = _own_group(row.case, row.ranks, source, ranks, cases)
    wrong = row.mismatches and tuple(replace(each, rank=_number(each.rank, ranks)) for each in row.mismatches)
    if (members, wrong) != (row.ranks, row.mismatches):
        return replace(row, ranks=members, mismatches=wrong), b""
    # what ends a line, and a second kind, also in disguise, would make something else of it
    odd = not strict or b"\n" in text or b"\r" in text or b"\\" in text or b'"kind"' in text
    return row, b"" if odd else text


def _lenient(text: bytes) -> object:
    """JSON with NaN, of which the recorder says what it makes. Raises Misfit."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Misfit("a row is not JSON") from None


def _own_group(
    case: str, places: Sequence[int], source: int, ranks: Sequence[Rank], cases: Cases
) -> tuple[int, ...]:
    """The run's numbers of the ranks that a worker counts as ``places`` of its case."""
    if max(places, default=0) >= len(ranks):
        raise Misfit(f"it reports rank {max(places)} of {len(ranks)}")
    members = tuple([ranks[at].rank for at in places])
    if case not in cases or members not in cases[case][1].groups or source not in members:
        raise Misfit(f"it reports {case} on ranks {show_some(map(str, members), 8)}, which is not its own")
    return members


def _number(at: int, ranks: Sequence[Rank]) -> int:
    if at >= len(ranks):
        raise Misfit(f"it reports rank {at} of {len(ranks)}")
    return ranks[at].rank
