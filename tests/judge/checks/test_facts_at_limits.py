"""What the checks on facts say just below, at and just above each limit, in whole sentences, held to a golden file.

Three nodes of two GPUs and two rails, of which one thing is another on the middle one, on two of them or on all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.judge.checks import CHECKS
from bench.judge.findings import MOST
from bench.model.facts import Ecc, Gid, Node, NvLink, NvlinkFabric
from bench.model.profile import Profile, Rails
from bench.model.verdict import Bound, Status, Verdict
from golden import Golden, Parts, opened, shown
from made_nodes import GBIT, LAMBDA, counted, interface, node, seen, with_gpu, with_host, with_port

SMALL = replace(LAMBDA, gpus=2, gpu_counts=(2,), rails=replace(LAMBDA.rails, count=2))
PLAIN = replace(SMALL, nvlink=None, nvlinks=0)
ROCE = replace(SMALL, rails=replace(SMALL.rails, kind="roce"))
SOCKETS = replace(
    SMALL,
    gpus=0,
    gpu_counts=(),
    rails=Rails(
        "socket", 2, ("eth1", "eth2"), excluded=("eth3",), rate=Bound(100 * GBIT, "100 Gb/s", "a test")
    ),
)
WELL = Ecc(True, 0, 0, 0, 0, 0, 0, False, False)
FABRIC = NvlinkFabric("completed", 0, "c0ffee", 1)
FAULTS = ("hw_slowdown", "hw_thermal", "hw_power_brake", "sw_thermal", "reliability")
GID = Gid(3, "0000:0000:0000:0000:0000:ffff:0ae0:0001", "RoCE v2", "rdma0")
Change = Callable[[Node], Node]
WORDS: dict[str, None] = {}


def small(number: int) -> Node:
    """mlx5_0 beside two rails; two GPUs, all of whose limits are round figures."""
    one = node(number)
    gpus = (
        replace(
            each,
            power_limit=1000.0,
            power_limit_default=1000.0,
            clock_sm_max=2e9,
            clock_memory_max=2e9,
            memory_total=1000 << 20,
            memory_free=1000 << 20,
        )
        for each in one.gpus[:2]
    )
    return replace(one, gpus=tuple(gpus), ports=one.ports[:3], interfaces=one.interfaces[:4])


def links(count: int, down: Sequence[int] = (), version: int | None = 4) -> tuple[NvLink, ...]:
    return tuple(NvLink(at, at not in down, version) for at in range(count))


def with_second_gpu(one: Node, **values: Any) -> Node:
    return with_gpu(one, 1, **values)


def with_rail(one: Node, **values: Any) -> Node:
    """The node with its second rail changed, perhaps called otherwise."""
    return replace(one, ports=(*one.ports[:2], replace(one.ports[2], **values)))


# of the second GPU of a node, of its second port, of its host: what each field may be
GPU: dict[str, dict[str, Sequence[Any]]] = {
    "gpus.name": {"name": (None, "NVIDIA A100", "an H100"), "notes": ((), ("nvml: no", "pynvml: old"))},
    "gpus.ecc": {
        "ecc": [
            replace(WELL, enabled=on, volatile_uncorrected=count)
            for on in (None, False, True)
            for count in (None, 0, 1)
        ],
    },
    "gpus.remap": {
        "ecc": [
            replace(WELL, remap_pending=pending, remap_failed=failed, remapped_uncorrected=count)
            for pending in (None, False, True)
            for failed in (None, False, True)
            for count in (None, 3)
        ],
    },
    "gpus.mig": {"mig": (None, False, True)},
    "gpus.persistence": {"persistence": (None, False, True)},
    "gpus.clocks": {
        "limits": (None, (), ("gpu_idle", "sw_power_cap"), *((each, "gpu_idle") for each in FAULTS), FAULTS),
        "temperature": (None, 94, 95),
    },
    "gpus.compute_mode": {"compute_mode": (None, "", "default", "exclusive process", "prohibited")},
    "gpus.idle": {
        "processes": (None, 0, 1),
        "memory_free": (None, 0, 900 << 20, (900 << 20) - 1),
        "memory_total": (None, 1000 << 20),
    },
    "gpus.alike": {
        "power_limit": (None, 1000.0, 950.0, 949.0),
        "power_limit_default": (None, 1000.0, 1001.0),
        "clock_sm_max": (None, 1.9e9, 1.8e9),
    },
    "gpus.nvlink": {
        "nvlinks": (
            None,
            (),
            links(18),
            links(17),
            links(19),
            links(18, (3,)),
            links(18, (3, 7)),
            links(17, (3,)),
            links(18, version=3),
            links(17, version=3),
            links(18, version=None),
            links(18, (0,), version=3),
            (*links(9), *links(9, version=3)),
        ),
    },
    "gpus.fabric": {
        "fabric": (
            None,
            FABRIC,
            replace(FABRIC, state="in progress"),
            replace(FABRIC, status=9),
            replace(FABRIC, state="not started", status=3),
            replace(FABRIC, status=None),
            replace(FABRIC, trouble=("route recovery", "degraded bandwidth")),
            replace(FABRIC, clique=2),
            replace(FABRIC, cluster=""),
        ),
    },
}
HOST: dict[str, dict[str, Sequence[Any]]] = {
    "host.gpudirect": {
        "peermem": (None, "535"),
        "memory_peers": ((), ("other", "nv_mem_x"), ("other",)),
        "nvidia_open": (None, False, True),
    },
    "host.iommu": {
        "iommu_groups": (None, {}, {"": 2}, {"DMA": 1, "identity": 3}, {"DMA-FQ": 2}, {"identity": 3, "": 1}),
        "iommu_options": (None, ("iommu=on",), ("iommu=pt",), ("quiet", "iommu.passthrough=1")),
    },
    "host.memlock": {
        "memlock_unlimited": (None, False, True),
        "memlock": (None, 0, (1 << 30) - 1, 1 << 30, (1 << 30) + 1),
        "memory_total": (None, 1 << 30),
    },
    "versions.quota": {"cpus": (None, 208), "cpu_quota": (None, 4.0, 4.5)},
}
PORT: dict[str, dict[str, Sequence[Any]]] = {
    "rails.count": {
        "state": (None, "DOWN", "ACTIVE"),
        "rate": (None, 50e9, 50e9 - 1),
        "link_layer": (None, "InfiniBand", "Ethernet"),
    },
    "rails.state": {"state": (None, "DOWN", "ACTIVE", "INIT"), "rate": (50e9, 1e9)},
    "rails.physical": {"phys_state": (None, "", "Polling", "LinkUp")},
    "rails.rate": {
        "rate": (None, 50e9, 50e9 - 1, 49e9, 100e9),
        "rate_text": (None, "", "400 Gb/sec (4X NDR)"),
    },
    "rails.width": {
        "rate_text": (None, "", "400 Gb/sec", "(2X NDR)", "(12X NDR)", "(4X NDR)", "400 (4X", "(123X)")
    },
    "rails.link_layer": {"link_layer": (None, "Ethernet", "InfiniBand")},
    "rails.subnet": {"lid": (None, 0, 1, 12), "sm_lid": (None, 0, 1, 2)},
    "rails.mtu": {"mtu": (None, 4096, 4095, 2048), "max_mtu": (None, 4096, 4097, 1024)},
    "rails.counters": {
        "counters": (
            {},
            {"port_xmit_data": (1 << 64) - 1},
            {"symbol_error": 0xFFFF, "link_downed": 3},
            {"symbol_error": 0xFFFE, "link_downed": 255, "VL15_dropped": 0xFFFF},
        ),
        "hw_counters": ({}, {"packet_seq_err": 1}, {"duplicate_request": 4}),
    },
    "rails.others": {"state": (None, "DOWN", "ACTIVE"), "link_layer": ("Ethernet", None)},
    "rails.guids": {
        "gid": (None, "", "fe80:0000:0000:0000:a088:c203:0000:0001", "fe80:0000:0000:0000:0:0:0000:0000"),
        "node_guid": (None, "", "0000:0000:0000:0000", "a088:c203:0000:0001"),
    },
    "versions.firmware": {
        "fw": (None, "28.1", "28.41.1000"),
        "board": (None, "MT_1", "MT_0000000838"),
        "hca_type": (None, "MT4129"),
    },
    "exclusion.census": {
        "state": (None, "ACTIVE"),
        "board": (None, "MT_0000000838"),
        "hca_type": (None, "MT4129", "MT4125"),
        "hca": ("mlx5_2", "mlx5_9"),
    },
    "exclusion.selector": {
        "hca": ("mlx5_2", "mlx5_9"),
        "link_layer": (None, "InfiniBand", "Ethernet"),
        "state": (None, "ACTIVE", "DOWN"),
    },
    "rails.pkey": {"pkeys": (None, (), (0,), (0x8000,), (1,), (0x8001,), (0x8002, 0x8001), (0x7FFF,))},
}


def combinations(fields: dict[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*fields.values()):
        yield dict(zip(fields, values, strict=True))


def changes() -> Iterator[tuple[str, list[tuple[str, Change]]]]:
    """Each check with what is changed for it, in words too."""

    for table, put in ((GPU, with_second_gpu), (HOST, with_host), (PORT, with_rail)):
        for check, fields in table.items():
            yield check, [(shown(values), partial(put, **values)) for values in combinations(fields)]


CHANGES = dict(changes())
PROFILES = {
    "gpus.nvlink": {"": SMALL, " of a profile that counts none": PLAIN},
    "rails.mtu": {
        "": SMALL,
        " of a profile without one": replace(SMALL, rails=replace(SMALL.rails, mtu=0)),
        " of interfaces": replace(ROCE, rails=replace(ROCE.rails, mtu=0, devices=("mlx5_1", "mlx5_2"))),
    },
}


def line(each: Verdict) -> str:
    figures = shown((each.value, each.bound, *each.evidence))
    return f"    {each.status.value} {each.subject}: {each.measured} | {figures}"


def said(check: str, machines: Sequence[Node], want: Profile = SMALL, **made: Any) -> list[str]:
    evidence = seen(machines, each=2, names=[each.name for each in machines] or ["n0"], **made)
    found = list(CHECKS[check](replace(evidence, profile=want)))
    for each in found:
        if each.status is not Status.PASS:
            WORDS[f"{check}, {each.status.value}: {each.wanted} ({each.source}); {each.next_step}"] = None
    return [line(each) for each in found]


def held(golden: Golden, name: str, lines: Sequence[str]) -> None:
    """With what was wanted, by whom, and the next step, each once, at the end."""
    golden.hold(name, [*lines, *sorted(WORDS)])


def clusters(
    change: Change, healthy: Change = lambda one: one, by_peers: bool = True
) -> Iterator[tuple[str, list[Node]]]:
    """The same change on one node of three, and on two and on all where the others are the measure."""
    for name, which in (("one", {1}), ("two", {0, 2}), ("all", {0, 1, 2}))[: 3 if by_peers else 1]:
        yield name, [change(small(at)) if at in which else healthy(small(at)) for at in range(3)]


PEERS = (
    "gpus.nvlink", "gpus.fabric", "gpus.alike", "rails.width", "rails.mtu", "rails.guids", "rails.pkey",
    "versions.quota", "versions.firmware", "exclusion.census",
)  # fmt: skip
HEALTHY: dict[str, Change] = {
    "gpus.fabric": lambda one: replace(one, gpus=tuple(replace(each, fabric=FABRIC) for each in one.gpus)),
    "rails.pkey": lambda one: replace(one, ports=tuple(replace(each, pkeys=(0xFFFF,)) for each in one.ports)),
    "rails.guids": lambda one: replace(
        one, ports=tuple(replace(each, node_guid=f"a:{one.name[1]}:{each.hca[-1]}") for each in one.ports)
    ),
}
PARTS = Parts()
part = PARTS.part


def told(label: str, check: str, machines: Sequence[Node], want: Profile = SMALL, **made: Any) -> list[str]:
    return [label, *said(check, machines, want, **made)]


def three(change: Change) -> list[Node]:
    return [change(small(at)) if at == 1 else small(at) for at in range(3)]


@part("gpus.count")
def numbers_of_gpus() -> list[str]:
    lines = []
    for counts in ((2,), (1, 2), ()):
        want = replace(SMALL, gpu_counts=counts)
        for number in range(4):
            for bus in (None, ("a",), ("a", "b"), ("a", "b", "c")):
                for notes in ((), ("other: x", "nvml: Driver Not Loaded", "nvml: twice")):
                    gpus = [*small(1).gpus, *small(1).gpus][:number]

                    def change(one: Node, gpus=gpus, bus=bus, notes=notes) -> Node:
                        return with_host(replace(one, gpus=tuple(gpus), notes=notes), nvidia_on_bus=bus)

                    label = f"{counts} {number} {bus} {len(notes)}"
                    lines += told(label, "gpus.count", [change(small(0)), small(1)], want)
    return lines


@part("gpus.rail")
def ways_to_rails() -> list[str]:
    """Which rails are next to which GPU, with one GPU for each rail, with two and with fewer."""
    lines, one = [], node(0)
    ways = [each.pci for each in one.gpus[:4]]
    for gpus, rails in ((2, 2), (3, 3), (4, 2), (2, 4), (2, 1)):
        want = replace(SMALL, gpus=gpus, rails=replace(SMALL.rails, count=rails))
        base = replace(one, gpus=one.gpus[:gpus], ports=one.ports[: 1 + rails])
        for places in itertools.product((0, 1, 2, None), repeat=2):
            paths = [None if at is None else ways[at] for at in places]
            changed = with_gpu(with_gpu(base, 0, pci=paths[0]), 1, pci=paths[1])
            lines += told(f"{gpus} GPUs, {rails} rails: {places}", "gpus.rail", [changed], want)
            lines += told("    names", "rails.names", [changed, replace(base, name="n1")], want)
    lines += told("none", "gpus.rail", [replace(one, gpus=())])
    for devices in (("mlx5_1", "mlx5_2"), ("mlx5_2", "mlx5_1")):
        want = replace(SMALL, rails=replace(SMALL.rails, devices=devices))
        for machines in (
            [small(at) for at in range(3)],
            [small(0), replace(small(1), gpus=())],
            three(lambda one: with_gpu(one, 1, pci=small(1).gpus[0].pci)),
            three(lambda one: with_port(one, "mlx5_2", pci=small(1).gpus[0].pci)),
            three(lambda one: replace(one, gpus=tuple(replace(each, pci=None) for each in one.gpus))),
        ):
            lines += told(f"{devices}", "rails.names", machines, want)
    return lines


def hop(at: int, hca: str = "mlx5_2", **changes: Any) -> Change:
    """One link on the way of a port changed; 0 is the adapter's own."""

    def change(one: Node) -> Node:
        path = next(each.pci for each in one.ports if each.hca == hca)
        assert path is not None
        hops = tuple(replace(each, **changes) if n == at else each for n, each in enumerate(path.hops))
        return with_port(one, hca, pci=replace(path, hops=hops))

    return change


