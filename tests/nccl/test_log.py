"""NCCL's log read into facts: every version's forms, and everything that gets between the lines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nccl.log import Log, channels, read, read_ranks
from bench.nccl.log_facts import (
    AsyncEvent,
    ChannelCounts,
    Completion,
    DirectRdma,
    Hca,
    HcaSeen,
    LogChannel,
    LogInterface,
    LogSetting,
    Member,
    Tuned,
)

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))


def sample(name):
    return (DATA / f"{name}.txt").read_bytes().decode("utf-8", "replace")


def items(log):
    return [using for process in log.processes for using in process.using]


def nets(log):
    return [c for process in log.processes for c in process.channels if c.transport == "NET"]


def told(log):
    """The facts of a log under the names that the samples' readers gave them."""
    lost = [fragment.text for fragment in log.fragments if "via NET/" in fragment.text]
    hcas = {(h.name, h.port): h for using in items(log) for h in using.hcas}
    sockets = [one for process in log.processes for one in process.sockets]
    networks = Counter(name for process in log.processes for name in process.networks)
    merged: dict[int | None, list[str]] = {}
    for hca in hcas.values():
        merged.setdefault(hca.merged, []).append(hca.name)
    versions = [*log.versions, *(v for process in log.processes for v in process.versions)]
    warned = [warning.text for process in log.processes for warning in process.warnings]
    return {
        "nccl_version": list(dict.fromkeys(versions)),
        "using_lines": [
            {"text": text, "count": count}
            for text, count in Counter(using.text for using in items(log) if using.hcas).items()
        ],
        "hcas": [{"name": h.name, "port": h.port, "link": h.link, "sharp": h.sharp} for h in hcas.values()],
        "mlx5_0_used": any(name == "mlx5_0" for name, _ in hcas),
        "net_lines": len(nets(log)) + len(lost),
        "net_lines_with_GDRDMA": sum(c.gdr is True for c in nets(log)) + sum("/GDRDMA" in t for t in lost),
        "pxn_lines": sum(c.proxy is not None for c in nets(log)),
        "no_device_found_lines": sum(process.no_device for process in log.processes),
        "no_device_found": sum(process.no_device for process in log.processes),
        "warn_lines": len(warned),
        "warn_text": "".join(warned[:1]),
        "socket_using": list(dict.fromkeys(one.text for one in sockets)),
        "socket": list(
            dict.fromkeys(f"{i.name}:{i.address.split('<')[0]}" for one in sockets for i in one.interfaces)
        ),
        "using_network": dict(networks),
        "nranks": list(log.nranks),
        "hosts": list(log.hosts),
        "orphan_fragments": [fragment.text for fragment in log.fragments],
        "transports": sorted({channel.transport for _, channel in channels(log)}),
        "empty_using_line": any(using.complete and not using.hcas for using in items(log)),
        "net_names": sorted({c.network for c in nets(log)}),
        "nics_used": sorted({c.device for c in nets(log)}),
        "oob_iface": "".join(using.oob.split(":")[0] for using in items(log)),
        "merged_vnics": list(merged.values()),
        "relaxed_ordering": any(using.relaxed for using in items(log)),
    }


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_public_log_says_what_a_careful_reader_found(name):
    found = told(read(sample(name)))
    wanted = {key: value for key, value in EXPECTED[name].items() if key != "source"}
    if isinstance(wanted.get("using_network"), str):
        wanted["using_network"] = {
            wanted["using_network"]: found["using_network"].get(wanted["using_network"])
        }
    assert {key: found[key] for key in wanted} == wanted


def test_a_channel_cut_by_another_programs_text_does_not_say_gpudirect():
    log = read(sample("005-nebius-h100-2node-sharp-pxn-2.19.3"))
    assert [c.detail.split("Setting")[0] for c in nets(log) if c.gdr is None] == ["NET/IBext/6/GD"]


HEAD = "node1:11:12 [3] NCCL INFO "


def names_of(items):
    return [hca.name for using in items for hca in using.hcas]


def one(text, level="INFO"):
    head = HEAD if level == "INFO" else "node1:11:12 [3] transport/net_ib.cc:95 NCCL WARN "
    (process,) = read(head + text + "\n").processes
    return process


