"""Packets: the share of a line rate that is payload, and the share of a target that healthy clusters carry."""

from __future__ import annotations

from .late_dataclass import dataclass

HEALTHY = 0.85  # of the target; the published healthy runs carry 87 to 97 %, the poor ones 83 % and less


@dataclass(frozen=True)
class Packet:
    """Bytes around the payload of one full packet, with where they come from."""

    name: str
    overhead: int
    parts: str
    headers_in_mtu: int = 0


PACKETS = {
    row.name: row
    for row in (
        Packet("ib", 26, "LRH 8 + BTH 12 + ICRC 4 + VCRC 2"),
        Packet("ib-grh", 66, "LRH 8 + GRH 40 + BTH 12 + ICRC 4 + VCRC 2"),
        Packet("roce", 82, "Ethernet 14 + FCS 4 + preamble and gap 20 + IPv4 20 + UDP 8 + BTH 12 + ICRC 4"),
        Packet("roce-vlan", 86, "RoCE 82 + VLAN tag 4"),
        # the MTU of a socket holds the headers of IP and TCP, that of RDMA holds payload alone
        Packet("tcp", 90, "Ethernet 14 + FCS 4 + preamble and gap 20 + IPv4 20 + TCP 32", 52),
    )
}


def efficiency(packet: str, mtu: int) -> float:
    """Share of the line rate that is payload in packets of ``mtu`` bytes.

    The nominal 400 Gb/s of NDR is already after FEC and line coding (106.25 Gb/s × 514/544 × 256/257 a
    lane), so the packets' headers are the whole loss. The RETH of a WRITE's first packet is left out.
    Source: InfiniBand Architecture Specification vol. 1, packet format; RoCEv2 annex A17.
    """
    if packet not in PACKETS:
        raise ValueError(f"unknown packet {packet!r}; known: {', '.join(PACKETS)}")
    row = PACKETS[packet]
    payload = mtu - row.headers_in_mtu
    if payload <= 0:
        raise ValueError(f"an MTU of {mtu} bytes holds no payload in {packet} packets")
    return payload / (payload + row.overhead)


MOST = efficiency("ib", 4096)  # no packet that NCCL sends leaves more of a line rate
