"""Counters of ports, interfaces and TCP: two snapshots, what grew between them, and what that means.

A counter that cannot be told is never 0: it was not there (absent), it stands at its maximum (saturated) or
it is smaller than before (reset). Widths and the rule of saturation: InfiniBand Architecture Specification
1.4, 16.1.3.5 (PortCounters) and 16.1.4.11 (PortCountersExtended); names: Linux,
Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from bench.facts import Interface, Port

TCP = "tcp"  # the subject of the machine's TCP counters, and their group
CPU = "cpu"  # the same of the CPU quota
WORD = 4  # bytes of one step of port_xmit_data and port_rcv_data
PMA, HW, NET = "counters", "hw_counters", "statistics"

Readings = Mapping[str, Mapping[str, Mapping[str, int]]]


class Role(str, Enum):
    """ERROR must not grow in an acceptance run; INDICATOR explains a slow one; TRAFFIC is work."""

    ERROR = "error"
    INDICATOR = "indicator"
    TRAFFIC = "traffic"


class How(str, Enum):
    """How far a growth can be believed."""

    EXACT = "exact"
    SATURATED = "saturated"
    RESET = "reset"
    ABSENT = "absent"


@dataclass(frozen=True)
class Counter:
    """One row of the table: ``bits`` of a counter that stops at its maximum, 0 where it cannot fill up."""

    group: str
    name: str
    role: Role
    bits: int
    reason: str
    source: str


_IBTA = "InfiniBand Architecture Specification 1.4, 16.1.3.5"
_ABI = "Linux, Documentation/ABI/stable/sysfs-class-infiniband"
_NVIDIA = "NVIDIA, Understanding mlx5 Linux counters and status parameters"
_NCCL = "NCCL user guide, networking troubleshooting"
_STATS = "Linux, Documentation/networking/statistics.rst"
_RXE = "Linux, drivers/infiniband/sw/rxe/rxe_hw_counters.c"
_SNMP = "RFC 4022"
_QUOTA = "Linux, Documentation/scheduler/sched-bwc.rst"
_E, _I, _T = Role.ERROR, Role.INDICATOR, Role.TRAFFIC


def _rows(group: str, role: Role, source: str, *rows: tuple[str, int, str]) -> Iterator[Counter]:
    for names, bits, reason in rows:
        for name in names.split():
            yield Counter(group, name, role, bits, reason, source)


TABLE: tuple[Counter, ...] = (
    *_rows(
        PMA,
        _E,
        _IBTA,
        ("symbol_error", 16, "bits were received wrong: cable, transceiver or connector"),
        ("link_error_recovery", 8, "the link retrained by itself: cable, transceiver or connector"),
        ("link_downed", 8, "the link went down and came back"),
        ("port_rcv_errors", 16, "packets arrived broken"),
        ("port_rcv_remote_physical_errors", 16, "packets arrived that the far side had marked as broken"),
        ("port_rcv_switch_relay_errors", 16, "a switch could not forward a packet"),
        (
            "port_xmit_discards",
            16,
            "packets were dropped before they left: link down, or congestion too long",
        ),
        (
            "port_xmit_constraint_errors port_rcv_constraint_errors",
            8,
            "a partition or raw filter refused packets",
        ),
        ("local_link_integrity_errors", 4, "too many local physical errors in a row"),
        ("excessive_buffer_overrun_errors", 4, "the far side sent without credit"),
        ("VL15_dropped", 16, "management packets were dropped"),
    ),
    *_rows(PMA, _I, _IBTA, ("port_xmit_wait", 32, "ticks with data and no credit: congestion downstream")),
    *_rows(
        PMA,
        _T,
        _ABI,
        (
            "port_xmit_data port_rcv_data",
            32,
            "words of 4 bytes; a 32-bit one without extended counters stops",
        ),
        ("port_xmit_packets port_rcv_packets", 32, "packets; a 32-bit one without extended counters stops"),
        (
            "unicast_xmit_packets unicast_rcv_packets multicast_xmit_packets multicast_rcv_packets",
            0,
            "packets",
        ),
    ),
    *_rows(
        HW,
        _E,
        _NCCL,
        ("local_ack_timeout_err", 0, "an acknowledgement did not come in time: loss on the way"),
        ("packet_seq_err implied_nak_seq_err", 0, "the receiver missed a packet: loss on the way"),
        ("rnr_nak_retry_err", 0, "the receiver had no buffer posted"),
    ),
    *_rows(
        HW,
        _E,
        _NVIDIA,
        ("req_cqe_error resp_cqe_error", 0, "work requests completed with an error"),
        ("req_transport_retries_exceeded", 0, "a connection was given up after all retries"),
        ("req_remote_access_errors resp_remote_access_errors", 0, "remote memory was refused"),
        ("req_remote_invalid_request resp_local_length_error", 0, "a request did not fit its receiver"),
        ("rx_icrc_encapsulated", 0, "RoCE packets arrived with a wrong checksum"),
        ("out_of_buffer", 0, "packets were dropped because no receive buffer was posted"),
        ("roce_adp_retrans_to", 0, "RoCE retransmitted after a timeout"),
    ),
    *_rows(
        HW,
        _I,
        _NVIDIA,
        ("out_of_sequence", 0, "packets overtook each other; with adaptive routing that is no fault"),
        ("duplicate_request", 0, "the sender repeated a request"),
        ("req_cqe_flush_error resp_cqe_flush_error", 0, "grows whenever a connection is closed"),
        ("np_cnp_sent rp_cnp_handled rp_cnp_ignored", 0, "congestion notifications (RoCE)"),
        ("np_ecn_marked_roce_packets", 0, "packets that a switch marked as congested (RoCE)"),
        (
            "roce_adp_retrans roce_slow_restart roce_slow_restart_cnps roce_slow_restart_trans",
            0,
            "RoCE slowed down",
        ),
    ),
    *_rows(
        HW,
        _T,
        _NVIDIA,
        ("rx_read_requests rx_write_requests rx_atomic_requests rx_dct_connect", 0, "requests received"),
    ),
    *_rows(
        HW,
        _E,
        _RXE,
        ("completer_retry_err rcvd_seq_err out_of_seq_request", 0, "soft-RoCE: loss on the way"),
        ("retry_exceeded_err retry_rnr_exceeded_err", 0, "soft-RoCE: a connection was given up"),
        ("send_err", 0, "soft-RoCE: packets could not be sent"),
        ("link_downed", 0, "soft-RoCE: the link went down"),
    ),
    *_rows(
        HW, _I, _RXE, ("rcvd_rnr_err send_rnr_err ack_deferred", 0, "soft-RoCE: a receiver was not ready")
    ),
    *_rows(HW, _T, _RXE, ("sent_pkts rcvd_pkts rdma_sends rdma_recvs", 0, "soft-RoCE: packets and sends")),
    *_rows(
        NET,
        _E,
        _STATS,
        ("rx_errors rx_crc_errors rx_frame_errors rx_length_errors", 0, "frames arrived broken"),
        (
            "rx_fifo_errors rx_over_errors rx_missed_errors",
            0,
            "the host was too slow: ring or buffer overrun",
        ),
        (
            "tx_errors tx_aborted_errors tx_fifo_errors tx_heartbeat_errors tx_window_errors",
            0,
            "frames were not sent",
        ),
        ("tx_carrier_errors", 0, "the carrier was lost while sending: cable or transceiver"),
        ("tx_dropped", 0, "frames were dropped before they left"),
        ("carrier_down_count", 0, "the link went down"),
    ),
    *_rows(
        NET,
        _I,
        _STATS,
        ("rx_dropped rx_nohandler", 0, "frames nobody wanted, too: unknown protocols count here"),
        ("collisions", 0, "half duplex"),
        ("carrier_changes carrier_up_count", 0, "the link came up or went down"),
    ),
    *_rows(
        NET,
        _T,
        _STATS,
        ("tx_bytes rx_bytes", 0, "bytes with headers"),
        ("tx_packets rx_packets multicast tx_compressed rx_compressed", 0, "packets"),
    ),
    *_rows(
        TCP, _I, _SNMP, ("RetransSegs", 0, "segments sent again: loss on the way, here or at the far side")
    ),
    *_rows(
        TCP, _I, _SNMP, ("OutRsts", 0, "connections reset: closed with data in them, or to a closed door")
    ),
    *_rows(TCP, _E, _SNMP, ("InErrs", 0, "segments arrived broken")),
    *_rows(TCP, _T, _SNMP, ("InSegs OutSegs", 0, "segments")),
    *_rows(
        CPU, _I, _QUOTA, ("nr_throttled throttled_usec", 0, "the CPU quota was used up and work stood still")
    ),
    *_rows(CPU, _T, _QUOTA, ("nr_periods", 0, "periods of the CPU quota in which there was work")),
)
_BY_NAME = {(counter.group, counter.name): counter for counter in TABLE}


def counter(group: str, name: str) -> Counter | None:
    """The table's row; None for a counter that it does not hold (drivers add their own)."""
    return _BY_NAME.get((group, name))


