"""One connection between two supervisors after its handshake: sealed frames, and nothing that blocks."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import termios
import threading
from array import array
from collections import deque
from collections.abc import Iterator

from .sealed_frames import LONGEST, TO_DIALER, TO_HOST, Forged, Handshake, Opener, Sealer

READ = 1 << 20  # bytes at a time
TURN = 8 << 20  # bytes of one peer before the next peer is read
WAITING = 4 * LONGEST  # bytes for a peer that reads none: with more it counts as lost
KEEPALIVE = (
    (socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1),
    # a node that died without closing its connections is noticed after about 5 + 3 × 4 s
    (socket.TCP_KEEPIDLE, socket.IPPROTO_TCP, 5),
    (socket.TCP_KEEPINTVL, socket.IPPROTO_TCP, 4),
    (socket.TCP_KEEPCNT, socket.IPPROTO_TCP, 3),
    # the same while bytes of ours are on the way, when no keepalive is sent
    (socket.TCP_USER_TIMEOUT, socket.IPPROTO_TCP, 17_000),
    (socket.TCP_NODELAY, socket.IPPROTO_TCP, 1),
)


class Connection:
    """One connection after its handshake. Nothing here blocks."""

    def __init__(self, sock: socket.socket, handshake: Handshake, token: bytes, host: bool) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            for option, level, value in KEEPALIVE:
                sock.setsockopt(level, option, value)
        sending, receiving = (TO_DIALER, TO_HOST) if host else (TO_HOST, TO_DIALER)
        self.socket = sock
        self.lost = ""  # why the peer counts as lost
        self._broken = ""  # why nothing can be sent any more; what the peer sent before is still to be read
        self._sealer = Sealer(handshake.key(token, sending))
        self._opener = Opener(handshake.key(token, receiving))
        self._unsent: deque[memoryview] = deque()
        self._sending = threading.RLock()  # signs of life are sent by a thread of their own

    def put(self, payload: bytes) -> None:
        with self._sending:
            if self.lost or self._broken:
                return
            self._unsent.append(memoryview(self._sealer.seal(payload)))
            self.push()
            if sum(len(part) for part in self._unsent) > WAITING:
                self.lose(f"it read nothing of the last {WAITING} bytes")

    def push(self) -> bool:
        """Hand over to the kernel what it accepts; whether nothing is left to send."""
        if not self._unsent:
            return True
        with self._sending:
            try:
                while self._unsent:
                    sent = self.socket.send(self._unsent[0])
                    if sent < len(self._unsent[0]):
                        self._unsent[0] = self._unsent[0][sent:]
                    else:
                        self._unsent.popleft()
            except BlockingIOError:
                return False
            except OSError as error:
                self._unsent.clear()
                self._broken = error.strerror or str(error)
            return True

    def pull(self) -> Iterator[bytes]:
        """The payloads that have arrived; sets ``lost`` when the peer is lost."""
        left = TURN
        while left > 0 and not self.lost:
            try:
                data = self.socket.recv(READ)
            except BlockingIOError:
                return
            except OSError as error:
                self.lose(error.strerror or str(error))
                return
            if not data:
                self.lose(self._broken or "it closed the connection")
                return
            left -= len(data)
            try:
                yield from self.opened(data)
            except Forged as error:
                self.lose(str(error))

    def opened(self, data: bytes) -> Iterator[bytes]:
        """The payloads in what has arrived. Raises Forged."""
        return self._opener.open(data)

    def closed(self) -> bool:
        """Whether the peer has left without sending anything more."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def unread(self) -> int:
        """Bytes that have arrived and were not read. Raises ValueError, and OSError, for a socket that was closed."""
        count = array("i", [0])
        fcntl.ioctl(self.socket.fileno(), termios.FIONREAD, count)
        return count[0]

    def lose(self, why: str) -> None:
        with self._sending:
            self.lost = why
            self._unsent.clear()
            self.socket.close()
