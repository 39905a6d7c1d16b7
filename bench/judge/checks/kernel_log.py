"""The kernel's log: faults of GPUs and NVSwitches since boot, and of adapters too during the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.judge.counter_windows import WHOLE, CounterWindow, whole_run
from bench.judge.evidence import Evidence
from bench.judge.findings import MOST, Finding, NotApplicable
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.kernel_log import KERNEL, KernelEvent, KernelLog, event, new_events
from bench.model.late_dataclass import dataclass
from bench.model.rails import rails_of
from bench.model.units import show_count, show_seconds
from bench.plan.phase_names import phase_words

from .exclusion_bytes import nothing_begun

SOURCE = "NVIDIA, Xid Catalog: immediate action; Fabric Manager User Guide: fatal SXids"
RESET = "reset the GPU or reboot the node, as NVIDIA's Xid Catalog says; a reboot also begins the log anew"
DURING = (
    "look the Xid up in NVIDIA's Xid Catalog; of an adapter: its cable, heat and firmware; then run again"
)
AS_ROOT = "to have it judged: probe as root, or as a member of systemd-journal or adm"


def _has_kernel_log(evidence: Evidence) -> bool:
    return any(node.kernel_log for node in evidence.nodes)


@check(
    "kernel.boot",
    wanted="no fault that takes a reset or a reboot",
    source=SOURCE,
    on_fail=RESET,
    unit="nodes",
    only=_has_kernel_log,
    facts_only=True,
)
def boot(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No GPU or NVSwitch reported a fault since boot that takes a reset or a reboot."""
    silent = []
    for node in evidence.nodes:
        log = node.kernel_log or KernelLog(reason="nobody looked")
        faults = [(text, found) for text, found in _events(log.events) if found.fatal and not found.adapter]
        for text, found in faults:
            after = show_seconds(log.events[text] / 1e6)
            yield Finding(_subject(node, found), False, f"{found.what}, {after} after boot", note=text)
        if not faults and log.whole:
            yield Finding(node.name, True, "no such fault since boot")
        elif not faults:
            silent.append(f"{node.name}: {log.reason or f'{log.source}: older messages were overwritten'}")
    if silent:
        text = (
            f"the kernel's log since boot could not be read on {show_count(len(silent), 'node')}; {silent[0]}"
        )
        yield NotApplicable(text, evidence=tuple(silent[:MOST]), step=AS_ROOT)


@check(
    "kernel.run",
    wanted="no fault of a GPU, NVSwitch or rail",
    source=f"{SOURCE}; Linux, mlx5_core",
    on_fail=DURING,
    on_inconclusive="see dmesg on that node by hand: its log was overwritten or closed during the run",
    unit="nodes",
    only=_has_kernel_log,
    unless=(nothing_begun,),
)
def run(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No GPU, NVSwitch or rail reported a fault to the kernel during the run."""
    looks = _looks(evidence)
    silent = []
    for node in evidence.nodes:
        rails = _rail_addresses(node, evidence)
        mine = [look for look in looks if look.node == node.name]
        faults = [look for look in mine if look.event and _counts(look.event, rails)]
        lost = [look for look in mine if look.lost]
        for look in faults:
            assert look.event is not None
            when = "between two phases" if look.phase == WHOLE else f"in phase “{phase_words(look.phase)}”"
            yield Finding(_subject(node, look.event), False, f"{look.event.what}, {when}", note=look.text)
        for look in lost[:1]:
            yield Finding(node.name, None, f"{look.text} in phase “{phase_words(look.phase)}”")
        if not mine:
            silent.append(node.name)
        elif not faults and not lost:
            yield Finding(node.name, True, "no such fault during the run")
    if silent:
        text = (
            f"the kernel's log could not be read on {show_count(len(silent), 'node')} while it was measured"
        )
        yield NotApplicable(text, evidence=tuple(silent[:MOST]), step=AS_ROOT)


@check("kernel.others", source="the kernel's log", only=_has_kernel_log, facts_only=True)
def others(evidence: Evidence) -> Iterator[NotApplicable]:
    """Other messages of GPUs, NVSwitches and adapters since boot are listed and not judged."""
    found = [
        f"{node.name}: {text}"
        for node in evidence.nodes
        if node.kernel_log
        for text, each in _events(node.kernel_log.events)
        if each.adapter or not each.fatal
    ]
    text = (
        f"{show_count(len(found), 'other message')} of GPUs, NVSwitches and adapters; {found[0]}"
        if found
        else ""
    )
    yield NotApplicable(
        text or "no other message of a GPU, NVSwitch or adapter", evidence=tuple(found[:MOST])
    )


@dataclass(frozen=True)
class _Look:
    """What one node's log said in a phase: one new event, that messages were ``lost``, or neither."""

    node: str
    phase: str
    text: str = ""
    event: KernelEvent | None = None
    lost: bool = False


def _looks(evidence: Evidence) -> Sequence[_Look]:
    """Lists each new message once, under the phase in which the kernel wrote it; nodes without readings have none."""
    seen: dict[tuple[str, str, int], None] = {}
    found = []
    for window in (*evidence.windows, *whole_run(evidence.run)):
        for look, time in _of_window(window):
            key = (look.node, look.text or look.phase, time)
            if key not in seen:
                found.append(look)
                seen[key] = None
    return found


def _of_window(window: CounterWindow) -> Iterator[tuple[_Look, int]]:
    name, phase = window.node.name, window.phase
    before, after = (shot.readings.get(KERNEL, {}).get(KERNEL) for shot in (window.before, window.after))
    if before is None:
        return
    new = None if after is None else new_events(before, after)
    if new is None:
        how = "could no longer be read" if after is None else "was overwritten faster than it was read"
        yield _Look(name, phase, f"the kernel's log {how}", lost=True), 0
        return
    yield _Look(name, phase), 0
    for text, time in new.items():
        yield _Look(name, phase, text, event(text)), time


def _counts(found: KernelEvent, rails: Sequence[str]) -> bool:
    return found.fatal and (not found.adapter or found.device in rails)


def _rail_addresses(node: Node, evidence: Evidence) -> Sequence[str]:
    """PCI addresses of the node's rails."""
    devices = [role.port or role.interface for role in rails_of(node, evidence.rails)]
    return [device.pci.address for device in devices if device and device.pci]


def _events(messages: Mapping[str, int]) -> Iterator[tuple[str, KernelEvent]]:
    for text in messages:
        if found := event(text):
            yield text, found


def _subject(node: Node, found: KernelEvent) -> str:
    """``n0 GPU 3`` or ``n0 mlx5_4/1`` where the facts know the device; else its PCI address."""
    bus = found.device.lower().removeprefix("0000").partition(".")[0]
    for gpu in node.gpus:
        if gpu.pci and gpu.pci.address.lower().removeprefix("0000").startswith(bus):
            return f"{node.name} GPU {gpu.index}"
    for port in node.ports:
        if port.pci and port.pci.address == found.device:
            return f"{node.name} {port.name}"
    return f"{node.name} {found.device}"
