"""The rails while something runs: a table that is drawn anew every second, and the last events beneath it."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_high
from typing import TYPE_CHECKING, Any

from bench.judge.watched import BUSY, LOAD, DeviceLoad, EventFinder, WatchEvent, traffic
from bench.model.activity import DeviceActivity, NodeActivity
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, field
from bench.model.printable import on_one_line
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, rails_of, used_as
from bench.model.units import show_rate, show_seconds, show_share
from bench.probe.link_bytes import LinkBytes

if TYPE_CHECKING:
    from rich.console import RenderableType

EVENTS = 6
RAIL, EXCLUDED = "rail", "excluded"  # as the table says it
UNEVEN = 0.5  # of what the other rails of a node carry in the middle
LEAST_ROWS = 4
RESERVED = 12  # lines of a terminal for the head, the events and the prompt


@dataclass
class LiveTable:
    """What each device of each node carries now. ``nodes``: their facts, by which devices are rails or excluded."""

    rails: Rails
    nodes: Sequence[Node]
    seconds: float = 0.0
    now: dict[str, NodeActivity] = field(default_factory=dict)
    events: deque[WatchEvent] = field(default_factory=lambda: deque(maxlen=EVENTS))
    looked: float = -1e9
    _finder: EventFinder | None = None
    _uses: dict[str, dict[str, str]] = field(default_factory=dict)
    _seen: dict[str, tuple[float, Mapping[str, LinkBytes]]] = field(default_factory=dict)

    def update(self, seconds: float, node: str, activity: NodeActivity) -> list[WatchEvent]:
        """Show it from now on; the events in it."""
        if self._finder is None:
            self._finder = EventFinder(self.rails, {each.name: each for each in self.nodes})
        self.seconds, self.now[node] = seconds, activity
        found = list(self._finder.look(seconds, node, activity))
        self.events.extend(found)
        return found

    def look(self, seconds: float, node: str, links: Mapping[str, LinkBytes]) -> None:
        """Show what the rails of a node of this run have carried since the last look."""
        before, self._seen[node], self.looked = self._seen.get(node), (seconds, links), seconds
        if before is None or seconds <= before[0]:
            return
        devices = {
            name: DeviceActivity(*now.since(was), now.up)
            for name, now in links.items()
            if (was := before[1].get(name))
        }
        self.update(seconds, node, NodeActivity(seconds - before[0], 0, devices))

    def render(self) -> RenderableType:
        """What rich draws: a line for each device of a single node, else a line for each node."""
        from rich.console import Group
        from rich.text import Text

        drawn = self._one_node() if len(self.nodes) == 1 else self._many_nodes()
        lines = [Text(event_line(each), style="red" if each.error else "yellow") for each in self.events]
        return Group(drawn, *lines)

    def _one_node(self) -> Any:
        (node,) = self.nodes
        table = _table(f"{on_one_line(node.name)}, {show_seconds(self.seconds)}")
        for head in ("device", "", "link", "sent", "received", "data waits"):
            table.add_column(head, justify="left" if head in ("device", "", "link") else "right")
        activity = self.now.get(node.name, NodeActivity())
        for name, use in self._devices(node, activity):
            found = activity.devices.get(name)
            if found is None:
                table.add_row(on_one_line(name), use, "", "", "", "", style="dim")
                continue
            link = {True: "up", False: "DOWN", None: "?"}[found.up]
            sent, received = (_rate(each, activity.span) for each in (found.sent, found.received))
            style = self._style(node, activity, name)
            waits = show_share(found.waiting) if found.waiting else ""
            table.add_row(on_one_line(name), use, link, sent, received, waits, style=style)
        return table

    def _many_nodes(self) -> Any:
        from rich.text import Text

        table = _table(f"sent and received on {len(self.nodes)} nodes, {show_seconds(self.seconds)}")
        table.add_column("node")
        listed = {
            node.name: self._devices(node, self.now.get(node.name, NodeActivity())) for node in self.nodes
        }
        uses = {name: use for devices in listed.values() for name, use in devices}
        columns = [name for name, use in uses.items() if use]
        for name in columns:
            table.add_column(f"{on_one_line(name)}{' ✗' if uses[name] == EXCLUDED else ''}", justify="right")
        most = max(LEAST_ROWS, shutil.get_terminal_size().lines - RESERVED)
        for node in self._slowest_first()[:most]:
            activity = self.now.get(node.name, NodeActivity())
            cells = [Text(on_one_line(node.name))]
            for name in columns:
                found = activity.devices.get(name)
                text = show_rate(traffic(found, activity.span)) if found else ""
                waits = f" ⧗{show_share(found.waiting)}" if found and found.waiting >= BUSY else ""
                cells.append(Text(text + waits, style=self._style(node, activity, name)))
            table.add_row(*cells)
        if len(self.nodes) > most:
            table.caption = f"and {len(self.nodes) - most} nodes that carry more"
        return table

    def _slowest_first(self) -> list[Node]:
        """All nodes in their order where they fit, else those first that carry least."""
        if len(self.nodes) <= max(LEAST_ROWS, shutil.get_terminal_size().lines - RESERVED):
            return list(self.nodes)
        return sorted(
            self.nodes, key=lambda node: sum(self._rates(node, self.now.get(node.name, NodeActivity())))
        )

    def _use(self, node: Node) -> dict[str, str]:
        """Device → its use: the rails of a node first, then what is excluded. Found once, as facts do not change."""
        if node.name not in self._uses:
            excluded = used_as(node, self.rails, DeviceUse.EXCLUDED)
            self._uses[node.name] = {role.name: RAIL for role in rails_of(node, self.rails)} | {
                role.name: EXCLUDED for role in excluded
            }
        return self._uses[node.name]

    def _devices(self, node: Node, activity: NodeActivity) -> list[tuple[str, str]]:
        """Each device with its use, the rails first; then the other devices that carry something."""
        known = self._use(node)
        others = [
            name
            for name, found in activity.devices.items()
            if name not in known and (found.sent or found.received)
        ]
        return [*known.items(), *((name, "") for name in others)]

    def _rates(self, node: Node, activity: NodeActivity) -> list[float]:
        rails = (name for name, use in self._use(node).items() if use == RAIL)
        return [traffic(activity.devices.get(name), activity.span) for name in rails]

    def _style(self, node: Node, activity: NodeActivity, name: str) -> str:
        """Red for a link that is down; yellow for an excluded device with traffic, and for a rail that carries less
        than half of what the other rails of its node do.
        """
        found: DeviceActivity | None = activity.devices.get(name)
        if found is None or found.up is False:
            return "red" if found else "dim"
        own, use = traffic(found, activity.span), self._use(node).get(name)
        if use == EXCLUDED:
            return "yellow" if own > LOAD else "dim"
        return "yellow" if use == RAIL and own < UNEVEN * median_high(self._rates(node, activity)) else ""


def _table(title: str) -> Any:
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, pad_edge=False)


def _rate(count: int | None, seconds: float) -> str:
    return "?" if count is None else show_rate(count / seconds) if seconds else ""


def event_line(event: WatchEvent) -> str:
    """``12 s: n1 eth2: its link went down``."""
    where = " ".join(filter(None, (event.node, event.device)))
    return on_one_line(f"{show_seconds(event.seconds)}: {where}: {event.text}")


def closing_lines(loads: Iterable[DeviceLoad]) -> list[str]:
    """The table at the end of a watch, for a terminal and a file alike."""
    rows = [
        (
            f"{each.node} {each.name}",
            show_rate(each.sent),
            show_rate(each.received),
            show_share(each.found.waiting),
        )
        for each in loads
        if each.found.sent or each.found.received
    ]
    if not rows:
        return []
    width = max(len(row[0]) for row in rows)
    head = f"  {'':{width}} {'sent':>12} {'received':>12} {'data waited':>12}"
    return [
        head,
        *(f"  {on_one_line(row[0]):{width}} {row[1]:>12} {row[2]:>12} {row[3]:>12}" for row in rows),
    ]
