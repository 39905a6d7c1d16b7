"""The facts of a machine, as the probes saw it: ports, interfaces, GPUs, PCI paths, host, software.

Absent is None (or missing from a mapping), never 0: a counter that the kernel refuses to read, a speed of −1
and a field that the driver does not know are all absent. Rates are bytes/s, sizes bytes, clocks Hz, times
seconds since 1970, except PCI speeds: those are GT/s per lane, as PCI is specified.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

from .kernel_log import KernelLog
from .late_dataclass import dataclass, field

# nearest first, in the words of ``nvidia-smi topo -m``
LEVELS = ("PIX", "PXB", "PHB", "NODE", "SYS")
Counts = Mapping[str, int]
# interfaces of containers and virtual machines: they have the same networks on every machine and lead to no other
INWARD = (
    "docker", "podman", "virbr", "lxcbr", "lxdbr", "br-", "cbr", "cni", "veth", "flannel", "cali", "nerdctl", "kube",
    "cilium", "lxc_",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PciLink:
    """One device on the way to the root and the link above it (speeds in GT/s, widths in lanes).

    ``acs`` are the ACS controls that are on, in lspci's words: () is none, or a device without the
    capability, and None is unknown (an endpoint, or config space that may not be read).
    """

    address: str
    speed: float | None = None
    max_speed: float | None = None
    width: int | None = None
    max_width: int | None = None
    acs: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PciPath:
    """Where a device hangs: ``hops`` from the device itself to the root port, ``root`` the host bridge."""

    address: str
    root: str
    numa: int | None = None
    hops: tuple[PciLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Gid:
    """One entry of a port's GID table; ``kind``: "IB/RoCE v1" or "RoCE v2"; ``netdev``: the interface it is of."""

    index: int
    gid: str
    kind: str | None = None
    netdev: str | None = None


@dataclass(frozen=True)
class Port:
    """One port of one HCA, ``/sys/class/infiniband/<hca>/ports/<number>``.

    ``rate`` is what ``rate_text`` says; lid and sm_lid 0 on InfiniBand: no subnet manager has been here.
    ``counters`` and ``hw_counters`` are the folders of those names, as read (data in words of 4 bytes).
    ``mtu`` is the largest packet in use, in bytes, ``max_mtu`` the largest that the port could. ``pkeys``: the table
    of partition keys by index, up to the last that is set; ``gids``: the entries that are set. None: not read.
    ``openable``: whether this process may open the adapter; a container can see all adapters of its host.
    """

    hca: str
    number: int
    state: str | None = None
    phys_state: str | None = None
    rate: float | None = None
    rate_text: str | None = None
    link_layer: str | None = None
    lid: int | None = None
    sm_lid: int | None = None
    gid: str | None = None
    fw: str | None = None
    board: str | None = None
    hca_type: str | None = None
    node_guid: str | None = None
    system_guid: str | None = None
    driver: str | None = None
    netdev: str | None = None
    mtu: int | None = None
    max_mtu: int | None = None
    pkeys: tuple[int, ...] | None = None
    gids: tuple[Gid, ...] | None = None
    openable: bool | None = None
    pci: PciPath | None = None
    counters: Counts = field(default_factory=dict)
    hw_counters: Counts = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``mlx5_3/1``."""
        return f"{self.hca}/{self.number}"

    @property
    def guid(self) -> str | None:
        """The port's GUID, ``a088:c203:0012:3456``: half of its GID (InfiniBand only); None where it is 0."""
        found = self.gid[-19:] if self.gid and self.link_layer == "InfiniBand" else ""
        return found if found.strip("0:") else None

    @property
    def active(self) -> bool | None:
        """Whether NCCL would take it; None where the state could not be read."""
        return None if self.state is None else self.state == "ACTIVE"


@dataclass(frozen=True)
class Interface:
    """One network interface, ``/sys/class/net/<name>``.

    ``carrier`` None: admin down (the kernel refuses the read), ``speed`` None: unknown. ``addresses`` are
    ``10.0.0.1/24`` and ``fe80::1/64``; None where they could not be asked. ``virtual``: no device below it.
    """

    name: str
    operstate: str | None = None
    carrier: bool | None = None
    speed: float | None = None
    mtu: int | None = None
    mac: str | None = None
    addresses: tuple[str, ...] | None = None
    driver: str | None = None
    virtual: bool | None = None
    pci: PciPath | None = None
    statistics: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NvLink:
    """One NVLink of a GPU; ``peer`` is the PCI address behind it (an NVSwitch, or the other GPU)."""

    link: int
    active: bool
    version: int | None = None
    peer: str | None = None


