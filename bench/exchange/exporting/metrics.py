"""What a run says in numbers to Prometheus: one row a metric, in base units, with labels that a cluster bounds.

Run ids, times and messages are no labels: each night would open new series for ever. A figure that is missing is
left out, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from bench.judge.drift import Label
from bench.judge.drift.run_fingerprint import cluster_name
from bench.judge.drift.series import RERUN, Fleet, fleets
from bench.judge.drift.tonight import Tonight, tonight
from bench.judge.evidence import Evidence
from bench.judge.verdicts import status
from bench.judge.wire import of_target
from bench.model.collectives import collective
from bench.model.late_dataclass import dataclass
from bench.model.units import show_size
from bench.model.verdict import Status
from bench.store.rows import Row

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class MeteredRun:
    """A judged run as the metrics see it; ``night`` of a nightly run alone."""

    judged: Evidence
    cluster: str
    rows: tuple[Row, ...]
    fleets: Mapping[str, Fleet]
    night: Tonight | None


@dataclass(frozen=True)
class Metric:
    """A gauge. ``labels`` come after ``cluster``, in the order of the samples' values."""

    name: str
    about: str
    labels: tuple[str, ...]
    samples: Callable[[MeteredRun], Iterable[Sample]]


def metered(judged: Evidence) -> MeteredRun:
    """A run made ready for METRICS."""
    night = tonight(judged)
    cluster = night.past.cluster if night else cluster_name("", judged.manifest)
    everyone = len(judged.ranks)
    whole = tuple(
        row
        for row in judged.rows
        if row.ranks == everyone
        and row.case.phase != "evidence"
        and not row.case.phase.startswith(RERUN)
        and row.case.placement == collective(row.case.collective).placements[0]
    )
    return MeteredRun(judged, cluster, whole, {fleet.name: fleet for fleet in fleets(judged)}, night)


