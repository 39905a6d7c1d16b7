"""The bounds of a profile on measured rows, and the slips in them: a wrong unit, a wrong point, a gap between nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .collectives import collective
from .late_dataclass import dataclass
from .measurement import Case
from .profile_table import ProfileTable, one_of, sourced, whole
from .units import parse_rate, parse_seconds, parse_share, parse_size
from .verdict import Bound

QUANTITIES: dict[str, Callable[[str], float]] = {
    "busbw": parse_rate,  # of one row, at least
    "wire_share": parse_share,  # of the target that the rails carry, at least
    "rail_rate": parse_rate,  # point-to-point on one rail, one direction, at least
    "p50": parse_seconds,  # isolated median, at most
}
LEAST_SHARE = (
    0.2  # of what a healthy part reaches; a floor below is a slip of the unit, which is a factor of 8 or 10
)
MOST_BUSBW = (
    2.2  # times a node's rails: two nodes that reduce inside first read up to 1.75 times what the wires carry
)
LARGE = 256 << 20  # bytes from which on bandwidth counts, and no longer latency
WHOLE_NODE = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "reduce",
)  # all rails of a node carry one message


@dataclass(frozen=True)
class Limit:
    """A bound and the rows that it applies to: collective, nodes (least, most), bytes (least, most)."""

    collective: str
    quantity: str
    bound: Bound
    nodes: tuple[int, int] = (1, 1 << 30)
    size: tuple[int, int] = (0, 1 << 62)
    algorithm: str = ""

    def covers(self, case: Case) -> bool:
        """Whether the limit is for this case's collective, size and algorithm ("": as NCCL chose)."""
        return (
            case.collective == self.collective
            and self.size[0] <= case.size <= self.size[1]
            and case.algorithm == (self.algorithm or "auto")
        )


def limit_of(table: ProfileTable) -> Limit:
    """The bound in one of the ``[[bounds]]``."""
    quantity = one_of(table, "quantity", tuple(QUANTITIES), "busbw")
    direction = "at_most" if quantity == "p50" else "at_least"
    limit = Limit(
        collective=collective(table.take("collective", str, required=True)).name,
        quantity=quantity,
        bound=sourced(table, direction, QUANTITIES[quantity]),
        nodes=table.pair("nodes", (1, 1 << 30), whole),
        size=table.pair("size", (0, 1 << 62), lambda value: parse_size(str(value))),
        algorithm=one_of(table, "algorithm", ("", "auto", "ring"), ""),
    )
    table.done()
    return limit


def line_of(text: str, number: int) -> str:
    """``line 120, [[bounds]] 3``: where the floor or ceiling of a bound stands."""
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines, 1) if line.strip().startswith("[[bounds]]")]
    own = range(heads[number - 1], len(lines)) if number <= len(heads) else ()
    found = (at + 1 for at in own if lines[at].strip().startswith(("at_least", "at_most")))
    at = next(found, 0)
    return f"line {at}, [[bounds]] {number}" if at else f"[[bounds]] {number}"


def slip_of(limit: Limit, nodes: tuple[int, int], healthy: float | None, most_share: float, what: str) -> str:
    """Why no run of the profile could meet a bound, or why every sick one would; "" where it can be meant.

    ``nodes`` of the profile; what a ``healthy`` part reaches, how many times that a floor may be, and its name.
    """
    value, text = limit.bound.value, limit.bound.text
    if not value > 0:
        return f"{text!r} must be above 0"
    least, most = (max(limit.nodes[0], nodes[0]), min(limit.nodes[1], nodes[1]))
    if least > most:
        return f"nodes {list(limit.nodes)} holds no number of nodes of this profile, {list(nodes)}"
    if healthy and not LEAST_SHARE <= value / healthy <= most_share * (1 + 1e-9):
        read = QUANTITIES[limit.quantity]
        meant = [other for other in _slips(text) if LEAST_SHARE <= read(other) / healthy <= most_share]
        hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
        return f"{text!r} is {100 * value / healthy:.1f} % of {what}{hint}"
    return ""


def _slips(text: str) -> list[str]:
    """The same figure in the other unit, or with a shifted decimal point."""
    number, unit = re.split(r"\s*(?=[A-Za-z%])", text.strip(), maxsplit=1)
    units = [unit.replace("b/s", "B/s"), unit.replace("B/s", "b/s")]
    tens = [f"{float(number) * factor:g} {unit}" for factor in (10, 100, 0.1, 0.01)]
    return [f"{number} {other}" for other in units if other != unit] + tens


def gap_of(limits: Sequence[Limit], nodes: tuple[int, int]) -> str:
    """A number of nodes that the profile allows and no bound speaks of, where others have one; "" where all have."""
    least, most = max(2, nodes[0]), nodes[1]
    for low, high in sorted(limit.nodes for limit in limits if limit.nodes[1] > 1):
        if low > least:
            break
        least = max(least, high + 1)
    if any(limit.nodes[1] > 1 for limit in limits) and least <= most:
        return (
            f"[[bounds]] none speaks of {least} nodes, which [cluster] nodes = {list(nodes)} allows: "
            "give a bound a wider range of nodes, or let [cluster] allow fewer"
        )
    return ""
