"""Prometheus alert rules over the metrics that ``prometheus`` writes, for Prometheus' rule_files.

Each rule holds what a person is to do. A run that did not take place shows no fault, so that its absence alerts too.
"""

from __future__ import annotations

import json

from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class Alert:
    """``expression`` is PromQL; ``wait`` how long it must hold; ``says`` and ``do`` are templates of labels."""

    name: str
    expression: str
    severity: str
    says: str
    do: str
    wait: str = "0m"


NIGHT = 26 * 3600  # seconds: a nightly run, and two hours for it to be late
ALERTS = (
    Alert("RailGaugeFailed", 'railgauge_run_status{status="fail"} == 1', "critical",
          "the last run of {{ $labels.cluster }} failed", "open its report: the causes stand first"),
    Alert("RailGaugeInconclusive", 'railgauge_run_status{status="inconclusive"} == 1', "warning",
          "the last run of {{ $labels.cluster }} is inconclusive",
          "open its report: it names what was not measured, or not well enough"),
    Alert("RailGaugeTooOld", f"time() - railgauge_run_completion_timestamp_seconds > {NIGHT}", "warning",
          "{{ $labels.cluster }} has not completed a run for {{ $value | humanizeDuration }}",
          "look at the job that starts railgauge nightly"),
    Alert("RailGaugeDidNotComplete",
          "railgauge_run_start_timestamp_seconds unless on (cluster) railgauge_run_completion_timestamp_seconds",
          "warning", "the last run of {{ $labels.cluster }} did not complete", "railgauge resume RUN", "1h"),
    Alert("RailGaugeNoMetrics", "absent(railgauge_run_info)", "warning", "no cluster reports RailGauge's metrics",
          "see whether railgauge export --format prometheus writes where node_exporter reads", "1h"),
    Alert("RailGaugeWrongElements", "sum by (cluster, collective) (railgauge_wrong_elements) > 0", "critical",
          "{{ $labels.collective }} on {{ $labels.cluster }} returned {{ $value }} wrong elements",
          "take the ranks that the report names out of service before anybody trains on them"),
    Alert("RailGaugeRegression", 'railgauge_drift_series{label="regression"} > 0', "critical",
          "{{ $value }} series of {{ $labels.cluster }} got worse, and a second measurement confirmed it",
          "see what changed: railgauge history show DIR"),
    Alert("RailGaugeHistoryDamaged", "railgauge_history_left_out_files > 0", "warning",
          "{{ $value }} history files of {{ $labels.cluster }} are broken or foreign",
          "railgauge history list names them"),
)  # fmt: skip


def alerts() -> str:
    """The rules as YAML; ends with a newline. Texts are written as JSON strings, which YAML reads as they are."""
    lines = ["groups:", "  - name: railgauge", "    rules:"]
    for each in ALERTS:
        lines += [
            f"      - alert: {each.name}",
            f"        expr: {json.dumps(each.expression)}",
            f"        for: {each.wait}",
            f"        labels: {{severity: {each.severity}}}",
            "        annotations:",
            f"          summary: {json.dumps(each.says)}",
            f"          description: {json.dumps(f'Next: {each.do}')}",
        ]
    return "\n".join(lines) + "\n"
