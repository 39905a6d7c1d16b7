"""All ranks of a job but rank 0, each a process: python rank_of_a_tree.py SIZE PORT RUN FAN_OUT SILENCE.

It prints the numbers of the processes, and ends with status 0 once all have. A rank answers every order with its
number, and counts, a row each time, until it is dismissed.
"""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.launch.context import LaunchContext, Rendezvous
from bench.measure import prctl
from bench.supervise.control import resumable_stream, tcp, tree_places
from bench.supervise.control.connect import connect
from bench.supervise.control.token import TokenSource, derived_key

PER_NODE = 2
TOKEN = "of-the-tests-alone-0123456789abcdef"


def joined(rank: int, size: int, port: int, run: str):
    """This rank's end, as a launcher that starts two ranks on each node has it made."""
    hosts = tuple(f"n{each // PER_NODE}" for each in range(size))
    meet = Rendezvous("127.0.0.1", (port,), run, local=False)
    where = LaunchContext("shell", rank, size, meet=meet, local=rank % PER_NODE, hosts=hosts)
    return connect(where, limit=60.0, source=TokenSource(TOKEN))


def serve(control) -> None:
    row, counts = 0, False
    while True:
        for _, order in list(control.receive()):
            if order["do"] == "count":
                counts = True
            elif order["do"] == "quit":
                control.send(0, {"said": "bye", "rows": row})
                control.linger(4.0)
                control.flush(1.0)
                return
            elif order["do"] == "probe":
                time.sleep(order["seconds"])
            elif order["do"] == "answer":
                control.send(0, {"said": "answer", "number": order["number"]})
        if counts:
            control.send(0, {"said": "row", "row": b"%d" % row})
            row += 1
        control.rest(0.005)
        time.sleep(0.005)


def fork(rank: int, size: int, port: int, run: str) -> int:
    if pid := os.fork():
        return pid
    prctl.end_with_parent(signal.SIGKILL)
    end = joined(rank, size, port, run)
    serve(end)
    end.close()
    os._exit(0)


if __name__ == "__main__":
    size, port, fan_out = (int(sys.argv[at]) for at in (1, 2, 4))
    tree_places.FAN_OUT, tcp.RELAY_HEARTBEAT_SECONDS = fan_out, 0.2
    resumable_stream.SILENCE_SECONDS = tcp.SILENCE_SECONDS = float(sys.argv[5])
    derived_key(TOKEN.encode())  # once for all
    ranks = [fork(rank, size, port, sys.argv[3]) for rank in range(1, size)]
    print(*ranks, flush=True)
    ends = [os.waitpid(pid, 0)[1] for pid in ranks]
    sys.exit(any(ends))
