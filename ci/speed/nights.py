#!/usr/bin/env python3
"""A history of 10 000 nights of ten clusters, 24 series each: ci/speed/nights.py DIR."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.store.history import Record, Sample
from bench.store.history.folder import run_path
from bench.store.history.nights import Series, fingerprint
from bench.store.history.record import encode

NIGHTS, CLUSTERS, FIRST = 10_000, 10, 1.7e9
SERIES = (
    ("all_reduce", "all_gather", "broadcast", "all_to_all"), ("4 KiB", "4 MiB", "1 GiB"), ("busbw", "latency"),
)  # fmt: skip


def main(root: Path) -> None:
    dice = random.Random(1)
    for number in range(NIGHTS):
        cluster, night = f"cluster{number % CLUSTERS}", number // CLUSTERS
        parts = fingerprint({"driver": f"550.{night // 300}", "gpus": "8 x H100", "nccl": "2.23.4"})
        samples = tuple(
            Sample(Series(cluster, *names), 1e9 * (1 + dice.random()), 3)
            for names in itertools.product(*SERIES)
        )
        record = Record(f"night{night:04}", FIRST + night * 86400, cluster, parts, samples)
        # not by ``append``, which waits for the disk each time
        path = root / run_path(cluster, record.run, record.time)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(record))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