def samples(metric: Metric, of: MeteredRun) -> list[Sample]:
    """The samples of a metric, ``cluster`` first, without those that are no number."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in metric.samples(of):
        if math.isfinite(value):
            # two rows of one label set would be one series with two values; the worse stands by its place
            found.setdefault((of.cluster, *labels), value)
    return list(found.items())


def _one(value: float | None) -> Iterable[Sample]:
    return [] if value is None else [((), float(value))]


def _info(of: MeteredRun) -> Iterable[Sample]:
    manifest = of.judged.manifest
    version = manifest.versions.get("railgauge", "unknown")
    yield (of.judged.run.profile_name, manifest.backend, manifest.launcher, version), 1.0


def _status(of: MeteredRun) -> Iterable[Sample]:
    now = status(of.judged)
    return (((each.value,), float(each is now)) for each in Status if each is not Status.NOT_APPLICABLE)


def _verdicts(of: MeteredRun) -> Iterable[Sample]:
    count = Counter((verdict.check, verdict.status) for verdict in of.judged.verdicts)
    checks = sorted({check for check, _ in count})
    return (((check, each.value), float(count[check, each])) for check in checks for each in Status)


def _of_rows(figure: Callable[[Row], float], better: int) -> Callable[[MeteredRun], Iterable[Sample]]:
    def found(of: MeteredRun) -> Iterable[Sample]:
        # the worst first: of several rows of one size it is the one that stands
        for row in sorted(of.rows, key=lambda row: better * figure(row)):
            case = row.case
            yield (case.collective, case.algorithm, show_size(case.size)), figure(row)

    return found


def _wrong(of: MeteredRun) -> Iterable[Sample]:
    counted: dict[str, int] = {}
    for row in of.judged.rows:
        if row.wrong is not None:
            counted[row.case.collective] = counted.get(row.case.collective, 0) + row.wrong
    return (((name,), float(count)) for name, count in counted.items())


def _target(of: MeteredRun) -> Iterable[Sample]:
    found = of_target(of.judged)
    return (((reading.kind,), reading.share) for reading in found.readings)


def _members(of: MeteredRun, fleet: str, labels: int) -> Iterable[Sample]:
    """The members of a fleet that have a figure. A name holds so many ``labels``: ``n1``, or ``n1 mlx5_3``."""
    members = of.fleets[fleet].values if fleet in of.fleets else {}
    return (
        (tuple(name.split(" ", labels - 1)), value) for name, value in members.items() if value is not None
    )


def _drift_labels(of: MeteredRun) -> Iterable[Sample]:
    if of.night:
        count = Counter(finding.label for finding in of.night.findings)
        yield from (((label.value,), float(count[label])) for label in Label)


def _changes(of: MeteredRun) -> Iterable[Sample]:
    for finding in of.night.findings if of.night else ():
        if finding.first is not None:
            series = finding.series
            yield (series.collective, series.size_class, series.quantity), finding.first.change


ROW = ("collective", "algorithm", "size")
METRICS = (
    Metric("railgauge_run_info", "What ran, as labels; always 1.", ("profile", "backend", "launcher", "version"),
           _info),
    Metric("railgauge_run_start_timestamp_seconds", "Start of the run, seconds since 1970.", (),
           lambda of: _one(of.judged.manifest.started)),
    Metric("railgauge_run_completion_timestamp_seconds",
           "End of the run, seconds since 1970; absent when the run did not complete.", (),
           lambda of: _one(of.judged.run.ended)),
    Metric("railgauge_run_duration_seconds", "Duration of the run.", (), lambda of: _one(of.judged.run.lasted)),
    Metric("railgauge_run_nodes", "Nodes that took part.", (), lambda of: _one(len(of.judged.manifest.nodes))),
    Metric("railgauge_run_ranks", "Ranks that took part, one a GPU.", (),
           lambda of: _one(len(of.judged.manifest.ranks))),
    Metric("railgauge_run_status", "1 for the verdict of the run: pass, fail or error (inconclusive).", ("status",),
           _status),
    Metric("railgauge_check_verdicts", "Verdicts of each check by status.", ("check", "status"), _verdicts),
    Metric("railgauge_bus_bandwidth_bytes_per_second", "Bus bandwidth of a collective over all ranks.", ROW,
           _of_rows(lambda row: row.busbw, +1)),
    Metric("railgauge_latency_median_seconds", "Median of single calls, each as long as its slowest rank.", ROW,
           _of_rows(lambda row: row.isolated.p50, -1)),
    Metric("railgauge_latency_p99_seconds", "99th percentile of single calls, each as long as its slowest rank.", ROW,
           _of_rows(lambda row: row.isolated.p99, -1)),
    Metric("railgauge_wrong_elements", "Elements of a collective's results that were wrong.", ("collective",),
           _wrong),
    Metric("railgauge_target_ratio", "Share of the target that a node's rails carried, by method of measurement.",
           ("reading",), _target),
    Metric("railgauge_rail_bandwidth_bytes_per_second", "Point-to-point on one rail, median over its partners.",
           ("node", "rail"), lambda of: _members(of, "rails", 2)),
    Metric("railgauge_node_bus_bandwidth_bytes_per_second", "Bus bandwidth of all_reduce inside one node.", ("node",),
           lambda of: _members(of, "nodes", 1)),
    Metric("railgauge_drift_series", "Series of this night by their drift label.", ("label",), _drift_labels),
    Metric("railgauge_drift_change_ratio", "Change against the accepted baseline; above 0 is better.",
           ("collective", "size", "quantity"), _changes),
    Metric("railgauge_history_recorded", "1 when the run is recorded in the history.", (),
           lambda of: _one(bool(of.night.past.recorded) if of.night else None)),
    Metric("railgauge_history_left_out_files", "History files that are broken or foreign.", (),
           lambda of: _one(len(of.night.past.left_out) if of.night else None)),
)  # fmt: skip