USING = [
    (
        " [0]mlx5_0:1/IB [1]mlx5_1:1/RoCE ; OOB eth0:10.0.0.1<0>",
        (Hca(0, "mlx5_0", 1, "IB"), Hca(1, "mlx5_1", 1, "RoCE")),
    ),
    (" [0]mlx5_0:1/IB/SHARP [RO]; OOB eth0:10.0.0.1<0>", (Hca(0, "mlx5_0", 1, "IB", True),)),
    (" [0]mlx5_bond_0:2/UNSPECIFIED [RO]; OOB a.b:::1<0>", (Hca(0, "mlx5_bond_0", 2, "UNSPECIFIED"),)),
    (
        " [0]={[0] a:1/IB, [1] b:1/IB} [1]={[2] c:1/IB/SHARP, [3] d:1/IB} [RO]; OOB e:1<0>",
        (
            Hca(0, "a", 1, "IB", merged=0),
            Hca(1, "b", 1, "IB", merged=0),
            Hca(2, "c", 1, "IB", True, merged=1),
            Hca(3, "d", 1, "IB", merged=1),
        ),
    ),
    (" [0]={[0] a:1/IB, [1] b:1/IB} [2]c:1/IB [RO]; OOB e:1<0>", None),
    (
        " [0]a:1:7/IB [1]b:1:7:3/IB [2]c:1::4/IB [RO]; OOB e:1<0>",
        (
            Hca(0, "a", 1, "IB", rail=7),
            Hca(1, "b", 1, "IB", rail=7, plane=3),
            Hca(2, "c", 1, "IB", plane=4),
        ),
    ),
    (" [RO]; OOB eth0:10.0.0.1<0>", ()),
    (" ; OOB eth0:10.0.0.1<0>", ()),
]


@pytest.mark.parametrize(("text", "hcas"), USING)
def test_a_whole_list_of_hcas_is_complete(text, hcas):
    (using,) = one(f"NET/IB : Using{text}").using
    assert using.complete
    if hcas is not None:
        assert using.hcas == hcas


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " [0]",
        " [0]mlx5_0:1/IB",
        " [0]mlx5_0:1/IB [RO]",
        " [0]mlx5_0:1/IB [RO]; OO",
        " [0]mlx5_0:1/I ; OOB eth0:10.0.0.1<0>",
        " [0]mlx5_0:1/IB/SHA [RO]; OOB eth0:10.0.0.1<0>",
        " [0]mlx5_0:1/IB [2]mlx5_2:1/IB ; OOB eth0:10.0.0.1<0>",
        " [1]mlx5_1:1/IB ; OOB eth0:10.0.0.1<0>",
        " [0]mlx5_1:01/IB ; OOB eth0:10.0.0.1<0>",
        " [00]mlx5_1:1/IB ; OOB eth0:10.0.0.1<0>",
        " [0]mlx5_0:1/IB [1]mlx5_0:1/IB ; OOB eth0:10.0.0.1<0>",
        " [0]mlx5_0:1/IB junk ; OOB eth0:10.0.0.1<0>",
        " [0]={[0] a:1/IB, [1] b:1/IB ; OOB e:1<0>",
        " [0]={[0] a:1/IB} [0]={[1] b:1/IB} ; OOB e:1<0>",
    ],
)
def test_a_list_with_anything_wrong_in_it_is_not_complete(text):
    assert all(not using.complete for using in one(f"NET/IB : Using{text}").using)


@pytest.mark.parametrize(
    ("size", "whole"), [(1021, True), (1022, False), (1023, False), (2046, False), (2050, True)]
)
def test_a_list_as_long_as_nccls_buffer_is_not_complete(size, whole):
    listed = "".join(f" [{n}]{'h' * 30}{n:03}:1/IB" for n in range(30 if size < 2000 else 50))
    count = listed.count("[")
    rest = size - len(listed) - len(f" [{count}]:1/IB")
    while rest > 60:
        listed += f" [{count}]{'k' * 30}{count:03}:1/IB"
        count += 1
        rest = size - len(listed) - len(f" [{count}]:1/IB")
    while rest < 1:
        listed = listed[: listed.rindex(" [")]
        count -= 1
        rest = size - len(listed) - len(f" [{count}]:1/IB")
    listed += f" [{count}]{'z' * rest}:1/IB"
    assert len(listed) == size
    (using,) = one(f"NET/IB : Using{listed} [RO]; OOB e:1<0>").using
    assert (len(using.hcas), using.complete) == (count + 1, whole)


