"""The jobs of gpu-check: what its ranks are, what they measure, and for how long."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence

import endings
import job
import profiles
from here import Here

GPU_SECONDS, SHARED_SECONDS, RING_SECONDS, RAW_SECONDS = 150.0, 130.0, 60.0, 60.0
RULES = {"precision": 0.05, "budget": 0.4}
SLOW_RULES = {"precision": 0.2, "budget": 0.25}
# ranks on one GPU are nodes of their own for NCCL: no peer access, no shared memory, everything by the network
SHARED = {
    "NCCL_MNNVL_ENABLE": "0",
    "NCCL_NVLS_ENABLE": "0",
    "NCCL_MAX_CTAS": "2",
}
OVER_SOCKETS = {"NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1", "NCCL_SOCKET_IFNAME": "=lo"}
HANG_LIMIT = 12.0  # seconds without progress, after which a rank that stopped is named


def all_gpus(here: Here) -> job.Done:
    """Every GPU a rank: all phases of an acceptance run on one node."""
    text = profiles.every_gpu(here.backend)
    return here.job(job.Asked("gpus", here.ranks, text, rules=RULES), GPU_SECONDS)


def on_gpu(here: Here) -> Callable[[int], Mapping[str, str]]:
    """Each rank is shown one GPU, in turn. Ranks that share one need hosts of their own (NCCL's getHostHash), or NCCL
    refuses them.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpus = shown if shown != [""] else [str(at) for at in range(max(1, here.gpus))]
    return lambda rank: {
        "NCCL_HOSTID": f"gpu-check-{rank}",
        "CUDA_VISIBLE_DEVICES": gpus[rank % len(gpus)],
        **SHARED,
    }


def shared(here: Here) -> job.Done:
    """Two ranks that NCCL takes for two nodes, over sockets; on one GPU where there is only one."""
    others = [each.name for each in here.node.interfaces if each.name != "lo" and each.operstate == "up"]
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], others[:1], OVER_SOCKETS)
    return here.job(job.Asked("shared", 2, text, rules=SLOW_RULES, each=on_gpu(here)), SHARED_SECONDS)


def three(here: Here) -> job.Done:
    """Three ranks, because two hide mistakes of ring and index."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    names = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
    sweeps = tuple({"collective": name, "begin": 49152, "end": 49152} for name in names)
    return here.job(job.Asked("three", 3, text, sweeps, SLOW_RULES, on_gpu(here)), RING_SECONDS)


def hung(here: Here, collective: str) -> job.Done:
    """Two ranks, of which the second's worker is stopped for ever as soon as it measures."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": collective, "begin": 4096, "end": 1 << 20},)
    rules = {"precision": 0.0, "budget": 4.0}
    name = f"hung-{collective}"
    folder = here.out / name / "run"

    def stop_the_second(pids: Sequence[int]) -> bool:
        if not endings.measures(folder):
            return False
        workers = job.workers_of(pids[1])
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        return bool(workers)

    asked = job.Asked(name, 2, text, sweeps, rules, on_gpu(here), HANG_LIMIT, stop_the_second)
    return here.job(asked, RING_SECONDS)


def logged(here: Here) -> job.Done:
    """Two ranks with all that NCCL can log, and the topology and graphs that it found."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": "all_reduce", "begin": 4096, "end": 4096},)

    def each(rank: int) -> Mapping[str, str]:
        dumps = {f"NCCL_{what}_DUMP_FILE": str(here.out / f"{what}.{rank}.xml") for what in ("TOPO", "GRAPH")}
        return {**on_gpu(here)(rank), **dumps, "NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "ALL"}

    return here.job(job.Asked("logged", 2, text, sweeps, SLOW_RULES, each), RING_SECONDS)


def duplicate(here: Here) -> job.Done:
    """Two ranks of one host on one GPU, which NCCL refuses."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": "all_reduce", "begin": 4096, "end": 4096},)
    first = {"CUDA_VISIBLE_DEVICES": on_gpu(here)(0)["CUDA_VISIBLE_DEVICES"]}
    return here.job(job.Asked("duplicate", 2, text, sweeps, SLOW_RULES, lambda rank: first), RING_SECONDS)


def infiniband(here: Here) -> list[str]:
    """HCAs with an active InfiniBand port."""
    return [port.hca for port in here.node.ports if port.active and port.link_layer == "InfiniBand"]


def over_infiniband(here: Here) -> job.Done:
    """Two ranks as two nodes over every InfiniBand HCA but the first, which is excluded."""
    first, *rails = infiniband(here)
    text = profiles.shared_gpu(
        here.backend,
        "infiniband",
        [f"{name}/1" for name in rails],
        [first],
        {"NCCL_NET": "IB", "NCCL_IB_HCA": f"^={first}"},
    )
    return here.job(job.Asked("infiniband", 2, text, rules=SLOW_RULES, each=on_gpu(here)), SHARED_SECONDS)
