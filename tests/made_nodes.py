"""A healthy node of a Lambda-like cluster, and runs of such nodes, for the tests of the checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.judge.checks import CHECKS, Evidence
from bench.model.counters import Snapshot, snapshot
from bench.model.facts import (
    Ecc,
    Environment,
    Gpu,
    Host,
    Interface,
    Node,
    NvLink,
    PciLink,
    PciPath,
    Port,
    Software,
)
from bench.model.measurement import Rank
from bench.model.profile import Profile, load
from bench.model.run_folder_lines import CounterLine, PhaseMark
from bench.model.verdict import Status, Verdict
from bench.probe.node import probe
from bench.store import Manifest, Phase, Plan, Run

LAMBDA = load("lambda-1cc-h100")
LOCAL = load("local")
GBIT = 1e9 / 8
ERRORS = re.findall(
    r"\w+",
    "symbol_error link_error_recovery link_downed port_rcv_errors port_rcv_remote_physical_errors "
    "port_rcv_switch_relay_errors port_xmit_discards port_xmit_constraint_errors port_rcv_constraint_errors "
    "local_link_integrity_errors excessive_buffer_overrun_errors VL15_dropped",
)
DATA = ("port_xmit_data", "port_rcv_data", "port_xmit_packets", "port_rcv_packets", "port_xmit_wait")
HW = ("local_ack_timeout_err", "packet_seq_err", "rnr_nak_retry_err", "out_of_sequence")


def way(slot: int, below: int) -> PciPath:
    """Device ``below`` behind PCI switch number ``slot``: endpoint, two bridges of the switch, root port."""
    bus = 0x10 * (slot + 1)
    hop = lambda address: PciLink(address, 32.0, 32.0, 16, 16, ())  # noqa: E731
    return PciPath(
        address=f"0000:{bus + 2 + below:02x}:00.0",
        root=f"pci0000:{bus:02x}",
        numa=slot // 4,
        hops=(
            replace(hop(f"0000:{bus + 2 + below:02x}:00.0"), acs=None),
            hop(f"0000:{bus + 2:02x}:0{below}.0"),
            hop(f"0000:{bus + 1:02x}:00.0"),
            hop(f"0000:{bus:02x}:01.0"),
        ),
    )


def port(number: int, node: int = 0, **changes: Any) -> Port:
    """mlx5_0 is an Ethernet adapter for everything but RDMA; mlx5_1 to mlx5_8 are the rails."""
    rail = number > 0
    plain = Port(
        hca=f"mlx5_{number}",
        number=1,
        state="ACTIVE",
        phys_state="LinkUp",
        rate=(400 if rail else 100) * GBIT,
        rate_text="400 Gb/sec (4X NDR)" if rail else "100 Gb/sec (4X EDR)",
        link_layer="InfiniBand" if rail else "Ethernet",
        lid=10 * node + number if rail else 0,
        sm_lid=1 if rail else 0,
        gid=f"fe80:0000:0000:0000:a088:c203:00{node:02x}:{number:04x}",
        fw="28.41.1000" if rail else "22.41.1000",
        board="MT_0000000838" if rail else "MT_0000000359",
        hca_type="MT4129" if rail else "MT4125",
        netdev=f"ibs{number}" if rail else "eth0",
        mtu=4096 if rail else 1024,
        max_mtu=4096,
        pci=way(number - 1 if rail else 8, 1),
        counters=dict.fromkeys((*ERRORS, *DATA), 0),
        hw_counters=dict.fromkeys(HW, 0),
    )
    return replace(plain, **changes)


def gpu(index: int, **changes: Any) -> Gpu:
    plain = Gpu(
        index=index,
        name="NVIDIA H100 80GB HBM3",
        uuid=f"GPU-{index}",
        vbios="96.00.89.00.01",
        pci=way(index, 0),
        memory_total=80 << 30,
        memory_free=79 << 30,
        ecc=Ecc(True, 0, 0, 0, 0, 0, 0, False, False),
        nvlinks=tuple(NvLink(link, True, 4) for link in range(18)),
        clock_sm=1.98e9,
        clock_sm_max=1.98e9,
        limits=("gpu_idle",),
        temperature=35,
        persistence=True,
        mig=False,
        compute_mode="default",
        processes=0,
    )
    return replace(plain, **changes)


STATISTICS = dict.fromkeys(
    (
        "rx_bytes",
        "tx_bytes",
        "rx_packets",
        "tx_packets",
        "rx_errors",
        "tx_errors",
        "rx_dropped",
        "tx_dropped",
    ),
    0,
)


def interface(name: str, **changes: Any) -> Interface:
    plain = Interface(
        name, "up", True, 100 * GBIT, 1500, addresses=("10.0.0.1/24",), virtual=False, statistics=STATISTICS
    )
    return replace(plain, **changes)


def node(number: int = 0, **changes: Any) -> Node:
    """A healthy node: 8 GPUs, 8 rails, mlx5_0 beside them."""
    plain = Node(
        name=f"n{number}",
        ports=tuple(port(at, number) for at in range(9)),
        interfaces=(
            interface("eth0", pci=way(8, 1), addresses=(f"10.0.{number // 254}.{1 + number % 254}/24",)),
            interface("lo", operstate="unknown", speed=None, addresses=("127.0.0.1/8",), virtual=True),
            *(interface(f"ibs{at}", mtu=2044, addresses=(), pci=way(at - 1, 1)) for at in range(1, 9)),
        ),
        tcp={"InSegs": 10, "OutSegs": 10, "RetransSegs": 0, "InErrs": 0, "OutRsts": 0},
        gpus=tuple(gpu(at, uuid=f"GPU-{8 * number + at}") for at in range(8)),
        host=Host(
            kernel="5.15.0-113-generic",
            os="Ubuntu 22.04.4 LTS",
            product="Supermicro SYS-821GE-TNHR",
            cpu="Intel(R) Xeon(R) Platinum 8480+",
            cpus=208,
            memory_total=2 << 40,
            memlock=None,
            memlock_unlimited=True,
            iommu_groups={},
            iommu_options=("iommu=pt",),
            virtual=False,
            peermem="535.129.03",
            nvidia_module="535.129.03",
            nvidia_open=False,
            clock=1_700_000_000.0 + 0.1 * number,
        ),
        software=Software(
            python="3.10.12",
            torch="2.5.1+cu124",
            torch_cuda="12.4",
            torch_nccl="2.21.5",
            mpi="Open MPI",
            mpi_version="4.1.4",
            ucx="1.16.0",
            ofed="MLNX_OFED_LINUX-23.10-0.5.5.0",
            mpi4py="4.0.0",
            driver="535.129.03",
            driver_cuda="12.2",
        ),
        environment=Environment(
            {}, {"/home/ubuntu/.nccl.conf": None, "/etc/nccl.conf": None}, "/home/ubuntu"
        ),
    )
    return replace(plain, **changes)


def h100(root: Path) -> Node:
    """A real host's ports (tests/probe/data/h100.txt), unpacked below ``root`` and probed."""
    for line in (Path(__file__).parent / "probe" / "data" / "h100.txt").read_text().splitlines():
        name, equals, value = line.partition(" = ")
        if equals and not line.startswith("#"):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")
    return probe(root)


