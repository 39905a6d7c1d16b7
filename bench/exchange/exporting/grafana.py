"""A Grafana dashboard over the metrics that ``prometheus`` writes, ready for "Import dashboard"."""

from __future__ import annotations

import json
from typing import Any

from bench.model.late_dataclass import dataclass

WIDTH = 24  # columns of Grafana's grid


@dataclass(frozen=True)
class Panel:
    """``kind`` and ``unit`` by Grafana's names; ``legend`` is a template of labels; rows are 8 units high."""

    title: str
    kind: str
    expression: str
    unit: str = "short"
    legend: str = "{{cluster}}"
    width: int = 12
    height: int = 8
    about: str = ""
    colours: tuple[tuple[float | None, str], ...] = ((None, "green"),)


_OF = '{cluster=~"$cluster"}'
_AGE = "time() - railgauge_run_completion_timestamp_seconds" + _OF
PANELS = (
    Panel("Verdict of the last run", "stat", 'railgauge_run_status{cluster=~"$cluster"} == 1',
          legend="{{cluster}}: {{status}}", width=8, height=5,
          about="fail: something is wrong; error: the run is inconclusive"),
    Panel("Since the last completed run", "stat", _AGE, "s", width=8, height=5,
          about="alert on more than 26 hours: a nightly run that did not start shows no fault",
          colours=((None, "green"), (93600.0, "red"))),
    Panel("Duration", "stat", "railgauge_run_duration_seconds" + _OF, "s", width=4, height=5),
    Panel("Nodes", "stat", "railgauge_run_nodes" + _OF, width=4, height=5),
    Panel("Failed or inconclusive checks", "table",
          'railgauge_check_verdicts{cluster=~"$cluster", status=~"fail|inconclusive"} > 0',
          legend="{{check}}", width=12),
    Panel("Series by their drift label", "timeseries", "railgauge_drift_series" + _OF,
          legend="{{cluster}} {{label}}"),
    Panel("Change against the accepted baseline", "timeseries", "railgauge_drift_change_ratio" + _OF, "percentunit",
          "{{cluster}} {{collective}} {{size}} {{quantity}}", about="above 0 is better, below −2 % may be an alarm"),
    Panel("Bus bandwidth", "timeseries", "railgauge_bus_bandwidth_bytes_per_second" + _OF, "Bps",
          "{{cluster}} {{collective}} {{algorithm}} {{size}}", about="decimal: 1 GB/s = 8 Gb/s"),
    Panel("Median latency of single calls", "timeseries", "railgauge_latency_median_seconds" + _OF, "s",
          "{{cluster}} {{collective}} {{algorithm}} {{size}}"),
    Panel("99th percentile of single calls", "timeseries", "railgauge_latency_p99_seconds" + _OF, "s",
          "{{cluster}} {{collective}} {{algorithm}} {{size}}"),
    Panel("Slowest rails, point-to-point", "timeseries",
          'bottomk(8, railgauge_rail_bandwidth_bytes_per_second{cluster=~"$cluster"})', "Bps",
          "{{cluster}} {{node}} {{rail}}"),
    Panel("Slowest nodes inside", "timeseries",
          'bottomk(8, railgauge_node_bus_bandwidth_bytes_per_second{cluster=~"$cluster"})', "Bps",
          "{{cluster}} {{node}}"),
    Panel("Share of the target carried by the rails", "timeseries", "railgauge_target_ratio" + _OF, "percentunit",
          "{{cluster}} {{reading}}"),
    Panel("Wrong elements", "stat", "sum by (cluster) (railgauge_wrong_elements" + _OF + ")", width=6, height=5,
          colours=((None, "green"), (1.0, "red"))),
    Panel("History files left out", "stat", "railgauge_history_left_out_files" + _OF, width=6, height=5,
          colours=((None, "green"), (1.0, "orange"))),
)  # fmt: skip


def grafana() -> str:
    """The dashboard as JSON, for any Prometheus data source and any number of clusters; ends with a newline."""
    board = {
        "uid": "railgauge",
        "title": "RailGauge: GPU clusters, nightly",
        "tags": ["railgauge"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "time": {"from": "now-90d", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), _clusters()]},
        "panels": _placed(),
    }
    return json.dumps(board, indent=1, sort_keys=True) + "\n"


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _clusters() -> dict[str, Any]:
    query = "label_values(railgauge_run_info, cluster)"
    return {
        "name": "cluster",
        "label": "Cluster",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "clusters"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _placed() -> list[dict[str, Any]]:
    """Panels from left to right, a new row where the next one does not fit."""
    found, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        found.append(_panel(panel, number, place))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return found


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    table = panel.kind == "table"
    target = {
        "refId": "A",
        "datasource": _SOURCE,
        "expr": panel.expression,
        "legendFormat": panel.legend,
        "instant": panel.kind != "timeseries",
        "range": panel.kind == "timeseries",
        "format": "table" if table else "time_series",
    }
    steps = [{"value": value, "color": colour} for value, colour in panel.colours]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [target],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"textMode": "value_and_name"} if panel.kind == "stat" else {},
    }
    if table:
        hidden = {"Time": True, "__name__": True, "instance": True, "job": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made
