"""Who differs from the majority, in versions and in environment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.checks.versions import _row
from bench.judge.evidence import Evidence
from bench.model.facts import Environment, Node
from bench.model.verdict import Status
from made_nodes import (
    LAMBDA,
    LOCAL,
    judged,
    node,
    nodes,
    port,
    seen,
    status,
    with_gpu,
    with_host,
    with_port,
    with_software,
    worst_words,
)

OLD = "28.39.1002"


def with_environment(one: Node, variables=None, files=None) -> Node:
    held = {"/home/ubuntu/.nccl.conf": None, "/etc/nccl.conf": None, **(files or {})}
    return replace(one, environment=Environment(variables or {}, held, "/home/ubuntu"))


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_with_other_firmware_is_named_with_the_majority():
    machines = list(nodes(32))
    machines[7] = replace(
        machines[7], ports=tuple(replace(p, fw=OLD) if p.hca != "mlx5_0" else p for p in machines[7].ports)
    )
    (verdict,) = judged("versions.firmware", seen(machines))
    assert verdict.status is Status.FAIL
    assert verdict.subject == "n7"
    assert verdict.measured == (
        "differs in firmware of mlx5_1, mlx5_2, mlx5_3, mlx5_4, mlx5_5, mlx5_6, mlx5_7, mlx5_8 (MT_0000000838): "
        "28.39.1002, 248 others 28.41.1000"
    )


def test_one_hca_with_other_firmware_on_one_node_is_named():
    told = worst_words("versions.firmware", seen([with_port(node(), "mlx5_3", fw=OLD)]))
    assert told.startswith(
        "n0: differs in firmware of mlx5_3 (MT_0000000838): 28.39.1002, 7 others 28.41.1000"
    )


def test_boards_are_not_compared_with_each_other():
    assert status("versions.firmware", seen(nodes(2))) is Status.PASS


def test_no_majority_is_said():
    halves = [node(0), replace(node(1), ports=tuple(replace(p, fw=OLD) for p in node(1).ports))]
    told = worst_words("versions.firmware", seen(halves))
    assert "no version has a majority" in told
    assert "n0: differs" in told
    assert "n1: differs" in told


def test_firmware_that_is_not_known_matters_on_rails_alone():
    assert status("versions.firmware", seen([with_port(node(0), "mlx5_0", fw=None), node(1)])) is Status.PASS
    assert (
        status("versions.firmware", seen([with_port(node(0), "mlx5_3", fw=None), node(1)]))
        is Status.INCONCLUSIVE
    )


DIFFERENCES = [
    ("versions.system", lambda one: with_host(one, kernel="6.8.0-40"), "kernel: 6.8.0-40, 2 others 5.15.0-113-generic"),
    ("versions.system", lambda one: with_software(one, ofed="MLNX_OFED_LINUX-5.8"), "OFED"),
    ("versions.driver", lambda one: with_software(one, driver="550.54.15"), "driver: 550.54.15, 2 others 535.129.03"),
    ("versions.driver", lambda one: with_gpu(one, 3, vbios="96.00.61.00.01"), "VBIOS"),
    ("versions.software", lambda one: with_software(one, torch="2.6.0"), "torch: 2.6.0, 2 others 2.5.1+cu124"),
    ("versions.software", lambda one: with_software(one, mpi_version="5.0.1"), "MPI: Open MPI 5.0.1"),
    ("versions.software", lambda one: with_software(one, nccl_wheels={"nvidia-nccl-cu12": "2.21.5"}), "NCCL wheels"),
    ("versions.host", lambda one: with_host(one, cpus=104), "cpus: 104, 2 others 208"),
    ("versions.quota", lambda one: with_host(one, cpu_quota=0.3), "CPU quota: 0.3 cores, 2 others none"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), DIFFERENCES)
def test_a_node_that_differs_is_named(name, change, words):
    machines = list(nodes(3))
    machines[1] = change(machines[1])
    evidence = seen(machines)
    # a version that only one node tells cannot be compared
    expected = Status.INCONCLUSIVE if words == "NCCL wheels" else Status.FAIL
    assert status(name, evidence) is expected
    assert words in worst_words(name, evidence)


@pytest.mark.parametrize("name", ["versions.host", "versions.system", "versions.driver", "versions.software"])
def test_one_node_has_no_other_to_differ_from(name):
    assert status(name, seen([node()])) is Status.NOT_APPLICABLE


def test_a_driver_nobody_tells_is_an_error_where_gpus_are_wanted():
    machines = [with_software(each, driver=None) for each in nodes(2)]
    assert status("versions.driver", seen(machines)) is Status.INCONCLUSIVE
    assert (
        status("versions.driver", seen([Node("a"), Node("b")], backend="gloo"), LOCAL)
        is Status.NOT_APPLICABLE
    )


def test_a_version_that_differs_on_one_node_is_not_called_the_same_beside_that():
    (found,) = _row("driver", {"n0": "550.90", "n1": "550.90", "n2": "560.28"}, needed=True)
    assert (found.subject, found.ok) == ("n2", False)


@pytest.mark.parametrize(
    ("lacking", "wanted"), [("driver", Status.INCONCLUSIVE), ("driver_cuda", Status.PASS)]
)
def test_a_version_that_no_node_shows_is_missed_only_where_its_node_cannot_be_without(lacking, wanted):
    """A node with GPUs has a driver; what else no node shows is no difference between them."""
    assert (
        status("versions.driver", seen([with_software(each, **{lacking: None}) for each in nodes(2)]))
        is wanted
    )


# ── environment ─────────────────────────────────────────────────────────────────────────────────────────


def everywhere(**variables: str) -> dict[int, dict[str, str]]:
    return {rank: dict(variables) for rank in range(16)}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NCCL_IB_DISABLE": "1"}, "n0: NCCL_IB_DISABLE='1': disables the hardware under test"),
        ({"NCCL_P2P_DISABLE": "1"}, "no NVLink or PCIe"),
        ({"NCCL_DEBUG": "TRACE"}, "instrumentation distorts the timing"),
        ({"CUDA_LAUNCH_BLOCKING": "1"}, "CUDA_LAUNCH_BLOCKING='1'"),
    ],
)
def test_a_variable_that_disables_fails(variables, words):
    evidence = seen(nodes(2), environment=everywhere(**variables))
    assert status("environment.distortions", evidence) is Status.FAIL
    assert words in worst_words("environment.distortions", evidence)


def test_a_rank_whose_environment_is_missing_leaves_it_open_although_the_others_set_nothing():
    whole = seen(nodes(2), environment={rank: {"HOME": "/root"} for rank in range(16)})
    recorded = {rank: own for rank, own in whole.manifest.environment.items() if rank != "5"}
    run = replace(whole.run, manifest=replace(whole.manifest, environment=recorded))
    (found,) = judged("environment.ranks", Evidence(run, LAMBDA))
    assert (found.status, found.subject) == (Status.INCONCLUSIVE, "rank 5 (n0)")


def test_a_variable_that_pins_is_told_and_does_not_fail():
    evidence = seen(nodes(2), environment=everywhere(NCCL_ALGO="Ring"))
    verdicts = judged("environment.distortions", evidence)
    assert [verdict.status for verdict in verdicts] == [Status.PASS, Status.NOT_APPLICABLE]
    assert "n0: NCCL_ALGO='Ring': pins what NCCL would choose" in verdicts[1].evidence


def test_what_the_profile_sets_is_meant():
    """The profile's NCCL_NET=IB goes over the user's Socket."""
    evidence = seen(nodes(2), environment=everywhere(NCCL_NET="Socket"))
    assert status("environment.distortions", evidence) is Status.PASS
    assert status("environment.distortions", evidence, replace(LAMBDA, environment={})) is Status.FAIL


def test_a_conf_file_is_read_too():
    machines = [with_environment(each, files={"/etc/nccl.conf": "NCCL_P2P_DISABLE=1\n"}) for each in nodes(2)]
    assert status("environment.distortions", seen(machines)) is Status.FAIL
    # an exported variable goes over it
    assert (
        status("environment.distortions", seen(machines, environment=everywhere(NCCL_P2P_DISABLE="0")))
        is Status.PASS
    )


def test_a_conf_file_that_was_not_looked_at_is_an_error():
    environment = everywhere(NCCL_CONF_FILE="/opt/nccl.conf")
    # NCCL 2.21 does not know the variable yet
    assert status("environment.distortions", seen(nodes(2), environment=environment)) is Status.PASS
    evidence = seen([with_software(each, torch_nccl="2.26.2") for each in nodes(2)], environment=environment)
    assert status("environment.distortions", evidence) is Status.INCONCLUSIVE
    assert "what /opt/nccl.conf says is not known" in worst_words("environment.distortions", evidence)


def test_gloo_asks_no_variable_of_nccls():
    evidence = seen(nodes(2), backend="gloo", environment=everywhere(NCCL_IB_DISABLE="1"))
    assert status("environment.distortions", evidence) is Status.PASS
    evidence = seen(nodes(2), backend="gloo", environment=everywhere(TORCH_DISTRIBUTED_DEBUG="DETAIL"))
    assert status("environment.distortions", evidence) is Status.FAIL


def test_ranks_that_are_told_otherwise_are_named():
    environment = everywhere(NCCL_IB_TIMEOUT="22")
    environment[3] = {}
    evidence = seen(nodes(2), environment=environment)
    (verdict,) = judged("environment.ranks", evidence)
    assert verdict.status is Status.FAIL
    assert verdict.message.startswith("rank 3 (n0): NCCL_IB_TIMEOUT is unset, 15 others '22'")


def test_what_a_launcher_gives_each_rank_is_no_difference():
    environment = {
        rank: {"OMPI_MCA_ess_base_vpid": str(rank), "CUDA_VISIBLE_DEVICES": str(rank % 8)}
        for rank in range(16)
    }
    assert status("environment.ranks", seen(nodes(2), environment=environment)) is Status.PASS


def test_a_rank_that_says_nothing_is_an_error():
    evidence = seen(nodes(2))
    del evidence.run.manifest.environment["5"]
    assert status("environment.ranks", evidence) is Status.INCONCLUSIVE
    evidence.run.manifest.environment.clear()
    assert status("environment.ranks", evidence) is Status.INCONCLUSIVE
    assert status("environment.ranks", evidence, LOCAL) is Status.NOT_APPLICABLE


def test_conf_files_that_differ_are_named():
    text = "NCCL_IB_HCA=^=mlx5_0\n"
    machines = [with_environment(each, files={"/etc/nccl.conf": text}) for each in nodes(3)]
    assert status("environment.files", seen(machines)) is Status.PASS
    machines[2] = with_environment(machines[2], files={"/etc/nccl.conf": text.replace("_0", "_1")})
    told = worst_words("environment.files", seen(machines))
    assert told.startswith("n2: differs in /etc/nccl.conf: 'NCCL_IB_HCA=^=mlx5_1'; 2 others are the same")


def test_a_conf_file_that_means_something_else_is_told():
    machines = [with_environment(each, files={"/etc/nccl.conf": "NCCL_IB_HCA = x\r\n"}) for each in nodes(2)]
    verdicts = judged("environment.files", seen(machines))
    assert verdicts[-1].status is Status.NOT_APPLICABLE
    assert any("write no blank around '='" in note for note in verdicts[-1].evidence)


def test_a_port_without_board_and_type_is_compared_too():
    one = replace(
        node(), ports=(port(1, board=None, hca_type=None), port(2, board=None, hca_type=None, fw=OLD))
    )
    assert "an unknown board" in worst_words("versions.firmware", seen([one]))
