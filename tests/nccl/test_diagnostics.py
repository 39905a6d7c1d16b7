"""NCCL's own diagnostics, from 2.31: only wrong bytes fail, and only a check that came to its end passes.

The lines are those that src/diagnostics.cc and src/diagnostics/p2p.cc of NCCL 2.31.2 print (as vendored in
meta-pytorch/torchcomms, comms/ncclx/v2_31), and the formats in the library of 2.32.3 (PyPI, nvidia-nccl-cu13); none was
recorded on a GPU.
"""

from __future__ import annotations

import pytest

from bench.judge.nccl_diagnostics import asked_for, diagnostics
from bench.model.verdict import Status
from bench.nccl.log import read, read_ranks

EDGE = (
    "srcRank=0 srcCudaDev=0 srcNvmlDev=0 dstRank=1 dstCudaDev=1 dstNvmlDev=1 path=NVL handle=CUMEM_POSIX_FD"
)
BEGUN, ENDED = "=== NCCL Diagnostics ===", "NCCL diagnostics completed in 41.7 ms across 8 ranks"
WHOLE = "[OK]   p2p: all 56 directed GPU P2P edges verified"
SKIPPED = "[OK]   p2p: all 48 directed GPU P2P edges verified (skipped indirect=8)"
SOME = "[INFO] p2p: 55/56 directed GPU P2P edges verified"
WRITE = (
    f"[INFO] p2p: write mismatch {EDGE} expected=0x0000000000000001 got=0x0000000000000000 verify=0x0; check"
)
READ = f"[INFO] p2p: read mismatch {EDGE} expected=0x0000000000000001 got=0x0000000000000000; check"
IMPORT = f"[INFO] p2p: peer-memory import failed {EDGE} reason=import; check cuMem POSIX-FD sharing support"
PEERS = "[INFO] p2p: temporarily enabled context-wide CUDA peer access rank=0 cudaDev=0; avoid concurrent CUDA use"
SET = "n0:7:9 [0] NCCL INFO NCCL_RUN_DIAGNOSTICS set by environment to {}.\n"


def printed(*said: str) -> str:
    return "".join(f"node0:4711 NCCL DIAG {text}\n" for text in said)


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ((BEGUN, WHOLE, ENDED), Status.PASS, "all 56"),
        ((BEGUN, SKIPPED, ENDED), Status.PASS, "all 48"),
        ((BEGUN, PEERS, WHOLE, ENDED), Status.PASS, "all 56"),
        ((BEGUN, WHOLE, ENDED, BEGUN, SKIPPED, ENDED), Status.PASS, "all 56"),
        ((BEGUN, WRITE, SOME, ENDED), Status.FAIL, "write mismatch srcRank=0"),
        ((BEGUN, WHOLE, ENDED, BEGUN, READ), Status.FAIL, "read mismatch"),
        ((BEGUN, IMPORT, SOME, ENDED), Status.INCONCLUSIVE, "import failed"),
        ((BEGUN, SOME, ENDED), Status.INCONCLUSIVE, "55/56"),
        ((BEGUN, "[INFO] p2p: active check returned 3", ENDED), Status.INCONCLUSIVE, "returned 3"),
        ((BEGUN, WHOLE), Status.INCONCLUSIVE, "0 of 1 checks"),
        ((BEGUN, WHOLE, ENDED, BEGUN), Status.INCONCLUSIVE, "1 of 2 checks"),
        ((WHOLE, ENDED), Status.INCONCLUSIVE, "1 of 0 checks"),
        ((BEGUN, "p2p: all 56 directed GPU P2P edges verified", ENDED), Status.INCONCLUSIVE, "all 56"),
        ((BEGUN, ENDED), Status.NOT_APPLICABLE, "no pair was checked"),
    ],
)
def test_what_is_printed_is_judged(said, status, words):
    (found,) = diagnostics(read_ranks({0: printed(*said), 1: ""}))
    assert (found.status, words in found.measured) == (status, True), found.measured
    steps = {Status.FAIL: "do what the line", Status.INCONCLUSIVE: "read the lines"}
    assert found.next_step.startswith(steps[status]) if status in steps else found.next_step == ""


def test_what_was_asked_for_and_is_not_there_is_inconclusive():
    asked = read(SET.format(1))
    (found,) = diagnostics(asked)
    assert asked_for(asked) and (found.subject, found.status) == ("GPU pairs", Status.INCONCLUSIVE)
    asked = read(SET.replace("RUN_", "RUN_RAS_").format(1))
    (found,) = diagnostics(asked)
    assert asked_for(asked) and (found.subject, found.status) == ("RAS", Status.INCONCLUSIVE)
    assert not asked_for(read(SET.format(0))) and not asked_for(read("n0:7:9 [0] NCCL INFO comm\n"))


