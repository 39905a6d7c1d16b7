"""Reads torch's flight recorder: which collective each rank entered last, and whether it completed.

torch has two, and what is in one is not in the other. NCCL's own holds every call of ProcessGroupNCCL:
``_dump_nccl_trace_json`` (2.5), before that the pickled ``_dump_nccl_trace``. The generic one holds gloo's:
``_dump_fr_trace_json`` (2.8), on a machine with NCCL as well, where it is empty. Both stand in
``torch._C._distributed_c10d``. Source: torch/csrc/distributed/c10d, TraceUtils.h, FlightRecorder.hpp and
FlightRecorderDetail.hpp; versions 1.1 (torch 2.2) to 2.10 (torch 2.13) of the dump.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from bench.model.lines import RecordedCall
from bench.model.units import show_some

LONGEST = 1 << 26  # bytes of a dump that are looked at: 2000 entries take about 2 MB
# how many calls are kept, newest name first; torch reads it when the first process group is made
SIZES = ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE")
SIZE = "2000"  # torch's own where the recorder is on by default; 0, off, where it is not
# (backend or "" for any, JSON, pickle): the recorders of torch, the backend's own first
RECORDERS = (
    ("nccl", "_dump_nccl_trace_json", "_dump_nccl_trace"),
    ("", "_dump_fr_trace_json", "_dump_fr_trace"),
)


@dataclass(frozen=True)
class Flight:
    """What one rank's recorder holds: the newest entry of each group, and the oldest that has not completed.

    On a GPU the host runs ahead: what was entered last is the host's, what is not over is the GPU's.
    """

    last: tuple[RecordedCall, ...] = ()
    version: str = ""
    open: tuple[RecordedCall, ...] = ()

    def of(self, group: str) -> RecordedCall | None:
        return next((entry for entry in self.last if entry.group == group), None)

    def open_in(self, group: str) -> RecordedCall | None:
        return next((entry for entry in self.open if entry.group == group), None)

    def and_of(self, other: Flight) -> Flight:
        """Merge two recordings; this one's entry counts where both know a group."""
        known = {entry.group for entry in self.last}
        return Flight(
            self.last + tuple(entry for entry in other.last if entry.group not in known),
            self.version or other.version,
            self.open + tuple(entry for entry in other.open if entry.group not in known),
        )


class NotAFlight(ValueError):
    """Data that is not a flight recorder's dump; the message says why."""


def switched_on(environ: Mapping[str, str], torch: object) -> dict[str, str]:
    """The variables to add so that the recorder is on; none where the user set it, even to 0."""
    if any(name in environ for name in SIZES):
        return {}
    new, old = SIZES
    # who knows the generic recorder knows the new name, and warns of the old one
    return {new if hasattr(torch, RECORDERS[-1][1]) else old: SIZE}


def held(torch: object, backend: str) -> Flight:
    """Read the recorder in ``torch`` (``torch._C._distributed_c10d``) that serves ``backend``.

    The answer of a recorder that fails, or is not there, is that of one that is off.
    """
    found = Flight()
    for of, *names in RECORDERS:
        if of in ("", backend):
            found = found.and_of(_first(torch, names))
    return found


def _first(torch: object, names: Iterable[str]) -> Flight:
    for name in names:
        dump = getattr(torch, name, None)
        if dump is None:
            continue
        try:
            return parse(_asked(dump, name.endswith("_json")))
        except (OSError, ValueError, TypeError, RuntimeError):
            continue  # evidence beside the heartbeat, which goes on
    return Flight()


def _asked(dump: Callable[..., bytes], plain: bool) -> bytes:
    """Request a dump without stacks, which are slow to collect; torch 2.3's pickle takes no arguments."""
    if plain:
        return dump(includeCollectives=True, onlyActive=False)
    try:
        return dump(includeCollectives=True, includeStackTraces=False, onlyActive=False)
    except TypeError:
        return dump()


