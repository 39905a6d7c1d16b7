"""Metrics of a run as a text file for node_exporter's textfile collector.

No sample carries a timestamp, because that collector refuses them; when the run ended is a metric of its own,
so that an alert can ask for its age.
"""

from __future__ import annotations

from types import SimpleNamespace

from bench.judge.evidence import Evidence
from bench.store.history.location import library

from .metrics import METRICS, metered, samples


def prometheus(judged: Evidence) -> str:
    """Every metric of METRICS that the run has samples of, in Prometheus' text format 0.0.4.

    Raises MissingLibrary without ``prometheus_client``.
    """
    client, core = library("prometheus_client"), library("prometheus_client.core")
    of = metered(judged)
    families = []
    for metric in METRICS:
        family = core.GaugeMetricFamily(metric.name, metric.about, labels=("cluster", *metric.labels))
        for labels, value in samples(metric, of):
            family.add_metric([_text(label) for label in labels], value)
        if family.samples:
            families.append(family)
    text: bytes = client.generate_latest(SimpleNamespace(collect=lambda: families))
    return text.decode()


def _text(label: str) -> str:
    return label.encode(errors="replace").decode()
