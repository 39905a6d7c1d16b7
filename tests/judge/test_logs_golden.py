"""What is said of NCCL's logs, held to a golden file: a job whose log lacks, adds or spoils one line at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.foreign_log import judge_log
from bench.judge.nccl_diagnostics import asked_for, diagnostics
from bench.judge.nccl_log import gpudirect, network, warnings
from bench.judge.nccl_selection import exclusion, interfaces
from bench.model.profile import load
from bench.model.verdict import Verdict
from bench.nccl.log import read
from golden import Golden, opened

LAMBDA, LOCAL = load("lambda-1cc-h100"), load("local")
LIST, OOB = "[0]mlx5_1:1/IB [1]mlx5_2:1/IB", " [RO]; OOB eth0:10.0.0.1<0>"
RAILS, EXCLUDED, ETHS = ("mlx5_1", "mlx5_2"), ("mlx5_0", "eth0"), ("eth1", "eth2")
COMM = "comm 0xa rank {rank} nranks 4 cudaDev {local} nvmlDev 0 busId 1"
SAID = {
    "network": "Using network IB",
    "list": f"NET/IB : Using {LIST}{OOB}",
    "start": f"ncclCommInitRank {COMM} commId 0x7 - Init START",
    "nodes": "comm 0xa rank {rank} nRanks 4 nNodes 2 localRanks 2 localRank {local} MNNVL 0",
    "channel": "Channel 00/0 : {rank}[0] -> {peer}[0] [send] via NET/IB/0/GDRDMA",
    "counts": "2 coll channels, 0 collnet channels, 0 nvls channels, 2 p2p channels",
    "rings": "Connected all rings",
    "complete": f"ncclCommInitRank {COMM} commId 0x7 - Init COMPLETE",
}
SOCKETS = {
    "network": "Using network Socket",
    "list": "NET/Socket : Using [0]eth1:10.0.0.1<0> [1]eth2:10.0.1.1<0>",
    "channel": SAID["channel"].replace("NET/IB/0/GDRDMA", "NET/Socket/0"),
}
WARN = "[2025-06-12 16:57:52] n1:102:202 [0] a.cc:1 NCCL WARN "
# of rank 2: what stands in place of a line, "" where it is missing
ODD: dict[str, dict[str, str]] = {
    "well": {},
    **{f"without {name}": {name: ""} for name in SAID},
    **{
        f"network {name}": {"network": f"Using network {name}"}
        for name in ("Socket", "IBext_v8", "AWS Libfabric", "IBfoo")
    },
    "sockets in its channel": {"channel": SOCKETS["channel"]},
    "sockets in its channel alone": {"network": "", "channel": SOCKETS["channel"]},
    "two networks": {"start": "Using network Socket"},
    "an excluded HCA": {"list": f"NET/IB : Using {LIST} [2]mlx5_0:1/IB{OOB}"},
    "its data path": {"list": f"NET/IB : Using {LIST} [2]mlx5_0_dma:1/IB{OOB}"},
    "no rail": {"list": f"NET/IB : Using {LIST} [2]mlx5_9:1/IB [3]mlx5_8:2/IB{OOB}"},
    "a rail less": {"list": f"NET/IB : Using [0]mlx5_2:1/IB{OOB}"},
    "another link": {"list": f"NET/IB : Using {LIST.replace('IB', 'RoCE')}{OOB}"},
    "a list that is cut": {"list": f"NET/IB : Using {LIST}"},
    "an empty list": {"list": f"NET/IB : Using {OOB}"},
    "two lists": {"start": f"NET/IB : Using [0]mlx5_2:1/IB{OOB}"},
    "no device": {"list": "NET/IB : No device found."},
    "a list and no device": {"start": "NET/IB : No device found."},
    "no device and sockets": {"list": "NET/IB : No device found.", "network": SOCKETS["list"]},
    "sockets beside": {"list": "NET/Socket : Using [0]eth0:10.0.0.1<0> [1]eth2:10.0.1.1<0>"},
    "opened": {"start": "NET/IB: [0] mlx5_0:uverbs0:1/IB provider=mlx5"},
    "opened a rail": {"start": "NET/IB: [0] mlx5_1:uverbs0:1/IB provider=mlx5"},
    "no GPUDirect": {"channel": SAID["channel"].removesuffix("/GDRDMA")},
    "a channel that is cut": {"channel": SAID["channel"].removesuffix("MA")},
    "inside the node": {"channel": "Channel 00/0 : {rank}[0] -> {peer}[0] via P2P/IPC"},
    "inside, and few channels": {
        "channel": "Channel 00/0 : {rank}[0] -> {peer}[0] via P2P/IPC",
        "counts": "1 coll channels, 0 collnet channels, 0 nvls channels, 2 p2p channels",
    },
    "ends among its channels": {"rings": "", "complete": ""},
    "disabled": {"rings": "NET/IB : GPU Direct RDMA (DMABUF) disabled for HCA 1 'mlx5_1'"},
    "enabled": {"rings": "NET/IB : GPU Direct RDMA Enabled for HCA 0 'mlx5_0'"},
    "another rank": {name: SAID[name].replace("{rank}", "3") for name in ("start", "nodes", "complete")},
    "of more ranks": {"start": SAID["start"].replace("nranks 4", "nranks 5"), "nodes": "", "complete": ""},
    "of no rank": dict.fromkeys(("start", "nodes", "complete"), ""),
    "of no rank, excluded": {
        **dict.fromkeys(("start", "nodes", "complete"), ""),
        "list": f"NET/IB : Using [0]mlx5_0:1/IB{OOB}",
    },
    "one node": {"nodes": SAID["nodes"].replace("nNodes 2", "nNodes 1")},
}
ADDED = {
    "a warning": f"{WARN}something",
    "an event": f"{WARN}NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)",
    "an event of nobody": f"{WARN}NET/IB : Got async event : port error",
    "a work request": f"{WARN}NET/IB: Got completion from peer 10.0.0.2<5> with status=12 opcode=0 hca mlx5_3",
    "a work request of nobody": f"{WARN}NET/IB: Got completion with error 5, opcode 1",
    "a broken warning": "0] a.cc:1 NCCL WARN something",
    "a broken channel": "l 00/0 : 2[0] -> 0[0] [send] via NET/IB/0",
    "a broken list": f"ode9:NET/IB : Using [0]mlx5_0:1/IB{OOB}",
    "a broken list of rails": f"ode9:NET/IB : Using {LIST}{OOB}",
    "a stray": f"n9:1:1 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB{OOB}",
    "a stray rail": f"n9:1:1 [0] NCCL INFO NET/IB : Using {LIST}{OOB}",
    "the proxy": "n1:102:203 [0] proxy.cc:1458 NCCL WARN [Service thread] Accept failed Resource "
    "temporarily unavailable\nn1:102:202 [0] NCCL INFO comm 0xa rank 2 nranks 4 cudaDev 0 busId 1 - Abort COMPLETE",
    "two runs": f"n0:900:900 [0] NCCL INFO {SAID['complete'].format(rank=0, local=0)}",
    "one name": f"n1:102:202 [0] NCCL INFO {SAID['complete'].format(rank=3, local=0)}",
}
JOBS = (*ODD, *ADDED)
TWO = tuple(
    itertools.pairwise(
        ("no GPUDirect", "a list that is cut", "without complete", "of more ranks", "an excluded HCA")
    )
)
PARTS = (*JOBS, *(f"sockets: {name}" for name in ODD), "ranks and rails", "a person's log", "diagnostics")


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("logs.txt"), PARTS)


def job(
    odd: dict[str, str], said: dict[str, str] = SAID, added: str = "", odd_ranks: tuple[int, ...] = (2,)
) -> str:
    lines = [
        f"n{rank // 2}:{100 + rank}:{200 + rank} [{rank % 2}] NCCL INFO "
        + text.format(rank=rank, local=rank % 2, peer=(rank + 2) % 4)
        for rank in range(4)
        for text in (said | (odd if rank in odd_ranks else {})).values()
        if text
    ]
    return "\n".join([*lines, added, ""])


def told(verdict: Verdict) -> list[str]:
    """Its evidence only where that says more."""
    line = f"{verdict.check} {verdict.status.value}: {verdict.measured}"
    alone = verdict.evidence == (f"{verdict.status.value}: {verdict.measured}",)
    return [line, *(f"    {each}" for each in (() if alone else verdict.evidence))]


def judged(text: str) -> Iterator[str]:
    log = read(text)
    for found in (
        exclusion(log, EXCLUDED, RAILS, range(4), link="IB"),
        network(log, range(4)),
        gpudirect(log, range(4)),
        warnings(log, range(4), known=("nobody minds",)),
    ):
        yield from told(found)
    loose = gpudirect(log, range(4), nodes=3, each=False)
    yield f"a node has one rail, of three nodes: {loose.status.value} {loose.measured}"


@pytest.mark.parametrize("name", JOBS)
def test_what_a_log_says(golden: Golden, name: str) -> None:
    text = job(ODD.get(name, {}), added=ADDED.get(name, ""))
    golden.hold(
        name, [*judged(text), f"of all ranks: {[each.measured for each in judge_log(read(text), LAMBDA)]}"]
    )


@pytest.mark.parametrize("name", ODD)
def test_what_a_log_of_sockets_says(golden: Golden, name: str) -> None:
    lines = []
    for ranks in ((2,), (0, 1, 2, 3)):
        log = read(job(ODD[name], SAID | SOCKETS, odd_ranks=ranks))
        lines += told(interfaces(log, EXCLUDED, ETHS, range(4)))
        lines += told(network(log, range(4), "Socket"))
    golden.hold(f"sockets: {name}", lines)


def test_what_is_said_of_other_ranks_and_rails(golden: Golden) -> None:
    lines = []
    log, sockets = read(job({})), read(job({}, SAID | SOCKETS))
    cut = read(job({"list": SOCKETS["list"][:-4]}, SAID | SOCKETS))
    for ranks in ((), range(3), range(5), (0, 1, 2, 9), (3, 3, 2, 1, 0)):
        for found in (
            exclusion(log, (), RAILS, ranks),
            network(log, ranks),
            gpudirect(log, ranks),
            warnings(log, ranks),
            interfaces(sockets, (), ETHS, ranks),
        ):
            lines += [f"{list(ranks)}: wanted {found.wanted}; {found.next_step}", *told(found)]
    for rails in (
        (),
        ("mlx5_1:1", "mlx5_2:1"),
        ("mlx5_1:2", "mlx5_2"),
        ("mlx5_2",),
        ("mlx5_1", "mlx5_2", "mlx5_3"),
        ETHS,
        ("eth1",),
        (*ETHS, "eth3"),
    ):
        for found in (
            exclusion(log, EXCLUDED, rails, range(4)),
            exclusion(log, (), rails, range(4), "RoCE"),
            exclusion(sockets, EXCLUDED, rails, range(4)),
            exclusion(sockets, ("eth1",), rails, range(4)),
            interfaces(sockets, ("eth2",), rails, range(4)),
            interfaces(sockets, (), rails, range(4)),
            interfaces(cut, (), rails, range(4)),
        ):
            lines += [f"{rails}", *told(found)]
    for one, other in TWO:
        lines += [f"{one} and {other}", *judged(job(ODD[one] | ODD[other]))]
    lines += ["nothing", *judged("")]
    inside = read(job({"channel": "Channel 00/0 : 0[0] -> 1[0] via P2P/IPC"}, odd_ranks=(0, 1, 2, 3)))
    for nodes in range(4):
        for each in (True, False):
            lines += [
                f"{nodes} {each}",
                *told(gpudirect(inside, range(4), nodes, each)),
                *told(gpudirect(log, range(4), nodes, each)),
            ]
    lines += told(warnings(read(job({}, added=ADDED["a warning"])), range(4), ("some",)))
    golden.hold("ranks and rails", lines)


def test_what_is_said_of_a_log_that_a_person_gave(golden: Golden) -> None:
    lines = []
    log, sockets = read(job({})), read(job({}, SAID | SOCKETS))
    for devices, count, excluded in (
        (("mlx5_1", "mlx5_2/1"), 2, ()),
        ((), 2, ("mlx5_0",)),
        ((), 1, ("mlx5_2",)),
        ((), 3, ()),
        ((), 1, ()),
    ):
        want = replace(LAMBDA, rails=replace(LAMBDA.rails, devices=devices, count=count, excluded=excluded))
        for found in judge_log(log, want):
            lines += [f"{devices} {count} {excluded}", *told(found)]
    for found in (*judge_log(sockets, LOCAL), *judge_log(read(""), LAMBDA)):
        lines += told(found)
    golden.hold("a person's log", lines)


BEGUN, ENDED = "=== NCCL Diagnostics ===", "NCCL diagnostics completed in 41.7 ms across 8 ranks"
RAS, RAS_ENDED = "=== RAS Diagnostics ===", "RAS diagnostics completed in 9.1 ms across 16 ranks"
LINES = {
    "good": "[OK]   p2p: all 56 directed GPU P2P edges verified",
    "some": "[INFO] p2p: 55/56 directed GPU P2P edges verified",
    "wrong": "[INFO] p2p: write mismatch srcRank=0 expected=1",
    "read wrong": "[INFO] p2p: read mismatch srcRank=0 expected=1",
    "benign": "[INFO] p2p: temporarily enabled context-wide CUDA peer access rank=0",
    "rates": "[OK]   net bw: 391.2/393.0/393.4 Gbit/s min/median/max same-nic bw (across 16 ranks)",
    "slow": "[INFO] net bw: same-nic rank 5 (n0): 190.1 Gbit/s, >30% off median",
    "skipped": "[OK]   net bw: skipped (single host or no network transport)",
    "no tool": "[INFO] net bw: required external tool missing in comm 0x7",
    "shared": "[INFO] net bw: net devices are shared across ranks",
    "links": "[OK]   NVLink: 18 links per GPU",
    "inactive": "[INFO] NVLink: inactive link(s) on rank(s) 3",
    "no RAS": "INFO RAS diagnostics skipped: NCCL_RAS_ENABLE=0",
    "no RAS either": "INFO RAS diagnostics skipped: no network interface was found",
}


def test_what_nccls_own_diagnostics_say(golden: Golden) -> None:
    lines = []
    said: list[tuple[str, ...]] = [()]
    for text in LINES.values():
        for begun, ended in ((BEGUN, ENDED), (RAS, RAS_ENDED)):
            said += [(begun, text, ended), (begun, text), (text, ended), (begun, text, ended, begun)]
        said += [
            (text,),
            (text, text),
            (BEGUN, LINES["good"], text, ENDED),
            (RAS, LINES["links"], text, RAS_ENDED, text),
        ]
        said += [
            (BEGUN, RAS, text, LINES["links"], ENDED, RAS_ENDED),
            (LINES["skipped"], text),
            (LINES["no RAS"], text),
        ]

    said += [(BEGUN, *[LINES["inactive"]] * count, ENDED) for count in (1, 63, 66)]
    for each in dict.fromkeys(said):
        for setting in ("", "NCCL_RUN_DIAGNOSTICS", "NCCL_RUN_RAS_DIAGNOSTICS") if len(each) < 2 else ("",):
            for value in "01":
                head = f"n0:7:9 [0] NCCL INFO {setting} set by environment to {value}.\n" if setting else ""
                log = read(head + "".join(f"n0:4711 NCCL DIAG {text}\n" for text in each))
                found = list(diagnostics(log))
                lines += [f"{each[:4]} {setting} {value} {asked_for(log)}"]
                lines += [
                    f"  {one.subject} {one.status.value}: {one.measured}; {one.next_step} {len(one.evidence)}"
                    for one in found
                ]
    golden.hold("diagnostics", [*dict.fromkeys(lines)])
