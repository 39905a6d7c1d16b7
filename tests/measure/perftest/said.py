"""What perftest says, as texts: its table with a given rate, and the words of its failures."""

from __future__ import annotations

from bench.model.run_folder_lines import PerftestEnd, PerftestExit, PerftestTransfer

# linux-rdma/perftest at 00b55b6, ib_write_bw -D 4 on an NDR port
TABLE = """---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 Dual-port       : OFF		Device         : {hca}
 Number of qps   : 1		Transport type : IB
 Connection type : RC		Using SRQ      : OFF
 TX depth        : 16
 Mtu             : {mtu}[B]
 Link type       : IB
---------------------------------------------------------------------------------------
 local address: LID 0xd06 QPN 0x095f PSN 0x3c9e82 RKey 0x080359 VAddr 0x007fc479c000
 remote address: LID 0xd06 QPN 0x095e PSN 0xbd024b RKey 0x080258 VAddr 0x007f504b000
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[MiB/sec]    BW average[MiB/sec]   MsgRate[Mpps]
"""
# of ib_write_lat -s 8 -n 10000; RESULT_FMT_LAT and REPORT_FMT_LAT of the same source
LATENCIES = """---------------------------------------------------------------------------------------
                    RDMA_Write Latency Test
 Dual-port       : OFF		Device         : {hca}
 Number of qps   : 1		Transport type : IB
 Connection type : RC		Using SRQ      : OFF
 TX depth        : 1
 Mtu             : 4096[B]
 Link type       : IB
 Max inline data : 220[B]
---------------------------------------------------------------------------------------
{columns}
"""
COLUMNS = (
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]"
    "   99% percentile[usec]   99.9% percentile[usec] "
)
LATENCY_ROW = (
    " 8       10000          {least:<7.2f}        9.81         {typical:<7.2f}  \t       {mean:<7.2f}     \t0.06   "
    "\t\t2.43    \t\t4.87   \n"
)
ROW = " 524288     {count}            0.00               {mib:.2f}\t\t   {mega:.6f}\n"
ECHO = """ethernet_read_keys: Couldn't read remote address
 Unable to read to socket/rdma_cm
 Failed to exchange data between server and clients
"""
MEMLOCK = "Couldn't allocate MR\nFailed to create MR\n Couldn't create IB resources\n"
DOWN = " Port number 1 state is Down\n Couldn't set the link layer\n Couldn't get context for the device\n"
RETRY = (
    TABLE + " Completion with error at client\n Failed status 12: wr_id 0 syndrom 0x81\nscnt=128, ccnt=0\n"
)


def table(rate: float, hca: str = "mlx5_1", mtu: int = 4096) -> str:
    """A whole run that reached ``rate`` bytes/s."""
    mib = rate / (1 << 20)
    row = ROW.format(count=max(1, round(2 * rate / 524288)), mib=mib, mega=rate / 524288 / 1e6)
    return TABLE.format(hca=hca, mtu=mtu) + row


def latency_table(micros: float, hca: str = "mlx5_1") -> str:
    """A whole run of ib_write_lat whose median is ``micros`` one way."""
    row = LATENCY_ROW.format(least=micros * 0.96, typical=micros, mean=micros * 1.02)
    return LATENCIES.format(hca=hca, columns=COLUMNS) + row


def latency(
    micros: float,
    sender: str = "n0",
    receiver: str = "n1",
    rail: int = 1,
    again: bool = False,
    client: PerftestExit | None = None,
) -> PerftestTransfer:
    """One rail by ib_write_lat, that took so long or ended as ``client`` says."""
    whole = client or ended(latency_table(micros, f"mlx5_{rail}"))
    ends = (PerftestEnd(node, f"mlx5_{rail}", 1) for node in (sender, receiver))
    return PerftestTransfer(0, *ends, ended(""), whole, again, "ib_write_lat")


def ended(text: str, code: int | None = 0) -> PerftestExit:
    return PerftestExit(("ib_write_bw",), code, text)


def transfer(
    rate: float = 49.5e9,
    sender: str = "n0",
    receiver: str = "n1",
    rail: int = 1,
    client: PerftestExit | None = None,
    server: PerftestExit | None = None,
    started: bool = True,
    gpu: str = "",
    again: bool = False,
    mtu: int = 4096,
) -> PerftestTransfer:
    """A transfer that went well at ``rate``, or ended as ``client`` and ``server`` say."""
    return PerftestTransfer(
        round=0,
        sender=PerftestEnd(sender, f"mlx5_{rail}", 1, gpu=gpu),
        receiver=PerftestEnd(receiver, f"mlx5_{rail}", 1, gpu=gpu),
        server=server or ended(""),
        client=(client or ended(table(rate, f"mlx5_{rail}", mtu))) if started else None,
        again=again,
    )
