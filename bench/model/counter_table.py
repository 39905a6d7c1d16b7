"""The table of counters: what each one is, how wide, and what it means when it grows.

Widths and the rule of saturation: InfiniBand Architecture Specification 1.4, 16.1.3.5 (PortCounters) and 16.1.4.11
(PortCountersExtended); names: Linux, Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from .late_dataclass import dataclass

TCP = "tcp"  # the subject of the machine's TCP counters, and their group
CPU = "cpu"  # the same of the CPU quota
PMA, HW, NET = "counters", "hw_counters", "statistics"
ETHTOOL = "ethtool"  # the group of what a RoCE port's driver counts by itself: ethtool -S
PAUSE_STORM = "tx_pause_storm_error_events"
LIFESPAN = "lifespan"  # the refresh period in ms, no counter


class CounterRole(str, Enum):
    """ERROR must not grow in an acceptance run; INDICATOR explains a slow one; TRAFFIC is work."""

    ERROR = "error"
    INDICATOR = "indicator"
    TRAFFIC = "traffic"


@dataclass(frozen=True)
class Counter:
    """One row of the table: ``bits`` of a counter that stops at its maximum, 0 where it cannot fill up."""

    group: str
    name: str
    role: CounterRole
    bits: int
    reason: str
    source: str


_IBTA = "InfiniBand Architecture Specification 1.4, 16.1.3.5"
_ABI = "Linux, Documentation/ABI/stable/sysfs-class-infiniband"
_NVIDIA = "NVIDIA, Understanding mlx5 Linux counters and status parameters"
_NCCL = "NCCL user guide, networking troubleshooting"
_MLX5 = "Linux, Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst"
_BNXT = "Linux, drivers/net/ethernet/broadcom/bnxt/bnxt_ethtool.c"
_STATS = "Linux, Documentation/networking/statistics.rst"
_RXE = "Linux, drivers/infiniband/sw/rxe/rxe_hw_counters.c"
_SNMP = "RFC 4022"
_QUOTA = "Linux, Documentation/scheduler/sched-bwc.rst"
_E, _I, _T = CounterRole.ERROR, CounterRole.INDICATOR, CounterRole.TRAFFIC


def _rows(group: str, role: CounterRole, source: str, *rows: tuple[str, int, str]) -> Iterator[Counter]:
    for names, bits, reason in rows:
        for name in names.split():
            yield Counter(group, name, role, bits, reason, source)


def _each_priority(pattern: str) -> str:
    """The names of a counter that is there for each of the eight priorities of Ethernet."""
    return " ".join(pattern.format(priority) for priority in range(8))


# µs of pause; a port counts a priority only where PFC is on for it
_HELD = f"{_each_priority('rx_prio{}_pause_duration')} rx_global_pause_duration"
_HOLDS = f"{_each_priority('tx_prio{}_pause_duration')} tx_global_pause_duration"
_BNXT_HELD, _BNXT_HOLDS = (_each_priority(f"pfc_pri{{}}_{way}_duration_us") for way in ("rx", "tx"))
_WHY_HELD = "µs for which the port sent nothing because its switch paused it"
_WHY_HOLDS = "µs for which the port had its switch pause: the host takes in less than arrives"
WAS_PAUSED, PAUSED = f"{_HELD} {_BNXT_HELD}".split(), f"{_HOLDS} {_BNXT_HOLDS}".split()
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
    *_rows(ETHTOOL, _I, _MLX5, (_HELD, 0, _WHY_HELD), (_HOLDS, 0, _WHY_HOLDS)),
    *_rows(ETHTOOL, _I, _BNXT, (_BNXT_HELD, 0, _WHY_HELD), (_BNXT_HOLDS, 0, _WHY_HOLDS)),
    *_rows(
        ETHTOOL,
        _I,
        _MLX5,
        (PAUSE_STORM, 0, "the port had its switch pause for so long that it gave up pausing"),
        ("tx_pause_storm_warning_events", 0, "the port had its switch pause for long"),
        (_each_priority("rx_prio{}_marked"), 0, "packets that the adapter marked, for its host is congested"),
        ("rx_ecn_mark", 0, "packets that a switch marked as congested"),
    ),
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
