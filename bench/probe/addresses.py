"""IP addresses by interface, asked of the kernel over rtnetlink: no file lists all of them by interface.

Source: rtnetlink(7), netlink(7). ``parse`` takes the bytes, so that it can be tested without a socket.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

_LIMIT = 2.0  # s
_DUMP = 0x300 | 0x1  # NLM_F_DUMP | NLM_F_REQUEST
_GETADDR, _NEWADDR = 22, 20
_ERROR, _DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=LHHLL")  # length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBL")  # family, prefix length, flags, scope, interface index
_ATTRIBUTE = struct.Struct("=HH")  # length, type


def addresses() -> dict[str, tuple[str, ...]]:
    """``10.0.0.1/24`` by interface name, in the kernel's order. OSError where the kernel cannot be asked."""
    found: dict[str, tuple[str, ...]] = {}
    for index, address in parse(_ask()):
        try:
            name = socket.if_indextoname(index)
        except OSError:  # it went away in between
            continue
        found[name] = (*found.get(name, ()), address)
    return found


def _ask() -> bytes:
    request = _HEADER.pack(_HEADER.size + _ADDRESS.size, _GETADDR, _DUMP, 1, 0) + _ADDRESS.pack(0, 0, 0, 0, 0)
    answer = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(_LIMIT)
        asked.send(request)
        while not _complete(answer):
            part = asked.recv(1 << 16)
            if not part:
                raise OSError("rtnetlink ended its answer too early")
            answer += part
    return answer


def _complete(answer: bytes) -> bool:
    return any(kind in (_DONE, _ERROR) for kind, _ in _messages(answer))


def parse(answer: bytes) -> tuple[tuple[int, str], ...]:
    """(interface index, address/prefix) of an answer to RTM_GETADDR; what is cut or unknown is left out."""
    return tuple(found for kind, body in _messages(answer) if kind == _NEWADDR for found in _address(body))


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, at)
        if length < _HEADER.size or at + length > len(answer):
            return
        yield kind, answer[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _address(body: bytes) -> Iterator[tuple[int, str]]:
    if len(body) < _ADDRESS.size:
        return
    _, prefix, _, _, index = _ADDRESS.unpack_from(body)
    attributes = dict(_attributes(body[_ADDRESS.size :]))
    # on a point-to-point link IFA_ADDRESS is the far end
    raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    if len(raw) in (4, 16):
        yield index, f"{ipaddress.ip_address(raw)}/{prefix}"


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size or at + length > len(body):
            return
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
