"""torch's flight recorder: which collective each rank entered last, and whether it came out. Pure.

Source: torch.distributed, ``torch._C._distributed_c10d._dump_fr_trace_json`` (``_dump_nccl_trace_json`` before
2.8), version 2.x of its JSON. It records for gloo as for NCCL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST = 1 << 22  # bytes of a dump that are looked at


@dataclass(frozen=True)
class Entry:
    """One collective or message of a rank: its number among its group's, its name, whether it is over."""

    group: str
    number: int
    name: str
    done: bool

    @property
    def text(self) -> str:
        """``all_reduce 6``."""
        return f"{self.name} {self.number}"


@dataclass(frozen=True)
class Flight:
    """What one rank's recorder holds: of each group the newest entry."""

    last: tuple[Entry, ...] = ()
    version: str = ""

    def of(self, group: str) -> Entry | None:
        return next((entry for entry in self.last if entry.group == group), None)


class NotAFlight(ValueError):
    """A text that is no dump of the flight recorder; the message says why."""


def parse(text: str) -> Flight:
    """The newest entry of each process group in a dump; NotAFlight where it is none."""
    try:
        data = json.loads(text[:LONGEST])
    except (ValueError, RecursionError) as error:
        raise NotAFlight(f"no JSON: {error}") from error
    entries = data.get("entries", []) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise NotAFlight("it has no list of entries")
    newest: dict[str, tuple[int, Entry]] = {}
    for row in entries:
        place, entry = _entry(row)
        if place >= newest.get(entry.group, (-1, entry))[0]:
            newest[entry.group] = place, entry
    return Flight(tuple(entry for _, entry in newest.values()), str(data.get("version", "")))


def _entry(row: object) -> tuple[int, Entry]:
    try:
        assert isinstance(row, dict)
        group, name = row["process_group"], str(row["profiling_name"])
        number = row["p2p_seq_id"] if row.get("is_p2p") else row["collective_seq_id"]
        done = bool(row["retired"]) or row["state"] == "completed"
        named = str(group[0]) if isinstance(group, list) and group else str(group)
        return int(row["record_id"]), Entry(named, int(number), name.rpartition(":")[2], done)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise NotAFlight(f"an entry is not understood: {error!r}") from error


def behind(flights: Mapping[int, Flight]) -> str:
    """``rank 5 has entered all_reduce 12, the others all_reduce 13`` of the first group in which ranks differ; ""."""
    for group in sorted({entry.group for flight in flights.values() for entry in flight.last}):
        newest = {rank: entry for rank, flight in flights.items() if (entry := flight.of(group))}
        most = max(newest.values(), key=lambda entry: entry.number)
        late = {rank: entry for rank, entry in newest.items() if entry.number < most.number}
        if late:
            ranks = ", ".join(str(rank) for rank in sorted(late)[:8])
            least = min(late.values(), key=lambda entry: entry.number)
            return f"rank {ranks} entered {least.text} last, the others {most.text}"
        if not all(entry.done for entry in newest.values()):
            out = sorted(rank for rank, entry in newest.items() if entry.done)
            said = f", rank {', '.join(map(str, out[:8]))} came out of it" if out else ""
            return f"all have entered {most.text}{said}"
    return ""
