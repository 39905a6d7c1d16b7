"""Blame in words: the evidence of a row, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.judge.blame.matrix import Floats, Mask, Matrix, cells
from bench.judge.blame.solve import Fault, ports_of
from bench.judge.blame.suspects import Background, Subject, Symptom
from bench.model.units import show_count, show_rate, show_share

NEXT = {
    "node": "compare its PCIe links, CPU governor, firmware and driver with a good node, then drain it",
    "gpu": "read its NVLink, ECC and Xid state (nvidia-smi nvlink -s, nvidia-smi -q), then have it replaced",
    "port": "reseat or swap its cable and transceiver, then the adapter; to test its GPU, measure that node alone",
    "path": "the two ends are good with others: look at the links between their switches and at the routing",
    "rail": "look at the rail's leaf switch and its uplinks",
    "leaf": "look at this leaf switch: power, firmware, uplinks",
    "fabric": "check the nominal rate, the transport chosen, MTU and clocks; if right, the fabric is slow",
}


def slower(lost: float, reference: float = math.nan) -> str:
    """``runs at 49.0 % of its peers' rate (185.6 of 378.4 Gb/s)``; the share alone where their rate is not given."""
    if lost >= 0.999:
        return "nothing gets through"
    share = f"runs at {show_share(1 - lost)} of its peers' rate"
    if not math.isfinite(reference):
        return share
    rate = show_rate((1 - lost) * reference, "Gb/s").removesuffix(" Gb/s")
    return f"{share} ({rate} of {show_rate(reference, 'Gb/s')})"


def next_step(fault: Fault, m: Matrix, others: Sequence[Fault]) -> str:
    """What to do about it; for two that cannot be distinguished, what to measure."""
    subject = fault.subject
    if fault.rivals:
        return _tell_apart(fault, m)
    if subject.kind == "port" and fault.lost == 1.0 and (twin := _twin(fault, others)):
        return f"rails {twin} and {subject.rail} of {subject.node} are both dead: are their cables swapped?"
    if subject.kind == "path" and (count := _scattered(fault, others)) > 3:
        return (
            f"{count} paths of rail {subject.rail} are slow with no end in common: look at its switch links"
        )
    return NEXT[subject.kind]


def _tell_apart(fault: Fault, m: Matrix) -> str:
    subject = fault.subject
    nodes = sorted({s.node for s in (subject, *fault.rivals) if s.kind in ("port", "node")})
    other = next((rail for rail in m.rails if rail != subject.rail), "")
    if subject.kind == "port" and len(nodes) == 2 and other:
        a, b = nodes
        return (
            f"measure {a} rail {subject.rail} against {b} rail {other}, and {b} rail {subject.rail} "
            f"against {a} rail {other} (cross-rail), or bring a third node"
        )
    return f"measure {' and '.join(nodes)} against a third node"


def _twin(fault: Fault, others: Sequence[Fault]) -> str:
    """The one other dead rail of the same node."""
    ports = [f for f in others if f.subject.kind == "port" and f.subject.node == fault.subject.node]
    dead = [f.subject.rail for f in ports if f.lost == 1.0 and f.subject.rail != fault.subject.rail]
    return dead[0] if len(dead) == 1 else ""


def _scattered(fault: Fault, others: Sequence[Fault]) -> int:
    return sum(other.subject.kind == "path" and other.subject.rail == fault.subject.rail for other in others)


def evidence(
    fault: Fault, loss: Floats, m: Matrix, reference: float, known: Background, nominal: float | None
) -> tuple[str, ...]:
    """What was seen, a sentence each: its transfers, the others, re-measurements, packets, symptoms."""
    inside = cells(fault.subject, m, ports_of(fault.subject, known.leaves))
    lines = [_rates(inside, m, reference), _others(fault.subject, inside, m)]
    if (again := inside & (m.times > 0)).any():
        lost = float(np.nanmedian(1 - m.again[again] / reference)) if reference > 0 else 1.0
        lines.append(
            f"measured again {show_count(int(m.times[again].sum()), 'time')}: loses {show_share(lost)}"
        )
    counted = m.retransmits[inside & np.isfinite(m.retransmits)]
    if counted.size and counted.max() > 0:
        lines.append(
            f"retransmissions: {counted.sum():.0f} in {show_count(counted.size, 'transfer')}, most {counted.max():.0f}"
        )
    if nominal is not None:
        lines.append(f"a healthy pair reached {show_rate(reference)}, nominal {show_rate(nominal)}")
    lines += [f"{each.node} {each.rail}: {each.text}" for each in symptoms_of(fault.subject, known)]
    return tuple(line for line in lines if line)


def _rates(inside: Mask, m: Matrix, reference: float) -> str:
    rates = m.best[inside & np.isfinite(m.best)]
    if not rates.size:
        return ""
    dead = int((rates == 0).sum())
    if dead == rates.size:
        return f"none of its {dead} transfers got through"
    middle, least, most = (show_rate(float(rate)) for rate in (np.median(rates), rates.min(), rates.max()))
    text = (
        f"its {rates.size} transfers run at {middle} ({least} to {most}), healthy is {show_rate(reference)}"
    )
    return text + (f"; {dead} did not get through" if dead else "")


def _others(subject: Subject, inside: Mask, m: Matrix) -> str:
    """How the rest of the same rail does, the nearest thing to compare with."""
    rest = ~inside & np.isfinite(m.best)
    if subject.rail and subject.kind != "rail":
        only = np.zeros_like(rest)
        only[m.rails.index(subject.rail)] = True
        rest = rest & only
    where = "on this rail" if subject.rail and subject.kind != "rail" else "elsewhere"
    return (
        f"the {show_count(int(rest.sum()), 'other transfer')} {where}: {show_rate(float(np.median(m.best[rest])))}"
        if rest.any()
        else ""
    )


def symptoms_of(subject: Subject, known: Background) -> list[Symptom]:
    """The symptoms that were seen on the ports at either end of ``subject``."""
    ends = {subject.node, subject.peer} - {""}
    return [
        each
        for each in known.symptoms
        if (not ends or each.node in ends) and (not subject.rail or each.rail == subject.rail)
    ]


def missing(m: Matrix) -> tuple[str, ...]:
    """What was not measured, the emptiest ports first; nothing when all was."""
    gaps = ~np.isfinite(m.best) & ~np.eye(len(m.nodes), dtype=bool)
    count = int(gaps.sum())
    if not count:
        return ()
    by_port = gaps.sum(axis=2) + gaps.sum(axis=1)
    order = np.argsort(-by_port, axis=None, kind="stable")[:3]
    worst = [(m.rails[i // len(m.nodes)], m.nodes[i % len(m.nodes)], int(by_port.flat[i])) for i in order]
    named = ", ".join(f"{node} rail {rail} ({gap})" for rail, node, gap in worst if gap)
    return (f"{count} of {m.expected} transfers have no measurement, most at {named}; measure those pairs",)
