"""Every early check on a healthy node, on one with the fault, and on one where the fact is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.judge.checks import CHECKS
from bench.judge.problems import problems
from bench.model.facts import Ecc, Node, NvLink
from bench.model.profile import Profile, Rails, load
from bench.model.verdict import Bound, Status, overall
from made_nodes import (
    GBIT,
    LAMBDA,
    LOCAL,
    h100,
    interface,
    judged,
    node,
    nodes,
    port,
    seen,
    status,
    with_gpu,
    with_host,
    with_port,
    worst_words,
)

ON_FACTS = ("host.", "rails.", "pcie.", "gpus.", "versions.", "environment.", "exclusion.")
# read from facts that folders of earlier versions lack: of those these checks say nothing, see their own tests
LATER = {"gpus.fabric", "rails.flaps", "rails.gid", "rails.pkey"}
EARLY = [
    name
    for name, check in CHECKS.items()
    if check.facts_only and name.startswith(ON_FACTS) and name not in LATER
]
HEALTHY_ECC = Ecc(True, 0, 0, 0, 0, 0, 0, False, False)
Change = Callable[[Node], Node]


def rail(**changes) -> Change:
    return lambda one: with_port(one, "mlx5_3", **changes)


def gpu(**changes) -> Change:
    return lambda one: with_gpu(one, 3, **changes)


def host(**changes) -> Change:
    return lambda one: with_host(one, **changes)


def hop(at: int, **changes) -> Change:
    """One link on the way of mlx5_3 changed."""

    def change(one: Node) -> Node:
        path = next(port.pci for port in one.ports if port.hca == "mlx5_3")
        assert path is not None
        hops = tuple(
            replace(each, **changes) if number == at else each for number, each in enumerate(path.hops)
        )
        return with_port(one, "mlx5_3", pci=replace(path, hops=hops))

    return change


def ecc(**changes) -> Change:
    return gpu(ecc=replace(HEALTHY_ECC, **changes))


LINKS = tuple(NvLink(link, True, 4) for link in range(18))
DOWN = (*LINKS[:5], replace(LINKS[5], active=False), *LINKS[6:])


def test_a_healthy_cluster_passes_every_early_check():
    evidence = seen(nodes(2))
    verdicts = [verdict for name in EARLY for verdict in judged(name, evidence)]
    assert {verdict.status for verdict in verdicts} == {Status.PASS, Status.NOT_APPLICABLE}
    silent = {name for name in EARLY if not judged(name, evidence)}
    assert not silent
    passed = {verdict.check for verdict in verdicts if verdict.status is Status.PASS}
    assert set(EARLY) - passed == {
        "rails.others",
        "environment.files",
        "exclusion.own_environment",
    }


@pytest.mark.parametrize("machines", [[Node("n0")], [Node("n0"), Node("n1")], [node()]])
def test_the_local_profile_claims_nothing(machines):
    evidence = seen(machines, backend="gloo", each=2)
    verdicts = [verdict for name in EARLY for verdict in judged(name, evidence, LOCAL)]
    assert overall(verdict.status for verdict in verdicts) is Status.PASS
    assert all(verdict.measured for verdict in verdicts)


@pytest.mark.parametrize("name", EARLY)
def test_a_check_says_something_whatever_it_sees(name):
    for machines in ([], [Node("n0")], list(nodes(2))):
        for want in (LAMBDA, LOCAL):
            evidence = seen(machines, names=[each.name for each in machines] or ["n0"])
            assert judged(name, evidence, want), f"{name} is silent"


NEEDED = sorted(
    name
    for name in EARLY
    if not name.startswith(("versions.", "environment."))
    and name not in ("host.facts", "host.clock", "rails.others", "exclusion.own_environment")
)


TWICE = {"host.addresses", "rails.guids", "gpus.uuids"}  # of one node there is no second


@pytest.mark.parametrize("name", sorted({*NEEDED} - TWICE))
def test_a_node_of_which_nothing_is_known_does_not_pass(name):
    assert status(name, seen([Node("n0")])) in (Status.FAIL, Status.INCONCLUSIVE)


@pytest.mark.parametrize("name", ["host.facts", *NEEDED])
def test_no_facts_at_all_do_not_pass(name):
    assert status(name, seen([], names=["n0", "n1"])) is Status.INCONCLUSIVE


FAULTS: list[tuple[str, Change, str]] = [
    ("rails.count", rail(state="DOWN"), "n0: 7 rails: mlx5_1/1, mlx5_2/1, mlx5_4/1"),
    ("rails.count", rail(state="DOWN"), "not mlx5_3/1: its state is DOWN"),
    ("rails.count", rail(rate=25e9), "not mlx5_3/1: its rate is 200.0 Gb/s, not 400 Gb/s"),
    ("rails.count", lambda one: replace(one, ports=(*one.ports, port(9))), "n0: 9 rails"),
    ("rails.count", lambda one: replace(one, ports=one.ports[:-1]), "n0: 7 rails"),
    ("rails.count", lambda one: replace(one, ports=()), "n0: 0 rails, wanted 8 rails (lambda-1cc-h100)"),
    ("rails.state", rail(state="INIT"), "n0 mlx5_3/1: state is INIT, wanted up"),
    (
        "rails.physical",
        rail(state="DOWN", phys_state="Polling"),
        "n0 mlx5_3/1: physical state is Polling, wanted LinkUp",
    ),
    (
        "rails.rate",
        rail(rate=25e9, rate_text="200 Gb/sec (2X NDR)"),
        "mlx5_3/1: link runs at 200.0 Gb/s (200 Gb/sec (2X NDR))",
    ),
    ("rails.width", rail(rate_text="400 Gb/sec (2X XDR)"), "n0 mlx5_3/1: 2X, not 4X as 15 others have"),
    ("rails.subnet", rail(sm_lid=0), "n0 mlx5_3/1: LID 3, subnet manager 0"),
    ("rails.subnet", rail(lid=0), "n0 mlx5_3/1: LID 0, subnet manager 1"),
    ("pcie.link", hop(0, speed=16.0), "0000:33:00.0 runs at 16 GT/s of 32"),
    ("pcie.link", hop(3, width=8), "n0 mlx5_3/1: 0000:30:01.0 runs at x8 of x16"),
    # a card at the most that it can do, two places from the slot that is narrow
    (
        "pcie.link",
        lambda one: hop(2, width=8)(hop(0, width=8, max_width=8)(one)),
        "runs at x8 of x16",
    ),
    ("pcie.rate", hop(2, width=8, max_width=8), "PCI Express carries 252.1 Gb/s, wanted at least 400 Gb/s"),
    ("gpus.count", lambda one: replace(one, gpus=one.gpus[:7]), "n0: 7 GPUs, wanted 8 GPUs"),
    (
        "gpus.count",
        lambda one: with_host(
            replace(one, gpus=(), notes=("nvml: Driver Not Loaded",)), nvidia_on_bus=("a",) * 8
        ),
        "n0: 0 GPUs, 8 on the PCI bus; nvml: Driver Not Loaded",
    ),
    ("gpus.name", gpu(name="NVIDIA A100-SXM4-80GB"), "n0 GPU 3: is NVIDIA A100-SXM4-80GB, wanted H100"),
    ("gpus.ecc", ecc(enabled=False), "n0 GPU 3: ECC is off"),
    ("gpus.ecc", ecc(volatile_uncorrected=2), "n0 GPU 3: 2 uncorrected errors"),
    ("gpus.remap", ecc(remap_pending=True), "n0 GPU 3: a row remapping is pending"),
    ("gpus.remap", ecc(remap_failed=True, remap_pending=True), "n0 GPU 3: row remapping failed"),
    ("gpus.mig", gpu(mig=True), "n0 GPU 3: MIG is on"),
    ("gpus.persistence", gpu(persistence=False), "n0 GPU 3: persistence mode is off"),
    ("gpus.clocks", gpu(limits=("sw_power_cap", "hw_thermal")), "n0 GPU 3: clocks are held by hw_thermal"),
    ("gpus.compute_mode", gpu(compute_mode="prohibited"), "n0 GPU 3: compute mode is prohibited"),
    ("gpus.idle", gpu(processes=1), "n0 GPU 3: 1 processes compute on it"),
    ("gpus.nvlink", gpu(nvlinks=DOWN), "n0 GPU 3: 17 of 18 NVLinks are up; down: 5"),
    ("gpus.nvlink", gpu(nvlinks=LINKS[:12]), "n0 GPU 3: has 12 NVLinks, not 18"),
    ("gpus.nvlink", gpu(nvlinks=()), "n0 GPU 3: 0 of 0 NVLinks are up"),
    (
        "gpus.rail",
        rail(state="DOWN"),
        "n0 GPU 2: is equally near to mlx5_1/1, mlx5_2/1, mlx5_4/1, which other GPUs use",
    ),
    ("host.gpudirect", host(peermem=None), "no nvidia_peermem; NVIDIA's kernel module is the closed one"),
    (
        "host.acs",
        hop(1, acs=("SrcValid", "ReqRedir")),
        "ACS is on at 1 bridge: 0000:32:01.0 (SrcValid ReqRedir)",
    ),
    ("host.iommu", host(iommu_groups={"DMA-FQ": 80}), "n0: 80 IOMMU groups translate DMA addresses"),
    (
        "host.memlock",
        host(memlock_unlimited=False, memlock=8 << 20),
        "n0: locked memory is limited to 8 MiB, wanted unlimited",
    ),
    ("host.clock", host(clock=1_700_000_000.0 - 60), "60.1 s ahead of the median"),
    (
        "exclusion.census",
        lambda one: replace(one, ports=(*one.ports[1:-1], port(9))),
        "n0: has mlx5_1/1 MT4129",
    ),
]


@pytest.mark.parametrize(("name", "change", "words"), FAULTS)
def test_a_fault_on_one_node_of_two_fails_and_is_named(name, change, words):
    evidence = seen([change(node(0)), node(1)])
    assert status(name, evidence) is Status.FAIL
    told = worst_words(name, evidence)
    assert words in told
    failed = [verdict for verdict in judged(name, evidence) if verdict.status is Status.FAIL]
    assert all(verdict.wanted and verdict.source and verdict.next_step for verdict in failed)
    assert not any("n1 " in verdict.subject and name != "host.clock" for verdict in failed)


MISSING: list[tuple[str, Change]] = [
    ("rails.count", rail(state=None)),
    ("rails.count", rail(rate=None)),
    ("rails.count", rail(link_layer=None)),
    ("rails.state", rail(state=None)),
    ("rails.physical", rail(phys_state=None)),
    ("rails.rate", rail(rate=None)),
    ("rails.width", rail(rate_text=None)),
    ("rails.width", rail(rate_text="400 Gb/sec")),
    ("rails.link_layer", rail(link_layer=None)),
    ("rails.subnet", rail(lid=None)),
    ("rails.subnet", rail(sm_lid=None)),
    ("rails.counters", rail(counters={}, hw_counters={})),
    ("pcie.link", hop(0, speed=None)),
    ("pcie.link", hop(2, max_width=None)),
    ("pcie.link", rail(pci=None)),
    ("pcie.rate", hop(1, width=None)),
    ("gpus.count", lambda one: replace(one, gpus=(), notes=("nvml: Driver Not Loaded",))),
    ("gpus.name", gpu(name=None)),
    ("gpus.ecc", ecc(enabled=None)),
    ("gpus.ecc", ecc(volatile_uncorrected=None)),
    ("gpus.remap", ecc(remap_pending=None)),
    ("gpus.mig", gpu(mig=None)),
    ("gpus.persistence", gpu(persistence=None)),
    ("gpus.clocks", gpu(limits=None)),
    ("gpus.compute_mode", gpu(compute_mode=None)),
    ("gpus.idle", gpu(processes=None)),
    ("gpus.nvlink", gpu(nvlinks=None)),
    ("gpus.rail", gpu(pci=None)),
    ("host.gpudirect", host(peermem=None, nvidia_open=None)),
    ("host.acs", hop(1, acs=None)),
    ("host.iommu", host(iommu_groups=None)),
    ("host.iommu", host(iommu_groups={"": 80}, iommu_options=())),
    ("host.memlock", host(memlock_unlimited=None, memlock=None)),
    ("host.clock", host(clock=None)),
    ("versions.firmware", rail(fw=None)),
    ("versions.system", host(kernel=None)),
    ("exclusion.selector", lambda one: with_port(one, "mlx5_3", link_layer=None)),
    ("exclusion.census", rail(state=None)),
]


@pytest.mark.parametrize(("name", "change"), MISSING)
def test_a_missing_fact_is_an_error_and_never_a_pass(name, change):
    assert status(name, seen([change(node(0)), node(1)])) is Status.INCONCLUSIVE


def test_where_the_profile_counts_no_nvlinks_a_gpu_with_fewer_than_most_fails():
    plain = replace(LAMBDA, nvlink=None, nvlinks=0)
    few = seen([gpu(nvlinks=LINKS[:12])(node(0)), node(1)])
    assert status("gpus.nvlink", few, plain) is Status.FAIL
    assert "n0 GPU 3: 12 NVLinks, not 18, as 15 GPUs have" in worst_words("gpus.nvlink", few, plain)
    half = seen(
        [replace(node(0), gpus=tuple(replace(each, nvlinks=LINKS[:12]) for each in node(0).gpus)), node(1)]
    )
    assert "no majority" in worst_words("gpus.nvlink", half, plain)
    assert status("gpus.nvlink", seen([node(0), node(1)]), plain) is Status.PASS


def test_what_a_node_without_gpus_leaves_open_is_one_finding():
    here = seen([replace(node(0), gpus=()), node(1)])
    bad = [verdict for name in EARLY for verdict in judged(name, here)]
    (one,) = [
        each
        for each in problems(bad, lambda _: frozenset(), {}).inconclusive
        if "no GPU was" in each.measured
    ]
    assert one.subject == "n0" and one.next_step == "see gpus.count"


PASSING: list[tuple[str, Change]] = [
    # a card at the most that it can do in a wider slot
    ("pcie.link", lambda one: hop(1, width=8)(hop(0, width=8, max_width=8)(one))),
    # a wide card in a slot that is at the most that it can do
    ("pcie.link", lambda one: hop(0, width=8)(hop(1, width=8, max_width=8)(one))),
    ("host.gpudirect", host(peermem=None, nvidia_open=True)),
    ("host.gpudirect", host(peermem=None, memory_peers=("nv_mem",))),
    ("host.iommu", host(iommu_groups={"identity": 80})),
    ("host.iommu", host(iommu_groups={"": 80}, iommu_options=("iommu=pt",))),
    ("host.memlock", host(memlock_unlimited=False, memlock=4 << 40)),
    ("gpus.clocks", gpu(limits=("sw_power_cap",))),
    ("gpus.compute_mode", gpu(compute_mode="exclusive process")),
    ("gpus.remap", ecc(remapped_uncorrected=3)),
    # a port that is down and is no rail
    ("rails.count", lambda one: replace(one, ports=(*one.ports, port(9, state="DOWN", rate=1.25e9)))),
    ("rails.state", lambda one: replace(one, ports=(*one.ports, port(9, state="DOWN", rate=1.25e9)))),
    ("rails.count", lambda one: with_port(one, "mlx5_0", state="DOWN")),
]


@pytest.mark.parametrize(("name", "change"), PASSING)
def test_what_is_no_fault_passes(name, change):
    assert status(name, seen([change(node(0)), change(node(1))])) is Status.PASS


def test_no_iommu_groups_are_an_iommu_that_is_off():
    groups = ({}, {"identity": 80})
    (verdict,) = judged(
        "host.iommu", seen([with_host(node(at), iommu_groups=each) for at, each in enumerate(groups)])
    )
    assert verdict.evidence == ("n0: the IOMMU is off", "n1: 80 IOMMU groups pass through")


def test_a_named_rail_of_another_link_layer_fails():
    """Without names such a port is no rail, and the count tells; with names it must be said of the port."""
    want = replace(
        LAMBDA, rails=replace(LAMBDA.rails, devices=tuple(f"mlx5_{number}" for number in range(1, 9)))
    )
    evidence = seen([rail(link_layer="Ethernet")(node(0)), node(1)])
    assert "n0 mlx5_3/1: link layer is Ethernet, wanted InfiniBand" in worst_words(
        "rails.link_layer", evidence, want
    )
    assert status("rails.link_layer", seen(nodes(2)), want) is Status.PASS
    assert status("rails.count", evidence) is Status.FAIL


SOCKETS = Profile(
    name="sockets",
    title="",
    source="",
    text="",
    rails=Rails(
        kind="socket",
        count=2,
        devices=("eth1", "eth2"),
        management="eth0",
        rate=Bound(100 * GBIT, "100 Gb/s", "a test"),
    ),
)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("rails.state", {}, Status.PASS),
        ("rails.state", {"operstate": None}, Status.INCONCLUSIVE),
        ("rails.state", {"operstate": "down"}, Status.FAIL),
        ("rails.state", {"carrier": False}, Status.FAIL),
        ("rails.rate", {}, Status.PASS),
        ("rails.rate", {"speed": 50 * GBIT}, Status.FAIL),
        ("rails.rate", {"speed": None}, Status.NOT_APPLICABLE),
        ("rails.count", {}, Status.PASS),
        ("rails.count", {"name": "eth7"}, Status.FAIL),
    ],
)
def test_socket_rails_are_up_fast_and_there(name, changes, expected):
    both = [
        Node(f"n{at}", interfaces=tuple(interface(each) for each in ("eth0", "eth1", "eth2")))
        for at in range(2)
    ]
    changed = replace(both[0], interfaces=(*both[0].interfaces[:2], interface(**{"name": "eth2", **changes})))
    found = judged(name, seen([changed, both[1]], backend="gloo", each=2), SOCKETS)
    assert {verdict.status for verdict in found} - {Status.PASS} == {expected} - {Status.PASS}, found


def test_a_full_counter_cannot_be_told():
    one = with_port(node(0), "mlx5_3", counters={**port(3).counters, "link_downed": 255})
    verdict = judged("rails.counters", seen([one, node(1)]))[0]
    assert verdict.status is Status.INCONCLUSIVE
    assert "link_downed 255 at the maximum" in verdict.measured


def test_a_port_that_is_no_rail_is_listed_with_its_state():
    one = with_port(node(0), "mlx5_0", state="DOWN")
    (verdict,) = judged("rails.others", seen([one, node(1)]))
    assert verdict.status is Status.NOT_APPLICABLE
    assert "n0 mlx5_0/1: excluded by the profile (DOWN)" in verdict.evidence


@pytest.mark.parametrize("name", ["host.acs", "host.iommu"])
def test_a_virtual_machine_is_not_judged_by_its_hypervisor(name):
    bad = hop(1, acs=("SrcValid",))(with_host(node(0), virtual=True, iommu_groups={"DMA": 3}))
    assert status(name, seen([bad])) is Status.NOT_APPLICABLE
    # a bare node beside it is
    assert status(name, seen([bad, node(1)])) is Status.PASS


def test_a_virtual_machine_shows_its_devices_link_and_no_more():
    guest = with_host(hop(3, speed=None, width=None)(node(0)), virtual=True)
    assert status("pcie.link", seen([guest])) is Status.PASS
    blind = hop(0, speed=None)(guest)
    verdicts = judged("pcie.link", seen([blind]))
    assert {verdict.subject: verdict.status for verdict in verdicts}["n0 mlx5_3/1"] is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0.5, Status.PASS), (4.0, Status.PASS), (12.0, Status.INCONCLUSIVE), (100.0, Status.FAIL)],
)
def test_the_probes_clocks_are_believed_as_far_as_they_can_be(offset, expected):
    late = with_host(node(1), clock=1_700_000_000.0 + offset)
    assert status("host.clock", seen([node(0), late])) is expected


def test_one_clock_is_compared_with_none():
    assert status("host.clock", seen([node(0)])) is Status.NOT_APPLICABLE


def test_many_faults_are_not_told_one_by_one():
    machines = [replace(with_host(each, memlock_unlimited=False, memlock=1 << 20)) for each in nodes(100)]
    verdicts = judged("host.memlock", seen(machines))
    assert len(verdicts) == 65
    assert verdicts[-1].subject == "36 more"


def test_the_bond_of_the_h100_tree_is_named(tmp_path):
    """``^=mlx5_0`` lets the BlueField's Ethernet bond through, and takes a rail of this machine away."""
    evidence = seen([h100(tmp_path)])
    told = worst_words("exclusion.selector", evidence)
    assert "takes mlx5_bond_0:1 (its link layer is Ethernet), which is no rail" in told
    assert "7 rails" in worst_words("rails.count", evidence)
    own = load("hgx-h100-ndr")
    named = replace(
        own,
        rails=replace(
            own.rails,
            devices=tuple(f"mlx5_{number}" for number in (0, 1, 4, 5, 6, 7, 8, 9)),
            excluded=("mlx5_bond_0",),
            count=8,
            kind="infiniband",
        ),
        environment={"NCCL_IB_HCA": "^=mlx5_bond_0"},
    )
    for name in (
        "rails.count",
        "rails.state",
        "rails.rate",
        "rails.width",
        "exclusion.selector",
        "exclusion.census",
    ):
        assert status(name, evidence, named) is Status.PASS, name
    assert status("rails.counters", evidence, named) is Status.INCONCLUSIVE