def nodes(count: int = 2) -> tuple[Node, ...]:
    return tuple(node(number) for number in range(count))


def with_port(one: Node, hca: str, **changes: Any) -> Node:
    """The node with one of its ports changed."""
    return replace(one, ports=tuple(replace(p, **changes) if p.hca == hca else p for p in one.ports))


def with_gpu(one: Node, index: int, **changes: Any) -> Node:
    return replace(one, gpus=tuple(replace(g, **changes) if g.index == index else g for g in one.gpus))


def with_host(one: Node, **changes: Any) -> Node:
    return replace(one, host=replace(one.host, **changes))


def with_software(one: Node, **changes: Any) -> Node:
    return replace(one, software=replace(one.software, **changes))


def seen(
    machines: Sequence[Node],
    backend: str = "nccl",
    each: int = 8,
    environment: Mapping[int, Mapping[str, str]] | None = None,
    counters: Sequence[dict[str, Any]] = (),
    phases: Sequence[str] = (),
    plan: Plan | None = None,
    path: Path = Path("nowhere"),
    rows: Sequence[Any] = (),
    names: Sequence[str] | None = None,
) -> Evidence:
    """What the checks see of a run on these machines. ``phases``: those that were begun."""
    hosts = names or [machine.name for machine in machines]
    ranks = tuple(Rank(i, hosts[i // each], i % each) for i in range(each * len(hosts)))
    said = {str(rank.rank): dict((environment or {}).get(rank.rank, {})) for rank in ranks}
    manifest = Manifest(
        id="run", started=1.7e9, command=("railgauge", "accept"), profile_name="x", profile_text="",
        launcher="openmpi", backend=backend, ranks=ranks, environment=said,
    )  # fmt: skip
    begun = tuple(PhaseMark(name, "begin") for name in phases)
    plan = plan or Plan(tuple(Phase(name, name, ()) for name in phases))
    run = Run(
        path=path, manifest=manifest, plan=plan, facts=tuple(machines),
        measurements=(), losses=(), phases=begun, counters=tuple(counters), verdicts=(), notes=(), ended=1.7e9,
    )  # fmt: skip
    return with_rows(Evidence(run, LAMBDA), rows) if rows else Evidence(run, LAMBDA)


def with_rows(evidence: Evidence, rows: Sequence[Any]) -> Evidence:
    """The evidence with these rows in place of those that follow from its run."""
    vars(evidence)["rows"] = tuple(rows)
    return evidence


def judged_by(evidence: Evidence, want: Profile) -> Evidence:
    """The same run and rows, held against another profile."""
    return with_rows(replace(evidence, profile=want), evidence.rows)


def judged(name: str, evidence: Evidence, want: Profile = LAMBDA) -> list[Verdict]:
    """What one check says."""
    return list(CHECKS[name](judged_by(evidence, want)))


def status(name: str, evidence: Evidence, want: Profile = LAMBDA) -> Status:
    """The worst of what one check says; a check that says nothing fails the test."""
    found = {verdict.status for verdict in judged(name, evidence, want)}
    assert found, f"{name} says nothing"
    return next(
        worst
        for worst in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.NOT_APPLICABLE)
        if worst in found
    )


def worst_words(name: str, evidence: Evidence, want: Profile = LAMBDA) -> str:
    """The messages of what did not pass."""
    return "\n".join(
        verdict.message
        for verdict in judged(name, evidence, want)
        if verdict.status in (Status.FAIL, Status.INCONCLUSIVE)
    )


Change = Callable[[Snapshot], Snapshot]


def counted(machine: Node, at: float = 0.0) -> Snapshot:
    """The machine's counters at a time."""
    return snapshot(1.7e9 + at, at, machine.ports, machine.interfaces, machine.tcp)


def grow(shot: Snapshot, subject: str, group: str, seconds: float = 0.0, **growth: int) -> Snapshot:
    """The snapshot ``seconds`` later, with some counters of a subject grown."""
    groups = {name: dict(values) for name, values in shot.readings[subject].items()}
    for name, more in growth.items():
        groups[group][name] = groups[group].get(name, 0) + more
    readings = {**shot.readings, subject: groups}
    return Snapshot(shot.time + seconds, shot.monotonic + seconds, readings)


def around(phase: str, before: Sequence[Snapshot], after: Sequence[Snapshot]) -> list[CounterLine]:
    """Two lines of counters.jsonl."""
    return [CounterLine(phase, when, tuple(shots)) for when, shots in (("before", before), ("after", after))]


def oci(number: int = 0, order: Sequence[int] = range(8)) -> Node:
    """A healthy BM.GPU.H100.8 as the profile oci-h100 names its ports: two behind the switch of each GPU.

    ``order``: of each pair of ports the GPU that it is next to.
    """
    pairs = load("oci-h100").rails.devices
    behind = {pairs[2 * pair + at]: (slot, 1 + at) for slot, pair in enumerate(order) for at in range(2)}
    ports = tuple(
        port(
            at,
            number,
            link_layer="Ethernet",
            rate=200 * GBIT,
            rate_text="200 Gb/sec (4X HDR)",
            netdev=f"rdma{at}",
            pci=way(*behind.get(f"mlx5_{at}", (8, at % 7))),
        )
        for at in range(18)
    )
    return node(number, ports=ports)