@dataclass(frozen=True)
class Snapshot:
    """All counters of one machine at one time.

    time, monotonic  seconds since 1970, and of the clock that is never set (one boot only)
    readings         subject (``mlx5_3/1``, ``eth3``, ``tcp``) → group (``counters``, ``hw_counters``,
                     ``statistics``, ``tcp``) → counter → value
    """

    time: float
    monotonic: float
    readings: Readings

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Snapshot:
        """ValueError where ``row`` is not what ``to_json`` wrote."""
        try:
            readings = {
                str(subject): {
                    str(group): {str(name): _count(value) for name, value in values.items()}
                    for group, values in groups.items()
                }
                for subject, groups in row["readings"].items()
            }
            return Snapshot(float(row["time"]), float(row["monotonic"]), readings)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a snapshot of counters: {error!r}") from error


def _count(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a count")
    return value


def snapshot(
    time: float,
    monotonic: float,
    ports: Iterable[Port],
    interfaces: Iterable[Interface],
    tcp: Mapping[str, int],
    cpu: Mapping[str, int] | None = None,
) -> Snapshot:
    """The counters in the facts. A subject that was seen stands here even if none of its counters was."""
    readings: dict[str, dict[str, dict[str, int]]] = {}
    for port in ports:
        readings[port.name] = {PMA: dict(port.counters), HW: dict(port.hw_counters)}
    for interface in interfaces:
        readings[interface.name] = {NET: dict(interface.statistics)}
    readings[TCP] = {TCP: dict(tcp)}
    if cpu:
        readings[CPU] = {CPU: dict(cpu)}
    return Snapshot(time, monotonic, readings)


@dataclass(frozen=True)
class Growth:
    """One counter over a window.

    ``growth`` is None where it cannot be told. Saturated: the counter stands at its maximum; ``growth`` is
    then at least so much (it moved), or None (it stood there before).
    """

    subject: str
    group: str
    counter: str
    before: int | None
    after: int | None
    growth: int | None
    how: How

    @property
    def role(self) -> Role | None:
        """The table's role; None for a counter that it does not hold."""
        row = counter(self.group, self.counter)
        return row.role if row else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "how": self.how.value}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Growth:
        return Growth(**{**row, "how": How(row["how"])})


