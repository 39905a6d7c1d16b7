"""Verdicts from the log: PASS only on every rank's complete words, FAIL on what is shown, else INCONCLUSIVE."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.nccl_log import gpudirect, network, warnings
from bench.judge.nccl_selection import exclusion, interfaces
from bench.model import typed_json
from bench.model.verdict import Status, Verdict
from bench.nccl.log import Log, read, read_ranks

RAILS = tuple(f"mlx5_{number}" for number in range(1, 9))
EXCLUDED = ("mlx5_0",)
RANKS = range(4)
LIST = " ".join(f"[{index}]{name}:1/IB" for index, name in enumerate(RAILS))
OOB = "; OOB eth0:10.0.0.1<0>"


def speak(rank, listed=LIST, net="IB", gdr="/GDRDMA", stage="Init COMPLETE"):
    """What one rank of four on two nodes says; no list where ``listed`` is None."""
    head = f"node{rank // 2}:{100 + rank}:{200 + rank} [{rank % 2}] NCCL INFO "
    peer = (rank + 2) % 4
    comm = f"ncclCommInitRank comm 0xa rank {rank} nranks 4 cudaDev {rank % 2} nvmlDev 0 busId 1 commId 0x7"
    said = [
        "NCCL_IB_HCA set to ^=mlx5_0",
        None if listed is None else f"NET/IB : Using {listed} [RO]{OOB}",
        f"Using network {net}" if net else None,
        f"{comm} - Init START",
        f"comm 0xa rank {rank} nRanks 4 nNodes 2 localRanks 2 localRank {rank % 2} MNNVL 0",
        f"Channel 00/0 : {rank}[0] -> {peer}[0] [send] via NET/{net or 'IB'}/0{gdr}",
        f"{comm} - {stage}",
    ]
    return [head + text for text in said if text]


def job(**odd):
    """The log of four ranks, interleaved line by line; ``odd``: rank3=dict(...) speaks otherwise."""
    ranks = [speak(rank, **odd.get(f"rank{rank}", {})) for rank in RANKS]
    longest = max(len(lines) for lines in ranks)
    rows = [lines[at] for at in range(longest) for lines in ranks if at < len(lines)]
    return "NCCL version 2.28.9+cuda13.0\n" + "\n".join(rows) + "\n"


def judge(text, rails=RAILS, excluded=EXCLUDED, ranks=RANKS, **more):
    return exclusion(read(text), excluded, rails, ranks, **more)


def test_a_healthy_job_passes_all_four():
    log = read(job())
    for verdict in (
        exclusion(log, EXCLUDED, RAILS, RANKS, link="IB"),
        network(log, RANKS),
        gpudirect(log, RANKS),
        warnings(log, RANKS),
    ):
        assert verdict.status is Status.PASS, verdict.message
    assert judge(job()).measured == "ranks 0-3 (node0, node1): uses exactly the rails"


def test_rank_files_pass_like_one_text():
    logs = {rank: "\n".join(speak(rank)) + "\n" for rank in RANKS}
    assert exclusion(read_ranks(logs), EXCLUDED, RAILS, RANKS).status is Status.PASS
    del logs[2]
    assert exclusion(read_ranks(logs), EXCLUDED, RAILS, RANKS).status is Status.INCONCLUSIVE


WITH_EXCLUDED = f"{LIST} [8]mlx5_0:1/IB"
FEWER = LIST.rsplit(" ", 1)[0]

FAULTS = [
    ("the excluded HCA", {"listed": WITH_EXCLUDED}, "mlx5_0:1"),
    ("its data direct path", {"listed": f"{LIST} [8]mlx5_0_dma:1/IB"}, "mlx5_0_dma:1"),
    ("the excluded HCA in a list that is cut", {"listed": "[0]mlx5_0:1/IB [1]ml"}, "mlx5_0:1"),
    ("an HCA that is no rail", {"listed": f"{LIST} [8]mlx5_bond_0:1/RoCE"}, "mlx5_bond_0:1"),
    ("a rail that is missing", {"listed": FEWER}, "mlx5_8"),
    ("sockets", {"net": "Socket"}, "Socket"),
    ("an empty list", {"listed": ""}, "no device"),
]


@pytest.mark.parametrize(("what", "odd", "words"), FAULTS)
def test_one_rank_is_enough_to_fail(what, odd, words):
    verdict = judge(job(rank3=odd))
    assert verdict.status is Status.FAIL, what
    assert verdict.measured.startswith("rank 3 (node1)")
    assert words in verdict.measured
    assert verdict.next_step


UNDECIDED = [
    ("no list", {"listed": None}),
    ("a list that is cut", {"listed": FEWER + " [7]mlx5_8:1/I"}),
    ("a gap in the numbers", {"listed": LIST.replace("[3]mlx5_4:1/IB ", "")}),
    ("a network whose list this is not", {"net": "AWS Libfabric"}),
]


@pytest.mark.parametrize(("what", "odd"), UNDECIDED)
def test_what_one_rank_does_not_say_cannot_pass(what, odd):
    assert judge(job(rank3=odd)).status is Status.INCONCLUSIVE, what


def test_what_to_do_stands_beside_a_failure_and_beside_what_is_missing():
    assert "NCCL_IB_HCA" in judge(job(rank3={"net": "Socket"})).next_step
    assert judge(job()).next_step == ""
    step = judge(job(rank3={"listed": None})).next_step
    assert step and "NCCL_IB_HCA" not in step


def test_a_fault_beats_what_is_missing():
    text = job(rank1={"listed": None}, rank3={"listed": WITH_EXCLUDED})
    assert judge(text).status is Status.FAIL


@pytest.mark.parametrize(
    ("rails", "ranks"),
    [((), RANKS), (RAILS, ()), (RAILS, range(5)), (RAILS, range(3)), (RAILS, [0, 1, 2, 9])],
)
def test_what_was_not_asked_or_not_heard_cannot_pass(rails, ranks):
    assert judge(job(), rails=rails, ranks=ranks).status is Status.INCONCLUSIVE


@pytest.mark.parametrize("text", ["", "\n", "NCCL version 2.28.9\n", f"NET/IB : Using {LIST} {OOB}\n"])
def test_no_log_is_an_error(text):
    log = read(text)
    for verdict in (
        exclusion(log, EXCLUDED, RAILS, RANKS),
        network(log, RANKS),
        gpudirect(log, RANKS),
        warnings(log, RANKS),
    ):
        assert verdict.status is Status.INCONCLUSIVE
    assert warnings(Log(), ()).status is Status.INCONCLUSIVE


def test_using_with_nothing_behind_it_is_no_evidence():
    text = job().replace(f"{LIST} [RO]{OOB}", "")
    assert judge(text).status is Status.INCONCLUSIVE


def test_no_device_found_and_an_empty_list_are_sockets():
    text = job(rank0={"listed": "", "net": "Socket"})
    assert judge(text).status is Status.FAIL
    head = "node0:100:200 [0] NCCL INFO "
    both = head + "NET/IB : No device found.\n" + job()
    assert judge(both).status is Status.INCONCLUSIVE


def test_two_runs_in_one_log_cannot_pass():
    again = job().replace("node0:100:", "node0:900:")
    assert judge(job() + again).status is Status.INCONCLUSIVE


def test_two_processes_of_one_name_cannot_pass():
    text = (
        job(rank3={"listed": None})
        .replace("node1:103:203 [1]", "node1:102:202 [0]")
        .replace("rank 3 nranks 4 cudaDev 1", "rank 3 nranks 4 cudaDev 0")
    )
    assert judge(text).status is Status.INCONCLUSIVE


def test_one_process_may_hold_several_ranks():
    text = re.sub(r"node(\d):10\d:", r"node\1:100:", job())
    assert judge(text).status is Status.PASS


def test_an_excluded_hca_of_nobody_known_still_fails():
    stray = f"node9:1:1 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB {OOB}\n"
    assert judge(job() + stray).status is Status.FAIL
    assert judge(job() + f"ode9:NET/IB : Using [0]mlx5_0:1/IB {OOB}\n").status is Status.FAIL
    opened = "node9:1:1 [0] NCCL INFO NET/IB: [0] mlx5_0:uverbs0:1/IB provider=Mlx5 speed=1\n"
    assert judge(job() + opened).status is Status.FAIL


def test_a_rail_may_be_a_port_and_the_link_may_be_asked():
    text = job(**{f"rank{rank}": {"listed": "[0]roce_r0:3/RoCE"} for rank in RANKS})
    assert judge(text, rails=("roce_r0:3",)).status is Status.PASS
    assert judge(text, rails=("roce_r0:6",)).status is Status.FAIL
    assert judge(text, rails=("roce_r0",), link="RoCE").status is Status.PASS
    assert judge(text, rails=("roce_r0",), link="IB").status is Status.FAIL


def test_channels_by_sockets_fail_without_the_network_line():
    text = job(rank2={"net": ""}).replace(
        "2[0] -> 0[0] [send] via NET/IB/0/GDRDMA", "2[0] -> 0[0] [send] via NET/Socket/0"
    )
    assert judge(text).status is Status.FAIL


@pytest.mark.parametrize(
    ("odd", "status"),
    [
        ({"net": "IBext_v8"}, Status.PASS),
        ({"net": "Socket"}, Status.FAIL),
        ({"net": "AWS Libfabric"}, Status.FAIL),
    ],
)
def test_the_network_of_every_rank_counts(odd, status):
    verdict = network(read(job(rank1=odd)), RANKS)
    assert verdict.status is status
    assert network(read(job(rank1={"net": "Socket"})), RANKS, "Socket").status is Status.FAIL


def test_a_network_nobody_named_is_an_error():
    text = re.sub(r".*(Using network|Channel).*\n", "", job())
    assert network(read(text), RANKS).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("gdr", "status"),
    [
        ("", Status.FAIL),
        ("/GDRDM", Status.INCONCLUSIVE),
        ("/Shared", Status.FAIL),
        ("/GDRDMA/flush=None", Status.PASS),  # NCCL 2.31
        ("/GDRDMA(PCI)/Shared/flush=Always", Status.PASS),
        ("/GDRDMA/flush=", Status.INCONCLUSIVE),
        ("/Shared/flush=None", Status.FAIL),
    ],
)
def test_every_channel_between_nodes_must_go_by_gpudirect(gdr, status):
    assert gpudirect(read(job(rank2={"gdr": gdr})), RANKS).status is status


def test_a_node_without_channels_is_an_error():
    text = re.sub(r"node1:.*Channel.*\n", "", job())
    assert gpudirect(read(text), RANKS).status is Status.INCONCLUSIVE


def test_a_node_that_was_not_heard_is_inconclusive_by_name_and_one_that_has_no_log_by_their_number():
    text = re.sub(r"node1:.*Channel.*\n", "", job())
    verdict = gpudirect(read(text), RANKS, nodes=1, each=False)
    assert verdict.status is Status.INCONCLUSIVE
    assert "node1: NCCL's log shows no channel to other nodes" in verdict.measured
    verdict = gpudirect(read(job()), RANKS, nodes=3)
    assert (verdict.status, verdict.measured) == (
        Status.INCONCLUSIVE,
        "run: channels of 2 nodes were read, of 3",
    )


def test_a_rank_without_channels_is_inconclusive_where_each_has_a_rail():
    """Another rank of its node was heard, which used to be enough."""
    text = re.sub(r"node1:103:.*Channel.*\n", "", job())
    verdict = gpudirect(read(text), RANKS)
    assert verdict.status is Status.INCONCLUSIVE
    assert "rank 3 (node1): NCCL's log shows no channel to other nodes" in verdict.measured
    # two ranks that share a rail do not both leave their node, nor do two that NCCL gives a single channel
    assert gpudirect(read(text), RANKS, each=False).status is Status.PASS
    counted = (
        "node1:103:203 [1] NCCL INFO 1 coll channels, 0 collnet channels, 0 nvls channels, 2 p2p channels\n"
    )
    assert gpudirect(read(text + counted), RANKS).status is Status.PASS


@pytest.mark.parametrize("stage", ["Init START", ""])
def test_a_log_that_ends_among_its_channels_is_inconclusive(stage):
    verdict = gpudirect(read(job(rank1={"stage": stage})), RANKS)
    assert verdict.status is Status.INCONCLUSIVE
    assert "rank 1 (node0): the log ends among its channels" in verdict.measured
    # from 2.22 channels come after Init COMPLETE, and a line of their own ends them
    closed = (
        job(rank1={"stage": stage})
        + "node0:101:201 [1] NCCL INFO Connected all rings, use ring PXN 0 GDR 1\n"
    )
    assert gpudirect(read(closed), RANKS).status is Status.PASS


def test_one_node_has_no_channels_to_judge():
    text = re.sub(r".*Channel.*\n", "", job()).replace("node1:", "node0:").replace("nNodes 2", "nNodes 1")
    assert gpudirect(read(text), RANKS).status is Status.NOT_APPLICABLE
    unknown = re.sub(r".*nNodes.*\n", "", text)
    assert gpudirect(read(unknown), RANKS).status is Status.INCONCLUSIVE
    assert gpudirect(read(unknown), RANKS, nodes=1).status is Status.NOT_APPLICABLE


def test_gpudirect_that_is_enabled_is_no_finding():
    text = job() + "node0:100:200 [0] NCCL INFO NET/IB : GPU Direct RDMA Enabled for HCA 3 'mlx5_4'\n"
    assert gpudirect(read(text), RANKS) == gpudirect(read(job()), RANKS)


def test_gpudirect_disabled_for_an_hca_fails():
    text = job() + "node0:100:200 [0] NCCL INFO NET/IB : GPU Direct RDMA Disabled for HCA 3 'mlx5_4'\n"
    verdict = gpudirect(read(text), RANKS)
    assert verdict.status is Status.FAIL
    assert "mlx5_4" in verdict.measured


def test_a_broken_channel_line_is_an_error():
    assert gpudirect(read(job() + "nd] via NET/IB/0/GDRDMA\n"), RANKS).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)", Status.FAIL),
        ("NET/IB: Got completion from peer 10.0.0.2<5> with status=12 opcode=0 hca mlx5_3", Status.FAIL),
        ("something nobody knows", Status.INCONCLUSIVE),
    ],
)
def test_a_warning_never_passes(text, status):
    head = "[2025-06-12 16:57:52] node0:100:200 [0] transport/net_ib.cc:95 NCCL WARN "
    log = read(job() + head + text + "\n")
    assert warnings(log, RANKS).status is status


def test_a_broken_line_with_a_warning_in_it_does_not_pass():
    log = read(job() + "0] a.cc:1 NCCL WARN something\n")
    assert log.fragments and warnings(log, RANKS).status is Status.INCONCLUSIVE


def test_a_known_warning_is_let_through():
    log = read(job() + "node0:100:200 [0] a.cc:1 NCCL WARN libnvidia-ml.so.1 is missing\n")
    assert warnings(log, RANKS).status is Status.INCONCLUSIVE
    assert warnings(log, RANKS, known=("libnvidia-ml",)).status is Status.PASS


PROXY = [
    "proxy.cc:1458 NCCL WARN [Service thread] Accept failed Resource temporarily unavailable",
    "proxy.cc:1612 (NCCL Service 0) NCCL ATTN [Service thread] Accept failed Resource temporarily unavailable",
    "proxy.cc:1497 NCCL WARN [Service thread] Could not receive type from localRank 0, res=3, closed=0",
    "proxy.cc:1521 NCCL WARN [Proxy Service 0] Failed to execute operation Close from rank 0, retcode 3",
]


@pytest.mark.parametrize("text", PROXY)
def test_what_the_proxy_says_while_it_is_torn_down_is_known(text):
    ended = "node0:100:200 [0] NCCL INFO comm 0xa rank 0 nranks 4 cudaDev 0 busId 1 - Abort COMPLETE\n"
    warned = f"\nnode0:100:201 [0] {text}\n"
    verdict = warnings(read(job() + warned + ended), RANKS)
    assert verdict.status is Status.PASS
    assert "no WARN but 1 of the proxy while it was torn down" in verdict.measured
    # without an end, or before another communicator's, it is a warning like others; so is another code
    assert warnings(read(job() + warned), RANKS).status is Status.INCONCLUSIVE
    assert warnings(read(job() + ended + warned), RANKS).status is Status.INCONCLUSIVE
    other = (
        warned.replace("=3,", "=6,").replace("retcode 3", "retcode 6").replace("proxy.cc", "misc/socket.cc")
    )
    assert warnings(read(job() + other + ended), RANKS).status is Status.INCONCLUSIVE


def test_the_tear_down_of_a_good_run_is_no_warning():
    """NCCL 2.22.3: eight ranks, three warnings each."""
    text = (Path(__file__).parent / "data" / "017-dell-xe9680-h200-nodevice-warn-2.22.3.txt").read_text()
    assert "no WARN but 24 of the proxy" in warnings(read(text), range(8)).measured


def test_an_assigned_plugin_is_the_network_where_the_log_is_cut_before_it_says_so():
    text = (Path(__file__).parent / "data" / "105-gb200-k8s-2.28-gin-plugin-mlx5_0.txt").read_text()
    assert [process.networks for process in read(text).processes] == [("IB",), (), ("IB",)]
    said = job(rank2={"net": None}) + "node1:102:202 [0] NCCL INFO Assigned NET plugin {} to comm\n"
    assert network(read(said.format("IB")), RANKS).status is Status.PASS
    assert network(read(said.format("Socket")), RANKS).status is Status.FAIL


def test_a_rank_that_never_started_cannot_pass_the_warnings():
    assert warnings(read(job(rank1={"stage": ""})), RANKS).status is Status.INCONCLUSIVE


def test_a_verdict_survives_its_json():
    verdict = judge(job(rank3={"listed": FEWER}))
    assert typed_json.load(Verdict, typed_json.to_json(verdict)) == verdict
    assert "Error" not in verdict.message


PORTS = tuple(f"{rail}:1" for rail in RAILS)
ITEMS = " *".join(rf"\[{index}\] ?{port}(:\d*){{0,2}}/IB(/SHARP)?" for index, port in enumerate(PORTS))
WHOLE = rf"NET/\S+ ?: Using *{ITEMS} *(\[RO\])? *; OOB "
HEALTHY = job()


def proves(text):
    """By other means than the reader's: each rank's header stands before a whole list, and its number too."""
    text = re.sub(r"\x1b\[0m", "", text)
    return all(
        re.search(rf"node{r // 2}:{100 + r}:\d+ \[-?\d+\] NCCL INFO {WHOLE}", text)
        and re.search(rf"node{r // 2}:{100 + r}:\d+ \[-?\d+\] NCCL INFO .*rank {r} n[rR]anks 4 ", text)
        for r in RANKS
    )


@given(st.integers(0, len(HEALTHY)))
@settings(max_examples=80)
def test_a_log_cut_at_any_byte_passes_only_on_what_is_left(end):
    text = HEALTHY[:end]
    assert judge(text, PORTS).status is not Status.PASS or proves(text)
    assert end >= len(HEALTHY) - 1 or warnings(read(text), RANKS).status is not Status.PASS


ODD = st.lists(
    st.sampled_from(["a", "0", ":", " ", "\n", "[0]", "mlx5_0:1/IB", "NCCL INFO ", OOB]), max_size=6
).map("".join)


@given(st.integers(0, len(HEALTHY)), st.integers(0, 300), ODD)
@settings(max_examples=120)
def test_a_log_spoilt_anywhere_passes_only_on_what_is_left(start, length, odd):
    text = HEALTHY[:start] + odd + HEALTHY[start + length :]
    assert judge(text, PORTS).status is not Status.PASS or proves(text)


@given(st.text(max_size=300))
def test_random_text_never_passes(text):
    log = read(text)
    for verdict in (
        exclusion(log, EXCLUDED, RAILS, RANKS),
        network(log, RANKS),
        gpudirect(log, RANKS),
        warnings(log, RANKS),
    ):
        assert verdict.status is not Status.PASS


PUBLIC = [
    (
        "001-jeanzay-v100-4node-hfi1-2.10.3",
        ["hfi1_0", "hfi1_1", "hfi1_2", "hfi1_3"],
        16,
        Status.PASS,
        Status.FAIL,
    ),
    (
        "005-nebius-h100-2node-sharp-pxn-2.19.3",
        [f"mlx5_{n}" for n in range(8)],
        16,
        Status.PASS,
        Status.INCONCLUSIVE,
    ),
    (
        "009-azure-ndm-a100-1node-hugectr-2.12.10",
        [f"mlx5_ib{n}" for n in range(8)],
        8,
        Status.PASS,
        Status.INCONCLUSIVE,
    ),
    ("013-dell-xe8640-h100-2node-2.18.5", [f"mlx5_{n}" for n in range(4)], 8, Status.PASS, Status.PASS),
    ("017-dell-xe9680-h200-nodevice-warn-2.22.3", ["mlx5_1"], 8, Status.FAIL, Status.NOT_APPLICABLE),
    ("025-aws-p4d-efa-mpi-tag-output-2.9.9", ["mlx5_1"], 16, Status.INCONCLUSIVE, Status.PASS),
]


@pytest.mark.parametrize(("name", "rails", "count", "selected", "direct"), PUBLIC)
def test_a_public_log_is_judged(name, rails, count, selected, direct):
    text = (Path(__file__).parent / "data" / f"{name}.txt").read_bytes().decode("utf-8", "replace")
    log = read(text)
    assert exclusion(log, (), rails, range(count)).status is selected
    assert gpudirect(log, range(count)).status is direct
    if "mlx5_0" in rails:
        assert exclusion(log, EXCLUDED, rails, range(count)).status is Status.FAIL


# ── interfaces ──────────────────────────────────────────────────────────────────────────────────────────

ETHS = ("eth1", "eth2")


def plug(rank, names=ETHS, net="Socket", cut=False):
    """What one rank of four on two nodes says of its sockets; no list where ``names`` is None."""
    head = f"pod{rank // 2}:{100 + rank}:{200 + rank} [{rank % 2}] NCCL INFO "
    comm = f"ncclCommInitRank comm 0xa rank {rank} nranks 4 cudaDev {rank % 2} nvmlDev 0 busId 1 commId 0x7"
    listed = "".join(f" [{at}]{name}:10.0.{at}.{rank}<0>" for at, name in enumerate(names or ()))
    said = [
        "Bootstrap : Using eth0:10.9.0.1<0>",
        None if names is None else f"NET/Socket : Using{listed[:-6] if cut else listed}",
        f"Using network {net}" if net else None,
        f"{comm} - Init COMPLETE",
    ]
    return "".join(f"{head}{text}\n" for text in said if text)


def pods(odd=None):
    """Four ranks' logs; rank 3 speaks as ``odd`` says."""
    return read_ranks({rank: plug(rank, **(odd or {} if rank == 3 else {})) for rank in RANKS})


