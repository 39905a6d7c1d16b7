"""Verdicts as health events in JSON, one a line, by NVSentinel's schema (data-models/protobufs/health_event.proto).

Proto3's JSON mapping: names in camelCase, enums by name, a timestamp as RFC 3339.
``nagios`` prints them as a plugin of Nagios does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

from bench.judge.actions import NodeAction
from bench.model.verdict import Action, Status

RECOMMENDED = {
    Action.RESET_GPU: "COMPONENT_RESET",
    Action.RESEAT_CABLE: "CONTACT_SUPPORT",
    Action.REPLACE_HCA: "CONTACT_SUPPORT",
    Action.FIX_CONFIGURATION: "CONTACT_SUPPORT",
}
# a plugin's exit status: OK, CRITICAL, UNKNOWN (nagios-plugins.org, development guidelines)
NAGIOS = {Status.PASS: ("OK", 0), Status.FAIL: ("CRITICAL", 2)}
UNKNOWN = ("UNKNOWN", 3)


def health_events(found: Sequence[NodeAction], when: float) -> list[str]:
    """Returns one line of JSON for each node; a node that is only suspected gets an event that is not fatal."""
    time = datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [json.dumps(_event(each, time)) for each in found]


def _event(each: NodeAction, time: str) -> dict[str, object]:
    gpu = each.action is Action.RESET_GPU
    return {
        "version": 1,
        "agent": "railgauge",
        "componentClass": "GPU" if gpu else "NIC",
        "checkName": each.check,
        "isFatal": each.drain,
        "isHealthy": False,
        "message": each.reason,
        "recommendedAction": RECOMMENDED.get(each.action, "NONE"),
        "entitiesImpacted": [],
        "metadata": {"action": each.action.value},
        "generatedTimestamp": time,
        "nodeName": each.node,
        "processingStrategy": "EXECUTE_REMEDIATION",
    }


def nagios(status: Status, text: str, found: Sequence[NodeAction]) -> tuple[str, int]:
    """One line with performance data, and the exit status of the plugin."""
    word, code = NAGIOS.get(status, UNKNOWN)
    faulty = sum(each.drain for each in found)
    said = text.replace("|", "/")
    return f"{word} - {said} | faulty={faulty};;1;0 suspected={len(found) - faulty};1;;0", code