@dataclass(frozen=True)
class Delta:
    """What grew between two snapshots of one machine, ``seconds`` apart (None: across a reboot)."""

    seconds: float | None
    rows: tuple[Growth, ...]

    def of(self, subject: str) -> tuple[Growth, ...]:
        return tuple(row for row in self.rows if row.subject == subject)

    def find(self, subject: str, group: str, name: str) -> Growth | None:
        """The row; None where neither snapshot had this counter."""
        return self._named.get((subject, group, name))

    @cached_property
    def _named(self) -> dict[tuple[str, str, str], Growth]:
        return {(row.subject, row.group, row.counter): row for row in reversed(self.rows)}

    def grown(self, role: Role) -> tuple[Growth, ...]:
        """The rows of this role that are known to have grown, saturated ones included."""
        return tuple(row for row in self.rows if row.role is role and row.growth)

    def untold(self, role: Role) -> tuple[Growth, ...]:
        """The rows of this role of which it cannot be told whether they grew."""
        return tuple(row for row in self.rows if row.role is role and row.growth is None)


def delta(before: Snapshot, after: Snapshot) -> Delta:
    """Every counter that either snapshot has, in the order of the earlier one."""
    rows = [_growth(key, _value(before, key), _value(after, key)) for key in _keys(before, after)]
    seconds = after.monotonic - before.monotonic
    return Delta(seconds if seconds >= 0 else None, tuple(rows))


