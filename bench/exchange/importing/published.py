"""Is my number normal? A table of nccl-tests against the published runs of its GPU and node count.

The runs and their sources stand in ``published.toml``. One sentence answers: where the best large message stands among
them, and how much of the rails it must have used. Published runs are few, so that the sentence says how many there are.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.model.bounds import ClusterShape, candidates, wire_rate
from bench.model.collectives import collective
from bench.model.late_dataclass import dataclass, replace
from bench.model.units import BITS, GIGA, show_count, show_rate, show_size
from bench.model.verdict import Status

from .imported_rows import ImportedRow, ImportedRun, ImportRefused
from .reconcile import usable

FILE = Path(__file__).with_name("published.toml")
LARGE = 1 << 30  # bytes; below it busbw still rises with the message, and runs cannot be compared
SLACK = 0.05  # below the lowest published run: between two healthy clusters there is as much
MOST_ABOVE = 0.15  # above the highest: more than a new version of NCCL has brought


@dataclass(frozen=True)
class PublishedRun:
    """One row of the file: ``busbw`` in GB/s, ``rails`` in Gb/s of a node, ``gpus`` of a node, ``nodes`` of the job."""

    gpu: str
    nodes: int
    collective: str
    size: str
    busbw: float
    rails: int
    source: str
    where: str = ""
    nccl: str = ""
    how: str = ""
    gpus: int = 8


@dataclass(frozen=True)
class AmongPublished:
    """The answer: FAIL where it is below all that is published, INCONCLUSIVE where nothing can be compared.

    size        of the best large message, in bytes; ``busbw``: its bus bandwidth, bytes per second
    percentile  among the published runs; ``runs``: how many there are
    rails       share of a node's rails that it must have used, by the algorithm that needs least, and most
    """

    status: Status
    sentence: str
    collective: str = ""
    size: int | None = None
    busbw: float | None = None
    percentile: float | None = None
    runs: int = 0
    rails: tuple[float, float] | None = None


@cache
def published() -> tuple[PublishedRun, ...]:
    """All rows of the file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tuple(PublishedRun(**row) for row in tomllib.loads(FILE.read_text(encoding="utf-8"))["run"])


def among_published(run: ImportedRun, gpu: str, nodes: int | None) -> AmongPublished:
    """How a table compares with published runs. ``gpu``, ``nodes``: "" and None where the table tells them.

    ImportRefused where it does not.
    """
    return replace(_among(run, gpu, nodes), collective=run.collective)


