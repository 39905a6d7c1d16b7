"""Which ranks wait in a call that others have not entered, read from the dumps of torch's flight recorders."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bench.measure.flight_recorder import Flight
from bench.model.late_dataclass import dataclass, replace
from bench.model.printable import ranges
from bench.model.run_folder_lines import RecordedCall
from bench.model.units import show_some


@dataclass(frozen=True)
class Wait:
    """A call that is not over on the ranks ``waiting``. ``absent`` have not entered it; of ``unknown`` none can say."""

    call: RecordedCall
    waiting: frozenset[int]
    absent: frozenset[int]
    unknown: frozenset[int]


def describe_waits(flights: Mapping[int, Flight], silent: Collection[int] = ()) -> str:
    """``rank 5 has not entered all_reduce 13, in which ranks 0, 4 wait (its last call was all_reduce 12)``; "" where
    no call is open.

    Of the calls that ranks wait in, those are named that lack a rank which waits nowhere itself; where no such rank
    is, those that all have entered. ``silent``: ranks whose recorder said nothing.
    """
    waits = [*_exchanges(flights), *_collectives(flights, silent)]
    busy = frozenset(rank for wait in waits for rank in wait.waiting)
    lacking = [replace(wait, absent=wait.absent - busy) for wait in waits if wait.absent - busy]
    causes = lacking or [wait for wait in waits if not wait.absent] or waits
    text = show_some([_text(wait, flights) for wait in causes], separator="; ")
    return text + (f"; nothing is recorded of {_ranks(silent)}" if text and silent else "")


def _text(wait: Wait, flights: Mapping[int, Flight]) -> str:
    waiting, name = wait.waiting, wait.call.text
    if wait.absent:
        text = f"{_ranks(wait.absent, 'has', 'have')} not entered {name}, in which {_ranks(waiting, 'waits', 'wait')}"
        last = {call.text for rank in wait.absent for call in flights[rank].last[-1:]}
        whose = "its" if len(wait.absent) == 1 else "their"
        return f"{text} ({whose} last call was {last.pop()})" if len(last) == 1 else text
    if wait.unknown or not wait.call.number:
        return f"{_ranks(waiting, 'waits', 'wait')} in {name}"
    return f"all ranks have entered {name}; it is not over on {_ranks(waiting)}"


def _ranks(ranks: Collection[int], one: str = "", many: str = "") -> str:
    return f"rank{'s' * (len(ranks) > 1)} {ranges(sorted(ranks))} {one if len(ranks) == 1 else many}".strip()


def _exchanges(flights: Mapping[int, Flight]) -> Iterator[Wait]:
    """Messages. Each rank counts its own, so that numbers tell nothing: a peer that waits for this rank in turn is in
    the exchange, one that waits nowhere is not, and one that waits elsewhere may have been.
    """
    for rank, flight in flights.items():
        for call in flight.open:
            peers = {peer: flights[peer].open for peer in call.peers if peer in flights}
            absent = {peer for peer, waits in peers.items() if not waits}
            inside = {peer for peer, waits in peers.items() if any(rank in each.peers for each in waits)}
            if call.peers:
                unknown = frozenset(call.peers) - inside - absent
                yield Wait(call, frozenset([rank]), frozenset(absent), unknown)


def _collectives(flights: Mapping[int, Flight], silent: Collection[int]) -> Iterator[Wait]:
    """The first collective of each group that is open somewhere.

    Of one without a number it is known who waits in it, and of no other rank whether it has entered.
    """
    groups = {name: ranks for flight in flights.values() for name, ranks in flight.groups.items()}
    for group in sorted({call.group for flight in flights.values() for call in flight.open}):
        newest, oldest = ({
            rank: call
            for rank, flight in flights.items()
            for call in getattr(flight, kind)
            if call.group == group and not call.peers
        } for kind in ("last", "open"))  # fmt: skip
        if not oldest:
            continue
        members = frozenset(groups.get(group, {*newest, *silent}))
        if not all(call.number for call in newest.values()):
            for call in dict.fromkeys(replace(call, number=0) for call in oldest.values()):
                waits = frozenset(rank for rank, own in oldest.items() if own.name == call.name)
                yield Wait(call, waits, frozenset(), members - waits)
            continue
        first = min(oldest.values(), key=lambda call: call.number)
        behind = {rank for rank in newest if newest[rank].number < first.number}
        absent = behind | (members & flights.keys()) - newest.keys()
        waiting = [rank for rank, call in oldest.items() if call.number == first.number]
        yield Wait(first, frozenset(waiting), frozenset(absent), members & frozenset(silent))
