"""Kubernetes, by the user's own kubectl: a taint, a condition and a cordon for a faulty node, a taint for a suspect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from bench.judge.actions import NodeAction
from bench.model.late_dataclass import dataclass

from .drain_commands import Run, SchedulerStep, ask

KEY, SUSPECT, RUN = "railgauge.io/failed", "railgauge.io/suspect", "railgauge.io/run"
CONDITION = "RailGaugeFailed"
LONGEST = 1000  # characters of a condition's message


@dataclass(frozen=True)
class KubernetesNodes:
    """What Kubernetes says of its nodes: those that RailGauge has tainted, and those that anybody has cordoned.

    runs  node → the run for which it was tainted as faulty
    """

    nodes: frozenset[str]
    failed: frozenset[str]
    suspect: frozenset[str]
    cordoned: frozenset[str]
    runs: Mapping[str, str]

    @property
    def ours(self) -> frozenset[str]:
        """The nodes that RailGauge keeps out of work."""
        return self.failed | self.suspect

    def settled(self, each: NodeAction) -> str:
        """Why nothing more is to be done about a node; "" where something is."""
        known = self.failed if each.drain else self.ours
        return "is tainted already" if each.node in known else ""

    def steps(self, found: Sequence[NodeAction], run_id: str) -> tuple[SchedulerStep, ...]:
        """The steps that taint each node; no pod that runs there is evicted."""
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return tuple(
            _faulty(each, run_id, now, each.node in self.cordoned) if each.drain else _suspect(each)
            for each in found
        )


def cluster(run: Run = ask) -> KubernetesNodes:
    """The nodes of this Kubernetes. Raises CannotAct."""
    listed = json.loads(run(("kubectl", "get", "nodes", "--output=json")))["items"]
    specs = {node["metadata"]["name"]: node["spec"] for node in listed}
    runs = {
        node["metadata"]["name"]: (node["metadata"].get("annotations") or {}).get(RUN, "") for node in listed
    }
    tainted = {
        key: frozenset(
            name
            for name, spec in specs.items()
            if any(taint["key"] == key for taint in spec.get("taints") or ())
        )
        for key in (KEY, SUSPECT)
    }
    cordoned = frozenset(name for name, spec in specs.items() if spec.get("unschedulable"))
    return KubernetesNodes(frozenset(specs), tainted[KEY], tainted[SUSPECT], cordoned, runs)


def moot(steps: Sequence[SchedulerStep], run: Run = ask) -> tuple[SchedulerStep, ...]:
    """Those of ``steps`` whose node is gone, or whose taint was removed since or now belongs to another run."""
    ours = [step for step in steps if step.undo[0][0] == "kubectl"]
    if not ours:
        return ()
    now = cluster(run)
    kept = {_untaint(node, KEY, "NoSchedule") for node in now.failed}
    kept |= {_untaint(node, SUSPECT, "PreferNoSchedule") for node in now.suspect}
    marks = {_mark(node, run) for node, run in now.runs.items()}
    return tuple(
        step
        for step in ours
        if step.undo[-1] not in kept
        or any("annotate" in words and words not in marks for words in step.commands)
    )


def _untaint(node: str, key: str, effect: str) -> tuple[str, ...]:
    return ("kubectl", "taint", "node", node, f"{key}:{effect}-")


def _mark(node: str, run_id: str) -> tuple[str, ...]:
    return ("kubectl", "annotate", "node", node, f"{RUN}={run_id}", "--overwrite")


def _faulty(each: NodeAction, run_id: str, now: str, cordoned: bool) -> SchedulerStep:
    """A cordon of somebody else's is not ours to take back."""
    node, reason = each.node, each.reason[:LONGEST]
    taint = f"{KEY}={each.action.value}:NoSchedule"
    cordon = () if cordoned else (("kubectl", "cordon", node),)
    uncordon = () if cordoned else (("kubectl", "uncordon", node),)
    return SchedulerStep(
        node,
        f"taint and cordon {node}: {each.reason}",
        (
            ("kubectl", "taint", "node", node, taint, "--overwrite"),
            _mark(node, run_id),
            _condition(node, "True", "VerdictFailed", reason, now),
            *cordon,
        ),
        (
            *uncordon,
            _condition(node, "False", "VerdictPassed", "taken back by railgauge act --undo", now),
            ("kubectl", "annotate", "node", node, f"{RUN}-"),
            _untaint(node, KEY, "NoSchedule"),
        ),
    )


def _suspect(each: NodeAction) -> SchedulerStep:
    taint = ("kubectl", "taint", "node", each.node)
    words = f"keep new pods off {each.node} where they can be elsewhere: {each.reason}"
    return SchedulerStep(
        each.node,
        words,
        ((*taint, f"{SUSPECT}={each.action.value}:PreferNoSchedule", "--overwrite"),),
        (_untaint(each.node, SUSPECT, "PreferNoSchedule"),),
    )


def _condition(node: str, status: str, reason: str, message: str, now: str) -> tuple[str, ...]:
    body = {
        "type": CONDITION, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }  # fmt: skip
    patch = json.dumps({"status": {"conditions": [body]}})
    return ("kubectl", "patch", "node", node, "--subresource=status", "--type=strategic", f"--patch={patch}")