def plugged(log, rails=ETHS, ranks=RANKS):
    return interfaces(log, ("eth0",), rails, ranks)


def test_sockets_on_exactly_the_rails_pass_and_the_bootstrap_is_no_rail():
    verdict = plugged(pods())
    assert (verdict.status, verdict.measured) == (
        Status.PASS,
        "ranks 0-3 (pod0, pod1): uses exactly the rails",
    )


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"names": ("eth0",)}, "NCCL uses the excluded eth0"),
        ({"names": ("eth0", *ETHS)}, "NCCL uses the excluded eth0"),
        ({"names": ("eth0", *ETHS), "cut": True}, "NCCL uses the excluded eth0"),
        ({"names": (*ETHS, "eth10")}, "NCCL uses eth10, which is no rail"),
        ({"names": ("eth1",)}, "NCCL does not use eth2"),
        ({"names": ()}, "NCCL does not use eth1, eth2"),
        ({"net": "IB"}, "the network is IB, not the sockets of the rails"),
    ],
)
def test_sockets_of_one_rank_are_enough_to_fail(odd, words):
    verdict = plugged(pods(odd))
    assert verdict.status is Status.FAIL
    assert verdict.measured.startswith(f"rank 3 (pod1): {words}")
    assert verdict.next_step


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"names": None}, "rank 3 (pod1): no list of interfaces (NET/Socket : Using) was read"),
        ({"cut": True}, "rank 3 (pod1): the list of interfaces is cut"),
    ],
)
def test_sockets_that_one_rank_does_not_tell_whole_cannot_pass(odd, words):
    verdict = plugged(pods(odd))
    assert verdict.status is Status.INCONCLUSIVE
    assert words in verdict.measured


