import sys
from pathlib import Path

import pytest

from bench.model.verdict import Status
from bench.probe.fabric.run_tools import DISCOVER, ERRORS, LINKS, ToolExit, ask, run

DATA = Path(__file__).parent / "data"
NO_DEVICE = (
    "ibwarn: [10264] get_abi_version: can't read ABI version from /sys/class/infiniband_mad/abi_version "
    "(No such file or directory): is ib_umad module loaded?\n"
    "ibwarn: [10264] mad_rpc_open_port: can't open UMAD port ((null):0)\n"
)
SILENT = (DATA / "ibnetdiscover.silent.err.txt").read_text()


def answer(command, code, out, err=""):
    return ask(command, 5, lambda *_: ToolExit(code, out, err))


@pytest.mark.parametrize(
    ("command", "code", "out", "err", "status", "reason"),
    [
        (LINKS, 0, "rows", "", Status.PASS, "the subnet answered"),
        (ERRORS, 1, "## Summary", "", Status.PASS, "the subnet answered"),
        (LINKS, 1, "rows", "", Status.INCONCLUSIVE, "an answer with exit status 1: nothing said why"),
        (DISCOVER, 0, " \n", "", Status.INCONCLUSIVE, "an empty answer with exit status 0: nothing said why"),
        (
            DISCOVER,
            0,
            "rows",
            SILENT,
            Status.INCONCLUSIVE,
            "4 queries were not answered, so the answer is not whole",
        ),
        (DISCOVER, 255, "\n", "iberror: failed: discover failed", Status.INCONCLUSIVE, "discover failed"),
        (DISCOVER, None, "half", "", Status.INCONCLUSIVE, "no answer within 5 s"),
        (DISCOVER, 255, "", NO_DEVICE, Status.NOT_APPLICABLE, "can't open UMAD port ((null):0)"),
        (ERRORS, 255, "\n", "Failed to open port; (null):0", Status.NOT_APPLICABLE, "could not be opened"),
    ],
)
def test_how_a_tool_ended(command, code, out, err, status, reason):
    found = answer(command, code, out, err)
    assert found.status is status
    assert reason in found.reason
    assert found.verdict.status is status
    assert found.verdict.subject == command[0]


def test_an_exit_status_of_0_can_be_a_failure():
    found = answer(DISCOVER, 0, (DATA / "ibnetdiscover.silent.txt").read_text(), SILENT).verdict
    assert found.status is Status.INCONCLUSIVE
    assert len(found.evidence) == 4


def test_a_tool_that_is_not_installed_is_skipped_with_the_reason():
    found = ask(("no-such-tool-of-any-fabric",), 5)
    assert (found.status, found.reason) == (
        Status.NOT_APPLICABLE,
        "no-such-tool-of-any-fabric is not installed",
    )
    assert "install infiniband-diags" in found.verdict.message


def test_a_tool_that_may_not_be_run_is_skipped(tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("")
    assert ask((str(tool),), 5).status is Status.NOT_APPLICABLE


def test_a_tool_that_hangs_is_ended_at_the_limit():
    ended = run((sys.executable, "-c", "print('half', flush=True); import time; time.sleep(600)"), 0.5)
    assert ended.code is None


def test_output_that_is_no_text_is_read_all_the_same():
    ended = run((sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\xff\xfe ok')"), 60)
    assert (ended.code, ended.out) == (0, "\ufffd\ufffd ok")
