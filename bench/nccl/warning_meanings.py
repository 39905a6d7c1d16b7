"""What NCCL's warnings mean and what to do about them: one row each, first match counts.

Texts: the WARN calls of NVIDIA/nccl, tags v2.4.8-1 to v2.30.7-1 (src/misc, src/transport, src/init.cc,
src/bootstrap.cc), the WARN and ATTN calls in the library of 2.32.3, aws-ofi-nccl and ROCm/rccl. Statuses of work
requests: ibv_wc_status of rdma-core's verbs.h.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass


@dataclass(frozen=True)
class WarningMeaning:
    """``sign`` is searched in the warning's text; ``meaning`` says what happened, ``remedy`` what to do."""

    sign: re.Pattern[str]
    meaning: str
    remedy: str


def _row(sign: str, meaning: str, remedy: str) -> WarningMeaning:
    return WarningMeaning(re.compile(sign), meaning, remedy)


_FABRIC = (
    "look at the links and their error counters on both sides, and at routes and partition keys between them"
)
_FAILED = "Got completion .*with (?:error |status=)(?:[A-Za-z][^()]{0,60}\\()?"

MEANINGS: tuple[WarningMeaning, ...] = (
    _row(f"{_FAILED}12\\b", "the peer's adapter did not answer before the retries were used up", _FABRIC),
    _row(
        f"{_FAILED}13\\b",
        "the peer was not ready to receive (RNR) for too long",
        "see whether the peer hangs",
    ),
    _row(
        f"{_FAILED}5\\b",
        "a work request was dropped since an earlier one of its queue failed",
        "read the earlier one",
    ),
    _row(
        f"{_FAILED}(?:4|10)\\b",
        "an adapter was refused access to memory: GPU memory that is not registered, or a switch of PCIe that sends it "
        "another way (ACS)",
        "turn ACS off on PCIe switches, and load nvidia_peermem or use DMA-BUF",
    ),
    _row(_FAILED, "a transfer between two adapters failed", _FABRIC),
    _row(
        "async (?:fatal |error )?event|non-fatal async event",
        "an adapter reported an event, such as a port that went down",
        "read the kernel's log of that node at that time, and look at the port's cable and counters",
    ),
    _row(
        "ibv_(?:exp_)?reg_(?:dmabuf_)?mr.*(?:Cannot allocate memory|errno 12)",
        "memory could not be locked for the adapter",
        "allow it: ulimit -l unlimited, also for containers and the scheduler's daemon",
    ),
    _row(
        "ibv_(?:exp_)?reg_(?:dmabuf_)?mr.*(?:Bad address|errno 14|Invalid argument|errno 22)",
        "the adapter could not register GPU memory, which GPUDirect RDMA needs",
        "load nvidia_peermem, or use a kernel and driver with DMA-BUF",
    ),
    _row(
        "ibv_modify_qp.*(?:timed out|errno 110|No data available|errno 61|failed with (?:110|61) )",
        "two adapters could not be connected: they do not reach each other",
        "see that both are of one subnet (RoCE: one VLAN and GID type), and try ib_write_bw between them",
    ),
    _row("ibv_\\w+.*failed", "a call to the adapter's library failed", "read the kernel's log of that node"),
    _row(
        "No IP interface found",
        "InfiniBand needs an interface with an address to start with, and none was found",
        "see what NCCL_SOCKET_IFNAME takes: railgauge explain SPEC --sockets",
    ),
    _row(
        "no socket interface found|no device found (?:matching|after)|NET/Socket : no interface found",
        "no interface fits NCCL_SOCKET_IFNAME",
        "see what it takes: railgauge explain SPEC --sockets",
    ),
    _row(
        "onnect(?:ion)? to .*(?:refused|timed out|No route|unreachable|exceeded)|Connect to .*returned",
        "ranks do not reach each other by TCP on the interface that NCCL chose",
        "name an interface that all nodes reach: NCCL_SOCKET_IFNAME; open its ports in the packet filter",
    ),
    _row(
        "remote process exited|Connection closed by remote peer|peer .*closed|Connection reset",
        "another rank ended first",
        "look for the first warning of that rank",
    ),
    _row(
        "socketFinalizeAccept: wrong (?:type|magic)|wrong magic",
        "something that is not this job's NCCL connected to its port",
        "keep port scans, health checks and other jobs off the ports of the job",
    ),
    _row(
        "message truncated|Message truncated",
        "ranks sent messages of different lengths: they call with different sizes or load different NCCL",
        "see that all ranks load one NCCL, and call collectives in one order with one size",
    ),
    _row(
        "ismatched? .*version|version mismatch",
        "ranks load different versions of NCCL",
        "install one NCCL on all nodes: torch.cuda.nccl.version(), LD_LIBRARY_PATH",
    ),
    _row(
        "network .* not found|Failed to initialize (?:any )?NET plugin",
        "the network that NCCL_NET names cannot be used here",
        "see why: /dev/infiniband in the container, rdma-core, NCCL_IB_HCA; for a plugin its library",
    ),
    _row(
        "NET/OFI .*(?:fail|Unable)",
        "AWS's network plugin did not start, so NCCL falls back to sockets",
        "see that the node has EFA devices and the container has /dev/infiniband and libfabric",
    ),
    _row(
        "Duplicate GPU|using the same GPU",
        "two ranks use one GPU",
        "give every rank a GPU of its own: CUDA_VISIBLE_DEVICES, torch.cuda.set_device(local_rank)",
    ),
    _row(
        "shared memory|failed to extend /dev/shm|Could not map /dev/shm",
        "/dev/shm is full or too small",
        "enlarge it (docker --shm-size=1g, an emptyDir of medium Memory in Kubernetes); remove what killed jobs left",
    ),
    _row(
        "NVLS\\) Multicast memory",
        "NVLink SHARP could not be set up: fabric manager or an NVSwitch is at fault",
        "see nvidia-smi -q (Fabric) and the fabric manager's service",
    ),
    _row(
        "NVLink fabric health reports",
        "the NVLink fabric of this GPU says of itself that it is not whole",
        "see nvidia-smi -q (Fabric) and the fabric manager's log of that rack",
    ),
    _row(
        "Invalid value .* for .*, using default",
        "a setting is not understood, and NCCL's own value is used instead",
        "correct it: railgauge explain LOG lists the settings",
    ),
    _row(
        "External .* plugin .* is unsupported",
        "a plugin is of a version that this NCCL does not know, and is not used",
        "install the plugin's version for this NCCL, or take it out of LD_LIBRARY_PATH",
    ),
    _row(
        "P2P is disabled between NVLINK",
        "two GPUs with NVLink between them cannot use it",
        "see nvidia-smi topo -p2p r",
    ),
    _row("[Oo]ut of memory", "GPU memory was used up", "leave NCCL some: smaller batches, fewer channels"),
    _row(
        "Cuda failure",
        "a call to CUDA failed, often after another kernel's error",
        "run again with CUDA_LAUNCH_BLOCKING=1 to see which call was first",
    ),
    _row(
        "libnvidia-ml|nvml",
        "NVML, the driver's library, is not usable here",
        "start the container with the driver's libraries: NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    _row(
        "link type|incompatible devices",
        "InfiniBand and RoCE adapters are mixed",
        "name those of one kind: NCCL_IB_HCA",
    ),
    _row(
        "local Net device counts",
        "nodes have different numbers of adapters",
        "see which is down: railgauge probe on every node",
    ),
    _row(
        "GID table changed",
        "the addresses of an adapter changed while it was in use",
        "keep its interface's address fixed",
    ),
    _row(
        "XML .*wrong version|Could not open XML",
        "the file of NCCL_TOPO_FILE or NCCL_GRAPH_FILE cannot be read",
        "take the variable away, or write the file anew with this NCCL",
    ),
    _row(
        "NUMA auto balancing|numa_balancing",
        "the kernel's NUMA balancing moves memory between sockets while ranks run",
        "sysctl kernel.numa_balancing=0",
    ),
)


def meaning_of(text: str) -> WarningMeaning | None:
    """The first row that fits a warning's text; None where no row does."""
    return next((row for row in MEANINGS if row.sign.search(text)), None)
