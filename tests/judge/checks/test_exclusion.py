"""The layers that prove what must carry nothing left out: selector, census, log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.model.facts import Environment, Node
from bench.model.profile import Profile, Rails, load
from bench.model.verdict import Status
from bench.store import Phase, Plan
from made_nodes import (
    LAMBDA,
    LOCAL,
    interface,
    judged,
    node,
    nodes,
    port,
    seen,
    status,
    with_port,
    with_software,
    worst_words,
)

ENVIRONMENT = {0: {}}
RUNPOD = load("runpod-instant-cluster")
ETH = tuple(f"eth{at}" for at in range(1, 9))
RUNPOD = replace(RUNPOD, rails=replace(RUNPOD.rails, found=False, devices=ETH))
SOCKETS = Profile(
    name="sockets",
    title="",
    source="",
    text="",
    backend="nccl",
    rails=Rails(kind="socket", count=2, devices=("eth1", "eth2"), management="eth0"),
    environment={"NCCL_SOCKET_IFNAME": "=eth1,eth2"},
)


def told_to(hca: str | None) -> Profile:
    """The profile with another selector, or with none."""
    return replace(LAMBDA, environment={"NCCL_NET": "IB"} if hca is None else {"NCCL_IB_HCA": hca})


def exported(value: str) -> dict[int, dict[str, str]]:
    return {rank: {"NCCL_IB_HCA": value} for rank in range(16)}


@pytest.mark.parametrize(
    "hca",
    [
        "^=mlx5_0",
        "^mlx5_0",
        "=mlx5_1,mlx5_2,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_7,mlx5_8",
        "mlx5_1,mlx5_2,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_7,mlx5_8:1",
    ],
)
def test_selectors_that_take_the_rails_pass(hca):
    assert status("exclusion.selector", seen(nodes(2)), told_to(hca)) is Status.PASS


@pytest.mark.parametrize(
    ("hca", "words"),
    [
        ("^=mlx5_0 ", "takes mlx5_0:1 (excluded by the profile), which is no rail"),
        ("", "takes mlx5_0:1"),
        ("=mlx5_1, mlx5_2", "leaves out rail mlx5_2:1, mlx5_3:1"),
        ("^=mlx5_0,mlx5_3", "leaves out rail mlx5_3:1"),
        ("=mlx5_99", "takes nothing: NCCL falls back to sockets"),
        ("^", "takes nothing"),
    ],
)
def test_selectors_that_do_not_fail(hca, words):
    evidence = seen(nodes(2))
    assert status("exclusion.selector", evidence, told_to(hca)) is Status.FAIL
    assert words in worst_words("exclusion.selector", evidence, told_to(hca))


def test_another_adapter_that_slips_through_is_named():
    machines = [
        replace(each, ports=(*each.ports, port(9, link_layer="Ethernet", rate=25e9))) for each in nodes(2)
    ]
    told = worst_words("exclusion.selector", seen(machines))
    assert "n0: NCCL_IB_HCA='^=mlx5_0' takes mlx5_9:1 (its link layer is Ethernet), which is no rail" in told


def test_a_rail_that_is_down_is_not_selected_and_fails_by_count():
    evidence = seen([with_port(node(0), "mlx5_3", state="DOWN"), node(1)])
    assert status("exclusion.census", evidence) is Status.FAIL
    assert status("rails.count", evidence) is Status.FAIL


def test_the_workers_get_the_profiles_selector_and_the_users_own_is_told():
    evidence = seen(nodes(2), environment=exported("mlx5_0"))
    assert status("exclusion.selector", evidence) is Status.PASS
    (verdict,) = judged("exclusion.own_environment", evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "without RailGauge NCCL_IB_HCA='mlx5_0' takes mlx5_0:1" in verdict.measured
    assert "export it for your own jobs too" in verdict.measured
    assert (
        status("exclusion.own_environment", seen(nodes(2), environment=exported("^=mlx5_0"))) is Status.PASS
    )


def test_without_a_selector_in_the_profile_the_users_own_is_judged():
    good, bad = (seen(nodes(2), environment=exported(value)) for value in ("^=mlx5_0", "^=mlx5_0 "))
    assert status("exclusion.selector", good, told_to(None)) is Status.PASS
    assert status("exclusion.selector", bad, told_to(None)) is Status.FAIL
    assert status("exclusion.own_environment", good, told_to(None)) is Status.NOT_APPLICABLE


def test_one_rank_with_another_environment_is_named():
    environment = exported("^=mlx5_0")
    environment[11] = {}
    told = worst_words("exclusion.selector", seen(nodes(2), environment=environment), told_to(None))
    assert told.startswith("n1 rank 11: NCCL_IB_HCA unset takes mlx5_0:1")


def test_a_conf_file_counts_and_its_line_is_named():
    files = {"/home/ubuntu/.nccl.conf": None, "/etc/nccl.conf": "# rails\nNCCL_IB_HCA=^=mlx5_0\n"}
    machines = [replace(each, environment=Environment({}, files, "/home/ubuntu")) for each in nodes(2)]
    (verdict,) = judged("exclusion.selector", seen(machines), told_to(None))
    assert verdict.status is Status.PASS
    assert "n0: NCCL_IB_HCA='^=mlx5_0' (/etc/nccl.conf:2) takes" in verdict.evidence[0]
    # an exported empty variable hides the file
    assert (
        status("exclusion.selector", seen(machines, environment=exported("")), told_to(None)) is Status.FAIL
    )


def test_crlf_matters_to_some_versions_and_that_is_said():
    files = {"/home/ubuntu/.nccl.conf": None, "/etc/nccl.conf": "NCCL_IB_HCA=^=mlx5_0\r\n"}
    machines = [replace(each, environment=Environment({}, files, "/home/ubuntu")) for each in nodes(2)]
    assert status("exclusion.selector", seen(machines), told_to(None)) is Status.FAIL  # 2.21.5 keeps the CR
    newer = [with_software(each, torch_nccl="2.30.7") for each in machines]
    assert status("exclusion.selector", seen(newer), told_to(None)) is Status.PASS
    unknown = [with_software(each, torch_nccl=None) for each in machines]
    assert status("exclusion.selector", seen(unknown), told_to(None)) is Status.INCONCLUSIVE
    assert "it depends on the version of NCCL" in worst_words(
        "exclusion.selector", seen(unknown), told_to(None)
    )


def test_a_conf_file_nobody_looked_at_is_an_error_if_it_may_count():
    machines = [replace(each, environment=Environment({}, {}, "/home/ubuntu")) for each in nodes(2)]
    dark = [
        replace(each, ports=each.ports[1:]) for each in machines
    ]  # without mlx5_0 an unset variable is right
    assert status("exclusion.selector", seen(dark), told_to(None)) is Status.INCONCLUSIVE
    assert status("exclusion.selector", seen(dark)) is Status.PASS


def test_names_that_moved_on_one_node_are_found():
    """A lost adapter renumbers the others: ^=mlx5_0 then leaves out a rail and lets the wrong one in."""
    odd = replace(
        node(1), ports=tuple(replace(p, hca=f"mlx5_{number}") for number, p in enumerate(node(1).ports[1:]))
    )
    evidence = seen([node(0), odd, node(2)])
    assert status("exclusion.census", evidence) is Status.FAIL
    assert "n1: has mlx5_0/1 MT4129" in worst_words("exclusion.census", evidence)


def test_a_rail_that_the_profile_names_and_a_node_lacks_fails():
    want = replace(LAMBDA, rails=replace(LAMBDA.rails, devices=("mlx5_1", "mlx5_12"), count=2))
    assert "n0: has no mlx5_12" in worst_words("exclusion.census", seen(nodes(2)), want)


# ── sockets ─────────────────────────────────────────────────────────────────────────────────────────────


def pod(number: int, *names: str) -> Node:
    return Node(
        f"n{number}",
        interfaces=tuple(interface(name) for name in ("lo", "eth0", *names)),
        environment=Environment({}, {"/etc/nccl.conf": None}),
    )


def test_socket_rails_are_selected_by_name():
    good = seen([pod(0, "eth1", "eth2"), pod(1, "eth1", "eth2")])
    assert status("exclusion.selector", good, SOCKETS) is Status.PASS
    assert status("exclusion.census", good, SOCKETS) is Status.PASS
    loose = replace(SOCKETS, environment={"NCCL_SOCKET_IFNAME": "eth"})
    assert "takes eth0 (the profile's management interface)" in worst_words("exclusion.selector", good, loose)
    prefix = replace(SOCKETS, environment={"NCCL_SOCKET_IFNAME": "eth1,eth2"})
    more = seen([pod(0, "eth1", "eth2", "eth10")])
    assert "takes eth10 (not named by the profile)" in worst_words("exclusion.selector", more, prefix)
    less = seen([pod(0, "eth1")])
    assert "leaves out rail eth2" in worst_words("exclusion.selector", less, SOCKETS)


def test_gloo_knows_no_selector_of_nccls():
    assert (
        status("exclusion.selector", seen([pod(0, "eth1", "eth2")], backend="gloo"), SOCKETS)
        is Status.NOT_APPLICABLE
    )


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────

LOGGED = ("exclusion.log", "nccl.network", "nccl.gpudirect", "nccl.warnings")
EVIDENCE = Plan((Phase("evidence", "with NCCL's log on", ()),))


def speak(rank: int, hcas=range(1, 9), net="IB", gdr="/GDRDMA") -> str:
    """What one rank of sixteen on two nodes says."""
    head = f"n{rank // 8}:{100 + rank}:{200 + rank} [{rank % 8}] NCCL INFO "
    listed = " ".join(f"[{at}]mlx5_{number}:1/IB" for at, number in enumerate(hcas))
    comm = f"ncclCommInitRank comm 0xa rank {rank} nranks 16 cudaDev {rank % 8} nvmlDev {rank % 8} busId 1 commId 0x7"
    said = (
        f"NET/IB : Using {listed} [RO]; OOB eth0:10.0.0.1<0>",
        f"Using network {net}",
        f"{comm} - Init START",
        f"comm 0xa rank {rank} nRanks 16 nNodes 2 localRanks 8 localRank {rank % 8} MNNVL 0",
        f"Channel 00/0 : {rank}[{rank % 8}] -> {(rank + 8) % 16}[{rank % 8}] [send] via NET/{net}/0{gdr}",
        f"{comm} - Init COMPLETE",
    )
    return "".join(f"{head}{text}\n" for text in said)


def logged(folder, odd=None, left_out=()):
    """Evidence with a log for each rank; ``odd``: rank → what it says otherwise."""
    (folder / "logs").mkdir()
    for rank in range(16):
        if rank not in left_out:
            text = speak(rank, **(odd or {}).get(rank, {}))
            (folder / "logs" / f"evidence.{rank}.log").write_text("a worker's own words\n" + text)
    return seen(nodes(2), plan=EVIDENCE, phases=["evidence"], path=folder)


@pytest.mark.parametrize("name", LOGGED)
def test_a_healthy_log_passes(name, tmp_path):
    verdicts = judged(name, logged(tmp_path))
    assert [(verdict.check, verdict.status) for verdict in verdicts] == [(name, Status.PASS)]


@pytest.mark.parametrize(
    ("name", "odd", "words"),
    [
        ("exclusion.log", {"hcas": range(9)}, "rank 5 (n0): NCCL uses the excluded mlx5_0:1"),
        ("exclusion.log", {"hcas": range(1, 8)}, "rank 5 (n0): NCCL does not use mlx5_8:1"),
        ("nccl.network", {"net": "Socket"}, "rank 5 (n0): the network is Socket"),
        ("nccl.gpudirect", {"gdr": ""}, "without GDRDMA"),
    ],
)
def test_one_rank_is_enough_to_fail(name, odd, words, tmp_path):
    evidence = logged(tmp_path, {5: odd})
    assert status(name, evidence) is Status.FAIL
    assert words in worst_words(name, evidence)


@pytest.mark.parametrize("name", LOGGED)
def test_a_rank_without_a_log_is_an_error(name, tmp_path):
    evidence = logged(tmp_path, left_out=(9,))
    assert status(name, evidence) is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", LOGGED)
def test_no_log_at_all_is_an_error_and_gloo_has_none(name, tmp_path):
    assert status(name, seen(nodes(2), plan=EVIDENCE, path=tmp_path)) is Status.INCONCLUSIVE
    assert status(name, seen(nodes(2), backend="gloo", plan=EVIDENCE, path=tmp_path)) is Status.NOT_APPLICABLE
    assert (
        status(name, seen(nodes(2), path=tmp_path, plan=Plan((Phase("run", "", ()),))))
        is Status.NOT_APPLICABLE
    )
    assert status(name, seen(nodes(2), path=tmp_path), LOCAL) is Status.NOT_APPLICABLE
    # a plan that was lost tells nothing
    assert status(name, seen(nodes(2), path=tmp_path)) is Status.INCONCLUSIVE


def test_rails_that_are_called_differently_cannot_be_compared_with_one_list(tmp_path):
    odd = replace(
        node(1), ports=tuple(replace(p, hca=p.hca.replace("mlx5_8", "mlx5_12")) for p in node(1).ports)
    )
    evidence = logged(tmp_path)
    run = replace(evidence.run, facts=(node(0), odd))
    assert status("exclusion.log", replace(evidence, run=run)) is Status.INCONCLUSIVE


def plugged(folder, odd=None, left_out=()):
    """Evidence of sixteen ranks whose rails are eth1 to eth8; ``odd``: rank → the interfaces that it says it uses."""
    (folder / "logs").mkdir()
    for rank in range(16):
        names = (odd or {}).get(rank, RUNPOD.rails.devices)
        head = f"n{rank // 8}:{100 + rank}:{200 + rank} [{rank % 8}] NCCL INFO "
        listed = "".join(f" [{at}]{name}:10.0.{at}.{rank}<0>" for at, name in enumerate(names))
        said = (f"NET/Socket : Using{listed}",) if names else ()
        text = "".join(f"{head}{line}\n" for line in (*said, "Using network Socket"))
        if rank not in left_out:
            (folder / "logs" / f"evidence.{rank}.log").write_text(text)
    machines = [pod(0, *RUNPOD.rails.devices), pod(1, *RUNPOD.rails.devices)]
    return seen(machines, plan=EVIDENCE, phases=["evidence"], path=folder)


def test_the_log_of_socket_rails_is_a_layer_of_its_own(tmp_path):
    (verdict,) = judged("exclusion.log", plugged(tmp_path), RUNPOD)
    assert verdict.status is Status.PASS
    assert verdict.measured == "ranks 0-15 (n0, n1): uses exactly the rails"
    assert "without eth0" in verdict.wanted


@pytest.mark.parametrize(
    ("names", "status_", "words"),
    [
        (("eth0",), Status.FAIL, "rank 11 (n1): NCCL uses the excluded eth0"),
        (("eth0", *RUNPOD.rails.devices), Status.FAIL, "rank 11 (n1): NCCL uses the excluded eth0"),
        ((*RUNPOD.rails.devices, "ens9"), Status.FAIL, "rank 11 (n1): NCCL uses ens9, which is no rail"),
        (RUNPOD.rails.devices[:-1], Status.FAIL, "rank 11 (n1): NCCL does not use eth8"),
        ((), Status.INCONCLUSIVE, "rank 11 (n1): no list of interfaces"),
    ],
)
def test_a_rank_whose_sockets_are_elsewhere_is_named(names, status_, words, tmp_path):
    evidence = plugged(tmp_path, {11: names})
    assert status("exclusion.log", evidence, RUNPOD) is status_
    assert words in worst_words("exclusion.log", evidence, RUNPOD)


@pytest.mark.parametrize("check", ["exclusion.log", "exclusion.census", "exclusion.selector"])
def test_rails_that_the_profile_leaves_to_be_found_are_judged_as_they_are_called(check, tmp_path):
    assert status(check, plugged(tmp_path), load("runpod-instant-cluster")) is Status.PASS


def test_a_rank_without_a_log_of_its_sockets_is_an_error(tmp_path):
    assert status("exclusion.log", plugged(tmp_path, left_out=(3,)), RUNPOD) is Status.INCONCLUSIVE
