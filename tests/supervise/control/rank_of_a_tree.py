"""One rank of a job as a process of its own: python rank_of_a_tree.py RANK SIZE PORT RUN FAN_OUT SILENCE.

It answers every order with its number, and counts, a row each time, until it is dismissed.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.launch.context import LaunchContext, Rendezvous
from bench.supervise.control import passage, places
from bench.supervise.control.connect import connect
from bench.supervise.control.token import TokenSource

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
            elif order["do"] == "answer":
                control.send(0, {"said": "answer", "number": order["number"]})
        if counts:
            control.send(0, {"said": "row", "row": b"%d" % row})
            row += 1
        control.rest(0.005)
        time.sleep(0.005)


if __name__ == "__main__":
    rank, size, port, fan_out = (int(sys.argv[at]) for at in (1, 2, 3, 5))
    places.FAN_OUT, passage.SILENCE_SECONDS, passage.PULSE_SECONDS = fan_out, float(sys.argv[6]), 0.2
    end = joined(rank, size, port, sys.argv[4])
    serve(end)
    end.close()
