"""What a node's devices did in a short time while the job of somebody else ran: ``activity.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta

from .late_dataclass import dataclass, field, replace
from .typed_json import Count, Duration, Name

Share = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0, description="bytes per second")]


@dataclass(frozen=True)
class DeviceActivity:
    """One port (``mlx5_3/1``) or interface (``eth3``) over a span.

    sent, received  bytes; None: not known
    up       whether its link is up at the end of the span; None: not known
    waiting  share of the looks at which TCP held data that had not been sent or acknowledged; ``toward``: the address
             to which most of it went
    unread   share of the looks at which data that had come was not read by its process
    """

    sent: Count | None = None
    received: Count | None = None
    up: bool | None = None
    waiting: Share = 0.0
    unread: Share = 0.0
    toward: str = ""


@dataclass(frozen=True)
class InspectedCalls:
    """Collectives of one kind and size as NCCL's Inspector timed them. ``busbw``: of the median call, ``least``: of the
    slowest; bytes per second.
    """

    name: str
    size: Count
    ranks: Count
    nodes: Count
    calls: Count
    busbw: Rate
    least: Rate


@dataclass(frozen=True)
class NodeActivity:
    """One node over ``span`` seconds, in which its TCP sockets were looked at so many times.

    errors  device and error counter → growth since the watch began
    calls   what NCCL's Inspector wrote meanwhile; ``ras``: what NCCL's RAS finds wrong, "" for nothing
    """

    span: Duration = 0.0
    looks: Count = 0
    devices: Mapping[str, DeviceActivity] = field(default_factory=dict)
    errors: Mapping[str, Count] = field(default_factory=dict)
    calls: tuple[InspectedCalls, ...] = ()
    ras: str = ""


@dataclass(frozen=True)
class ActivityLine:
    """A node's activity in the span that ended ``seconds`` after the watch began."""

    seconds: Duration
    node: Name
    activity: NodeActivity


def joined(spans: Iterable[NodeActivity]) -> NodeActivity:
    """Spans of one node that follow each other, as one; the last ``up``, ``toward`` and ``ras`` stand."""
    found = NodeActivity()
    for each in spans:
        found = _joined(found, each) if found.span else each
    return found


def _joined(first: NodeActivity, then: NodeActivity) -> NodeActivity:
    looks = first.looks + then.looks
    devices = dict(first.devices)
    for name, now in then.devices.items():
        before = devices.get(name, DeviceActivity(0, 0))
        weights = (first.looks / looks, then.looks / looks) if looks else (0.0, 0.0)
        devices[name] = replace(
            now,
            sent=_sum(before.sent, now.sent),
            received=_sum(before.received, now.received),
            waiting=min(1.0, before.waiting * weights[0] + now.waiting * weights[1]),
            unread=min(1.0, before.unread * weights[0] + now.unread * weights[1]),
            toward=now.toward or before.toward,
        )
    return NodeActivity(
        first.span + then.span,
        looks,
        devices,
        {**first.errors, **then.errors},
        first.calls + then.calls,
        then.ras,
    )


def _sum(first: int | None, then: int | None) -> int | None:
    return None if first is None or then is None else first + then