def test_the_sideband_line_of_2_3_is_no_list():
    assert one("NET/IB : Using interface ib0 for sideband communication").using == ()


def test_sockets_are_no_hcas():
    process = one("NET/Socket : Using [0]eth1:10.0.0.1<0> [1]ib0:fe80::1%ib0<0>")
    assert process.using == ()
    assert process.sockets[0].complete
    assert process.sockets[0].interfaces == (
        LogInterface(0, "eth1", "10.0.0.1<0>"),
        LogInterface(1, "ib0", "fe80::1%ib0<0>"),
    )
    assert not one("NET/Socket : Using [0]eth1:10.0.0.1<0> [1]ib0:10.").sockets[0].complete


CHANNELS = [
    ("Ring 00 : 3 -> 8 [send] via NET/IB/0", ("NET", 3, 8, "send", "IB", 0, None, False)),
    ("Ring 00 : 3 -> 8 via NET/IB/0/GDRDMA", ("NET", 3, 8, "", "IB", 0, None, True)),
    (
        "Channel 01 : 2[c7000] -> 0[87000] [receive] via NET/IB/5/GDRDMA",
        ("NET", 2, 0, "receive", "IB", 5, None, True),
    ),
    (
        "Channel 00/0 : 1[1] -> 2[0] [send] via NET/IBext_v8/3(1)/GDRDMA/Shared",
        ("NET", 1, 2, "send", "IBext_v8", 3, 1, True),
    ),
    (
        "Channel 00/1 : 1[1] -> 2[0] [send] via NET/IB/3(0)/GDRDMA(PCI)",
        ("NET", 1, 2, "send", "IB", 3, 0, True),
    ),
    ("Channel 00/1 : 1[1] -> 2[0] [send] via NET/IB/3/Shared", ("NET", 1, 2, "send", "IB", 3, None, False)),
    (
        "Channel 00/0 : 1[1] -> 2[0] [send] via NET/AWS Libfabric/0/GDRDMA",
        ("NET", 1, 2, "send", "AWS Libfabric", 0, None, True),
    ),
    (
        "Channel 00/0 : 1[1b000] -> 2[0] [receive] via NET/IB/2/GDRDMA comm 0x55d0 nRanks 16",
        ("NET", 1, 2, "receive", "IB", 2, None, True),
    ),
    (
        "Channel 00/0 : 1[1] -> 2[0] [send] via NET/IB/6/GDSetting up",
        ("NET", 1, 2, "send", "IB", 6, None, None),
    ),
    ("Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read", ("P2P", 0, 1, "", "", None, None, None)),
    ("Channel 00/0 : 0[0] -> 1[1] via P2P/indirect/2[2]/read", ("P2P", 0, 1, "", "", None, None, None)),
    ("Ring 00 : 0[0] -> 1[1] via direct shared memory", ("SHM", 0, 1, "", "", None, None, None)),
    ("Channel 00 : 0[0] -> 1[1] via SHM/direct/direct", ("SHM", 0, 1, "", "", None, None, None)),
    ("CollNet 00/0 : 0 [send] via COLLNET/SHARP/0/GDRDMA", ("COLLNET", 0, 0, "send", "SHARP", 0, None, True)),
]


@pytest.mark.parametrize(("text", "facts"), CHANNELS)
def test_a_channel_is_read_in_every_versions_form(text, facts):
    (channel,) = one(text).channels
    assert isinstance(channel, LogChannel)
    assert facts == (
        channel.transport,
        channel.source,
        channel.target,
        channel.direction,
        channel.network,
        channel.device,
        channel.proxy,
        channel.gdr,
    )


def test_the_order_of_a_ring_is_no_channel():
    assert one("Channel 00/24 :    0   1   2   3").channels == ()


MEMBERS = [
    ("comm 0xaa rank 3 nranks 16 cudaDev 3 nvmlDev 3 - Init COMPLETE", (3, 16, "Init COMPLETE", 0, 3)),
    ("comm 0xaa rank 3 nranks 16 cudaDev 3 busId 8a000 - Init COMPLETE", (3, 16, "Init COMPLETE", 0, 3)),
    (
        "[Rank 3] ncclCommInitRank comm 0xaa rank 3 nranks 16 cudaDev 3 nvmlDev 3 commId 0x7 - Init START",
        (3, 16, "Init START", 0, 3),
    ),
    (
        "ncclCommSplit comm 0xaa rank 0 nranks 2 cudaDev 1 nvmlDev 1 parent 0x1 color 0 key 0- Init START",
        (0, 2, "Init START", 0, 1),
    ),
    ("comm 0xaa rank 3 nRanks 16 nNodes 2 localRanks 8 localRank 3 MNNVL 0", (3, 16, "", 2, None)),
    ("comm 0xaa rank 3 nranks 16 cudaDev 3 busId 1 - Destroy COMPLETE", (3, 16, "Destroy COMPLETE", 0, 3)),
]


