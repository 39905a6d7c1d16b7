"""What counts as named: the right place and no other; nothing told is not a pass. Pure.

Names are the subjects of verdicts that failed. A verdict on a transfer ("n0 to n2 on eth1") names none of
its two ends: it is right where the faulty one is one of them, and it is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netlab.faults import FAULTS, next_node
from netlab.plan import Lab

# Of faults in both directions at the same size, blame must not see half.
ONE_WAY = {"slow-rail": "", "slow-node": "", "slow-tx": "sending only", "slow-rx": "receiving only"}
# A node that stops in mid-run leaves less to blame it by: that it is lost is what can be said.
OF_TWO = ("one-path-loss", "duplicate-address")  # with the next node
STOPPED = ("frozen", "dead")
NAMELESS = ("renamed", "missing")  # of an interface that is not there the node is the subject
LOST = ("coverage.lost", "coverage.nodes")
WHOLE = ("coverage.cases", "coverage.ranks", "coverage.end")


@dataclass(frozen=True)
class Outcome:
    """``status`` is the exit status, None when it had to be ended; ``verdicts`` are rows of verdicts.json."""

    status: int | None
    seconds: float
    verdicts: tuple[dict[str, object], ...]


def nodes_in(text: str) -> set[str]:
    return set(re.findall(r"\bn[0-9]+\b", text))


def rails_in(text: str) -> set[str]:
    return set(re.findall(r"\beth[0-9]+\b", text))


def blamed(verdicts: Sequence[dict[str, object]]) -> set[str]:
    """Subjects that failed and are a place: all that blame names, and whatever else names a node."""
    return {
        str(row["subject"])
        for row in verdicts
        if row["status"] == "fail"
        and (str(row["check"]).startswith("blame.") or nodes_in(str(row["subject"])))
        and not _transfer(row)
    }


def slow_transfers(verdicts: Sequence[dict[str, object]]) -> set[str]:
    """Transfers that failed, such as ``n0 to n2 on eth1``."""
    return {str(row["subject"]) for row in verdicts if row["status"] == "fail" and _transfer(row)}


def _transfer(row: dict[str, object]) -> bool:
    """Whether it judges a transfer between two nodes."""
    return str(row["check"]) == "limits.rail_rate" and len(nodes_in(str(row["subject"]))) == 2


def is_right(subject: str, fault: str) -> bool:
    """Whether ``subject`` is where ``fault`` (its command line) is: this node, and this rail or all of it."""
    kind, _, *rest = fault.split()
    if nodes_in(subject) != places(fault):
        return False
    if kind in ONE_WAY and ONE_WAY[kind] != (re.findall(r"sending only|receiving only", subject) or [""])[0]:
        return False
    if kind == "swapped-rails":  # each of them is without a peer: alone that is right, and not enough
        return bool(rails_in(subject)) and rails_in(subject) <= swapped_pair(rest)
    wanted = {f"eth{rest[0]}"} if FAULTS[kind].on_rail else set()
    return rails_in(subject) == wanted or (kind in NAMELESS and not rails_in(subject))


def places(fault: str) -> set[str]:
    """The node of a fault; of one that concerns two nodes both."""
    kind, node, *_ = fault.split()
    return {node, next_node(Lab(nodes=FAULTS[kind].nodes), node)} if kind in OF_TWO else {node}


def swapped_pair(rest: Sequence[str]) -> set[str]:
    """Both rails of ``swapped-rails NODE RAIL [RAIL2]``, given RAIL [RAIL2] in a lab of the usual number of rails."""
    second = rest[1] if len(rest) > 1 and rest[1] != "next" else int(rest[0]) % Lab().rails + 1
    return {f"eth{rest[0]}", f"eth{second}"}


def touches(transfer: str, fault: str) -> bool:
    """Whether a slow transfer goes through the faulty place."""
    kind, node, *rest = fault.split()
    if node not in nodes_in(transfer):
        return False
    return not FAULTS[kind].on_rail or kind == "swapped-rails" or rails_in(transfer) <= {f"eth{rest[0]}"}


def _nobodys(fault: str) -> bool:
    """Whether nobody may be named: the lab is healthy, or all nodes have what they should be able to live with."""
    return not fault or FAULTS[fault.split()[0]].everywhere


def false_names(fault: str, outcome: Outcome) -> set[str]:
    """Who is blamed and is not where ``fault`` ("" for a healthy lab) is."""
    if _nobodys(fault):
        return blamed(outcome.verdicts) | slow_transfers(outcome.verdicts)
    wrong = {name for name in blamed(outcome.verdicts) if not is_right(name, fault)}
    return wrong | {name for name in slow_transfers(outcome.verdicts) if not touches(name, fault)}


def complaint(fault: str, outcome: Outcome, stops: bool = False) -> str:
    """What is wrong with an outcome under ``fault`` ("" for a healthy lab); "" when it is as it must be.

    ``stops``: the run must stop, and set nobody aside.
    """
    wrong = false_names(fault, outcome)
    if _nobodys(fault):
        healthy = outcome.status == 0 and not wrong
        return "" if healthy else f"wanted a pass, got exit status {outcome.status}, blamed: {told(wrong)}"
    if outcome.status == 0:
        return "it passed"
    if wrong:
        return f"it blames {told(wrong)}"
    if FAULTS[fault.split()[0]].aside and not stops and (text := unmeasured(outcome.verdicts)):
        return text
    if fault.startswith("swapped-rails"):
        return _not_swapped(fault, blamed(outcome.verdicts))
    if fault.startswith("flapping"):
        return _not_intermittent(outcome)
    if blamed(outcome.verdicts) or (fault.split()[0] in STOPPED and _lost(fault.split()[1], outcome)):
        return ""
    return f"it is not named: exit status {outcome.status}"


def unmeasured(verdicts: Sequence[dict[str, object]]) -> str:
    """What is missing of those who are left where a node is set aside; "" where all of it was measured."""
    status = {name: [row["status"] for row in verdicts if row["check"] == name] for name in WHOLE}
    if "coverage.nodes" not in (row["check"] for row in verdicts):
        return "nobody is set aside"
    bad = [name for name, found in status.items() if not found or {*found} != {"pass"}]
    return f"the healthy rest was not measured whole: {', '.join(bad)}" if bad else ""


def _not_intermittent(outcome: Outcome) -> str:
    """ "" where the rail is said to be slow now and then, which a slow rail is not."""
    named = [
        row for row in outcome.verdicts if row["check"] == "blame.intermittent" and row["status"] == "fail"
    ]
    if named and all("intermittent" in str(row["message"]) for row in named):
        return ""
    return f"it is not called intermittent, but blamed are: {told(blamed(outcome.verdicts))}"


def _not_swapped(fault: str, names: Iterable[str]) -> str:
    """ "" where somebody says of both rails that they are swapped: two dead rails are another repair."""
    _, _, *rest = fault.split()
    if any("swapped" in name and rails_in(name) == swapped_pair(rest) for name in names):
        return ""
    return f"nobody says that {' and '.join(sorted(swapped_pair(rest)))} are swapped, but blamed are: {told(names)}"


def _lost(node: str, outcome: Outcome) -> bool:
    """Whether ``node``, and no other, is said to be the one that was lost."""
    names = [nodes_in(str(row["subject"])) for row in outcome.verdicts if row["check"] in LOST]
    return bool(names) and all(each == {node} for each in names)


def told(subjects: Iterable[str]) -> str:
    return ", ".join(sorted(subjects)) or "nobody"
