"""Kubernetes, by the user's own kubectl: a taint, a condition and a cordon for a faulty node, a taint for a suspect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

from bench.judge.actions import NodeAction

from .plan import Run, SchedulerStep, ask

KEY, SUSPECT = "railgauge.io/failed", "railgauge.io/suspect"
CONDITION = "RailGaugeFailed"
LONGEST = 1000  # characters of a condition's message


def cluster(run: Run = ask) -> tuple[int, tuple[str, ...]]:
    """How many nodes the cluster has, and which of them are tainted by us. Raises CannotAct."""
    listed = json.loads(run(("kubectl", "get", "nodes", "--output=json")))["items"]
    ours = (
        node["metadata"]["name"]
        for node in listed
        if any(taint["key"] == KEY for taint in node["spec"].get("taints") or ())
    )
    return len(listed), tuple(ours)


def steps(found: Sequence[NodeAction], run_id: str) -> tuple[SchedulerStep, ...]:
    """The steps that taint each node; no pod that runs there is evicted."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tuple(_faulty(each, run_id, now) if each.drain else _suspect(each) for each in found)


def _faulty(each: NodeAction, run_id: str, now: str) -> SchedulerStep:
    node, reason = each.node, each.reason[:LONGEST]
    taint = f"{KEY}={each.action.value}:NoSchedule"
    return SchedulerStep(
        node,
        f"taint and cordon {node}: {each.reason}",
        (
            ("kubectl", "taint", "node", node, taint, "--overwrite"),
            ("kubectl", "annotate", "node", node, f"railgauge.io/run={run_id}", "--overwrite"),
            _condition(node, "True", "VerdictFailed", reason, now),
            ("kubectl", "cordon", node),
        ),
        (
            ("kubectl", "uncordon", node),
            _condition(node, "False", "VerdictPassed", "taken back by railgauge act --undo", now),
            ("kubectl", "annotate", "node", node, "railgauge.io/run-"),
            ("kubectl", "taint", "node", node, f"{KEY}:NoSchedule-"),
        ),
    )


def _suspect(each: NodeAction) -> SchedulerStep:
    taint = ("kubectl", "taint", "node", each.node)
    words = f"keep new pods off {each.node} where they can be elsewhere: {each.reason}"
    return SchedulerStep(
        each.node,
        words,
        ((*taint, f"{SUSPECT}={each.action.value}:PreferNoSchedule", "--overwrite"),),
        ((*taint, f"{SUSPECT}:PreferNoSchedule-"),),
    )


def _condition(node: str, status: str, reason: str, message: str, now: str) -> tuple[str, ...]:
    body = {
        "type": CONDITION, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }  # fmt: skip
    patch = json.dumps({"status": {"conditions": [body]}})
    return ("kubectl", "patch", "node", node, "--subresource=status", "--type=strategic", f"--patch={patch}")
