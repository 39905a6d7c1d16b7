"""What stands in a frame: messages, each behind the number of the rank that sent it or is to receive it.

Pure: bytes in, bytes out, no socket.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec

from .sealed_frames import LONGEST

Message = dict[str, Any]

HEAD = struct.Struct("!IBI")
"""Before each message: the rank that sent it or is to receive it, its kind, its bytes."""
LONGEST_MESSAGE = LONGEST - (1 << 10)
"""The most bytes of a message with its head: room is left for what the stream of each node on its way adds."""
MESSAGE, BEAT, ROW, SEALED = range(4)
"""Kinds: a message in JSON; a heartbeat, which may wait; a row, of a worker; what a ResumableStream sealed."""


def framed(rank: int, message: Message) -> bytes:
    """A message of or for a rank, as it stands in a frame. Raises ValueError for one that is too long."""
    said = message.get("said", "")
    text = message["row"] if said == "row" else json.dumps(message).encode()
    if HEAD.size + len(text) > LONGEST_MESSAGE:
        raise ValueError(f"a message of {len(text)} bytes, at most {LONGEST_MESSAGE - HEAD.size} can be sent")
    return HEAD.pack(rank, {"beat": BEAT, "row": ROW}.get(said, MESSAGE), len(text)) + text


def messages_in(frame: bytes) -> list[tuple[int, int, bytes]]:
    """(rank, kind, text) of the messages of a frame. Raises ValueError."""
    found, at = [], 0
    while at < len(frame):
        try:
            rank, kind, length = HEAD.unpack_from(frame, at)
        except struct.error as error:
            raise ValueError(str(error)) from None
        at += HEAD.size + length
        found.append((rank, kind, frame[at - length : at]))
    if at != len(frame):
        raise ValueError(f"a message ends {at - len(frame)} bytes behind its frame")
    return found


def parsed(payload: bytes) -> Any:
    """JSON, also with ``NaN``, which a row may hold: it is read as such, and not as ``null``."""
    try:
        return msgspec.json.decode(payload)  # in a third of the time
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(payload)
