"""Rings of nodes instead of all pairs: who was found, what stayed open, what could not have been found."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.blame import transfers
from bench.judge.blame.transfers import BUDGET, GIVEN_UP
from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.units import show_seconds, show_share
from bench.model.verdict import Status, Verdict
from bench.plan.screening import Finding, Step

SOURCE = "RailGauge, confirmed with other good nodes"
NEXT = {
    "node": "compare its PCIe links, CPU governor, firmware and driver with a good node, then drain it",
    "port": "reseat or swap its cable and transceiver, then the adapter",
    "path": "its two ends are good with others: look at the links between their switches and at the routing",
    "rail": "look at the rail's leaf switch and its uplinks",
    "leaf": "look at this leaf switch: power, firmware, uplinks",
    "fabric": "check the nominal rate, the transport chosen, MTU and clocks; if right, the fabric is slow",
}


def is_screened(evidence: Evidence) -> bool:
    """Whether rings of nodes were planned in the place of all pairs."""
    return any(phase.name.startswith(transfers.SCREEN) for phase in evidence.run.plan.phases)


@check("blame.screening")
def screening(evidence: Evidence) -> Iterator[Verdict]:
    """No ring of nodes is slow; who slows one is traced by halves and confirmed with other good nodes."""
    if not is_screened(evidence):
        reason = dict(evidence.run.plan.skipped).get(transfers.SCREEN, "no nodes were screened in this run")
        yield Verdict("blame.screening", "rails", Status.SKIP, reason)
        return
    last = transfers.screened(evidence.rows, evidence.ranks, evidence.profile, evidence.background)
    for found in last.findings:
        yield Verdict(
            "blame.screening",
            subject_of(found),
            Status.FAIL,
            f"{show_share(found.lost)} of the rate is missing",
            "as its equals",
            SOURCE,
            NEXT[found.kind],
            value=found.lost,
            bound=0.0,
            evidence=found.evidence,
        )
    for text in (*last.open, *last.unknown, *_unfinished(last)):
        yield Verdict(
            "blame.screening",
            "rails",
            Status.INCONCLUSIVE,
            text,
            "a name, or a clear ring",
            "RailGauge",
            "give more time with --budget, or measure all pairs: railgauge accept",
        )
    if not (last.findings or last.open or last.unknown or last.probes):
        yield Verdict(
            "blame.screening",
            "rails",
            Status.PASS,
            f"no ring is slow; covered {last.coverage.text}",
            "no slow ring",
            "RailGauge",
            value=float(last.coverage.ports),
            bound=float(last.coverage.ports_of),
        )


def _unfinished(last: Step) -> tuple[str, ...]:
    names = "; ".join(" ".join(ring) for ring in last.probes[:4])
    return (f"{len(last.probes)} probes were still to be measured: {names}",) if last.probes else ()


def subject_of(found: Finding) -> str:
    """In the words of blame: ``n1 rail eth2``, ``path n1 - n2 on rail eth2``."""
    return {
        "node": f"node {found.node}",
        "port": f"{found.node} rail {found.rail}",
        "path": f"path {found.node} - {found.peer} on rail {found.rail}",
        "rail": f"rail {found.rail}, all nodes",
        "leaf": f"leaf {found.name} of rail {found.rail}",
        "fabric": "all rails of all nodes",
    }[found.kind]


@check("coverage.budget")
def budget(evidence: Evidence) -> Iterator[Verdict]:
    """Nothing was left out for want of time; what was is named, and was not tested."""
    promised = [text for name, text in evidence.run.plan.skipped if name == BUDGET]
    if not promised:
        yield Verdict("coverage.budget", "run", Status.SKIP, "the run was given as long as it takes")
        return
    source, step = "--budget", "give more time: what was not tested is not known to be good"
    for text in (text for name, text in evidence.run.plan.skipped if name == GIVEN_UP):
        yield Verdict(
            "coverage.budget",
            "run",
            Status.INCONCLUSIVE,
            f"given up for want of time: {text}",
            "all",
            source,
            step,
        )
    for note in (note for note in evidence.run.notes if "of the budget are left" in note):
        yield Verdict("coverage.budget", "run", Status.INCONCLUSIVE, note, "all", source, step)
    if is_screened(evidence):
        yield _paths(evidence, step)
    if not any(name == GIVEN_UP for name, _ in evidence.run.plan.skipped):
        took = evidence.run.lasted
        told = f"; it took {show_seconds(took)}" if took is not None else ""
        yield Verdict("coverage.budget", "run", Status.PASS, f"all fits: {promised[0]}{told}", "all", source)


def _paths(evidence: Evidence, step: str) -> Verdict:
    """What a bad link between two good nodes had to be on to be found."""
    last = transfers.screened(evidence.rows, evidence.ranks, evidence.profile, evidence.background).coverage
    whole = last.paths == last.paths_of and last.ports == last.ports_of
    return Verdict(
        "coverage.budget",
        "paths",
        Status.PASS if whole else Status.INCONCLUSIVE,
        f"measured {last.text}",
        f"all {last.paths_of} paths",
        "--budget",
        "" if whole else step,
        value=float(last.paths),
        bound=float(last.paths_of),
    )