@pytest.mark.parametrize(("text", "facts"), MEMBERS)
def test_a_rank_of_a_communicator_is_read(text, facts):
    (member,) = one(text).members
    assert isinstance(member, Member)
    assert facts == (member.rank, member.nranks, member.stage, member.nodes, member.device)


@pytest.mark.parametrize(
    "text", ["comm 0xaa rank 1", "comm 0xaa rank 1 nranks 1", "comm 0xaa rank 9 nranks 8 cudaDev 1"]
)
def test_a_cut_or_impossible_rank_is_none(text):
    assert one(text).members == ()


def test_the_other_facts_are_read():
    assert one(
        "16 coll channels, 0 collnet channels, 16 nvls channels, 32 p2p channels, 2 p2p channels per peer"
    ).counts == (ChannelCounts(16, 32),)
    assert one("4 coll channels, 4 p2p channels, 1 p2p channels per peer").counts == (ChannelCounts(4, 4),)
    assert one("NET/IB : GPU Direct RDMA Enabled for HCA 0 'mlx5_0'").direct_rdma == (
        DirectRdma(True, "mlx5_0"),
    )
    assert one("NET/IB : GPU Direct RDMA (DMABUF) enabled for HCA 0 'mlx5_0").direct_rdma == (
        DirectRdma(True, "mlx5_0"),
    )
    assert one("NET/IB : GPU Direct RDMA Disabled for HCA 0 'mlx5_0'").direct_rdma == (
        DirectRdma(False, "mlx5_0"),
    )
    assert one("NET/IB: [0] mlx5_3:uverbs3:1/IB provider=Mlx5 speed=400000 context=0x1").hcas_seen == (
        HcaSeen("mlx5_3", 1, "IB"),
    )
    assert one("NCCL_IB_HCA set to ^=mlx5_0 ").settings == (LogSetting("NCCL_IB_HCA", "^=mlx5_0 "),)
    assert one("NCCL_IB_DISABLE set by environment to 0.").settings == (LogSetting("NCCL_IB_DISABLE", "0"),)
    assert one("P2P Chunksize set to 131072").settings == ()
    assert one("RCCL version : 2.22.3-HEAD:271856d").versions == ("2.22.3-HEAD:271856d",)


TUNED = [
    ("805306368 Bytes -> Algo 1 proto 2 time 3970.683594", Tuned("", 805306368, "Ring", "Simple")),
    ("AllReduce: 64 Bytes -> Algo 0 proto 0 time 25.2", Tuned("AllReduce", 64, "Tree", "LL")),
    (
        "AllReduce: 8 Bytes -> Algo NVLS proto SIMPLE channel{Lo..Hi}={0..15}",
        Tuned("AllReduce", 8, "NVLS", "SIMPLE"),
    ),
    (
        "AllGather [Symmetric]: 8 Bytes -> Kernel AllGather_LL nchannels 8 nthreads 512 nWorks 1",
        Tuned("AllGather", 8, "Symmetric AllGather_LL", ""),
    ),
    ("AllGather: 8 Bytes -> Algo 17 proto 9 time 1", Tuned("AllGather", 8, "17", "9")),
]


@pytest.mark.parametrize(("text", "tuned"), TUNED)
def test_algorithm_and_protocol_are_read(text, tuned):
    assert one(text).tuned == (tuned,)


FAILED = [
    ("NET/IB : Got completion with error 12, opcode 1, len 0, vendor err 129", Completion("", 12, "", 1)),
    (
        "NET/IB : Got completion from peer 10.0.0.2<54862> with status=12 opcode=0 len=0 vendor err 129",
        Completion("10.0.0.2<54862>", 12, "", 1),
    ),
    (
        "NET/IB: Got completion from peer 10.0.0.2<5> with status=IBV_WC_RETRY_EXC_ERR(12) "
        "opcode=IBV_WC_SEND(0) vendor_err=129 localGid fe80::1 hca mlx5_3",
        Completion("10.0.0.2<5>", 12, "mlx5_3", 1),
    ),
]