def test_a_line_is_read_behind_a_launchers_prefix_and_is_no_broken_line():
    log = read("[1,0]<stdout>:" + printed(WHOLE))
    assert [(each.level, each.text) for each in log.diagnosed] == [("OK", WHOLE.removeprefix("[OK]   "))]
    assert not log.fragments


VERIFIED = "[OK]   p2p: verified P2P access in both directions between every GPU pair (56 peer accesses)"
FEWER = "[INFO] p2p: only 54/56 GPU-to-GPU peer accesses passed verification"
ALONE = "[OK]   net bw: skipped (single host or no network transport)"
NO_TOOL = "[INFO] net bw: required external tool missing in comm 0x7"
RATES = "[OK]   net bw: 391.2/393.0/393.4 Gbit/s min/median/max same-nic bw (across 16 ranks) in comm 0x7"
SHARED = (
    "[INFO] net bw: net devices are shared across ranks, concurrent use can lower the bandwidth in comm 0x7"
)
SLOW = "[INFO] net bw: same-nic rank 5 (n0): 190.1 Gbit/s, >30% off median 393.0 Gbit/s in comm 0x7"
NO_TIME = "[INFO] net bw: test unable to complete in allocated time; ran 1 of 4 test phases in comm 0x7"
RAS, RAS_ENDED = "=== RAS Diagnostics ===", "RAS diagnostics completed in 9.1 ms across 16 ranks"
LINKS = "[OK]   NVLink: 18 links per GPU, all active at consistent speed across 16 ranks in comm 0x7"
INACTIVE = "[INFO] NVLink: inactive link(s) on rank(s) 3 across 16 ranks in comm 0x7"
NO_RAS = "INFO RAS diagnostics skipped: NCCL_RAS_ENABLE=0"


@pytest.mark.parametrize(
    ("said", "judged"),
    [
        ((BEGUN, VERIFIED, ENDED), {"GPU pairs": Status.PASS}),
        ((BEGUN, FEWER, ENDED), {"GPU pairs": Status.INCONCLUSIVE}),
        ((BEGUN, ALONE, ENDED), {"GPU pairs": Status.NOT_APPLICABLE, "network": Status.NOT_APPLICABLE}),
        ((BEGUN, VERIFIED, NO_TOOL, ENDED), {"GPU pairs": Status.PASS, "network": Status.NOT_APPLICABLE}),
        ((BEGUN, VERIFIED, SHARED, RATES, ENDED), {"GPU pairs": Status.PASS, "network": Status.PASS}),
        ((BEGUN, VERIFIED, RATES, SLOW, ENDED), {"GPU pairs": Status.PASS, "network": Status.INCONCLUSIVE}),
        ((BEGUN, VERIFIED, NO_TIME, ENDED), {"GPU pairs": Status.PASS, "network": Status.INCONCLUSIVE}),
        ((BEGUN, VERIFIED, ALONE, SLOW, ENDED), {"GPU pairs": Status.PASS, "network": Status.INCONCLUSIVE}),
        (
            (BEGUN, VERIFIED, "[OK]   net bw: all is well", ENDED),
            {"GPU pairs": Status.PASS, "network": Status.INCONCLUSIVE},
        ),
        ((RAS, LINKS, RAS_ENDED), {"RAS": Status.PASS}),
        ((RAS, LINKS, INACTIVE, RAS_ENDED), {"RAS": Status.INCONCLUSIVE}),
        ((RAS, LINKS), {"RAS": Status.INCONCLUSIVE}),
        ((RAS, RAS_ENDED), {"RAS": Status.NOT_APPLICABLE}),
        ((NO_RAS,), {"RAS": Status.NOT_APPLICABLE}),
        ((BEGUN, RAS, VERIFIED, LINKS, ENDED, RAS_ENDED), {"GPU pairs": Status.PASS, "RAS": Status.PASS}),
        ((RAS, WRITE, RAS_ENDED, BEGUN, ENDED), {"GPU pairs": Status.FAIL, "RAS": Status.NOT_APPLICABLE}),
    ],
)
def test_pairs_network_and_machines_are_judged_apart_from_2_32_on(said, judged):
    found = diagnostics(read(printed(*said)))
    assert {each.subject: each.status for each in found} == judged


def test_a_slow_network_is_said_by_rank_and_host():
    *_, found = diagnostics(read(printed(BEGUN, VERIFIED, RATES, SLOW, ENDED)))
    assert "rank 5 (n0): 190.1 Gbit/s" in found.measured and "NCCL DIAG" in found.next_step


def test_of_machines_that_skipped_the_check_the_first_is_said_and_the_others_counted():
    other = NO_RAS.replace("NCCL_RAS_ENABLE=0", "no network interface was found")
    (found,) = diagnostics(read(printed(NO_RAS, other)))
    assert "NCCL_RAS_ENABLE=0" in found.measured and "no network interface" not in found.measured