@part("host.acs")
def bridges() -> list[str]:
    lines = []
    for acs in (
        None,
        (),
        ("TransBlk",),
        *((each,) for each in ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")),
    ):
        for at in range(4):
            lines += told(f"{at} {acs}", "host.acs", [hop(at, acs=acs)(small(0)), small(1)])

    def everywhere(one: Node) -> Node:
        for hca in ("mlx5_1", "mlx5_2"):
            for at in range(4):
                one = hop(at, hca, acs=("ReqRedir",))(one)
        return one

    lines += told("everywhere", "host.acs", [everywhere(small(0))])
    lines += told("no ways", "host.acs", [replace(small(0), gpus=(), ports=())])
    mixed = hop(1, acs=None)(hop(2, acs=("SrcValid", "TransBlk"))(small(0)))
    lines += told("one on and one not read", "host.acs", [mixed])
    virtual = [with_host(small(at), virtual=at > 0) for at in range(19)]
    for check in ("host.acs", "host.iommu"):
        lines += told("virtual machines", check, virtual)
    return lines


@part("pcie")
def links_over_pci() -> list[str]:
    lines = []
    for virtual in (False, True):
        for at, values in itertools.product(
            (0, 1, 2, 3),
            (
                {"speed": 16.0},
                {"width": 8},
                {"speed": 16.0, "width": 8},
                {"speed": 16.0, "max_speed": 16.0},
                {"width": 8, "max_width": 8},
                {"speed": None},
                {"max_speed": None},
                {"width": None},
                {"max_width": None},
                {"speed": 8.0, "max_speed": 16.0},
            ),
        ):
            change = hop(at, **values)
            machines = [with_host(change(small(0)), virtual=virtual)]
            lines += told(f"{virtual} {at} {values}", "pcie.link", machines)
            lines += said("pcie.rate", machines)
    for near in (0, 2):  # the other end can no more, or runs below what it could
        for other in ({"speed": 16.0}, {"max_speed": 16.0}, {"speed": 16.0, "max_speed": 16.0}):
            change = lambda one, near=near, other=other: hop(near, **other)(hop(1, speed=16.0)(one))  # noqa: E731
            lines += told(f"end {near} {other}", "pcie.link", [change(small(0))])
    paths = [None, replace(small(0).ports[1].pci, hops=())]
    for path in paths:
        for virtual in (False, True):
            machines = [with_host(with_port(small(0), "mlx5_1", pci=path), virtual=virtual)]
            lines += told(f"{path} {virtual}", "pcie.link", machines)
            lines += said("pcie.rate", machines)
    return lines


@part("pcie.rate")
def generations() -> list[str]:
    """Each generation at each width, against a rail as fast as it, and a little faster."""
    lines = []
    for speed, width in itertools.product((2.5, 5.0, 8.0, 16.0, 32.0, 64.0), (1, 4, 16)):
        one = small(0)
        for at in range(4):
            one = hop(at, speed=speed, max_speed=speed, width=width, max_width=width)(one)
        lines += told(f"{speed} x{width}", "pcie.rate", [one])
    many = [with_host(with_port(small(at), "mlx5_1", pci=None), virtual=True) for at in range(19)]
    return [*lines, *told("hidden", "pcie.rate", many)]


@part("host.clock")
def clocks() -> list[str]:
    """By the probes, and by snapshots, of which each shows an offset that only some of them have."""
    lines = []
    for offset in (0.0, 4.9, 5.0, 5.1, 29.9, 30.0, 30.1, -5.0, -5.1, -30.1, None):
        late = with_host(small(1), clock=None if offset is None else 1.7e9 + offset)
        machines = [with_host(small(0), clock=1.7e9), late, with_host(small(2), clock=1.7e9)]
        lines += told(f"probes {offset}", "host.clock", machines)
        lines += told(f"of two {offset}", "host.clock", machines[:2])
        if offset is None:
            continue
        for more in (0.0, 3.0, 60.0):
            shots = [[counted(each) for each in machines] for _ in range(2)]
            for number, each in enumerate(shots):
                each[1] = replace_time(each[1], offset + more * number)
            counters = [row for each in shots for row in around_once(each)]
            lines += told(f"snapshots {offset} {more}", "host.clock", machines, counters=counters)
    lines += told("one node", "host.clock", [small(0)])
    lines += told("without rails", "host.clock", machines, replace(SMALL, rails=Rails()))
    bare = [with_host(each, clock=None) for each in machines]
    lines += told("without clocks and rails", "host.clock", bare, replace(SMALL, rails=Rails()))
    return lines


def replace_time(shot: Any, offset: float) -> Any:
    return type(shot)(shot.time + offset, shot.monotonic, shot.readings)


def around_once(shots: Sequence[Any]) -> list[Any]:
    from bench.model.run_folder_lines import CounterLine

    return [
        CounterLine("collectives", "before", tuple(shots)),
        CounterLine("collectives", "after", tuple(shots[:2])),
    ]


@part("identities")
def what_two_nodes_have() -> list[str]:
    """Addresses of interfaces that lead out of the node and of others; numbers of GPUs."""
    lines = []
    interfaces: list[dict[str, Any]] = [
        {},
        {"pci": None},
        {"name": "bond0", "pci": None},
        {"name": "team7", "pci": None},
        {"name": "br0", "pci": None},
        {"driver": "cdc_ether"},
        {"driver": "rndis_host", "name": "bond1"},
        {"addresses": None},
        {"addresses": ()},
        {"addresses": ("127.0.0.1/8", "fe80::1/64", "169.254.0.1/16")},
        {"addresses": ("10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64")},
        {"name": "eth9", "driver": "cdc_ncm", "pci": None},
    ]
    for values in interfaces:
        own = interface(**{"name": "eth5", "pci": small(0).ports[0].pci, **values})
        machines = [replace(small(at), interfaces=(own,)) for at in range(2)]
        for want in (SMALL, replace(SMALL, rails=replace(SMALL.rails, management="eth9"))):
            lines += told(f"{values}", "host.addresses", machines, want)
        plain = replace(SMALL, rails=Rails())
        lines += told("    without rails", "host.addresses", machines, plain)
    for uuid, serial in itertools.product((None, "GPU-1"), (None, "", "0", "0x00", "1650", "0x10")):
        machines = [with_gpu(small(at), 1, uuid=uuid and f"{uuid}-{at}", serial=serial) for at in range(2)]
        lines += told(f"{uuid} {serial}", "gpus.uuids", machines)
    lines += told("same", "gpus.uuids", [small(0), replace(small(0), name="n1")])
    lines += told("by gloo", "gpus.uuids", [small(0), small(1)], backend="gloo")
    boards = [replace(small(0), gpus=tuple(replace(each, serial="77") for each in small(0).gpus)), small(1)]
    return [*lines, *told("two GPUs of one board", "gpus.uuids", boards)]


@part("versions")
def versions() -> list[str]:
    """Each version on one node of three, and not known of one, of two and of all."""
    lines = []
    rows: dict[str, dict[str, Sequence[Any]]] = {
        "versions.host": {"product": "xy", "cpu": "xy", "cpus": (1, 2), "numa_nodes": (1, 2)},
        "versions.system": {"kernel": "xy", "os": "xy"},
        "versions.driver": {"nvidia_module": "xy"},
    }
    software: dict[str, dict[str, Sequence[Any]]] = {
        "versions.system": {"ofed": "xy"},
        "versions.driver": {"driver": "xy", "driver_cuda": "xy"},
        "versions.software": {
            "python": "xy",
            "torch": "xy",
            "torch_cuda": "xy",
            "torch_nccl": "xy",
            "nccl_wheels": ({"nvidia-nccl-cu12": "2.21"}, {"b": "2", "a": "1"}),
            "nccl_libraries": (("a", "b"), ("a",)),
            "net_plugins": (("p", "q"), ("p",)),
            "mpi": "xy",
            "mpi_version": "xy",
            "ucx": "xy",
            "mpi4py": "xy",
        },
    }
    for place, table in (("host", rows), ("software", software)):
        for check, fields in table.items():
            for field, (usual, other) in fields.items():
                nothing = type(usual)() if isinstance(usual, (dict, tuple)) else None
                for values in (
                    (usual, usual, other),
                    (usual, other),
                    (usual, usual, nothing),
                    (usual, nothing, nothing),
                    (nothing, nothing, nothing),
                    (usual,),
                ):
                    machines = [
                        replace(one, **{place: replace(getattr(one, place), **{field: value})})
                        for one, value in zip(map(small, range(3)), values, strict=False)
                    ]
                    found = told(f"{field} {values}", check, machines)
                    lines += [each for each in found if field in each or "known" in each or "iffer" in each]
    for vbios in (("x", "x"), ("x", "y"), ("y", "x"), ("x", None), (None, None)):
        gpus = tuple(replace(each, vbios=text) for each, text in zip(small(1).gpus, vbios, strict=True))
        lines += told(f"{vbios}", "versions.driver", three(lambda one, gpus=gpus: replace(one, gpus=gpus)))
    bare = [replace(small(at), gpus=(), software=type(small(0).software)()) for at in range(2)]
    for check in (
        "versions.host",
        "versions.system",
        "versions.driver",
        "versions.software",
        "versions.quota",
    ):
        for want in (SMALL, replace(SMALL, gpus=0)):
            lines += told(f"bare {check} {want.gpus}", check, bare, want)
        lines += told("one node", check, [small(0)])
        lines += told("none", check, [])
    return lines


@part("firmware of many")
def firmwares() -> list[str]:
    """Many adapters of one node with another firmware, two boards, an adapter that is no rail."""
    lines = []
    big = [node(at) for at in range(3)]
    for count in (1, 2, 8, 9):
        ports = tuple(
            replace(each, fw="1.0") if each.number and at < count else each
            for at, each in enumerate(big[0].ports)
        )
        lines += told(f"{count}", "versions.firmware", [replace(big[0], ports=ports), *big[1:]], LAMBDA)
    lines += told("mlx5_0", "versions.firmware", [with_port(big[0], "mlx5_0", fw=None), *big[1:]], LAMBDA)
    lines += told("two nodes", "versions.firmware", [with_port(big[0], "mlx5_1", fw="9"), big[1]], LAMBDA)
    for board, kind in itertools.product((None, "b"), (None, "MT")):
        ports = tuple(
            replace(each, board=board, hca_type=kind, fw=f"{at}") for at, each in enumerate(small(0).ports)
        )
        lines += told(f"{board} {kind}", "versions.firmware", [replace(small(0), ports=ports)])
    return [*lines, *told("none", "versions.firmware", [replace(small(0), ports=())])]


@part("sockets")
def interfaces() -> list[str]:
    lines = []
    values: list[dict[str, Any]] = [
        {},
        {"operstate": None},
        {"operstate": "down"},
        {"operstate": "up", "carrier": None},
        {"carrier": False},
        {"speed": None},
        {"speed": 100 * GBIT - 1},
        {"speed": 200 * GBIT},
        {"mtu": None},
        {"mtu": 9000},
        {"addresses": None},
        {"addresses": ()},
        {"name": "eth9"},
        {"pci": small(0).ports[1].pci},
        {"statistics": {"carrier_down_count": 3}},
    ]
    checks = (
        "rails.count", "rails.state", "rails.rate", "rails.mtu", "rails.counters", "rails.others", "rails.flaps",
        "pcie.link", "pcie.rate", "exclusion.census", "exclusion.selector", "host.addresses",
    )  # fmt: skip
    for each in values:
        for names in (("eth1", "eth2", "eth3"), ("eth1", "eth2")):
            machines = [
                Node(
                    f"n{at}",
                    interfaces=tuple(
                        interface(name, addresses=(f"10.0.{name[-1]}.{at}/24",)) for name in names
                    ),
                )
                for at in range(3)
            ]
            faces = (
                machines[1].interfaces[0],
                replace(machines[1].interfaces[1], **each),
                *machines[1].interfaces[2:],
                interface("docker0"),
            )
            machines[1] = replace(machines[1], interfaces=faces)
            lines.append(f"{each} {names}")
            for check in checks:
                lines += [f"{check}{found}" for found in said(check, machines, SOCKETS)]
    machines = [
        Node(f"n{at}", interfaces=(interface("eth1", speed=None), interface("eth2", speed=None)))
        for at in range(10)
    ]
    return [*lines, *told("no speed is shown", "rails.rate", machines, SOCKETS)]


@part("rails.gid")
def gids() -> list[str]:
    lines = []
    tables: Sequence[tuple[Gid, ...] | None] = (
        None,
        (),
        (GID,),
        (replace(GID, kind=None),),
        (GID, replace(GID, kind=None)),
        (replace(GID, kind="IB/RoCE v1"),),
        (replace(GID, gid="fe80:0000:0000:0000:0a00:27ff:fe00:0001"),),
        (replace(GID, gid="nonsense"),),
        (replace(GID, gid="2001:0db8:0000:0000:0000:0000:0000:0001"),),
        (replace(GID, index=0, kind="IB/RoCE v1"), GID),
        (replace(GID, index=0), replace(GID, index=1)),
    )
    for gids in tables:
        machines = [
            replace(
                small(at),
                ports=tuple(replace(each, gids=gids, link_layer="Ethernet") for each in small(at).ports),
            )
            for at in range(2)
        ]
        for nccl in ("2.20.5", "2.21.0"):
            here = [replace(each, software=replace(each.software, torch_nccl=nccl)) for each in machines]
            for given in ("", "3", "0", "-1"):
                own = {rank: {"NCCL_IB_GID_INDEX": given} for rank in range(4)} if given else {}
                lines += told(f"{shown(gids)} {nccl} {given}", "rails.gid", here, ROCE, environment=own)
    return lines


@part("rails.flaps")
def flaps() -> list[str]:
    lines = []
    for down, carrier, netdev in itertools.product((0, 1, 5), (0, 2, 7), ("ibs1", None, "lo")):
        one = with_port(small(0), "mlx5_1", counters={"link_downed": down}, netdev=netdev)
        faces = tuple(
            replace(each, statistics={"carrier_down_count": carrier} if each.name == "ibs1" else {})
            for each in one.interfaces
        )
        lines += told(f"{down} {carrier} {netdev}", "rails.flaps", [replace(one, interfaces=faces), small(1)])
    down = [
        with_port(
            with_port(small(at), "mlx5_1", counters={"link_downed": 1 + at % 3}),
            "mlx5_2",
            counters={"link_downed": 2},
        )
        for at in range(35)
    ]
    return [*lines, *told("many", "rails.flaps", down)]


@part("subnets")
def subnets() -> list[str]:
    """The same LID on two ports of one rail, of two rails, and of fabrics of their own."""
    lines = []

    def ported(number: int, *ports: tuple[int, int, str]) -> Node:
        one = small(number)
        found = tuple(
            replace(
                each,
                lid=lid,
                sm_lid=manager,
                gid=f"fe80:0000:0000:{prefix}:a088:c203:00{number:02x}:{at:04x}",
            )
            for at, (each, (lid, manager, prefix)) in enumerate(zip(one.ports[1:], ports, strict=True))
        )
        return replace(one, ports=(one.ports[0], *found))

    for nodes in (
        [
            ((1, 1, "0001"), (2, 1, "0001")),
            ((3, 1, "0001"), (4, 1, "0001")),
            ((5, 1, "0001"), (6, 1, "0001")),
        ],
        [((1, 1, "0001"), (2, 1, "0001")), ((1, 1, "0001"), (4, 1, "0001"))],
        [
            ((1, 1, "0001"), (2, 1, "0001")),
            ((3, 1, "0001"), (1, 1, "0001")),
            ((5, 1, "0001"), (6, 1, "0001")),
        ],
        [((1, 1, "0001"), (1, 1, "0001")), ((2, 1, "0001"), (2, 1, "0001"))],
        [((1, 1, "0001"), (1, 1, "0001")), ((2, 1, "0001"), (3, 1, "0001"))],
        [
            ((1, 1, "0001"), (1, 1, "0002")),
            ((2, 1, "0001"), (2, 1, "0002")),
            ((3, 1, "0001"), (3, 1, "0003")),
        ],
        [((1, 1, "0001"), (2, 2, "0001")), ((1, 2, "0001"), (4, 2, "0001"))],
        [((1, 1, "0001"), (2, 1, "0001")), ((1, 1, "0002"), (4, 1, "0002"))],
    ):
        machines = [ported(at, *ports) for at, ports in enumerate(nodes)]
        lines += told(f"{nodes}", "rails.subnet", machines)
    lost = [small(0), with_port(small(1), "mlx5_2", gid=None), with_port(small(2), "mlx5_2", state="DOWN")]
    return [*lines, *told("one not known, one down", "rails.subnet", lost)]


@part("long lists")
def long_lists() -> list[str]:
    """More than is told by name."""
    lines = []
    many = [
        with_port(with_port(small(at), "mlx5_1", state="DOWN"), "mlx5_2", fw=None) for at in range(MOST + 2)
    ]
    for check in ("rails.others", "rails.state", "rails.mtu", "versions.firmware"):
        lines += told(check, check, many)
    odd = {
        rank: {"NCCL_ALGO": f"{rank}", "NCCL_DEBUG": "INFO", "NCCL_BUFFSIZE": "1"}
        for rank in range(0, 2 * len(many), 2)
    }
    for check in ("environment.ranks", "environment.distortions"):
        lines += told(check, check, many, environment=odd)
    return lines


@part("environment")
def environments() -> list[str]:
    lines = []
    for value, other in (
        ({}, {}),
        ({"NCCL_ALGO": "Ring"}, {}),
        ({"NCCL_ALGO": "Ring"}, {"NCCL_ALGO": "Ring"}),
        ({"LD_LIBRARY_PATH": "/a:/b:/a"}, {"LD_LIBRARY_PATH": "/a::/b"}),
        ({"UCX_TLS": "rc"}, {"UCX_TLS": "tcp"}),
        ({"CUDA_LAUNCH_BLOCKING": "1"}, {}),
        ({"NCCL_PROTO": "LL"}, {"NCCL_P2P_DISABLE": "1"}),
        ({"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}, {"TORCH_DISTRIBUTED_DEBUG": "OFF"}),
    ):
        for which in ((0,), (0, 1)):
            own = {rank: value if rank in which else other for rank in range(4)}
            for backend in ("nccl", "gloo"):
                lines.append(f"{value} {other} {which} {backend}")
                for check in ("environment.ranks", "environment.distortions", "exclusion.own_environment"):
                    found = said(check, [small(0), small(1)], environment=own, backend=backend)
                    lines += [f"{check}{each}" for each in found]
    return lines


@part("conf files")
def conf_files() -> list[str]:
    lines = []
    own, etc = "/home/ubuntu/.nccl.conf", "/etc/nccl.conf"
    for texts in (
        ({}, {}, {}),
        ({etc: "NCCL_IB_HCA=^=mlx5_0\n"},) * 3,
        ({etc: "NCCL_IB_HCA=mlx5_1\n"}, {}, {}),
        ({etc: "NCCL_ALGO=Ring\n"}, {etc: "NCCL_ALGO=Ring\n"}, {}),
        ({etc: "NCCL_ALGO=Ring\n"}, {etc: "\n"}, {etc: "NCCL_PROTO=LL\n"}),
        ({own: "NCCL_ALGO = Ring\r\n"},) * 3,
        ({own: None}, {own: None}, {}),
        ({etc: "x" * 70 + "\n"}, {}, {}),
        ({etc: "NCCL_IB_DISABLE=1\n"},) * 3,
    ):
        machines = [
            replace(small(at), environment=replace(small(at).environment, files=files))
            for at, files in enumerate(texts)
        ]
        lines.append(f"{texts}")
        for check in (
            "environment.files",
            "environment.distortions",
            "exclusion.selector",
            "exclusion.own_environment",
        ):
            lines += [f"{check}{each}" for each in said(check, machines)]
            plain = replace(SMALL, environment={})
            lines += [f"{check} unset{each}" for each in said(check, machines, plain)]
    return lines


@part("selectors")
def selectors() -> list[str]:
    lines = []
    for value in (None, "^=mlx5_0", "mlx5_1", "=mlx5_1:1,mlx5_2", "mlx5", "^mlx5_0", "nothing", "mlx5_0"):
        want = replace(SMALL, environment={} if value is None else {"NCCL_IB_HCA": value})
        for own in ({}, {0: {"NCCL_IB_HCA": "mlx5_2"}}):
            machines = [small(0), with_port(small(1), "mlx5_2", link_layer=None)]
            lines.append(f"{value} {own}")
            for check in ("exclusion.selector", "exclusion.own_environment"):
                lines += [f"{check}{each}" for each in said(check, machines, want, environment=own)]
    for value in (None, "eth", "=eth1,eth2", "^eth3", "eth1"):
        want = replace(SOCKETS, environment={} if value is None else {"NCCL_SOCKET_IFNAME": value})
        faces = tuple(
            interface(name, addresses=(f"10.0.{name[-1]}.1/24",)) for name in ("lo", "eth1", "eth2", "eth3")
        )
        down = (*faces[:3], replace(faces[3], operstate="down"))
        for given in (faces, down):
            machines = [Node(f"n{at}", interfaces=given) for at in range(2)]
            lines += told(f"{value} {len(given)}", "exclusion.selector", machines, want)
            lines += said("exclusion.own_environment", machines, want)
    return lines


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    names = [f"{check}{name}" for check in CHANGES for name in PROFILES.get(check, [""])]
    yield from opened(request, Path(__file__).with_name("facts_at_limits.txt"), [*names, *PARTS])


@pytest.mark.parametrize(
    ("check", "name"), [(check, name) for check in CHANGES for name in PROFILES.get(check, [""])]
)
def test_what_is_said_of_a_fact_at_its_limit(golden: Golden, check: str, name: str) -> None:
    WORDS.clear()
    want, lines = PROFILES.get(check, {"": SMALL})[name], []
    healthy = HEALTHY.get(check, lambda one: one)
    usual = said(check, [healthy(small(at)) for at in range(3)], want)
    for words, change in CHANGES[check]:
        lines.append(words)
        for where, machines in clusters(
            lambda one, change=change: change(healthy(one)), healthy, check in PEERS
        ):
            new = [each for each in said(check, machines, want) if each not in usual]
            lines += [f"  {where}", *new] if new else []
    held(golden, f"{check}{name}", [*usual, *lines])


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_of_facts_that_differ_in_kind(golden: Golden, name: str) -> None:
    WORDS.clear()
    held(golden, name, PARTS[name]())
