"""A folder of documentation as `railgauge charts` writes it, and a history of nights to draw it from."""

from __future__ import annotations

import random
from pathlib import Path

import made_runs
from bench.judge.drift import NightValue, Series
from bench.judge.evidence import Evidence
from bench.store.history.nights import fingerprint
from reports import chart_folder, doc_pages, trends

CLUSTER = "lambda-a <b>|`"  # a name is data in Markdown, HTML and file names alike
SPEEDS = {"all_reduce": 480e9, "all_gather": 371e9}


def nights(count: int = 60, step_at: int = 40, lost: float = 0.05) -> dict[Series, tuple[NightValue, ...]]:
    """Two series; all_reduce loses ``lost`` at ``step_at``, when NCCL was changed and back; a latency."""
    dice = random.Random(5)
    found: dict[Series, list[NightValue]] = {}
    for night in range(count):
        parts = fingerprint({"nccl": "2.28.9" if night < step_at else "2.29.1", "driver": "580.95"})
        for name, speed in SPEEDS.items():
            value = speed * dice.gauss(1, 0.006)
            value *= 1 - lost if night >= step_at and name == "all_reduce" else 1
            series = Series(CLUSTER, name, "8 GiB", "busbw")
            found.setdefault(series, []).append(
                NightValue(f"n{night}", 1.785e9 + 86400 * night, value, parts)
            )
        latency = NightValue(f"n{night}", 1.785e9 + 86400 * night, 32e-6 * dice.gauss(1, 0.01), parts)
        found.setdefault(Series(CLUSTER, "all_reduce", "8 B", "latency"), []).append(latency)
    return {series: tuple(rows) for series, rows in found.items()}


def pages() -> tuple[chart_folder.Page, ...]:
    """A run of a faulty cluster with a hostile node name, and the nights of another."""
    made = made_runs.cluster(names=["node001", made_runs.HOSTILE])
    return (*doc_pages.run_pages(Evidence(made.run, made.profile)), trends.cluster_page(CLUSTER, nights()))


def folder(path: Path) -> Path:
    """The folder with Vega in it, without pictures: these take most of the time."""
    chart_folder.write(path, "Charts: made", pages(), chart_folder.Form(library=True, pictures=False))
    return path