@pytest.mark.parametrize("name", ["rails.state", "rails.rate", "rails.counters"])
def test_where_there_is_no_rail_the_next_step_is_not_about_rails(name):
    verdicts = judged(name, seen([node(0), replace(node(1), ports=())]))
    (bare,) = [verdict for verdict in verdicts if verdict.measured == "has no rail that could be judged"]
    assert bare.status is Status.INCONCLUSIVE
    assert bare.next_step == "see rails.count and exclusion.census: no device of this node is a rail"


@pytest.mark.parametrize(
    ("virtual", "gpus", "skipped"), [(True, 0, True), (False, 0, False), (True, 8, False)]
)
def test_rails_that_are_virtual_interfaces_have_no_link_over_pci(virtual, gpus, skipped):
    rails = Rails(kind="socket", count=1, devices=("eth1",))
    machine = node(0, interfaces=(interface("eth1", pci=None if virtual else node(0).ports[1].pci),))
    found = judged("pcie.link", seen([machine]), replace(LAMBDA, rails=rails, gpus=gpus))
    assert any("the rails are virtual interfaces" in each.measured for each in found) is skipped
    none = judged("pcie.link", seen([], names=["n0"]), replace(LAMBDA, rails=rails, gpus=gpus))
    assert not any("the rails are virtual interfaces" in each.measured for each in none)