@pytest.mark.parametrize(("text", "failed"), FAILED)
def test_a_failed_work_request_is_read(text, failed):
    assert one(text, "WARN").completions == (failed,)


EVENTS = [
    ("NET/IB : Got async event : port error", AsyncEvent("", "port error", 1)),
    ("NET/IB : mlx5_3:1 Got async event : port error", AsyncEvent("mlx5_3", "port error", 1)),
    ("NET/IB : mlx5_3:1 Got async error event: port error", AsyncEvent("mlx5_3", "port error", 1)),
    (
        "NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)",
        AsyncEvent("mlx5_3", "port error(10)", 1),
    ),
    (
        "NET/IB : mlx5_3:1 async fatal event: local catastrophic error",
        AsyncEvent("mlx5_3", "local catastrophic error", 1),
    ),
    ("NET/IB : mlx5_3:1 async fatal event on QP (0x7f): bad", AsyncEvent("mlx5_3", "on QP (0x7f): bad", 1)),
]


@pytest.mark.parametrize(("text", "event"), EVENTS)
def test_an_event_of_an_hca_is_read(text, event):
    assert one(text, "WARN").async_events == (event,)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[2025-06-12 16:57:52] h:1:2 [0] misc/nvmlwrap.cc:74 NCCL WARN broken\n", "misc/nvmlwrap.cc:74"),
        ("h:1:2 [0] int f(plugin_t**):259 NCCL WARN broken\n", "int f(plugin_t**):259"),
        ("\nh:1:2 [-1] init.cc:9 (ncclInit) NCCL WARN broken\r\n", "init.cc:9 (ncclInit)"),
    ],
)
def test_a_warning_stands_with_its_place(text, where):
    (process,) = read(text).processes
    assert [(w.where, w.text) for w in process.warnings] == [(where, "broken")]


