"""Are the rails cabled alike on every node? By where a broadcast on each of them arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.run_folder_lines import HeardBroadcasts
from bench.model.typed_json import load, parse
from bench.model.units import show_some
from bench.store import LOGS, WIRING, read_file

End = tuple[str, str]  # node, rail


def _not_asked(evidence: Evidence) -> str:
    if (evidence.run.path / LOGS / WIRING).is_file():
        return ""
    asked = "--cross-rail" in evidence.manifest.command and evidence.rails.interfaces
    return "" if asked else "not asked for: --cross-rail, where the rails are interfaces"


@check(
    "rails.wiring",
    subject="rails",
    wanted="the same rail at both ends",
    source="a broadcast on every rail",
    on_fail="put each cable on its own rail's switch, then: railgauge accept --cross-rail",
    on_inconclusive="see why the rail is silent: ip link, and the checks on its state",
    unit="rails",
    unless=(_not_asked,),
)
def wiring(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """What a node sends on a rail arrives on the same rail of the others."""
    path = evidence.run.path / LOGS / WIRING
    if not path.is_file():
        yield Finding("rails", None, "--cross-rail was given, and nothing was recorded")
        return
    recorded = parse(read_file(evidence.run.path, f"{LOGS}/{WIRING}"))
    answers = load(dict[str, HeardBroadcasts], recorded or {})
    silent = [node for node in evidence.manifest.nodes if node not in answers]
    heard = [
        node for node in evidence.run.whole.manifest.nodes if node in answers
    ]  # those set aside later too
    yield from (Finding(node, None, "sent no record of what it heard") for node in silent)
    if silent:
        return
    wires = wires_of(answers)
    if not wires:
        yield NotApplicable(
            "no broadcast gets from node to node: a routed or virtual network hides the cables"
        )
    elif any(len({node for node, _ in wire}) < len(wire) for wire in wires):
        yield NotApplicable(
            "several rails of a node are in one network, so a broadcast arrives on all of them"
        )
    else:
        ends = [(node, rail) for node in heard for rail in evidence.rails.devices]
        yield from judged(ends, wires, answers)


def wires_of(answers: Mapping[str, HeardBroadcasts]) -> list[set[End]]:
    """The ends that hear each other: each set is one wire, or one switch."""
    wires: list[set[End]] = []
    for hearer, answer in answers.items():
        for on, sender, rail in answer.heard:
            joined = {(hearer, on), (sender, rail)}
            apart = []
            for wire in wires:
                if wire & joined:
                    joined |= wire
                else:
                    apart.append(wire)
            wires = [*apart, joined]
    return wires


def judged(
    ends: Sequence[End], wires: Sequence[set[End]], answers: Mapping[str, HeardBroadcasts]
) -> Iterator[Finding]:
    """A wire is the rail's that more than half of its ends are called by; an end of another name is miscabled.

    An end passes only where another node has heard it: what it hears itself does not show that it can send.
    """
    owner: dict[End, str | None] = {}
    for wire in wires:
        rail, count = Counter(rail for _, rail in wire).most_common(1)[0]
        owner |= dict.fromkeys(wire, rail if 2 * count > len(wire) else None)
    heard = {
        (sender, rail)
        for hearer, answer in answers.items()
        for _, sender, rail in answer.heard
        if sender != hearer
    }
    for end in ends:
        subject, on = f"{end[0]} {end[1]}", owner.get(end)
        why = answers[end[0]].silent.get(end[1]) if end[0] in answers else ""
        deaf = f"no other node hears it{f': {why}' if why else ''}"
        if end not in owner or (on == end[1] and end not in heard):
            yield Finding(subject, None, deaf)
        elif on is None:
            both = "which of the two cables is wrong is not known; repeat with more nodes"
            yield Finding(subject, None, f"is connected to {_others(end, wires)}: {both}")
        elif on == end[1]:
            yield Finding(subject, True, f"is connected to {_others(end, wires)}")
        elif owner.get((end[0], on)) != end[1]:
            yield Finding(subject, False, f"is connected to {_others(end, wires)}")
        elif end[1] < on:
            swapped = [f"{rail} is connected to {_others((end[0], rail), wires)}" for rail in (end[1], on)]
            yield Finding(f"{end[0]} rails {end[1]} and {on}, swapped", False, ", ".join(swapped))


def _others(end: End, wires: Sequence[set[End]]) -> str:
    """``n0 eth2, n2 eth2``: the first of the ends on the same wire."""
    wire = sorted(next(wire for wire in wires if end in wire) - {end})
    return show_some([f"{node} {rail}" for node, rail in wire], of="ends")
