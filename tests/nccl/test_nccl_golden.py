"""All that is read out of NCCL's logs, selectors, variables and conf files, held to a golden file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from bench.nccl.c_strings import atoi, strtoll
from bench.nccl.distortions import RULES, distortions
from bench.nccl.environment import conf_files, effective
from bench.nccl.explain import explain, explain_interfaces
from bench.nccl.log import Log, read, read_ranks
from bench.nccl.log_lines import LogLine
from bench.nccl.log_messages import facts_in
from bench.nccl.log_summary import summarise
from bench.nccl.selector import interfaces, parse, parse_devices, select
from bench.nccl.selector_traps import traps
from bench.nccl.version import NEWEST, parse_version
from golden import Golden, opened, shown

LOGS = sorted((Path(__file__).parent / "data").glob("*.txt"))
NODE = "mlx5_0 mlx5_1 mlx5_2 mlx5_3 mlx5_10 mlx5_bond_0 mlx5_4:2"
MOST = 4  # processes of a log that stand there
RAILS = ("mlx5_1:1", "mlx5_2:1", "mlx5_3:1", "mlx5_10:1")
SPECS = (
    None, "", "mlx5", "mlx5_1", "=mlx5_1", "^mlx5_1", "^=mlx5_0", "^=mlx5_0,mlx5_bond_0", "=^mlx5_0", "'^=mlx5_0'",
    "=mlx5_1, mlx5_2", "=mlx5_1:1,mlx5_4:2", "=mlx5_4:1", "=mlx5_4:2:0:1", "=mlx5_1:x", "=mlx5_99", "=mlx5_1,mlx5_1",
    "/dev/mlx5_1", "=eth0", "=mlx5_*", "^", "=", "=mlx5_1,,mlx5_2", f"={','.join(f'a{at}' for at in range(40))}",
    "=" + "m" * 80, "^=mlx5_0,^=mlx5_1",
)  # fmt: skip
INTERFACES = (None, "eth", "=eth0", "^=eth0", "^docker,lo", "=eth1,eth2", "eth1", "=eth9")
TEXTS = {
    "comments": "# a\nNCCL_IB_HCA=mlx5_1\n NCCL_DEBUG=INFO\n#NCCL_NET=Socket\n",
    "odd lines": "NCCL_IB_HCA = mlx5_1\nNCCL_DEBUG\n=x\nNCCL_NET=IB\r\nNCCL_NET=Socket\nFOO=1\n",
    "quotes": "NCCL_A=\"x\"\nNCCL_B='x\nNCCL_C=x'\nNCCL_D=x\" \nNCCL_E=a'b\nNCCL_F=\n",
    "long": "NCCL_IB_HCA=" + "m" * 5000 + "\nNCCL_DEBUG=WARN\n",
}
VERSIONS = ((2, 18, 3), (2, 19, 3), (2, 22, 3), (2, 25, 1), (2, 28, 9), NEWEST)
VALUES = (
    "",
    "0",
    "1",
    "2",
    "-1",
    "true",
    "yes",
    "x",
    " 1",
    "0x1",
    "Ring",
    "Tree",
    "Socket",
    "IB",
    "LL",
    "^LL128",
)


FIVE = (
    "NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/RoCE [2]mlx5_2:2/IB/SHARP [3]mlx5_3:1:4:5/IB [4]mlx5_4:1::7/IB"
)
NAME, OOB = "m" * 60, "; OOB eth0:10.0.0.1<0>"
MESSAGES = (
    f"{FIVE} [RO]{OOB}",
    f"{FIVE} {OOB}",
    FIVE,
    f"NET/IB : Using [0]mlx5_0:1/IB [2]mlx5_1:1/IB {OOB}",
    f"NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_0:1/IB {OOB}",
    f"NET/IB : Using [0]mlx5_0:0/IB {OOB}",
    f"NET/IB : Using {OOB}",
    f"NET/IB : Using [0]mlx5_0:1/IB}} {OOB}",
    f"NET/IB : Using [0]mlx5_0:1/IB, [1] mlx5_1:1/IB {OOB}",
    f"NET/IBext_v8: Using [0]mlx5_0:1/UNSPECIFIED {OOB}",
    "NET/IB : Using interface eth0",
    f"NET/IB : Using [0]={{[0] mlx5_2:1/RoCE, [1] mlx5_3:1/RoCE}} [1]={{[2] mlx5_0:1/RoCE, [3] mlx5_1:1/RoCE}} {OOB}",
    f"NET/IB : Using [0]={{[0] mlx5_2:1/RoCE, [1] mlx5_3:1/RoCE [2]mlx5_0:1/RoCE {OOB}",
    f"NET/IB : Using [0]={{[0] mlx5_2:1/RoCE}} [0]={{[1] mlx5_0:1/RoCE}} {OOB}",
    *(f"NET/IB : Using [0]{NAME}:1/IB {' ' * blanks}{OOB}" for blanks in (0, 1, 2)),
    *(
        "NET/IB : Using "
        + " ".join(f"[{at}]mlx5_{at}:1/IB" for at in range(61))
        + " [61]mlx5_"
        + "6" * more
        + f":1/IB {OOB}"
        for more in (*range(1, 12), 30)
    ),
    "NET/Socket : Using [0]eth0:10.0.0.1<0> [1]eth1:fe80::1%eth1<0>",
    "NET/Socket : Using [1]eth0:10.0.0.1<0>",
    "NET/Socket: Using 2 threads and 8 sockets per thread",
    "NET/Socket : Using",
    "NET/Socket : Using [0]eth0:10.0",
    "Channel 00/02 : 1[0] -> 2[0] [receive] via NET/IB/1/GDRDMA",
    "Channel 00/02 : 1[0] -> 2[0] [send] via NET/IB/1",
    "Channel 01/0 : 1[0] -> 2[0] [send] via NET/IB/1(4)/GDRDMA(PCI)/Shared/flush=None",
    "Channel 01 : 1 -> 2 via P2P/IPC",
    "Channel 01/0 : 1[0] -> 2[0] [send] via NET/IB/1/GDRDMA comm 0x12ab nRanks 16",
    "Channel 01/0 : 1[0] -> 2[0] [send] via NET/IB/1/GDR",
    "Ring 00 : 1[0] -> 2[0] via direct shared memory",
    "Channel 01/0 : 1[0] -> 2[0] via SHM/direct/direct",
    "CollNet 00/0 : 3 [receive] via COLLNET/SHARP/0/GDRDMA",
    "Coll 00 : 3 [send] via COLLNET/SHARP/0",
    "Channel 00 : 1 via X",
    "ncclCommInitRank comm 0x5f rank 2 nranks 3 cudaDev 0 nvmlDev 0 busId 31000 commId 0x9ca7 - Init START",
    "comm 0x5f rank 2 nRanks 3 nNodes 3 localRanks 1 localRank 0 MNNVL 0",
    "comm 0x5f rank 3 nRanks 3 nNodes 3 ",
    "[Rank 7] comm 0x5f rank 7 nranks 8 - Destroy COMPLETE",
    "comm 0x5f rank 0 nranks 262144 - Init COMPLETE",
    "comm 0x5f rank 0 nranks 262145 - Init COMPLETE",
    "comm 0x5f rank 07 nranks 8 - Abort START",
    "24 coll channels, 0 collnet channels, 16 nvls channels, 32 p2p channels",
    "2 coll channels, 4 p2p channels",
    "NET/IB : GPU Direct RDMA Enabled for HCA 0 'mlx5_0'",
    "NET/IB : GPU Direct RDMA (DMABUF) disabled for HCA 1 'mlx5_1'",
    "NET/IB : No device found.",
    "NET/X: No device found",
    "NET/IB: [0] mlx5_0:uverbs0:1/IB provider=mlx5",
    "NET/IB : Made virtual device [2] name=mlx5_1+mlx5_3 speed=400",
    "Using network IB",
    "Using network AWS Libfabric",
    "Using network IB,",
    "Assigned NET plugin IB to comm",
    "Connected all rings",
    "Connected all trees",
    "NCCL_IB_HCA set by environment to ^=mlx5_0 ",
    "NCCL_DEBUG set to 3.",
    "NCCL_X set by environment to -1.",
    "NCCL_Y set to 1.5.",
    "NET/IB: NCCL_IB_TC set by environment to 106.",
    "AllReduce: 4096 Bytes -> Algo 1 proto 2 time 3",
    "512 Bytes -> Algo 7 proto 3 x",
    "AllGather: 8 Bytes -> Algo NVLS_TREE proto SIMPLE channel",
    "4096 Bytes -> Algo 0 proto 0 x",
    "8 Bytes -> Algo 6 proto 1 x",
    "AllReduce [Sum]: 4096 Bytes -> Kernel ncclDevKernel_AllReduce",
    "NCCL version 2.28.9+cuda13.0",
    "RCCL version : 2.22.3-HEAD:271",
    "Got completion from peer 10.0.0.1<4711> with status=12 opcode=0 hca mlx5_3",
    "Got completion with error 5, opcode 1",
    "8 Bytes -> Algo ² proto ¹ x",
    "Got completion from peer x with status=IBV_WC_RETRY_EXC_ERR(12)",
    "NET/IB : Got async event : port error",
    "NET/IB : mlx5_3:1 Got async fatal event: local catastrophic error",
    "NET/IB : mlx5_0:1 async event (non) x",
)
HEAD = "n0:1:{} [0] "
INIT = "NCCL INFO comm 0x1 rank {0} nranks 2 cudaDev 0 - Init COMPLETE\n"
WARN = "{}:100 NCCL WARN [Service thread] {}\n"
JOBS = {
    "channels alone": HEAD.format(1) + "NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0/GDRDMA\n",
    "one is left out elsewhere": "".join(
        f"n{rank}:{rank + 1}:1 [0] NCCL INFO {text}\n"
        for rank, texts in enumerate((
            ("NCCL_IB_HCA set by environment to ^=mlx5_0", f"NET/IB : Using [0]mlx5_1:1/IB {OOB}"),
            (f"NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB {OOB}",),
            ("NCCL_IB_HCA set by environment to =mlx5_0", f"NET/IB : Using [0]mlx5_1:1/IB {OOB}"),
        ))
        for text in (*texts, "Using network IB", f"comm 0x1 rank {rank} nranks 3 cudaDev 0 - Init COMPLETE")
    ),
    "sizes": "".join(
        HEAD.format(1) + f"NCCL INFO AllReduce: {size} Bytes -> Algo RING proto SIMPLE x\n" for size in (4096, 8, 512)
    ),
    "which are used": "".join(
        HEAD.format(1) + f"NCCL INFO {text}\n"
        for text in (
            f"NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [2]mlx5_2:1/IB {OOB}", "Using network IB",
            "Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/1/GDRDMA", "Channel 01/0 : 0[0] -> 1[0] [send] via NET/IB/7",
            "Channel 00/0 : 0[0] -> 2[0] via P2P/IPC", "CollNet 00/0 : 0 [receive] via COLLNET/SHARP/2/GDRDMA",
        )
    ),
    "two warn": HEAD.format(1) + WARN.format("a.cc", "one 1") + 3 * (HEAD.format(2) + WARN.format("a.cc", "another 2")),
    **{
        f"torn down: {where}, {text}, {end}": (
            HEAD.format(1) + INIT.format(0) + HEAD.format(2) + WARN.format(where, text) + HEAD.format(1) + end
        )
        for where, text, end in (
            ("proxy.cc", "Accept failed Success", "NCCL INFO comm 0x1 rank 0 nranks 2 - Destroy COMPLETE\n"),
            ("proxy.cc", "Accept failed Success", "NCCL INFO comm 0x1 rank 0 nranks 2 - Abort COMPLETE\n"),
            ("net.cc", "Accept failed Success", "NCCL INFO comm 0x1 rank 0 nranks 2 - Destroy COMPLETE\n"),
            ("proxy.cc", "Accept", "NCCL INFO comm 0x1 rank 0 nranks 2 - Destroy COMPLETE\n"),
            ("proxy.cc", "Accept failed Success", "NCCL INFO nothing\n"),
        )
    },
}  # fmt: skip
PARTS = 3  # in which a log is cut for its summary


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    names = [*(path.name for path in LOGS), "selectors", "interfaces", "variables", "conf files", "versions"]
    names += [
        "messages",
        *(f"summary of {path.name}" for path in LOGS),
        "two logs",
        "made jobs",
        "numbers",
        "selectors of old versions",
    ]
    yield from opened(request, Path(__file__).with_name("nccl.txt"), names)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_what_is_read_in_a_log(golden: Golden, path: Path) -> None:
    log = read(path.read_text(errors="replace"))
    golden.hold(path.name, [*(shown(each)[:2000] for each in log.processes[:MOST]), shown(log)[-400:]])


def test_what_is_said_of_selectors(golden: Golden) -> None:
    lines = []
    for spec in SPECS:
        lines += [f"{spec!r}: {shown(parse(spec))[:600]}"]
        for rails in ((), RAILS):
            found = explain(spec, parse_devices(NODE), rails, "a node", ("eth0", "ib0"))
            lines += [found.status.value, *(f"    {line[:400]}" for line in found.text.splitlines())]
    golden.hold("selectors", [*lines, explain("mlx5", ()).text])


def test_what_is_said_of_interfaces(golden: Golden) -> None:
    lines = []
    for spec in INTERFACES:
        for rails in ((), ("eth1", "eth2")):
            found = explain_interfaces(spec, ("eth0", "eth1", "eth2", "docker0", "lo"), rails)
            lines += [found.status.value, *found.text.splitlines()]
    golden.hold("interfaces", lines)


def test_which_variables_distort(golden: Golden) -> None:
    names = dict.fromkeys(rule.name for rule in RULES)
    found = (shown(each) for name in names for value in VALUES for each in distortions({name: value}))
    golden.hold("variables", list(found))


def test_what_conf_files_set(golden: Golden) -> None:
    lines = []
    for version in VERSIONS:
        for environ in (
            {},
            {"NCCL_CONF_FILE": "/c"},
            {"NCCL_IB_HCA": "=mlx5_9", "HOME": "/h", "NCCL_X": " 1"},
        ):
            paths = conf_files(environ, "/home/u", version)
            lines.append(f"{version} {environ}: {paths}")
            for name, text in TEXTS.items():
                found = effective(environ, dict.fromkeys(paths[:1], text), version, "/home/u")
                lines.append(f"    {name}: {shown(found)[:900]}")
    golden.hold("conf files", lines)


def test_which_versions_are_read(golden: Golden) -> None:
    texts = (
        "2.18.5",
        "v2.22",
        "2.28.9+cuda13.0",
        "2.22.3-HEAD:271856d",
        "2",
        "x2.1",
        "2.1234",
        "2.12345",
        " 2.3.4 ",
    )
    golden.hold("versions", [f"{text!r}: {parse_version(text)}" for text in texts])


def test_what_is_read_in_one_message(golden: Golden) -> None:
    lines = []
    for text in MESSAGES:
        found = [
            tuple(facts_in(LogLine(7, "n0", 1, level, "net.cc:3", text, cut)))
            for level, cut in (("INFO", False), ("INFO", True), ("WARN", False))
        ]
        lines += [text[:90], *(f"    {shown(each)[-400:]}" for each in dict.fromkeys(found) if each)]
    golden.hold("messages", lines)


def summary(log: Log, meant: bool = False) -> list[str]:
    found = summarise(log, meant)
    lines = [f"{each.name}: {shown(getattr(found, each.name))[:500]}" for each in fields(found)]
    return lines + [each.text for each in found.algorithms[:3]]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_how_a_log_is_summed_up(golden: Golden, path: Path) -> None:
    """Whole, cut at its thirds, and where sockets are meant: each beside what the first said."""
    text = path.read_text(errors="replace")
    lines = summary(read(text))
    for number in range(1, PARTS):
        at = len(text) * number // PARTS
        for part in (text[:at], text[at:]):
            lines += [f"part {number}", *(line[:240] for line in summary(read(part)) if line not in lines)]
    lines += ["sockets are meant", *(line for line in summary(read(text), True) if line not in lines)]
    golden.hold(f"summary of {path.name}", lines)


def test_how_made_logs_are_summed_up(golden: Golden) -> None:
    lines = []
    for name, text in JOBS.items():
        lines += [f"{name}", *(line for line in summary(read(text)) if not line.endswith(("()", "{}")))]
    golden.hold("made jobs", lines)


def test_how_logs_of_two_jobs_are_summed_up(golden: Golden) -> None:
    texts = [path.read_text(errors="replace")[:6000] for path in LOGS]
    lines = []
    for one, other in pairwise(texts):
        lines += [
            "two ranks",
            *(line[:240] for line in summary(read_ranks({0: one, 1: other})) if line[-2:] != "()"),
        ]
    golden.hold("two logs", lines)


def test_how_c_reads_numbers(golden: Golden) -> None:
    """A sign, blanks, other letters after it, more than 31 and 63 bits hold, other digits than ASCII's."""
    texts = ["", "0", "7x", "-7", "+7", " 7", "--7", "x7", "0x1f", "017", "1e3", "٣", "7٣"]
    texts += [
        f"{sign}{(1 << bits) + more}"
        for bits in (31, 32, 63, 64)
        for more in (-1, 0, 1)
        for sign in ("", "-")
    ]
    golden.hold("numbers", [f"{text!r}: {atoi(text)} {strtoll(text)}" for text in texts])


