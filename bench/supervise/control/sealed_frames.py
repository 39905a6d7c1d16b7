"""What two supervisors say over TCP: proofs that both know the token, then sealed frames.

    joining rank                      rank 0
    HELLO: magic, nonce, rank, size   →
                                      ←  nonce
    proof of the token                →
                                      ←  proof of the token, over both nonces as well
    frames                            ↔  frames

Everything before the second proof has a fixed length: a stranger cannot make us wait for, or hold, more
than 52 bytes. A frame is its length, its bytes and an HMAC-SHA256 over its number and its bytes, under a
key of this connection and this direction: what is forged, altered, repeated, left out, put in another
order or sent back to its sender does not open. Frames are not encrypted: whoever can read the
management network reads what supervisors say, which holds no secret.

Pure: bytes in, bytes out, no socket.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MAGIC = b"railgauge-1\n"
NONCE = PROOF = 32  # bytes
HELLO = struct.Struct("!12s32sII")  # magic, the caller's nonce, its rank, its size
LENGTH = struct.Struct("!I")
LONGEST = 64 << 20  # bytes of one frame: a worker's logs, 4 MiB each at most, as JSON
NUMBER = struct.Struct("!Q")


class Forged(Exception):
    """Bytes that do not come from whom they should: a frame that does not open, a hello that is none."""


@dataclass(frozen=True)
class Call:
    """One connection, as both of its ends know it.

    run      of which job, so that two jobs with one token never mix
    rank     who calls rank 0
    size     ranks of the job, as the caller was told
    theirs   the caller's nonce; ``ours``: rank 0's
    """

    run: str
    rank: int
    size: int
    theirs: bytes
    ours: bytes

    def key(self, token: bytes, use: str) -> bytes:
        """32 bytes that only who knows the token can make, for this connection and this use alone."""
        said = (
            use.encode().ljust(16, b"\0") + self.theirs + self.ours + struct.pack("!II", self.rank, self.size)
        )
        return hmac.digest(token, said + self.run.encode(), "sha256")

    def proves(self, token: bytes, use: str, proof: bytes) -> bool:
        """Whether ``proof`` is the key of ``use``; takes the same time whatever it is."""
        return hmac.compare_digest(self.key(token, use), proof)


CALLER, HOST = "caller knows", "host knows"  # uses of a key: the two proofs
TO_HOST, TO_CALLER = "frames to host", "frames to caller"


def hello(nonce: bytes, rank: int, size: int) -> bytes:
    return HELLO.pack(MAGIC, nonce, rank, size)


def parse_hello(data: bytes) -> tuple[bytes, int, int]:
    """(nonce, rank, size). Raises Forged for what is no hello of this version."""
    if len(data) != HELLO.size:
        raise Forged(f"a hello of {len(data)} bytes, wanted {HELLO.size}")
    magic, nonce, rank, size = HELLO.unpack(data)
    if magic != MAGIC:
        raise Forged("not a supervisor of this version")
    if not 0 < rank < size:
        raise Forged(f"rank {rank} of {size}")
    return nonce, rank, size


@dataclass
class Sealer:
    """Makes the frames of one direction."""

    key: bytes
    number: int = 0

    def seal(self, payload: bytes) -> bytes:
        """Raises ValueError for a payload over LONGEST, which the other end would refuse."""
        if len(payload) > LONGEST:
            raise ValueError(f"a message of {len(payload)} bytes, at most {LONGEST} can be sent")
        mac = hmac.digest(self.key, NUMBER.pack(self.number) + payload, "sha256")
        self.number += 1
        return LENGTH.pack(len(payload)) + payload + mac


@dataclass
class Opener:
    """Opens the frames of one direction, in whatever pieces they arrive."""

    key: bytes
    number: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def open(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete. Raises Forged at the first frame that is not the next one."""
        self._rest += data
        while len(self._rest) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._rest)
            if length > LONGEST:
                raise Forged(f"a frame of {length} bytes, at most {LONGEST} are read")
            end = LENGTH.size + length + PROOF
            if len(self._rest) < end:
                return
            payload, mac = bytes(self._rest[LENGTH.size : end - PROOF]), bytes(self._rest[end - PROOF : end])
            del self._rest[:end]
            wanted = hmac.digest(self.key, NUMBER.pack(self.number) + payload, "sha256")
            if not hmac.compare_digest(wanted, mac):
                raise Forged(f"frame {self.number} is forged, repeated or out of order")
            self.number += 1
            yield payload
