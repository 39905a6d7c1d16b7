"""Metrics of a run as a text file for node_exporter's textfile collector.

No sample carries a timestamp, because that collector refuses them; when the run ended is a metric of its own,
so that an alert can ask for its age.
"""

from __future__ import annotations

from types import SimpleNamespace

from bench.profile import Profile
from bench.store import Run

from .metrics import METRICS, samples, seen


class NoPrometheus(ImportError):
    """``prometheus_client`` is not installed; the message names the extra."""


def prometheus(run: Run, profile: Profile) -> str:
    """Every metric of METRICS that the run has samples of, in Prometheus' text format 0.0.4."""
    try:
        from prometheus_client import generate_latest
        from prometheus_client.core import GaugeMetricFamily
    except ImportError as error:
        raise NoPrometheus(
            "prometheus_client is not installed, wanted for its text format; pip install 'railgauge[nightly]'"
        ) from error
    of = seen(run, profile)
    families = []
    for metric in METRICS:
        family = GaugeMetricFamily(metric.name, metric.about, labels=("cluster", *metric.labels))
        for labels, value in samples(metric, of):
            family.add_metric([_text(label) for label in labels], value)
        if family.samples:
            families.append(family)
    text: bytes = generate_latest(SimpleNamespace(collect=lambda: families))
    return text.decode()


def _text(label: str) -> str:
    return label.encode(errors="replace").decode()