def test_what_is_said_of_selectors_by_version(golden: Golden) -> None:
    """At the limits: of entries and ports that an old NCCL keeps and a new one, of letters in a name."""
    many = " ".join(f"a{at}" for at in range(34))
    specs = [
        f"{sign}{','.join(f'a{at}' for at in range(count))}"
        for sign in ("=", "^=")
        for count in (15, 16, 17, 32, 33)
    ]
    specs += ["=" + "a" * count for count in (62, 63, 64, 65, 66)] + [
        "a1",
        "^a1",
        "a",
        "=a1:1",
        "=a1:2",
        "=a1:-1",
        "=A1",
        "= a1",
    ]
    lines = []
    for spec in specs:
        for version in ((2, 18, 3), (2, 27, 3), NEWEST):
            found = traps(spec, parse_devices(many), ("a1", "a20:1", "z9"), version, ("eth0",))
            lines += [
                f"{spec[:24]} {len(spec)} {version}",
                *(f"    {each.kind}: {each.text[-160:]}" for each in found),
            ]
            taken = [choice.name for choice in select(spec, parse_devices(many), version) if choice.taken]
            lines.append(f"    {len(taken)} {taken[-1:]}")
    some = parse_devices("b10 b11 c1:1+2 c2 d0")
    for spec in ("b1", "^b1", "b", "=b1", "c:2", "c:3", "=c2:2", "=c1:2", "d:1", "d0:1"):
        lines += [spec, *(f"    {each.kind}: {each.text}" for each in traps(spec, some))]
    for count in (15, 16, 17):
        names = [f"eth{at}" for at in range(count)]
        lines.append(shown([each for each in interfaces("eth", names) if not each.taken]))
    golden.hold("selectors of old versions", [*dict.fromkeys(lines)])
