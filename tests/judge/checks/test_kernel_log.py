"""Faults that the kernel's log holds: since boot, and new ones between the readings around a phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.judge.evidence import Evidence
from bench.model.counters import Snapshot
from bench.model.kernel_log import KERNEL, MOST, KernelLog, event, of_messages
from bench.model.verdict import Status
from made_nodes import around, counted, judged, node, seen, status, worst_words

# lines of real kernels: leptonai/gpud components/accelerator/nvidia/{xid,sxid} and nvlink tests, NVIDIA/NVSentinel
# syslog-health-monitor, torvalds/linux mlx5 core (read in 2026-11)
LOST = "NVRM: Xid (PCI:0000:12:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
APPLICATION = "NVRM: Xid (PCI:0000:12:00): 31, pid=1234, name=python, Ch 00000008, MMU Fault"
LINK5 = "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000)"
LINK5_MILD = "NVRM: Xid (PCI:0009:01:00): 145, RLW_CTRL  Nonfatal   XC0 i0 Link -1 (0x00000003 0x80000000)"
ACTION = (
    "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
)
NO_ACTION = (
    "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"
)
SWITCH = "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 24007, Fatal, Link 28 sourcetrack timeout error (First)"
SWITCH_MILD = (
    "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error"
)
DEAD_HCA = "mlx5_core 0000:13:00.0: poll_health:852:(pid 0): device's health compromised - reached miss count"
HOT = "mlx5_core 0000:13:00.0: Port module event[error]: module 0, Cable error, High Temperature"
DOWN = "mlx5_core 0000:08:00.7 ens9f0v5: Link down"


@pytest.mark.parametrize("text", [LOST, LINK5, ACTION, SWITCH, DEAD_HCA, HOT])
def test_a_fault_by_its_makers_rule_is_fatal(text):
    found = event(text)
    assert found and found.fatal


@pytest.mark.parametrize("text", [APPLICATION, LINK5_MILD, NO_ACTION, SWITCH_MILD, DOWN])
def test_what_needs_no_reset_is_listed_and_not_fatal(text):
    found = event(text)
    assert found and not found.fatal


@pytest.mark.parametrize(
    "text", ["", "mlx5_core 0000:01:00.0: firmware version: 28.46.1006", "NVRM: loading"]
)
def test_other_messages_are_none(text):
    assert event(text) is None


def test_faults_are_kept_before_all_else():
    mild = [(2 + at, f"{APPLICATION} {at}") for at in range(2 * MOST)]
    log = of_messages("/dev/kmsg", [(1, LOST), *mild], whole=True)
    assert len(log.events) == MOST and log.events[LOST] == 1
    assert (log.oldest, log.newest) == (1, 1 + 2 * MOST)


def since_boot(*events: str, whole: bool = True) -> Evidence:
    log = KernelLog("/dev/kmsg", "", whole, 1, 9_000_000, dict.fromkeys(events, 5_000_000))
    return seen([replace(node(0), kernel_log=log), replace(node(1), kernel_log=replace(log, events={}))])


def test_a_fault_since_boot_fails_and_names_the_gpu():
    evidence = since_boot(LOST, APPLICATION)
    assert status("kernel.boot", evidence) is Status.FAIL
    assert "n0 GPU 0: Xid 79: GPU has fallen off the bus, 5 s after boot" in worst_words(
        "kernel.boot", evidence
    )


def test_a_quiet_log_passes_only_where_it_is_whole():
    assert status("kernel.boot", since_boot(APPLICATION)) is Status.PASS
    cut = judged("kernel.boot", since_boot(whole=False))
    assert {verdict.status for verdict in cut} == {Status.NOT_APPLICABLE}
    assert "older messages were overwritten" in cut[0].message


def test_a_log_that_may_not_be_read_is_not_applicable_with_its_reason():
    closed = KernelLog(reason="/dev/kmsg: Operation not permitted")
    evidence = seen([replace(node(at), kernel_log=closed) for at in range(2)])
    found = judged("kernel.boot", evidence)
    assert [verdict.status for verdict in found] == [Status.NOT_APPLICABLE]
    assert "Operation not permitted" in found[0].message


def test_an_adapters_old_complaints_are_listed_and_not_judged():
    evidence = since_boot(HOT, DOWN)
    assert status("kernel.boot", evidence) is Status.PASS
    assert judged("kernel.others", evidence)[0].evidence == (f"n0: {HOT}", f"n0: {DOWN}")


def with_log(shot: Snapshot, **said: int) -> Snapshot:
    return Snapshot(shot.time, shot.monotonic, {**shot.readings, KERNEL: {KERNEL: said}})


def during(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> Evidence:
    """One phase in which the log of the first node went from one reading to another; the second's stays still."""
    machines = [replace(node(at), kernel_log=KernelLog("/dev/kmsg", "", True, 1, 1)) for at in range(2)]
    still = {"oldest": 1, "newest": 10_000_000}
    shots = [
        [counted(machine, at) for machine in machines]
        if said is None
        else [
            with_log(counted(machine, at), **log)
            for machine, log in zip(machines, (said, still), strict=True)
        ]
        for at, said in ((0.0, before), (9.0, after))
    ]
    return seen(machines, counters=around("collectives", *shots), phases=["collectives"])


QUIET = {"oldest": 1, "newest": 20_000_000}


def test_a_fault_during_a_phase_fails_and_names_the_phase():
    evidence = during(QUIET, {**QUIET, "newest": 30_000_000, LOST: 29_000_000})
    assert status("kernel.run", evidence) is Status.FAIL
    assert "Xid 79: GPU has fallen off the bus, in phase “collectives”" in worst_words("kernel.run", evidence)


def test_a_fault_from_before_the_run_is_not_one_of_the_run():
    old = {**QUIET, LOST: 5_000_000}
    assert status("kernel.run", during(old, {**old, "newest": 30_000_000})) is Status.PASS


def test_an_old_fault_that_only_the_later_look_kept_is_not_one_of_the_run():
    assert (
        status("kernel.run", during(QUIET, {**QUIET, "newest": 30_000_000, LOST: 5_000_000})) is Status.PASS
    )


def test_the_same_message_again_is_a_new_fault():
    old = {**QUIET, LOST: 5_000_000}
    assert status("kernel.run", during(old, {**old, "newest": 30_000_000, LOST: 29_000_000})) is Status.FAIL


def test_a_log_that_was_overwritten_between_two_readings_does_not_pass():
    assert (
        status("kernel.run", during(QUIET, {"oldest": 25_000_000, "newest": 30_000_000}))
        is Status.INCONCLUSIVE
    )


def test_a_run_without_readings_of_the_log_does_not_pass():
    assert status("kernel.run", during(None, None)) is Status.NOT_APPLICABLE


def test_only_the_adapter_of_a_rail_fails_a_run():
    rail = node(0).ports[3].pci.address
    on_rail, beside = HOT.replace("0000:13:00.0", rail), HOT.replace("0000:13:00.0", "0000:ff:00.0")
    newer = {**QUIET, "newest": 30_000_000}
    assert status("kernel.run", during(QUIET, {**newer, on_rail: 29_000_000})) is Status.FAIL
    assert "n0 mlx5_3/1" in worst_words("kernel.run", during(QUIET, {**newer, on_rail: 29_000_000}))
    assert status("kernel.run", during(QUIET, {**newer, beside: 29_000_000})) is Status.PASS