def _among(run: ImportedRun, gpu: str, nodes: int | None) -> AmongPublished:
    wrong = sum(row.wrong or 0 for row in run.rows)
    if wrong or run.failures or run.faults:
        said = "; ".join((*([f"{wrong} elements are wrong"] if wrong else []), *run.failures, *run.faults))
        return AmongPublished(
            Status.FAIL, f"{run.subject}: {said}; a run with wrong results or failures has no speed"
        )
    model, count, ranks = _platform(run, gpu, nodes)
    large = (row for row in run.rows if usable(row) and row.size >= LARGE)
    best = max(large, key=lambda row: row.busbw, default=None)
    if best is None:
        return AmongPublished(
            Status.INCONCLUSIVE,
            f"{run.subject}: the table has no message of {show_size(LARGE)} or more, and smaller ones are not "
            "compared; measure up to 8G",
        )
    known = [each for each in published() if (each.gpu, each.collective) == (model, run.collective)]
    near = _nearest([each for each in known if each.gpus == ranks // count], count)
    where = f"{count} × {ranks // count} {model}"
    head = f"{run.collective}, {show_size(best.size)}, {where}: {show_rate(best.busbw)} busbw"
    if not near:
        alike = [each for each in published() if each.collective == run.collective]
        others = ", ".join(sorted({f"{each.nodes} × {each.gpus} {each.gpu}" for each in alike}))
        text = f"{head}; no such run is published, only of {others or 'other collectives'}"
        return AmongPublished(Status.INCONCLUSIVE, text, size=best.size, busbw=best.busbw)
    return _placed(
        run, best, near, head, ClusterShape(count, ranks // count, 1, near[0].rails * GIGA / BITS or math.inf)
    )


def _placed(
    run: ImportedRun, best: ImportedRow, near: Sequence[PublishedRun], head: str, shape: ClusterShape
) -> AmongPublished:
    figures = sorted(each.busbw for each in near)
    value = best.busbw / GIGA
    share = sum(figure <= value for figure in figures) / len(figures)
    low = value < (1 - SLACK) * figures[0]
    exact = {each.nodes for each in near} == {shape.nodes}
    whose = show_count(len(near), "published run") + (
        "" if exact else f" of {_nodes(near)} nodes, the nearest"
    )
    span = " to ".join(dict.fromkeys(f"{figure:.4g}" for figure in (figures[0], figures[-1])))
    wire, possible, rails = _wire(run.collective, best.algbw, shape)
    verdict = f"{100 * (1 - value / figures[0]):.0f} % below the lowest" if low else "normal"
    if high := value > (1 + MOST_ABOVE) * figures[-1]:
        verdict = f"{100 * (value / figures[-1] - 1):.0f} % above the highest, which a wrong --gpu or --nodes explains"
    said = (
        f"{head} is {verdict}: percentile {100 * share:.0f} of {whose} ({span} GB/s{_nccl(run, near)}){wire}"
    )
    if run.problems:
        said = f"{said}; but {run.problems[0]}"
    good = exact and possible and not high and not run.problems
    status = Status.FAIL if exact and low else Status.PASS if good else Status.INCONCLUSIVE
    return AmongPublished(
        status, said, size=best.size, busbw=best.busbw, percentile=100 * share, runs=len(near), rails=rails
    )


def _platform(run: ImportedRun, gpu: str, nodes: int | None) -> tuple[str, int, int]:
    """Model, nodes and ranks. ImportRefused names in one line all that must be given."""
    models = {each.gpu for each in published()}
    named = gpu or next((device.name for device in run.devices if device.name), "")
    found = [
        model for model in sorted(models, key=len, reverse=True) if re.search(rf"\b{model}\b", named, re.I)
    ]
    hosts = len({device.host for device in run.devices}) if len(run.devices) == run.ranks else 0
    count = nodes or hosts
    lacking = [f"--gpu {'|'.join(sorted(models))}"] if not named else []
    lacking += ["--nodes N"] if not count else []
    lacking += ["--ranks N"] if not run.ranks else []
    if lacking:
        raise ImportRefused(f"the {run.subject} table does not tell what it ran on; give {' '.join(lacking)}")
    assert run.ranks is not None
    if not found:
        raise ImportRefused(f"no run of {named!r} is published; known: {', '.join(sorted(models))}")
    if run.ranks % count:
        raise ImportRefused(f"{run.ranks} ranks do not spread evenly over {count} nodes; give --nodes")
    return found[0], count, run.ranks


def _nearest(known: Sequence[PublishedRun], nodes: int) -> list[PublishedRun]:
    """The runs of that many nodes; else of the next smaller and larger number, one node and several never mixed."""
    alike = [each for each in known if (each.nodes == 1) == (nodes == 1)]
    counts = {each.nodes for each in alike}
    if nodes in counts:
        wanted = {nodes}
    else:
        wanted = {
            max((n for n in counts if n < nodes), default=0),
            min((n for n in counts if n > nodes), default=0),
        }
    return sorted((each for each in alike if each.nodes in wanted), key=lambda each: each.nodes)


def _wire(name: str, algbw: float, shape: ClusterShape) -> tuple[str, bool, tuple[float, float] | None]:
    """What a node's rails carried, by the algorithms that they have room for, whether one has, and the shares."""
    if shape.nodes < 2 or math.isinf(shape.rail_rate):
        return "", True, None
    rates = [wire_rate(name, way, algbw, shape) for way in candidates(collective(name).name)]
    possible = sorted(rate for rate in rates if rate <= 1.02 * shape.node_rate)
    target = show_rate(shape.node_rate, "Gb/s").replace(".0 ", " ")
    if not possible:
        return f"; no algorithm reaches that over rails of {target}", False, None
    rails = possible[0] / shape.node_rate, possible[-1] / shape.node_rate
    shares = dict.fromkeys(f"{100 * share:.0f}" for share in rails)
    return f"; its rails carried {' to '.join(shares)} % of {target}", True, rails


def _nccl(run: ImportedRun, near: Sequence[PublishedRun]) -> str:
    """The runs of the table's own NCCL, by its first two numbers."""
    if not (own := re.match(r"\d+\.\d+", run.nccl)):
        return ""
    same = [f"{each.busbw:.4g}" for each in near if each.nccl.startswith(f"{own[0]}.")]
    return f"; with NCCL {own[0]} {', '.join(same)}" if same else f"; none says NCCL {own[0]}"


def _nodes(near: Sequence[PublishedRun]) -> str:
    return " and ".join(str(count) for count in dict.fromkeys(each.nodes for each in near))