@pytest.mark.parametrize(("rails", "ranks"), [((), RANKS), (ETHS, ()), (ETHS, range(5)), (ETHS, range(3))])
def test_sockets_that_were_not_asked_or_not_heard_cannot_pass(rails, ranks):
    assert plugged(pods(), rails, ranks).status is Status.INCONCLUSIVE


def test_an_excluded_interface_of_a_process_of_unknown_rank_fails():
    stray = plug(9, ("eth0",)).rpartition("pod4:109:209")[0]
    verdict = interfaces(read(stray), ("eth0",), ETHS, RANKS)
    assert verdict.status is Status.FAIL
    assert "pod4:109 (rank unknown): NCCL uses the excluded eth0" in verdict.evidence[-1]


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("121-podnet1-2.26.2-nodevice-empty-using-socket", "podnet1"),
        ("137-eks-ofi-init-failed-then-nodevice-socket", "eth0"),
        ("117-ib-disabled-two-ipoib-sockets", "ibs85f0"),
    ],
)
def test_a_real_fall_back_to_sockets_names_the_interface(sample, name):
    text = (Path(__file__).parent / "data" / f"{sample}.txt").read_text(encoding="utf-8")
    log = read(text)
    for process in log.processes:
        alone = Log((replace(process, given=0, members=()),))
        if process.sockets:
            assert f"NCCL uses the excluded {name}" in interfaces(alone, (name,), ("eth1",), [0]).measured
            assert f"NCCL uses {name}" in interfaces(alone, (), ("eth1",), [0]).measured
            assert f"on {name} (excluded)" in exclusion(alone, (name,), RAILS, [0]).measured
        else:
            assert interfaces(alone, (name,), ("eth1",), [0]).status is Status.INCONCLUSIVE
    assert interfaces(log, (name,), ("eth1",), range(8)).status is Status.FAIL


def test_threads_of_the_sockets_are_no_list_of_interfaces():
    """transport/net_socket.cc: "NET/Socket: Using %d threads and %d sockets per thread", after the list."""
    logs = {}
    for rank in RANKS:
        head = f"pod{rank // 2}:{100 + rank}:{200 + rank} [0] NCCL INFO "
        logs[rank] = f"{plug(rank)}{head}NET/Socket: Using 2 threads and 8 sockets per thread\n"
    assert plugged(read_ranks(logs)).status is Status.PASS
