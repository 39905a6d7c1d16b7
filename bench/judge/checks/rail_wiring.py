"""Are the rails cabled alike on every node? By where a broadcast on each of them arrives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.verdict import Verdict
from bench.store import LOGS, WIRING

End = tuple[str, str]  # node, rail
STEP = "put each cable on its own rail's switch, then: railgauge accept --cross-rail"


@check("rails.wiring")
def wiring(evidence: Evidence) -> Iterator[Verdict]:
    """What a node sends on a rail arrives on the same rail of the others."""
    ask = Question(
        "rails.wiring",
        "the same rail at both ends",
        "a broadcast on every rail",
        STEP,
        "see why the rail is silent: ip link, and the checks on its state",
    )
    path = evidence.run.path / LOGS / WIRING
    if not path.is_file() and "--cross-rail" in evidence.manifest.command and evidence.rails.interfaces:
        yield ask.verdict(Finding("rails", None, "it was asked for, and nothing was recorded"))
        return
    if not path.is_file():
        yield ask.skip("rails", "not asked for: --cross-rail, where the rails are interfaces")
        return
    told = json.loads(path.read_text(encoding="utf-8"))
    mute = [
        Finding(node, None, "did not say what it heard")
        for node in evidence.manifest.nodes
        if node not in told
    ]
    if mute:
        yield from ask.verdicts(mute, "")
        return
    wires = wires_of(told)
    if not wires:
        yield ask.skip(
            "rails", "no broadcast gets from node to node: a routed or virtual network does not tell"
        )
        return
    if any(len({node for node, _ in wire}) < len(wire) for wire in wires):
        yield ask.skip(
            "rails", "several rails of a node are in one network: where a broadcast arrives tells nothing"
        )
        return
    ends = [(node, rail) for node in evidence.manifest.nodes for rail in evidence.rails.devices]
    yield from ask.verdicts(
        list(judged(ends, wires, told)), "rails of a node are with the same rail of the others"
    )


def wires_of(told: Mapping[str, Any]) -> list[set[End]]:
    """The ends that hear each other: each set is one wire, or one switch."""
    wires: list[set[End]] = []
    for hearer, said in told.items():
        for on, sender, rail in said["heard"]:
            joined = {(hearer, on), (sender, rail)}
            apart = []
            for wire in wires:
                if wire & joined:
                    joined |= wire
                else:
                    apart.append(wire)
            wires = [*apart, joined]
    return wires


def judged(ends: Sequence[End], wires: Sequence[set[End]], told: Mapping[str, Any]) -> Iterator[Finding]:
    """A wire is that rail's which more than half of its ends are called; who is called otherwise is miscabled."""
    owner: dict[End, str | None] = {}
    for wire in wires:
        rail, count = Counter(rail for _, rail in wire).most_common(1)[0]
        owner |= dict.fromkeys(wire, rail if 2 * count > len(wire) else None)
    astray = {end: rail for end, rail in owner.items() if rail is not None and rail != end[1]}
    for node, rail in ends:
        subject, other = f"{node} {rail}", astray.get((node, rail))
        if (node, rail) not in owner:
            why = told.get(node, {}).get("silent", {}).get(rail)
            yield Finding(subject, None, f"is heard by nobody{f': {why}' if why else ''}")
        elif owner[node, rail] is None:
            with_ = _others((node, rail), wires)
            yield Finding(
                subject,
                None,
                f"hangs with {with_}: whose cable is wrong cannot be determined, bring more nodes",
            )
        elif other is None:
            yield Finding(subject, True, f"hangs with {_others((node, rail), wires)}")
        elif astray.get((node, other)) != rail:
            yield Finding(subject, False, f"hangs with {_others((node, rail), wires)}")
        elif rail < other:
            yield Finding(
                f"{node} rails {rail} and {other}, swapped",
                False,
                f"{rail} hangs with {_others((node, rail), wires)}, {other} with {_others((node, other), wires)}",
            )


def _others(end: End, wires: Sequence[set[End]]) -> str:
    """``n0 eth2, n2 eth2``: the first of the ends on the same wire."""
    wire = sorted(next(wire for wire in wires if end in wire) - {end})
    more = f" and {len(wire) - 4} more" if len(wire) > 4 else ""
    return ", ".join(f"{node} {rail}" for node, rail in wire[:4]) + more