def saturated(subjects: Snapshot) -> tuple[tuple[str, str, str, int], ...]:
    """Counters already at their maximum: (subject, group, counter, value). They hide what comes."""
    return tuple(
        (*key, value) for key in _keys(subjects, subjects) if (value := _value(subjects, key)) in _maxima(key)
    )


@dataclass(frozen=True)
class Traffic:
    """Bytes that left and came in over a window; None where it cannot be told, and ``how`` says why."""

    sent: int | None
    received: int | None
    how: str


# where the bytes of a subject stand: group, sent, received, bytes a step
_BYTES = ((PMA, "port_xmit_data", "port_rcv_data", WORD), (NET, "tx_bytes", "rx_bytes", 1))


def bytes_moved(moved: Delta, subject: str) -> Traffic:
    """Bytes over a port (``mlx5_3/1``) or an interface (``eth3``).

    Port counters include InfiniBand's headers, interface counters Ethernet's. A port without data counters
    (soft-RoCE) cannot be told: its interface, if any, is another subject.
    """
    for group, sent, received, step in _BYTES:
        rows = moved.find(subject, group, sent), moved.find(subject, group, received)
        if rows != (None, None):
            values = [None if row is None or row.how is not How.EXACT else row.growth for row in rows]
            out, back = (None if value is None else value * step for value in values)
            return Traffic(out, back, _why(rows))
    return Traffic(None, None, f"{subject} has no byte counter")


def _why(rows: tuple[Growth | None, ...]) -> str:
    odd = [f"{row.counter} is {row.how.value}" for row in rows if row and row.how is not How.EXACT]
    if None in rows:
        odd.append("one direction is absent")
    return ", ".join(odd) or How.EXACT.value


_Key = tuple[str, str, str]


def _keys(*snapshots: Snapshot) -> list[_Key]:
    """Each once, in order of appearance."""
    return list(
        dict.fromkeys(
            (subject, group, name)
            for each in snapshots
            for subject, groups in each.readings.items()
            for group, values in groups.items()
            for name in values
            if name != "lifespan"  # the refresh period in ms, no counter
        )
    )


def _value(of: Snapshot, key: _Key) -> int | None:
    subject, group, name = key
    return of.readings.get(subject, {}).get(group, {}).get(name)


def _maxima(key: _Key) -> tuple[int, ...]:
    """The values at which this counter stops: none if it is not one that does.

    A counter listed with 32 bits or less and read above its maximum is a wider one: it has not stopped.
    """
    row = counter(*key[1:])
    return ((1 << row.bits) - 1,) if row and row.bits else ()


def _growth(key: _Key, before: int | None, after: int | None) -> Growth:
    if before is None or after is None:
        return Growth(*key, before, after, None, How.ABSENT)
    if after < before:
        return Growth(*key, before, after, None, How.RESET)
    if after in _maxima(key):
        return Growth(*key, before, after, after - before or None, How.SATURATED)
    return Growth(*key, before, after, after - before, How.EXACT)
