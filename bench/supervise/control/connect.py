"""A rank's route to rank 0: MPI hands out rank 0's address, or the launcher's variables name it.

The first rank of each node dials rank 0, and the others of the node dial that one. On rank 0's own node, and where the
launcher does not tell the node of each rank, all dial rank 0.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from bench.launch import LaunchContext, Rendezvous
from bench.launch.context import PORT
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.model.facts import INWARD
from bench.model.late_dataclass import dataclass, field, replace
from bench.probe.addresses import addresses
from bench.probe.host import machine
from bench.probe.tcp_ports import PORTS, to_try

from . import token
from .mpi import Mpi
from .rendezvous import JOIN_SECONDS, WAITING_ROOM, Dialer, Listener, NotMet, sockets_at
from .tcp import Control

MPI_SECONDS = 60.0  # until all ranks of an MPI job must be connected: MPI has started them together
LATER_SECONDS = 10.0  # the others wait longer than rank 0, whose message names the missing ranks
ANY_PORT = (0,) * 8  # the kernel chooses, again where its choice is in use at another of our addresses


def connect(
    where: LaunchContext,
    management: str = "",
    rails: Sequence[str] = (),
    limit: float = JOIN_SECONDS,
    source: token.TokenSource | None = None,
    ports: Sequence[int] = PORTS,
    spare: bool = False,
) -> Control:
    """This rank's end of the control channel. ``source``: of the token, if it was taken out of the environment before.
    ``spare``: nodes that do not come in time are left out where the launcher names them.

    ``management`` and ``rails`` are interfaces of the profile. Without MPI rank 0 listens on the address that the
    others dial, else on the management interface, and on a rail only if the others dial it; under MPI on one of
    ``ports``. At most ``limit`` seconds pass until all ranks are connected.

    Raises NotMet, and token.NoToken where the ranks are on several machines and have no token. Under MPI it prints
    why the ranks did not meet, and aborts the job.
    """
    source = source or token.take(os.environ)
    if where.mpi:
        return _under_mpi(Mpi(), lambda hosts: candidates(hosts, management, rails), ports)
    if where.size == 1 or where.meet is None:
        return Control()
    shared = source.token()
    made = None if shared else _own_token(where)

    def secret() -> bytes:
        return token.read(made) if made else token.derived_key(shared or b"")

    if where.rank > 0:
        host = "127.0.0.1" if where.meet.local else where.meet.host
        dialer = Dialer((host,), where.meet.ports, where.meet.run, where.rank, where.size, secret, _say)
        dialer = replace(dialer, open_ports=ANY_PORT if _inward(host) else to_try(ports))
        return _join(dialer, where.rank - where.local if where.hosts else 0, limit)
    try:
        mend = f"set {PORT} to another one on every node"
        addresses = listening(where.meet, management, rails)
        listener = Listener(sockets_at(addresses, where.meet.ports, mend), _say)
        return listener.wait(where.meet.run, where.size, secret(), limit, where.hosts, spare)
    finally:
        if made:
            made.unlink(missing_ok=True)


def _join(dialer: Dialer, first: int, limit: float) -> Control:
    """Connect to ``first``, the first rank of this node; it itself connects to rank 0, and the others may join then.

    A rank that cannot reach the first one, as from a container with a network of its own, dials rank 0 after half of
    the time.
    """

    def name() -> bytes:
        text = f"{dialer.run} {first}".encode()
        return b"\0railgauge-" + hmac.digest(dialer.token(), text, "sha256").hex()[:32].encode()

    if first not in (0, dialer.rank):
        try:
            return replace(dialer, above=f"rank {first} of this node", node=name).connect(limit / 2)
        except NotMet as error:
            _say(f"{error}; it dials rank 0 instead")
        return dialer.connect(limit / 2)
    control = dialer.connect(limit)
    if first:
        try:
            control.listener = Listener([node_socket(name())], _say)
        except OSError as error:  # then the others dial rank 0
            _say(f"rank {first} cannot listen for the others of its node: {error.strerror}")
        else:
            control.listener.admit_to(control, dialer.run, dialer.token(), range(first + 1, dialer.size))
    return control


def node_socket(name: bytes) -> socket.socket:
    """A socket that listens under a name that only this node knows. Raises OSError where the name is taken."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(name)
        made.listen(WAITING_ROOM)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _own_token(where: LaunchContext) -> Path:
    assert where.meet is not None
    if not where.meet.local:
        raise token.NoToken(
            f"{where.launcher} started {where.size} ranks on several machines and brings no MPI: set {token.VARIABLE} "
            f"to the same secret on every node (openssl rand -hex 32), or name a file with it that all nodes see "
            f"(--token-file, {token.FILE}); without one any stranger could join"
        )
    return token.of_this_machine(f"{where.meet.run} {where.meet.ports[0]}")


