"""What two supervisors send over TCP: proofs that both know the token, then sealed frames.

    dialing rank                      rank 0, or the first rank of the node, which listens
    HELLO: magic, nonce, rank, size   →
                                      ←  nonce
    proof of the token                →
                                      ←  proof of the token, over both nonces as well
    frames                            ↔  frames

Whoever dials proves first: a stranger who connects gets no proof. Everything before the second proof has a fixed
length: a stranger cannot make us wait for, or hold, more than 52 bytes. A frame is its length, its bytes and an
HMAC-SHA256 over its number and its bytes, under a key of this connection and this direction: a frame that is forged,
altered, repeated, left out, reordered or sent back to its sender does not open. Frames are not encrypted: whoever can
read the management network reads what supervisors send, which holds no secret.

Pure: bytes in, bytes out, no socket.
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Iterator

from bench.model.late_dataclass import dataclass, field

VERSION = "6"  # of what ranks send each other: another one cannot be understood
MAGIC = b"railgauge-%s\n" % VERSION.encode()
NONCE = PROOF = 32  # bytes
HELLO = struct.Struct("!12s32sII")  # magic, the dialing rank's nonce, its rank, the size of its job
_ANY_MAGIC = re.compile(rb"railgauge-([0-9])\n")
LENGTH = struct.Struct("!I")
LONGEST = 64 << 20  # bytes of one frame: a worker's logs, 4 MiB each at most, as JSON
NUMBER = struct.Struct("!Q")


class Forged(Exception):
    """Bytes that do not come from the peer: a frame that does not open, a hello that is none."""


class OtherVersion(Forged):
    """The other end speaks protocol ``version``, not ours. It has not proved that it is a rank of this run."""

    def __init__(self, version: str) -> None:
        super().__init__(f"version {version} and not {VERSION}: install the same RailGauge on every node")


@dataclass(frozen=True)
class Handshake:
    """One connection, as both of its ends know it.

    run     of which job, so that two jobs with one token never mix
    rank    of the dialing end
    size    ranks of the job, as the dialing end knows it
    dialer  the nonce of the dialing end
    host    rank 0's nonce
    """

    run: str
    rank: int
    size: int
    dialer: bytes
    host: bytes

    def key(self, token: bytes, use: str) -> bytes:
        """32 bytes that need the token, for this connection and this use alone."""
        text = (
            use.encode().ljust(16, b"\0") + self.dialer + self.host + struct.pack("!II", self.rank, self.size)
        )
        return hmac.digest(token, text + self.run.encode(), "sha256")

    def proves(self, token: bytes, use: str, proof: bytes) -> bool:
        """Whether ``proof`` is the key of ``use``; takes the same time whatever it is."""
        return hmac.compare_digest(self.key(token, use), proof)


DIALER, HOST = "dialer knows", "host knows"  # uses of a key: the two proofs
TO_HOST, TO_DIALER = "frames to host", "frames to dialer"
THROUGH_TO_HOST, THROUGH_TO_DIALER = "through to host", "thru to dialer"
AGAIN = "come again"  # the secret of a rank that may call again


def hello(nonce: bytes, rank: int, size: int) -> bytes:
    return HELLO.pack(MAGIC, nonce, rank, size)


def parse_hello(data: bytes) -> tuple[bytes, int, int]:
    """(nonce, rank, size). Raises Forged for what is no hello of this version."""
    try:
        magic, nonce, rank, size = HELLO.unpack(data)
    except struct.error as error:
        raise Forged(f"not a hello: {error}") from None
    expect_version(magic)
    if magic != MAGIC or not 0 < rank < size:
        raise Forged(f"not a hello of this version: {magic!r}, rank {rank} of {size}")
    return nonce, rank, size


def expect_version(data: bytes) -> None:
    """Raises OtherVersion where ``data`` begins as a hello of another version, or as the answer to one, does."""
    found = _ANY_MAGIC.match(data)
    if found and found[0] != MAGIC:
        raise OtherVersion(found[1].decode())


@dataclass
class Sealer:
    """Makes the frames of one direction."""

    key: bytes
    number: int = 0

    def seal(self, payload: bytes) -> bytes:
        """Raises ValueError for a payload over LONGEST bytes, which the other end would refuse."""
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
