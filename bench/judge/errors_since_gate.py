"""What the error counters of a node's rails say of the hours between two gates, in which others worked on it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.model.counter_table import CounterRole
from bench.model.counters import Certainty, Growth, Snapshot, counter, delta
from bench.model.facts import Node
from bench.model.profile import Rails
from bench.model.rails import rails_of
from bench.model.units import show_count, show_seconds

from .findings import Criterion, Finding, NotApplicable, Outcome

NAME = "gate.counters"
SOURCE = "NVIDIA NVSentinel, NIC health monitor, default counter thresholds"
NEVER = (
    "link_downed",
    "carrier_down_count",  # the same of an interface
    "excessive_buffer_overrun_errors",
    "local_link_integrity_errors",
    "rnr_nak_retry_err",
)
# errors a second that a healthy port may have in the long run; the first is the bit error rate of the IBTA's standard
ALLOWED = {
    "symbol_error": 120 / 3600,
    "link_error_recovery": 5 / 60,
    "port_rcv_errors": 10.0,
    "port_rcv_remote_physical_errors": 10.0,
    "local_ack_timeout_err": 1.0,
    "port_xmit_discards": 100.0,
    "tx_dropped": 100.0,  # the same of an interface
}
OTHERS = 1.0  # errors a second of any other error counter: ours, so that one event in an hour drains no node
WORDS = Criterion(
    NAME,
    wanted="none, or fewer than a healthy port has",
    source=SOURCE,
    on_fail="reseat or change the cable, look at the switch port (ibqueryerrors), then: railgauge gate --forget",
    on_inconclusive="clear it (perfquery -R), then: railgauge gate --forget",
    every="error counters stayed within what a healthy port has",
    unit="rails",
)


def since_gate(node: Node, rails: Rails, before: Snapshot | None, after: Snapshot) -> list[Outcome]:
    """The outcomes; ``WORDS`` makes verdicts of them."""
    if before is None:
        return [NotApplicable("no earlier gate since this boot to compare the counters with", node.name)]
    found = rails_of(node, rails) if rails.kind != "none" else ()
    if not found:
        return [NotApplicable("no device of this node is known to be a rail", node.name)]
    moved = delta(before, after)
    outcomes: list[Outcome] = []
    for device in found:
        rows = [row for row in moved.of(device.name) if row.role is CounterRole.ERROR]
        bad = [finding for row in rows for finding in _of_row(node, row, moved.seconds)]
        text = "no error beyond what a healthy port has" if rows else "shows no error counter"
        outcomes += bad or [Finding(f"{node.name} {device.name}", True if rows else None, text)]
    return outcomes


def _of_row(node: Node, row: Growth, seconds: float | None) -> Iterator[Finding]:
    subject = f"{node.name} {row.subject}"
    # one that was cleared has counted at least what it shows
    grown = row.after if row.how is Certainty.RESET else row.growth
    if grown is None:
        why = "is gone or new" if row.how is Certainty.ABSENT else f"stands at its maximum, {row.after}"
        yield Finding(subject, None, f"{row.counter} {why}, so its errors since the last gate are not known")
        return
    allowed = 0.0 if row.counter in NEVER else ALLOWED.get(row.counter, OTHERS) * (seconds or 0.0)
    if grown > allowed:
        meaning = (
            known.reason if (known := counter(row.group, row.counter)) else "a counter of the driver's own"
        )
        within = f" in the {show_seconds(seconds)}" if seconds else ""
        text = f"{show_count(grown, 'error')} more in {row.counter}{within} since the last gate: {meaning}"
        yield Finding(subject, False, text, float(grown), bound=allowed)
