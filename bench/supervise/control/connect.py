"""The right star for a place: MPI where the launcher brings it, TCP where it does not."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.launch import Meet, Place
from bench.probe.addresses import addresses

from . import token
from .lifeline import watched
from .mpi import Mpi
from .protocol import Alone, Control
from .reliable import Sure
from .rendezvous import JOIN_SECONDS, Door, Knock, NotMet

# networks that have the same addresses on every machine and lead nowhere
INWARD = ("docker", "virbr", "br-", "cni", "veth", "flannel", "cali")


def connect(
    where: Place,
    management: str = "",
    rails: Sequence[str] = (),
    limit: float = JOIN_SECONDS,
    given: token.Given | None = None,
) -> Control:
    """This rank's end of the star; ``given``: the token as it was taken out of the environment, if it was before.

    ``management`` and ``rails`` are interfaces of the profile: rank 0 listens on the address that the
    others were given, else on the first, and never on a rail of its own accord. At most ``limit`` seconds
    pass until all are together.

    Raises NotMet, and token.NoToken where the ranks are on several machines and no token was given.
    """
    given = given or token.given(os.environ)
    if where.mpi:
        return watched(Sure(Mpi()), lambda here: _addresses(here, management, rails), _say)
    if where.size == 1 or where.meet is None:
        return Alone()
    secret = given.reader()
    made: Path | None = None
    if secret is None:
        made = _own_token(where)
        path = made

        def secret() -> bytes:
            return token.read(path)

    if where.rank > 0:
        host = "127.0.0.1" if where.meet.local else where.meet.host
        knock = Knock((host,), where.meet.ports, where.meet.run, where.rank, where.size, secret, _say)
        return knock.until_in(limit)
    try:
        door = Door(listening(where.meet, management, rails), where.meet.ports, _say)
        return door.wait(where.meet.run, where.size, secret(), limit)
    finally:
        if made:
            made.unlink(missing_ok=True)


def _own_token(where: Place) -> Path:
    assert where.meet is not None
    if not where.meet.local:
        raise token.NoToken(
            f"{where.launcher} started {where.size} ranks on several machines and brings no MPI: set {token.VARIABLE} "
            f"to the same secret on every node (openssl rand -hex 32), or name a file with it that all nodes see "
            f"(--token-file, {token.FILE}); without one any stranger could join"
        )
    return token.of_this_machine(f"{where.meet.run} {where.meet.ports[0]}")


def listening(meet: Meet, management: str, rails: Sequence[str]) -> tuple[str, ...]:
    """Addresses of this machine at which rank 0 waits."""
    if meet.local:
        return ("127.0.0.1",)
    try:
        told = {str(info[4][0]) for info in socket.getaddrinfo(meet.host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise NotMet(
            f"rank 0 is to listen at {meet.host}, which has no address here: {error.strerror}"
        ) from None
    try:
        own = addresses()
    except OSError as error:
        raise NotMet(f"the addresses of this machine cannot be read: {error}") from None
    found = choose(told, own, management, rails)
    if not found:
        raise NotMet(
            f"{meet.host} is no address of this machine, where rank 0 is, and it has no other that the nodes could "
            "reach: give the launcher rank 0's address, or name the management interface in the profile's [rails]"
        )
    return found


def _addresses(here: bool, management: str, rails: Sequence[str]) -> tuple[str, ...]:
    """Where rank 0 of an MPI job listens; ``here``: all ranks are on its machine. Raises NotMet."""
    if here:
        return ("127.0.0.1",)
    try:
        found = choose((), addresses(), management, rails)
    except OSError as error:
        raise NotMet(f"the addresses of this machine cannot be read: {error}") from None
    if not found:
        raise NotMet("rank 0 has no address but its rails'")
    return found


def choose(
    told: Iterable[str], own: Mapping[str, tuple[str, ...]], management: str, rails: Sequence[str]
) -> tuple[str, ...]:
    """Where to listen: the address that the others were told, if it is one of ``own`` (by interface).

    A name often means the loopback on its own machine (Debian writes 127.0.1.1) and a real address
    elsewhere, or stands for an address that is translated on the way: then on the management interface,
    and where the profile names none on every interface that is no rail and leads outwards. The loopback
    is added where it was told: two launchers on one machine meet there.
    """
    mine = {str(ipaddress.ip_interface(text).ip): name for name, texts in own.items() for text in texts}
    here = [address for address in sorted(told) if address in mine and not _loopback(address)]
    if here:
        return tuple(here)
    outward = [
        address
        for address, name in mine.items()
        if not _loopback(address)
        and not ipaddress.ip_address(address).is_link_local
        and name not in rails
        and not name.startswith(INWARD)
    ]
    on_management = [address for address in outward if mine[address] == management]
    looped = [address for address in sorted(told) if _loopback(address)]
    return (*looped, *(on_management or outward))


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _say(text: str) -> None:
    print(f"railgauge: {text}", file=sys.stderr, flush=True)