LINE = "node-1:11:12 [3] NCCL INFO Using network IB"
PREFIXES = [
    "",
    "[1,3]<stdout>:",
    "[1,3]<stdout>: ",
    "[prterun-host-7@1,3]<stdout>: ",
    "Mon Jan  1 00:00:00 2024<stdout>:",
    "3: ",
    " 3: ",
    "[3] ",
    "worker-0: ",
    "[default3]:",
    "[rank3]:",
    "2024-05-01T12:34:56.789Z ",
    "2024-05-01 12:34:56 [1] ",
    "\x1b[36m(RayWorker pid=155, ip=10.0.0.1)\x1b[0m ",
    "\x1b]0;title\x07",
    "worker-1  | ",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_a_launcher_puts_in_front_does_not_matter(prefix, end):
    log = read(prefix + LINE + end)
    assert [(p.host, p.pid, p.networks) for p in log.processes] == [("node-1", 11, ("IB",))]


def test_a_host_may_be_called_anything_without_blank_and_colon():
    assert read("<cluster_name>:926:1151 [7] NCCL INFO Using network IB\n").hosts == ("<cluster_name>",)


def test_two_messages_in_one_line_are_two():
    log = read(
        "a:1:1 [0] NCCL INFO NET/IB : Using [0]mlx5_1:1/IB [1]mlx b:2:2 [0] NCCL INFO Using network IB\n"
    )
    first, second = log.processes
    assert (first.using[0].complete, names_of(first.using)) == (False, ["mlx5_1"])
    assert second.networks == ("IB",)


def test_info_further_on_belongs_to_somebody_else():
    log = read("12:34:56 [1] hello a:1:1 [0] NCCL INFO Using network IB\n")
    assert [process.name for process in log.processes] == ["a:1"]


def test_the_rest_of_a_broken_line_is_a_fragment():
    log = read("nd] via NET/IBext/0/GDRDMA\nhello\n")
    assert [fragment.text for fragment in log.fragments] == ["nd] via NET/IBext/0/GDRDMA"]
    assert log.processes == ()


def test_a_list_without_its_header_is_kept():
    assert names_of(read("NET/IB : Using [0]mlx5_0:1/IB ; OOB e:1<0>\n").lost) == ["mlx5_0"]


def test_what_is_cut_at_the_end_of_the_text_is_not_taken_for_whole():
    text = HEAD + "Channel 00/0 : 1[1] -> 2[0] [send] via NET/IB/0"
    assert nets(read(text))[0].gdr is None
    assert nets(read(text + "\n"))[0].gdr is False
    assert read(HEAD + "NCCL_IB_HCA set to ^=mlx").processes[0].settings == ()


def test_versions_without_a_header_are_kept():
    log = read(
        "NCCL version 2.19.3+cuda12.3\n[1,0]<stdout>:NCCL version 2.9.9+cuda11.2\nRCCL version 2.18.3\n"
    )
    assert log.versions == ("2.19.3+cuda12.3", "2.9.9+cuda11.2", "2.18.3")


def test_one_file_per_rank_tells_whose_it_is():
    log = read_ranks({1: LINE + "\n", 0: LINE + "\n"})
    assert {rank: len(processes) for rank, processes in log.by_rank().items()} == {0: 1, 1: 1}


def test_the_largest_communicator_numbers_the_ranks():
    text = "".join(
        f"n:{pid}:1 [0] NCCL INFO comm 0x{comm} rank {rank} nranks {size} cudaDev {pid} - Init COMPLETE\n"
        for pid, comm, rank, size in [(1, 1, 0, 2), (1, 2, 3, 4), (2, 1, 1, 2), (2, 2, 2, 4)]
    )
    assert {rank: processes[0].pid for rank, processes in read(text).by_rank().items()} == {2: 2, 3: 1}


def test_nothing_is_an_empty_log():
    assert read("") == Log()


PIECES = [*"ab01:[]/ \n\r\x1b", "NCCL INFO ", "NET/IB : Using", " via NET/", "; OOB ", ":1:2 [3] "]
SOUP = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@pytest.mark.parametrize(
    ("said", "devices"),
    [
        ("[0]mlx5_0:1/IB [1]mlx5_1:1/IB", [("mlx5_0",), ("mlx5_1",)]),
        # 2.20 to 2.23: a device of two ports, then one whose number is its port's; channels say NET/IB/1 of it
        ("[0]={[0] mlx5_0:1/IB, [1] mlx5_1:1/IB} [2]mlx5_2:1/IB", [("mlx5_0", "mlx5_1"), ("mlx5_2",)]),
        (
            "[0]={[0] mlx5_2:1/RoCE, [1] mlx5_3:1/RoCE} [1]={[2] mlx5_0:1/RoCE, [3] mlx5_1:1/RoCE}",
            [("mlx5_2", "mlx5_3"), ("mlx5_0", "mlx5_1")],
        ),
    ],
)
def test_channels_name_devices_by_their_place_in_the_list(said, devices):
    (process,) = read(f"{HEAD}NET/IB : Using {said} [RO]; OOB eth0:10.0.0.1<0>\n").processes
    assert process.devices == dict(enumerate(devices))


def test_a_virtual_device_is_the_adapters_that_it_was_made_of():
    using = f"{HEAD}NET/IB : Using [0]mlx4_0:1/IB [1]mlx4_1:1/IB [RO]; OOB eth0:10.0.0.1<0>\n"
    made = f"{HEAD}NET/IB : Made virtual device [2] name=mlx4_0+mlx4_1 speed=80000 ndevs=2\n"
    (process,) = read(using + made).processes
    assert process.devices == {0: ("mlx4_0",), 1: ("mlx4_1",), 2: ("mlx4_0", "mlx4_1")}


@given(st.one_of(st.text(max_size=300), SOUP))
def test_any_text_is_read(text):
    log = read(text)
    assert all(process.host and process.pid >= 0 for process in log.processes)


@given(st.sampled_from(sorted(EXPECTED)), st.data())
def test_a_log_cut_or_spoilt_anywhere_is_read(name, data):
    text = sample(name)[:6000]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 500, len(text))))
    log = read(text[:start] + data.draw(SOUP) + text[end:])
    assert len(log.processes) <= 200


@pytest.mark.parametrize(
    "unit",
    ["a", ":1", ":1:1 [0] ", "h:1:1 [0] NCCL INFO ", " via NET/", "\x1b[", "\x1b]", "9", "[0]", "NCCL INFO "],
)
@pytest.mark.parametrize(
    "head", ["", "NET/IB : Using ", "Channel 00 : 1 -> 2 via NET/IB/0", "Using network "]
)
def test_a_long_line_of_one_thing_is_read(head, unit):
    # a pattern that tried everything twice would never come back from these
    assert read(HEAD + head + unit * (20_000 // len(unit))) is not None
