"""What the kernel's log says of GPUs, NVSwitches and adapters: which messages count, and which of them are faults.

Sources: NVIDIA, Xid Catalog (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, Ampere and newer, read in
2026-11); NVIDIA, Fabric Manager User Guide, appendix D (SXids are fatal or not by their own words); Linux,
drivers/net/ethernet/mellanox/mlx5/core/events.c and health.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .late_dataclass import dataclass, field
from .printable import on_one_line

KERNEL = "kernel"  # subject and group of the log in a snapshot
OLDEST, NEWEST = "oldest", "newest"  # when the first and the last message were written that were looked at
MOST = 64  # messages that are kept of one look
LONGEST = 240  # characters of one

# Xid → its description, where the catalog's immediate action is RESET_GPU, RESTART_BM, RESTART_VM or CHECK_MECHANICALS,
# or where its text says that a reset or reboot is needed (48, 74). 155 and 156 are left out: a link that was put to
# sleep on purpose logs 155, and 156 retires a resource, which gpus.remap judges where it matters.
FATAL_XIDS: Mapping[int, str] = {
    46: "GPU stopped processing",
    48: "double bit ECC error",
    54: "auxiliary power is not connected to the GPU board",
    62: "internal micro-controller halt",
    64: "GPU memory remapping failure",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained memory error",
    109: "context switch timeout",
    110: "security fault",
    119: "GSP RPC timeout",
    120: "GSP error",
    136: "NVLink training failed",
    140: "unrecovered ECC error",
    143: "GPU initialization error",
    151: "key rotation error",
    158: "GPU fatal timeout",
}  # fmt: skip
NVLINK5 = range(144, 151)  # whether one of these is fatal depends on its subcode, and the message says so
RECOVERY = 154  # "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]{5,20})\): (\d{1,4})\b,?\s*(.*)")
_SXID = re.compile(r"SXid \((?:PCI:)?([0-9a-fA-F:.]{5,20})\): (\d{1,6})\b,?\s*(.*)")
_MLX5 = re.compile(r"mlx5_core ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\b(.*)")
_NEXT_ACTION = re.compile(r"\bto 0x[0-9a-fA-F]+ \(([^)]{1,40})\)")
_BY_OWN_WORD = re.compile(r"(?<![Nn]on-)(?<![Nn]on)\bFatal\b")
_MLX5_EVENTS: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(r"health compromised - reached miss count|Fatal error \d+ detected"), True),
    (re.compile(r"Port module event\[error\]"), True),
    (re.compile(r"timeout\. Will cause a leak of a command resource"), True),
    (re.compile(r": Link down|Port module event: module \d+, Cable unplugged"), False),
    (re.compile(r"insufficient power on the PCIe slot|High temperature on sensors"), False),
)


@dataclass(frozen=True)
class KernelEvent:
    """One message. ``device``: PCI address as the driver wrote it; ``fatal``: the device needs a reset, a reboot or
    hands by its maker's own rule; ``adapter``: of an HCA and not of a GPU or NVSwitch.
    """

    device: str
    what: str
    fatal: bool
    adapter: bool = False


@dataclass(frozen=True)
class KernelLog:
    """One look at the kernel's log.

    source   ``/dev/kmsg`` or ``journalctl``; "" where neither could be read, and ``reason`` says why
    whole    everything since boot was there: nothing had been overwritten
    oldest, newest   the first and last message that were there, in µs since boot
    events   message → when it was written last, in µs since boot
    """

    source: str = ""
    reason: str = ""
    whole: bool = False
    oldest: int = 0
    newest: int = 0
    events: Mapping[str, int] = field(default_factory=dict)

    @property
    def readings(self) -> dict[str, int]:
        """The log as it stands in a snapshot; {} where it could not be read."""
        return {OLDEST: self.oldest, NEWEST: self.newest, **self.events} if self.source else {}


def event(text: str) -> KernelEvent | None:
    """What a message says of a device; None of any other message."""
    if found := _XID.search(text):
        return _xid(found[1], int(found[2]), found[3])
    if found := _SXID.search(text):
        return KernelEvent(found[1], f"SXid {found[2]}: {found[3]}", bool(_BY_OWN_WORD.search(found[3])))
    if found := _MLX5.search(text):
        said = (fatal for pattern, fatal in _MLX5_EVENTS if pattern.search(found[2]))
        fatal = next(said, None)
        return None if fatal is None else KernelEvent(found[1], found[2].strip(" :"), fatal, adapter=True)
    return None


def _xid(device: str, number: int, text: str) -> KernelEvent:
    if number in FATAL_XIDS:
        return KernelEvent(device, f"Xid {number}: {FATAL_XIDS[number]}", True)
    if number in NVLINK5:
        return KernelEvent(device, f"Xid {number}: {text}", bool(_BY_OWN_WORD.search(text)))
    if number == RECOVERY:
        action = _NEXT_ACTION.search(text)
        return KernelEvent(device, f"Xid {number}: {text}", action is not None and action[1] != "None")
    return KernelEvent(device, f"Xid {number}: {text}", False)


def of_messages(source: str, messages: Iterable[tuple[int, str]], whole: bool) -> KernelLog:
    """The log of its messages, each with its time in µs since boot; faults are kept before all else, new before old."""
    oldest, newest, events = 0, 0, dict[str, int]()
    for time, text in messages:
        oldest, newest = oldest or time, max(newest, time)
        if event(text):
            events[on_one_line(text)[:LONGEST]] = time
    return KernelLog(source, "", whole, oldest, newest, _worst(events))


def _worst(events: Mapping[str, int]) -> dict[str, int]:
    def rank(item: tuple[str, int]) -> tuple[bool, int]:
        found = event(item[0])
        return not (found and found.fatal), -item[1]

    return dict(sorted(events.items(), key=rank)[:MOST])


def new_events(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int] | None:
    """What was written between two looks; None where messages between them were overwritten unseen.

    Clocks of two CPUs differ by less than a second, so a message may bear a time a little before the last one seen.
    """
    if after.get(OLDEST, 0) > before.get(NEWEST, 0):
        return None
    since = before.get(NEWEST, 0) - 1_000_000
    return {
        text: time
        for text, time in after.items()
        if text not in (OLDEST, NEWEST) and time > max(since, before.get(text, -1))
    }