def parse(dump: bytes | str) -> Flight:
    """Parse a dump, JSON or pickle, into each group's newest entry and its oldest open one. Raises NotAFlight."""
    data = _data(dump[:LONGEST])
    rows = data.get("entries", []) if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(rows, list):
        raise NotAFlight("it has no list of entries")
    # messages that start together have one number, and the entry that ends them is the last with it
    entries: dict[tuple[str, bool, int], tuple[int, RecordedCall]] = {}
    for at, row in enumerate(rows):
        place, entry = _entry(row, at)
        key = entry.group, entry.pair, entry.number
        if place >= entries.get(key, (-1, entry))[0]:
            entries[key] = place, entry
    ordered = [entry for _, entry in sorted(entries.values(), key=lambda each: each[0])]
    newest = {entry.group: entry for entry in ordered}
    oldest = {entry.group: entry for entry in reversed(ordered) if not entry.done}
    return Flight(tuple(newest.values()), str(data.get("version", "")), tuple(oldest.values()))


def _data(dump: bytes | str) -> object:
    if isinstance(dump, bytes) and dump.startswith(b"\x80"):
        try:
            return _Plain(io.BytesIO(dump)).load()
        except Exception as error:  # a broken pickle raises whatever it likes
            raise NotAFlight(f"no pickle: {error!r}") from error
    try:
        return json.loads(dump if isinstance(dump, str) else dump.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise NotAFlight(f"no JSON: {error}") from error


class _Plain(pickle.Unpickler):
    """An unpickler for numbers, texts, lists and dictionaries alone: a hostile pickle could call anything."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _entry(row: object, at: int) -> tuple[int, RecordedCall]:
    """(place, entry). Dumps before 2.0 have one count (``seq_id``), the group as a number, the oldest no place."""
    try:
        assert isinstance(row, dict)
        name, state = str(row["profiling_name"]), row["state"]
        group = row["process_group"] if "process_group" in row else row["pg_id"]
        pair = bool(row["is_p2p"]) if "is_p2p" in row else bool(re.search(r"\b(send|recv)\b", name))
        own = "p2p_seq_id" if pair else "collective_seq_id"
        number = row[own] if own in row else row["seq_id"]
        # of NCCL's, one that is retired and not completed ran into its time limit; gloo's are never completed
        done = state == "completed" or (bool(row["retired"]) and not name.startswith("nccl:"))
        named = str(group[0]) if isinstance(group, (list, tuple)) and group else str(group)
        return int(row.get("record_id", at)), RecordedCall(
            named, int(number), name.rpartition(":")[2], done, pair
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise NotAFlight(f"an entry is not understood: {error!r}") from error


def behind(flights: Mapping[int, Flight], silent: Collection[int] = ()) -> str:
    """``rank 5 entered all_reduce 12 last, the others all_reduce 13`` of the first group in which ranks differ; "".

    ``silent``: ranks whose recorder told nothing, so that what is said holds of the others alone.
    """
    more = f"; rank {_ranks(silent)} told nothing" if silent else ""
    for group in sorted({entry.group for flight in flights.values() for entry in flight.last}):
        newest = {rank: entry for rank, flight in flights.items() if (entry := flight.of(group))}
        waiting = {rank: entry for rank, flight in flights.items() if (entry := flight.open_in(group))}
        pairs = any(entry.pair for entry in newest.values())
        if told := _each(waiting) if pairs else _collectives(newest, waiting, bool(silent)):
            return told + more
    return ""


def _collectives(
    newest: Mapping[int, RecordedCall], waiting: Mapping[int, RecordedCall], partial: bool
) -> str:
    most = max(newest.values(), key=lambda entry: entry.number)
    late = {rank: entry for rank, entry in newest.items() if entry.number < most.number}
    if late:
        least = min(late.values(), key=lambda entry: entry.number)
        return f"rank {_ranks(late)} entered {least.text} last, the others {most.text}"
    if not waiting:
        return ""
    out = [rank for rank in newest if rank not in waiting]
    said = f", rank {_ranks(out)} came out of it" if out else ""
    first = min(waiting.values(), key=lambda entry: entry.number)
    if first.number < most.number:
        still = [rank for rank, entry in waiting.items() if entry.number == first.number]
        who = "all" if len(still) == len(newest) and not partial else f"rank {_ranks(still)}"
        said += f"; not over: {first.text} of {who}"
    return f"{f'rank {_ranks(newest)} entered' if partial else 'all have entered'} {most.text}{said}"


def _each(waiting: Mapping[int, RecordedCall]) -> str:
    """The entries to compare. Point-to-point messages are numbered by each rank separately, so they are left out."""
    told = [f"rank {rank} in {waiting[rank].text}" for rank in sorted(waiting)]
    return f"not over: {show_some(told)}" if told else ""


def _ranks(ranks: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ranks)[:8]))