def listening(meet: Rendezvous, management: str, rails: Sequence[str]) -> tuple[str, ...]:
    """Addresses of this machine at which rank 0 listens. Raises NotMet where it has none."""
    if meet.local:
        return ("127.0.0.1",)
    try:
        dialed = {str(info[4][0]) for info in socket.getaddrinfo(meet.host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise NotMet(
            f"rank 0 is to listen at {meet.host}, which has no address here: {error.strerror}"
        ) from None
    if meet.host in ("localhost", *dialed) and all(map(_loopback, dialed)):
        return tuple(
            sorted(dialed)
        )  # it means this machine everywhere: the others are here, or come by a tunnel
    found = choose(dialed, _own_addresses(), management, rails)
    if not found:
        raise NotMet(
            f"{meet.host} is no address of this machine, where rank 0 is, and it has no other that the nodes could "
            "reach: give the launcher rank 0's address, or name the management interface in the profile's [rails]"
        )
    return found


@dataclass(frozen=True)
class Invitation:
    """What rank 0 of an MPI job sends to each of the others: where it listens, the likeliest address first.

    ``first``: the first rank on the node of whoever receives it.
    """

    addresses: tuple[str, ...]
    port: int
    run: str
    first: int
    secret: bytes = field(repr=False)


def _under_mpi(mpi: Mpi, where: Callable[[Iterable[str]], tuple[str, ...]], ports: Sequence[int]) -> Control:
    """Meet at an address and with a secret that rank 0 hands out over MPI. ``where``: addresses, given all hosts."""
    try:
        control = (
            Control()
            if mpi.size == 1
            else _invite(mpi, where, ports)
            if mpi.rank == 0
            else _follow(mpi, ports)
        )
    except NotMet as error:
        _say(str(error))
        mpi.abort(EXIT_INCONCLUSIVE)
        raise
    control.mpi = mpi
    return control


def _invite(mpi: Mpi, where: Callable[[Iterable[str]], tuple[str, ...]], ports: Sequence[int]) -> Control:
    nodes = mpi.gather(_this_node()) or []
    found = where([host for host, *_ in nodes])
    tried = ANY_PORT if all(map(_loopback, found)) else to_try(ports)
    listener = Listener(sockets_at(found, tried, "name others with --ports FIRST-LAST"), _say)
    run, secret = secrets.token_hex(8), secrets.token_bytes(32)
    first = {node: rank for rank, node in reversed(list(enumerate(nodes)))}
    at = listener.addresses, listener.port, run
    mpi.scatter([Invitation(*at, first[node], secret) for node in nodes])
    return listener.wait(run, mpi.size, secret, MPI_SECONDS, firsts=[first[node] for node in nodes])


def _follow(mpi: Mpi, ports: Sequence[int]) -> Control:
    mpi.gather(_this_node())
    sent = mpi.scatter(cast("list[Invitation] | None", None))
    dialer = Dialer(sent.addresses, (sent.port,), sent.run, mpi.rank, mpi.size, lambda: sent.secret, _say)
    dialer = replace(dialer, open_ports=ANY_PORT if all(map(_inward, sent.addresses)) else to_try(ports))
    return _join(dialer, sent.first, MPI_SECONDS + LATER_SECONDS)


def _this_node() -> tuple[str, str, str]:
    """Ranks with the same one can connect on their node: a host name alone may stand for two machines or containers."""
    try:
        network = str(Path("/proc/self/ns/net").readlink())
    except OSError:
        network = str(os.getpid())
    return socket.gethostname(), machine(Path("/")), network


def candidates(hosts: Iterable[str], management: str, rails: Sequence[str]) -> tuple[str, ...]:
    """Addresses at which the others can try rank 0 of an MPI job on ``hosts``: management first, the rails last.

    Raises NotMet where it has none.
    """
    if set(hosts) == {socket.gethostname()}:
        return ("127.0.0.1",)
    outward = _outward(_own_addresses())
    found = sorted(outward, key=lambda each: (outward[each] != management, outward[each] in rails))
    if not found:
        raise NotMet(
            f"rank 0 on {socket.gethostname()} has no address at which the other nodes could reach it"
        )
    return tuple(found)


def _own_addresses() -> dict[str, tuple[str, ...]]:
    try:
        return addresses()
    except OSError as error:
        raise NotMet(f"the addresses of this machine cannot be read: {error}") from None


def _outward(own: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Address → interface, for the addresses that may lead to another machine."""
    found = {}
    for name, texts in own.items():
        for address in (ipaddress.ip_interface(text).ip for text in texts):
            if not (address.is_loopback or address.is_link_local or name.startswith(INWARD)):
                found[str(address)] = name
    return found


def choose(
    dialed: Iterable[str], own: Mapping[str, tuple[str, ...]], management: str, rails: Sequence[str]
) -> tuple[str, ...]:
    """The addresses to listen at: those that the others dial, as far as they are in ``own`` (by interface).

    A name often means the loopback on its own machine (Debian writes 127.0.1.1) and a real address
    elsewhere, or stands for an address that is translated on the way: then rank 0 listens on the management interface,
    and where the profile names none on every interface that is no rail and leads outwards. The loopback
    is added where it is dialed: two launchers on one machine meet there.
    """
    mine = {str(ipaddress.ip_interface(text).ip) for texts in own.values() for text in texts}
    here = [address for address in sorted(dialed) if address in mine and not _loopback(address)]
    if here:
        return tuple(here)
    outward = {address: name for address, name in _outward(own).items() if name not in rails}
    on_management = [address for address, name in outward.items() if name == management]
    looped = [address for address in sorted(dialed) if _loopback(address)]
    return (*looped, *(on_management or outward))


def _inward(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _say(text: str) -> None:
    print(f"railgauge: {text}", file=sys.stderr, flush=True)
