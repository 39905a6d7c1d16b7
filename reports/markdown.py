"""``report.md``: the report in short, for places that show Markdown, with pictures beside it."""

from __future__ import annotations

from bench.judge.evidence import Evidence
from bench.judge.problems import problems_of
from bench.judge.scope import simulated
from bench.judge.verdicts import spoken
from bench.judge.wire.rail_latency import of_latencies
from bench.model.units import BITS, show_count

from . import sections
from .charts import CHARTS
from .environment import compared_nodes, compared_ranks
from .frames import Frames
from .layers import layer_table, read_layers, unknowns, worst_first
from .summary import METHOD, coverage, duration, headline, moment, read_target
from .tables import MOST_ROWS, ReportTable, verdict_table
from .templating import render


def markdown(judged: Evidence, f: Frames, drawn: tuple[str, ...]) -> str:
    """The whole report. ``drawn``: names of the charts whose pictures lie in charts/."""
    run, m = judged.run, judged.manifest
    status, counts = headline(run)
    found = problems_of(run)
    target, layers = read_target(judged), read_layers(judged)
    return render(
        "report.md",
        run=run, profile=judged.profile, status=status, counts=counts,
        about=f"{show_count(len(m.ranks), 'rank')} on {show_count(len(m.nodes), 'node')}, {m.backend}, "
        f"{moment(m.started)}, {duration(run)}, run {m.id}",
        spoken=spoken(run), simulated=simulated(run), problems=found.first, bad=verdict_table(found.inconclusive),
        coverage=sections.coverage_table(coverage(judged)), unmeasured=sections.unmeasured_table(run),
        target=target, target_title=sections.target_title(target) if target else "",
        readings=sections.readings_table(target) if target else None,
        layers=layers, rails=layer_table(worst_first(layers.rows), of_latencies(judged)) if layers else None,
        reasons=unknowns(layers)[:MOST_ROWS] if layers else (), best=_best(f),
        charts=[(chart, chart.about(f)) for chart in CHARTS if chart.name in drawn],
        versions=sections.versions_table(run), compared=(compared_nodes(judged), compared_ranks(judged)), method=METHOD,
    )  # fmt: skip


def _best(f: Frames) -> ReportTable:
    best = f.best.sort_values(["busbw", "series"], ascending=[False, True], kind="stable")
    rows = [
        (row.series, f"{row.busbw:,.4g}", f"{row.busbw * BITS:,.5g}", row.note)
        if row.busbw > 0
        else (row.series, "not measured", "not measured", "")
        for row in best.itertuples()
    ]
    return ReportTable("Best bus bandwidth", ("collective", "busbw GB/s", "Gb/s", "where"), rows)
