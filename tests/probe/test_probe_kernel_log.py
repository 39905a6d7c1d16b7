"""The kernel's log, by /dev/kmsg and by journalctl."""

from __future__ import annotations

from pathlib import Path

from bench.probe.kernel_log import JOURNAL, kernel_log, parse_journal, parse_record

XID = "NVRM: Xid (PCI:0000:cb:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
# journalctl -k -b -o short-monotonic of systemd 252
LINES = f"""[    0.000000] node7 kernel: Linux version 5.15.0-113-generic (buildd@lcy02) (gcc 11.4.0)
[    1.234567] node7 kernel: mlx5_core 0000:18:00.0: firmware version: 28.41.1000
[ 6781.548779] node7 kernel: {XID}
"""


def test_a_record_of_kmsg_is_number_time_and_text():
    # Linux, Documentation/ABI/testing/dev-kmsg
    text = "pci_root PNP0A03:00: host bridge window [io  0x0000-0x0cf7]"
    assert parse_record(f"7,160,424069,-;{text}\n SUBSYSTEM=acpi") == (160, 424069, text)
    assert [parse_record(text) for text in ("", "no record", "7,1;x", "a,b,c,-;x")] == [None] * 4


def test_a_journal_line_is_time_and_text():
    assert list(parse_journal(LINES))[2] == (6_781_548_779, XID)
    assert list(parse_journal("-- No entries --\nHint: You are currently not seeing messages")) == []


def test_the_journal_is_asked_where_kmsg_may_not_be_read(tmp_path):
    log = kernel_log(lambda words: LINES if tuple(words) == JOURNAL else None, path=tmp_path / "none")
    assert (log.source, log.whole, dict(log.events)) == ("journalctl", True, {XID: 6_781_548_779})


def test_a_journal_that_was_rotated_is_not_whole(tmp_path):
    log = kernel_log(lambda _: LINES.split("\n", 1)[1], path=tmp_path / "none")
    assert (log.source, log.whole) == ("journalctl", False)


def test_neither_source_is_a_reason_and_no_reading(tmp_path):
    log = kernel_log(lambda _: None, path=tmp_path / "none")
    assert (log.source, log.readings) == ("", {})
    assert (
        log.reason
        == f"{tmp_path}/none: No such file or directory; journalctl is not installed, or did not answer"
    )


def test_a_device_that_is_not_the_kernels_log_is_not_read():
    # some containers link /dev/kmsg to their console, whose input is not ours to take
    assert "not the kernel's log" in kernel_log(lambda _: None, path=Path("/dev/zero")).reason
