"""An ib_write_bw, or by its name an ib_write_lat, of paper: real processes and a real TCP handshake, no RDMA.

Device names say what goes wrong.

mlx5_1, mlx5_2  run; ``down`` has no link, ``memlock`` cannot register memory, ``dead`` hangs after the
header, ``deaf`` never listens. A client with RAILGAUGE_FAKE_SLOW in its environment reports half, and of latencies
RAILGAUGE_FAKE_LATENCY microseconds.
"""

import itertools
import os
import socket
import sys
import time

HELP = """Usage:
  ib_write_bw            start a server and wait for connection
  -d, --ib-dev=<dev>  Use IB device <dev>
  -D, --duration  Run test for a customized period of seconds.
  -f, --margin  measure results within margins.
  -t, --tx-depth=<dep>  Size of tx queue (default 128)
"""
HEADER = """                    RDMA_Write BW Test
 Dual-port       : OFF          Device         : {hca}
 Mtu             : 4096[B]
 Link type       : IB
 #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]
"""
LATENCIES = """                    RDMA_Write Latency Test
 Dual-port       : OFF          Device         : {hca}
 Mtu             : 4096[B]
 Link type       : IB
{columns}
"""
COLUMNS = (
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]"
    "   99% percentile[usec]   99.9% percentile[usec] "
)
ECHO = "ethernet_read_keys: Couldn't read remote address\n Failed to exchange data between server and clients"


def main(words: list[str]) -> int:
    if "--help" in words:
        print(HELP)
        return 1
    if "--version" in words:
        print("Version: 6.06")
        return 1
    value = dict(itertools.pairwise(words))
    hca, port = value["-d"], int(value["-p"])
    peer = words[-1] if words[-1].count(".") == 3 else ""
    if hca == "down":
        print(
            " Port number 1 state is Down\n Couldn't set the link layer\n Couldn't get context for the device",
            file=sys.stderr,
        )
        return 1
    if hca == "deaf":
        time.sleep(600)
    talk = joined(peer, port)
    if hca == "memlock":
        print("Couldn't allocate MR\nFailed to create MR\n Couldn't create IB resources", file=sys.stderr)
        return 1
    return client(hca, talk) if peer else server(talk)


def joined(peer: str, port: int) -> socket.socket:
    if peer:
        return socket.create_connection((peer, port), 20)
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("", port))
        door.listen(1)
        return door.accept()[0]


def server(talk: socket.socket) -> int:
    with talk:
        talk.sendall(b"h")  # memory is there
        if talk.recv(1):
            return 0
    print(ECHO)
    return 1


def client(hca: str, talk: socket.socket) -> int:
    if not talk.recv(1):
        print(ECHO)
        return 1
    latency = sys.argv[0].endswith("_lat")
    print((LATENCIES if latency else HEADER).format(hca=hca, columns=COLUMNS), end="", flush=True)
    if hca == "dead":
        time.sleep(600)
    if latency:
        typical = float(os.environ.get("RAILGAUGE_FAKE_LATENCY", "1.96"))
        print(
            f" 8       10000          1.90           5.77         {typical:.2f}  1.97  0.05    2.10     5.77"
        )
        with talk:
            talk.sendall(b"x")
        return 0
    rate = 23500.0 if os.environ.get("RAILGAUGE_FAKE_SLOW") else 47000.0  # MiB/s, so 49.3 GB/s
    print(
        f" 524288     90000            0.00               {rate:.2f}\t\t   {rate * (1 << 20) / 524288 / 1e6:.6f}"
    )
    with talk:
        talk.sendall(b"x")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
