"""The facts that one message of NCCL's log can hold: the nouns of ``log_messages`` and ``log``."""

from __future__ import annotations

from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class Hca:
    """An item of the ``Using`` line. ``merged`` is the virtual device that it is part of (2.20 to 2.23)."""

    index: int
    name: str
    port: int
    link: str
    sharp: bool = False
    rail: int | None = None
    plane: int | None = None
    merged: int | None = None


@dataclass(frozen=True)
class Using:
    """``NET/IB : Using [0]mlx5_0:1/IB ... [RO]; OOB eth0:10.0.0.1<0>``.

    ``complete`` is true only when every item was read, the numbers run from 0 without a gap, and the list
    is closed by its ``; OOB``. An empty list may be complete: NCCL found no device.
    """

    network: str
    hcas: tuple[Hca, ...]
    complete: bool
    relaxed: bool
    oob: str
    text: str
    line: int

    @property
    def devices(self) -> tuple[tuple[str, ...], ...]:
        """The HCAs of each network device, by the number that channels name it with: its place in the list.

        From 2.20 to 2.23 a device of several ports is merged, ``[0]={[0] mlx5_2:1/RoCE, [1] mlx5_3:1/RoCE}``, and the
        item after it bears the number of its port (src/transport/net_ib.cc: ``[%d]%s`` of ibDev, not of the device).
        """
        groups: dict[tuple[bool, int], list[str]] = {}
        for hca in self.hcas:
            key = (hca.merged is None, hca.index if hca.merged is None else hca.merged)
            groups.setdefault(key, []).append(hca.name)
        return tuple(map(tuple, groups.values()))


@dataclass(frozen=True)
class VirtualDevice:
    """``NET/IB : Made virtual device [2] name=mlx5_1+mlx5_3 ...`` (NET subsystem, from 2.24): what channels name."""

    index: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class HcaSeen:
    """``NET/IB: [0] mlx5_0:uverbs0:1/IB provider=...``: a port NCCL opened (NET subsystem, from 2.21)."""

    name: str
    port: int
    link: str


@dataclass(frozen=True)
class NoDevice:
    """``NET/IB : No device found.``"""


@dataclass(frozen=True)
class Network:
    """``Using network IB``, to the end of the line; ``assigned``: ``Assigned NET plugin IB to comm`` (from 2.27)."""

    name: str
    assigned: bool = False


@dataclass(frozen=True)
class LogInterface:
    index: int
    name: str
    address: str


@dataclass(frozen=True)
class Sockets:
    """``NET/Socket : Using [0]eth1:10.0.0.1<0> ...``; before 2.6 it does not mean that they are used."""

    network: str
    interfaces: tuple[LogInterface, ...]
    complete: bool
    text: str


@dataclass(frozen=True)
class LogChannel:
    """One connection. ``gdr`` is None where the line was cut before it could say; ``proxy`` is PXN's rank."""

    transport: str
    channel: int
    source: int
    target: int
    direction: str
    detail: str
    line: int
    network: str = ""
    device: int | None = None
    proxy: int | None = None
    gdr: bool | None = None


@dataclass(frozen=True)
class Member:
    """A rank of a communicator. ``stage`` is what the line reports: Init START, Init COMPLETE, ...

    ``id``: the number that all ranks of the communicator have in common, ``0x49bbd7790311d5eb``; "" where none is said.
    ``node_ranks``: how many of them NCCL counts on the rank's node, 0 where the line does not say; ``bus``: the PCI
    address of the rank's GPU in hexadecimal digits, without leading zeros.
    """

    rank: int
    nranks: int
    stage: str
    comm: str
    nodes: int
    device: int | None
    line: int
    id: str = ""
    node_ranks: int = 0
    bus: str = ""


@dataclass(frozen=True)
class Connected:
    """``Connected all rings``: the list of their channels is over."""

    line: int


@dataclass(frozen=True)
class ChannelCounts:
    collective: int
    p2p: int


@dataclass(frozen=True)
class DirectRdma:
    """``GPU Direct RDMA Enabled for HCA 0 'mlx5_0'`` (NET subsystem)."""

    enabled: bool
    hca: str


@dataclass(frozen=True)
class Tuned:
    """Algorithm and protocol of one call (TUNING subsystem); the collective is "" before 2.22."""

    collective: str
    size: int
    algorithm: str
    protocol: str


@dataclass(frozen=True)
class LogSetting:
    """A variable as NCCL saw it, verbatim: a blank at its end is there."""

    name: str
    value: str


@dataclass(frozen=True)
class VersionSeen:
    """``NCCL version 2.28.9+cuda13.0``, or RCCL's."""

    text: str


@dataclass(frozen=True)
class Warned:
    """One NCCL WARN or ATTN, as it was printed; ``where`` is the place in the source."""

    where: str
    text: str
    line: int


@dataclass(frozen=True)
class Diagnosed:
    """What NCCL_RUN_DIAGNOSTICS=1 prints when a communicator begins (from 2.31); ``level``: OK, INFO or ""."""

    level: str
    text: str
    line: int


@dataclass(frozen=True)
class Completion:
    """A work request that failed: the peer, and ibv_wc_status as a number."""

    peer: str
    status: int
    hca: str
    line: int


@dataclass(frozen=True)
class AsyncEvent:
    """An asynchronous event of an HCA: a port went down, a QP failed."""

    hca: str
    event: str
    line: int