@dataclass(frozen=True)
class Ecc:
    """Error counts: volatile since the driver was loaded, aggregate since the board was made."""

    enabled: bool | None = None
    volatile_corrected: int | None = None
    volatile_uncorrected: int | None = None
    aggregate_corrected: int | None = None
    aggregate_uncorrected: int | None = None
    remapped_corrected: int | None = None
    remapped_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None


@dataclass(frozen=True)
class NvlinkFabric:
    """How a GPU stands in its NVLink fabric (nvmlDeviceGetGpuFabricInfoV).

    state     "not started", "in progress" or "completed": the fabric manager has registered it. Without a fabric
              there is none of this at all
    status    nvmlReturn_t of the registration; 0 is success
    cluster   UUID in hex, of the NVLink domain (NVL72); "" of a node by itself
    clique    GPUs of one cluster and clique reach each other by NVLink
    trouble   what the health mask calls unhealthy
    """

    state: str
    status: int | None = None
    cluster: str = ""
    clique: int | None = None
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML shows it; ``index`` is NVML's, in the order of the PCI bus.

    ``nvlinks`` () means that it has none, None that NVML would not say; ``fabric`` None: it is in none, or unknown.
    ``limits`` are the reasons NVML gives for the present clocks (``sw_power_cap``, ``hw_slowdown`` …).
    ``compute_mode`` other than "default" keeps a second process off it. Power in W, temperature in °C;
    ``power_limit_default`` is what the board draws at most where nobody sets a limit.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    serial: str | None = None
    vbios: str | None = None
    pci: PciPath | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    ecc: Ecc = field(default_factory=Ecc)
    nvlinks: tuple[NvLink, ...] | None = None
    fabric: NvlinkFabric | None = None
    clock_sm: float | None = None
    clock_sm_max: float | None = None
    clock_memory: float | None = None
    clock_memory_max: float | None = None
    limits: tuple[str, ...] | None = None
    temperature: int | None = None
    power: float | None = None
    power_limit: float | None = None
    power_limit_default: float | None = None
    persistence: bool | None = None
    mig: bool | None = None
    compute_mode: str | None = None
    processes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """The operating system and what of it bears on RDMA.

    cpu_quota         cores that the tightest cgroup lets the job use; None: all
    memory_available  what may still be taken, the cgroup's limit included
    memory_limit      the tightest cgroup limit; None: none
    hugepages         page size in bytes → (all, free)
    memlock           soft limit in bytes; ``memlock_unlimited`` where it is "unlimited"
    iommu_groups      how many, by type ("DMA", "identity" …, "" where the kernel does not say)
    iommu_options     the kernel command line's words about IOMMU and ACS
    virtual           in a virtual machine; None: cannot tell
    container         the sign that was found ("docker", "kubepods" …); None: no sign
    peermem           version of nvidia_peermem, or "loaded"; None: not loaded
    memory_peers      the clients of the older peer-memory interface
    nvidia_open       whether the loaded NVIDIA kernel module is the open one (dma-buf needs it)
    nvidia_on_bus     PCI addresses of NVIDIA GPUs in sysfs, whether or not NVML can see them
    clock             time at the probe, seconds since 1970
    """

    kernel: str | None = None
    os: str | None = None
    product: str | None = None
    cpu: str | None = None
    cpus: int | None = None
    cpu_quota: float | None = None
    numa_nodes: int | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    memory_limit: int | None = None
    hugepages: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    memlock: int | None = None
    memlock_unlimited: bool | None = None
    port_range: tuple[int, int] | None = None
    iommu_groups: Counts | None = None
    iommu_options: tuple[str, ...] | None = None
    virtual: bool | None = None
    container: str | None = None
    peermem: str | None = None
    memory_peers: tuple[str, ...] = ()
    nvidia_module: str | None = None
    nvidia_open: bool | None = None
    nvidia_on_bus: tuple[str, ...] | None = None
    clock: float | None = None


