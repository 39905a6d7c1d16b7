#!/usr/bin/env python3
"""A history of 10 000 nights of ten clusters, 24 series each: ci/speed/nights.py DIR.

ci/speed/nights.py DIR --compact    three years of 100 clusters, a file a month as history compact leaves them
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.store.history import RecordedRun, Sample
from bench.store.history.location import month_path, run_path
from bench.store.history.nights import Series, fingerprint
from bench.store.history.parquet_file import encode

FIRST = 1.7e9
SERIES = (
    ("all_reduce", "all_gather", "broadcast", "all_to_all"), ("4 KiB", "4 MiB", "1 GiB"), ("busbw", "latency"),
)  # fmt: skip


def main(root: Path, compact: bool) -> None:
    """Not by ``append`` and ``compact``, which wait for the disk each time."""
    dice = random.Random(1)
    clusters, nights = (100, 3 * 365) if compact else (10, 1000)
    for cluster in (f"cluster{number}" for number in range(clusters)):
        files = defaultdict[str, list[RecordedRun]](list)
        for night in range(nights):
            record = made(cluster, night, dice)
            own = run_path(cluster, record.run, record.time)
            files[month_path(cluster, record.time) if compact else own].append(record)
        for name, records in files.items():
            content = encode(*records)
            digest = hashlib.sha256(content).hexdigest()[:16]
            path = root / name / f"{digest}.parquet" if compact else root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def made(cluster: str, night: int, dice: random.Random) -> RecordedRun:
    parts = fingerprint({"driver": f"550.{night // 300}", "gpus": "8 x H100", "nccl": "2.23.4"})
    samples = tuple(
        Sample(Series(cluster, *names), 1e9 * (1 + dice.random()), 3) for names in itertools.product(*SERIES)
    )
    return RecordedRun(f"night{night:04}", FIRST + night * 86400, cluster, parts, samples)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--compact" in sys.argv[2:])
