"""Sample reports that a person can open before installing anything, and the page that lists them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import made_docs
from bench.judge import scope
from bench.judge.problems import problems_of
from bench.judge.verdicts import judge, status
from bench.model.profile import parse
from bench.model.verdict import counted
from bench.store import Run, load
from bench.store.files import TITLES
from bench.store.titles import save_titles
from made_acceptance import LAMBDA
from reports import chart_folder, doc_pages, trends
from reports.export import specifications
from reports.frames import frames
from reports.page import page
from reports.theme import drawable

from . import simulated
from .markdown import text

CLUSTER = "cluster-a"


@dataclass(frozen=True)
class Sample:
    """A report in ``samples/NAME/report.html``."""

    name: str
    title: str
    about: str
    run: Run


def write_samples(pages: Path, nodes: int, measured: Path, lab: Path | None) -> None:
    """Write ``samples/`` and its page below ``pages``: ``nodes`` of the simulated cluster; a run of this machine."""
    folder = pages / "samples"
    scratch = folder / ".scratch"
    lines = [
        "# Sample reports",
        "Each of these is one file that needs nothing else: open it, send it, print it.",
    ]
    for sample in _samples(scratch, nodes, measured, lab):
        lines += _written(sample, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    lines += _nightly(folder)
    (pages / "samples.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _samples(scratch: Path, nodes: int, measured: Path, lab: Path | None) -> Iterator[Sample]:
    size = f"{nodes} × 8 GPUs"
    bad = min(simulated.NODE, nodes - 1)
    yield Sample("healthy", f"A healthy cluster of {size}", "", simulated.healthy(scratch / "healthy", nodes))
    planted = f"Planted: n{bad} {simulated.RAIL} runs at {100 * simulated.RATE:.0f} % of its rate."
    yield Sample(
        "faulty",
        f"The same cluster with one bad cable among {8 * nodes}",
        planted,
        simulated.faulty(scratch / "faulty", nodes, bad),
    )
    if lab is not None:
        about = "Measured: real processes over real sockets between network namespaces of one machine."
        yield Sample("lab", "A cluster of network namespaces", about, load(lab))
    about = "Measured by real processes on the machine that built this site, without a GPU."
    yield Sample("local", "One machine", about, load(measured))


def _written(sample: Sample, folder: Path) -> Iterator[str]:
    profile = (
        LAMBDA
        if sample.run.manifest.profile_name == LAMBDA.name
        else parse(sample.run.manifest.profile_text, "it")
    )
    target = folder / sample.name
    target.mkdir(parents=True)
    save_titles(target, sample.title, sample.about.rstrip("."))
    judged = judge(sample.run, profile)
    judged = replace(judged, run=replace(judged.run, path=target))
    drawn = frames(judged)
    html = page(judged, drawn, {name: drawable(spec) for name, spec in specifications(drawn).items()})
    (target / "report.html").write_text(html, encoding="utf-8")
    (target / TITLES).unlink()
    yield f"## {sample.title}"
    yield f"*{' '.join(filter(None, (scope.simulated(sample.run), sample.about)))}*"
    said = [
        f"{each.sentence} ({each.follows})." if each.follows else f"{each.sentence}."
        for each in problems_of(judged.run).listed[:3]
    ]
    counts = counted(each.status for each in judged.verdicts)
    yield f"**{status(judged).shown}:** {counts}. {text(' '.join(said))}"
    yield f"[Open the report](samples/{sample.name}/report.html){{ .md-button }}"
    if sample.name == "faulty":
        charts = doc_pages.run_pages(judged)
        chart_folder.write(
            folder / "charts", "Charts of the faulty cluster", charts, chart_folder.Form(pictures=False)
        )
        yield "[The charts of this run](samples/charts/index.md), as they stand in a site like this one."


def _nightly(folder: Path) -> Iterator[str]:
    nights = {replace(series, cluster=CLUSTER): found for series, found in made_docs.nights().items()}
    about = f"{scope.SIMULATED} Planted: all_reduce loses 5 % when NCCL is changed in night 40."
    found = trends.cluster_page(CLUSTER, nights)
    found = replace(found, intro=(f"**{about}**", *found.intro))
    chart_folder.write(folder / "nightly", "Sixty nights", (found,), chart_folder.Form(pictures=False))
    yield "## Sixty nights"
    yield f"*{about}*"
    yield f"[Open the history](samples/nightly/{found.name}.md){{ .md-button }}"