@dataclass(frozen=True)
class Software:
    """Versions, read without importing or initialising anything.

    ``torch_cuda`` is what torch was built for, ``torch_nccl`` the wheel it pins; ``nccl_wheels`` are the
    installed ones and ``nccl_libraries`` the libnccl.so files in the loader's folders: which of them a
    process loads only that process can say. ``net_plugins`` are files named libnccl-net*.so.
    """

    python: str | None = None
    torch: str | None = None
    torch_cuda: str | None = None
    torch_nccl: str | None = None
    nccl_wheels: Mapping[str, str] = field(default_factory=dict)
    nccl_libraries: tuple[str, ...] = ()
    net_plugins: tuple[str, ...] = ()
    mpi: str | None = None
    mpi_version: str | None = None
    mpi_path: str | None = None
    ucx: str | None = None
    ofed: str | None = None
    mpi4py: str | None = None
    driver: str | None = None
    driver_cuda: str | None = None


@dataclass(frozen=True)
class Environment:
    """The settings of NCCL, UCX and MPI. ``files``: the text of each conf file that NCCL may open (None: it cannot
    be opened); ``withheld``: names that look like secrets, their values are nowhere.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)
    home: str | None = None
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuToHca:
    """How a GPU reaches an HCA (or a rail's interface): a word of LEVELS; None: it cannot be determined."""

    gpu: int
    device: str
    level: str | None


@dataclass(frozen=True)
class Node:
    """One machine. ``tcp`` are the counters of /proc/net/snmp, ``topology`` is what ``nvidia-smi topo -m`` says;
    ``kernel_log`` None: nobody looked; ``notes``: each source that could not be read and why, one ``source: reason``
    each.
    """

    name: str
    ports: tuple[Port, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    tcp: Counts = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    topology: tuple[GpuToHca, ...] = ()
    host: Host = field(default_factory=Host)
    software: Software = field(default_factory=Software)
    environment: Environment = field(default_factory=Environment)
    kernel_log: KernelLog | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def derived(self) -> dict[object, object]:
        """What is derived from these facts alone, by what it is derived with; kept as long as they are."""
        return {}

    @cached_property
    def affinity(self) -> tuple[GpuToHca, ...]:
        """Every GPU against every HCA and every interface that has a PCI device, by their common PCI ancestor.

        Where the PCI tree does not tell, as in many virtual machines, ``nvidia-smi topo -m`` is believed.
        """
        gpus = tuple([(gpu.index, gpu.pci) for gpu in self.gpus])
        return _affinity(gpus, tuple(_devices(self).items()), self.topology)


def nvlink_domain(node: Node) -> str | None:
    """The NVLink domain that all GPUs of the node are in, by cluster and clique; None where they are in none that is
    known, or in several. A machine whose NVLink ends at the node has no cluster.
    """
    found = {(gpu.fabric.cluster, gpu.fabric.clique) if gpu.fabric else ("", None) for gpu in node.gpus}
    cluster, clique = found.pop() if len(found) == 1 else ("", None)
    return f"{cluster}/{clique}" if cluster else None


def relation(one: PciPath | None, other: PciPath | None) -> str | None:
    """PIX: one PCI switch (or bridge) between the two; PXB: several; PHB: the same host bridge; NODE: the
    same NUMA node; SYS: different ones. None where a path, or NUMA where it matters, is not known.

    Source: the legend of ``nvidia-smi topo -m``. In a virtual machine the PCI tree is the hypervisor's.
    """
    if one is None or other is None or not one.hops or not other.hops:
        return None
    above = [hop.address for hop in other.hops]
    for depth, hop in enumerate(one.hops):
        if hop.address in above:
            # a switch shows two bridges on the way: the downstream port, and the upstream port both share
            between = max(depth, above.index(hop.address)) - 1
            return "PIX" if between <= 1 else "PXB"
    if one.root == other.root:
        return "PHB"
    if one.numa is None or other.numa is None:
        return None
    return "NODE" if one.numa == other.numa else "SYS"


@lru_cache(maxsize=64)  # most nodes of a cluster are built alike
def _affinity(
    gpus: tuple[tuple[int, PciPath | None], ...],
    paths: tuple[tuple[str, PciPath], ...],
    topology: tuple[GpuToHca, ...],
) -> tuple[GpuToHca, ...]:
    said = {(near.gpu, near.device): near.level for near in topology}
    devices = dict(paths)
    names = dict.fromkeys((*devices, *(near.device for near in topology)))
    return tuple(
        GpuToHca(gpu, name, relation(path, devices.get(name)) or said.get((gpu, name)))
        for gpu, path in gpus
        for name in names
    )


def _devices(node: Node) -> dict[str, PciPath]:
    """PCI paths by device name, HCAs first."""
    paths = {port.hca: port.pci for port in node.ports}
    for interface in node.interfaces:
        paths.setdefault(interface.name, interface.pci)
    return {name: path for name, path in paths.items() if path is not None}
