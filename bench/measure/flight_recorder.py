"""Reads torch's flight recorder: which collective each rank entered last, and whether it completed.

torch has two, and what is in one is not in the other. NCCL's own holds every call of ProcessGroupNCCL:
``_dump_nccl_trace_json``, and pickled ``_dump_nccl_trace``. The generic one holds gloo's: ``_dump_fr_trace_json``
(2.8), on a machine with NCCL as well, where it is empty. Both stand in ``torch._C._distributed_c10d``. Source:
torch/csrc/distributed/c10d, FlightRecorder.hpp and FlightRecorderDetail.hpp, and dumps of torch 2.4.1 (version 2.1),
2.7.1 (2.4) and 2.11.0 (2.10).
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.model.late_dataclass import dataclass, field, replace
from bench.model.run_folder_lines import RecordedCall

LONGEST = 1 << 26  # bytes of a dump that are looked at: 2000 entries take about 2 MB
# how many calls are kept, newest name first; torch reads it when the first process group is made
SIZES = ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE")
SIZE = "2000"  # torch's own where the recorder is on by default; 0, off, where it is not
# (backend or "" for any, JSON, pickle): the recorders of torch, the backend's own first
RECORDERS = (
    ("nccl", "_dump_nccl_trace_json", "_dump_nccl_trace"),
    ("", "_dump_fr_trace_json", "_dump_fr_trace"),
)
_MESSAGE = re.compile(r"(send|recv) (\d{1,9})(->|<-)(\d{1,9})")


@dataclass(frozen=True)
class Flight:
    """What one rank's recorder holds, of collectives and of messages apart: each group's newest call, and its oldest
    that is not over.

    On a GPU the host runs ahead: what was entered last is the host's, what is not over is the GPU's.

    last    in the order in which they were entered
    groups  group -> the ranks of the job in it, where torch recorded them
    """

    last: tuple[RecordedCall, ...] = ()
    open: tuple[RecordedCall, ...] = ()
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def and_of(self, other: Flight) -> Flight:
        """Merge two recordings; this one's calls count where both know a group."""
        known = {call.group for call in self.last}
        return Flight(
            self.last + tuple(call for call in other.last if call.group not in known),
            self.open + tuple(call for call in other.open if call.group not in known),
            {**other.groups, **self.groups},
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
            return parse(_dump(dump, name.endswith("_json")))
        except (OSError, ValueError, TypeError, RuntimeError):
            continue  # evidence beside the heartbeat, which goes on
    return Flight()


def _dump(dump: Callable[..., bytes], plain: bool) -> bytes:
    """Request a dump without stacks, which are slow to collect."""
    return dump(includeCollectives=True, onlyActive=False, **({} if plain else {"includeStackTraces": False}))


def parse(dump: bytes | str) -> Flight:
    """Parse a dump, JSON or pickle, into each group's newest calls and its oldest open ones. Raises NotAFlight."""
    data = _data(dump[:LONGEST])
    rows = data.get("entries", []) if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(rows, list):
        raise NotAFlight("it has no list of entries")
    try:
        groups = {name: tuple(json.loads(each["ranks"])) for name, each in data.get("pg_config", {}).items()}
        calls = _calls(rows, groups)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise NotAFlight(f"an entry is not understood: {error!r}") from error
    newest: dict[tuple[str, bool], RecordedCall] = {}
    oldest: dict[tuple[str, bool], RecordedCall] = {}
    for call in calls:
        key = call.group, bool(call.peers)
        newest.pop(key, None)  # so that the newest of all is the last
        newest[key] = call
        if not call.done:
            oldest.setdefault(key, call)
    return Flight(tuple(newest.values()), tuple(oldest.values()), groups)


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


def _calls(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[int]]) -> list[RecordedCall]:
    """The calls of a dump, oldest first.

    Messages that start together are one call: each has an entry that stays "scheduled" for ever, and the entry
    ``coalesced`` that follows them with their number, which torch does not mark as point-to-point, is their end.
    Before torch 2.5 a message is counted as a collective, so that collectives of its group are counted on no two
    ranks alike: their number is 0, which is compared with nothing.
    """
    calls: list[RecordedCall] = []
    uncounted = {row["process_group"][0] for row in rows if row["is_p2p"] and not row["p2p_seq_id"]}
    for row in rows:
        call = _call(row, groups)
        parts: list[RecordedCall] = []
        if call.name == "coalesced":
            number = row["p2p_seq_id"] or row["collective_seq_id"]
            while calls and calls[-1].peers and (calls[-1].group, calls[-1].number) == (call.group, number):
                parts.insert(0, calls.pop())
            if not parts:  # older than what the recorder keeps
                continue
            peers = tuple(sorted({peer for part in parts for peer in part.peers}))
            call = replace(parts[0], name=", ".join(part.name for part in parts), peers=peers, done=call.done)
        elif not call.peers and call.group in uncounted:
            call = replace(call, number=0)
        calls.append(call)
    return calls


def _call(row: Mapping[str, Any], groups: Mapping[str, Sequence[int]]) -> RecordedCall:
    name, group = str(row["profiling_name"]), str(row["process_group"][0])
    # of NCCL's, one that is retired and not completed ran into its time limit; gloo's are never completed
    done = row["state"] == "completed" or (bool(row["retired"]) and not name.startswith("nccl:"))
    name = name.rpartition(":")[2]
    if not row["is_p2p"]:
        return RecordedCall(group, int(row["collective_seq_id"]), name, done)
    found = _MESSAGE.fullmatch(name)
    if not found:
        raise ValueError(f"the send or receive {name!r} names no ranks")
    # torch numbers ranks within the group
    rank, peer = (groups[group][int(each)] if group in groups else int(each) for each in found.group(2, 4))
    number = int(row["p2p_seq_id"] or row["collective_seq_id"])
    return RecordedCall(group, number, f"{found[1]} {rank}{found[3]}{peer}", done, (peer,))
