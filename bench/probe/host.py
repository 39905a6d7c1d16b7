"""Reads the operating system: kernel, memory, limits, and what matters to RDMA and GPUDirect.

Sources: proc(5), Linux Documentation/admin-guide/cgroup-v2.rst and mm/hugetlbpage.rst; for peer memory
NVIDIA/nccl ``ncclIbGdrSupport``.
"""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from bench.model.facts import Host
from bench.model.printable import on_one_line, plain
from bench.probe import cpu as quotas
from bench.probe import pci, sysfs

NODE = "RAILGAUGE_NODE"
_KIB = 1024
_NO_LIMIT = 1 << 60  # cgroup v1 writes "no limit" as nearly 2⁶³
_HUGE = re.compile(r"hugepages-([0-9]{1,12})kB")
_VERSION = re.compile(r"\b([0-9]{3,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?)\b")
_IOMMU = re.compile(r"(?:intel_iommu|amd_iommu|iommu(?:\.\w+)?|pci)=\S+|\w*iommu\w*|pcie_acs_override\S*")
_HYPERVISORS = re.compile(r"KVM|QEMU|VMware|Virtual Machine|VirtualBox|Bochs|Xen|Google Compute|OpenStack")
_CONTAINERS = re.compile(r"kubepods|docker|containerd|libpod|podman|lxc|garden|crio")
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_SIGNS = (
    (".dockerenv", "docker"),
    ("run/.containerenv", "podman"),
    (".singularity.d", "apptainer"),
    ("run/secrets/kubernetes.io", "kubernetes"),
)


def node_name(environ: Mapping[str, str] = os.environ) -> str:
    """The node's name in runs and verdicts: its hostname, or what ``NODE`` says where that is only a container's."""
    return on_one_line(environ.get(NODE, "").strip() or socket.gethostname())


def hostname(root: Path) -> str | None:
    """The kernel's name of the machine (of this UTS namespace), else what the tree says it should be."""
    found = (_name(root / where) for where in ("proc/sys/kernel/hostname", "etc/hostname"))
    return next(filter(None, found), None)


def machine(root: Path) -> str:
    """What sets this machine apart from all others: the kernel's boot, or else its installation; "" if unknown."""
    found = (sysfs.text(root / where) for where in ("proc/sys/kernel/random/boot_id", "etc/machine-id"))
    return next(filter(None, found), "")


def _name(path: Path) -> str | None:
    # the kernel takes any bytes for a name; spelled as a rank spells the name of its node
    raw = sysfs.data(path)
    return None if raw is None else plain(raw.decode("utf-8", "surrogateescape").strip())


def host(root: Path) -> Host:
    """The facts of the host, except ``clock``, which no file holds."""
    memory = parse_meminfo(sysfs.text(root / "proc/meminfo") or "")
    limit, left = _cgroup_memory(root)
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    model, cpus, hypervisor = parse_cpuinfo(sysfs.text(root / "proc/cpuinfo") or "")
    product = _product(root)
    memlock, unlimited = parse_memlock(sysfs.text(root / "proc/self/limits") or "")
    module, is_open = parse_nvidia(sysfs.text(root / "proc/driver/nvidia/version") or "")
    return Host(
        kernel=sysfs.text(root / "proc/sys/kernel/osrelease"),
        os=sysfs.value(root / "etc/os-release", parse_os_release),
        product=product,
        cpu=model,
        cpus=cpus,
        cpu_quota=quotas.quota(root),
        numa_nodes=_numa_nodes(root),
        memory_total=total,
        memory_available=min((size for size in (available, left) if size is not None), default=None),
        memory_limit=limit if limit is None or total is None or limit < total else None,
        hugepages=_hugepages(root),
        memlock=memlock,
        memlock_unlimited=unlimited,
        port_range=sysfs.value(root / "proc/sys/net/ipv4/ip_local_port_range", parse_range),
        iommu_groups=_iommu_groups(root),
        iommu_options=sysfs.value(root / "proc/cmdline", parse_iommu_options),
        virtual=_virtual(hypervisor, product),
        container=_container(root),
        peermem=_peermem(root),
        memory_peers=sysfs.names(root / "sys/kernel/mm/memory_peers"),
        nvidia_module=module or sysfs.text(root / "sys/module/nvidia/version"),
        nvidia_open=is_open,
        nvidia_on_bus=pci.nvidia_gpus(root),
    )


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name of the lines in kB."""
    found = re.findall(r"^(\w+):\s+([0-9]{1,15}) kB\s*$", text, re.MULTILINE)
    return {name: int(size) * _KIB for name, size in found}


def parse_os_release(text: str) -> str | None:
    """``Ubuntu 22.04.5 LTS`` of PRETTY_NAME."""
    match = re.search(r"^PRETTY_NAME=(.*)$", text, re.MULTILINE)
    return (match[1].strip().strip("\"'") or None) if match else None


def parse_cpuinfo(text: str) -> tuple[str | None, int | None, bool | None]:
    """Model, logical processors, and whether the CPU says that a hypervisor runs it (None: does not say)."""
    model = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    count = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    return (
        model[1].strip() if model else None,
        count or None,
        "hypervisor" in flags[1].split() if flags else None,
    )


def parse_memlock(text: str) -> tuple[int | None, bool | None]:
    """(soft limit in bytes, False), or (None, True) for "unlimited"; (None, None) where it does not stand."""
    match = re.search(r"^Max locked memory\s+(unlimited|[0-9]{1,20})\s", text, re.MULTILINE)
    if not match:
        return None, None
    return (None, True) if match[1] == "unlimited" else (int(match[1]), False)


def parse_range(text: str) -> tuple[int, int] | None:
    """``32768 60999``."""
    numbers = [sysfs.parse_count(part) for part in text.split()]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0], numbers[1]


def parse_iommu_options(text: str) -> tuple[str, ...]:
    """The words of the kernel's command line that set the IOMMU or ACS."""
    return tuple(word for word in text.split() if _IOMMU.fullmatch(word))


def parse_nvidia(text: str) -> tuple[str | None, bool | None]:
    """Version of the loaded NVIDIA kernel module and whether it is the open one, of its version file."""
    line = next((line for line in text.splitlines() if line.startswith("NVRM version:")), None)
    if line is None:
        return None, None
    match = _VERSION.search(line)
    return match[1] if match else None, "Open Kernel Module" in line


def parse_cgroups(text: str) -> Iterator[tuple[str, str]]:
    """(folder of the memory controller below /sys/fs/cgroup, path in it) of /proc/self/cgroup, v1 and v2."""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (controllers == "" or "memory" in controllers.split(",")):
            # ".." stands for what lies above this namespace, which cannot be read from here
            yield "memory" if controllers else "", "/" if ".." in path else path


def _cgroup_memory(root: Path) -> tuple[int | None, int | None]:
    """The tightest limit and the least that is left under one: this process's cgroups and those above."""
    limits: list[int] = []
    left: list[int] = []
    for controller, path in parse_cgroups(sysfs.text(root / "proc/self/cgroup") or ""):
        inside = PurePosixPath(path.lstrip("/"))
        for part in (inside, *inside.parents):
            folder = root / "sys/fs/cgroup" / controller / part
            limit, used = _limit(folder)
            if limit is not None:
                limits.append(limit)
                left.append(max(0, limit - (used or 0)))
    return min(limits, default=None), min(left, default=None)


def _limit(folder: Path) -> tuple[int | None, int | None]:
    """Limit and use in bytes; page cache that can be dropped at once is not in use."""
    for limit_name, used_name, cache_name in _MEMORY:
        limit = sysfs.value(folder / limit_name, sysfs.parse_count)
        if limit is not None and limit < _NO_LIMIT:
            used = sysfs.value(folder / used_name, sysfs.parse_count)
            cache = re.search(
                rf"^{cache_name} ([0-9]{{1,18}})$", sysfs.text(folder / "memory.stat") or "", re.M
            )
            return limit, None if used is None else max(0, used - int(cache[1] if cache else 0))
    return None, None


def _hugepages(root: Path) -> dict[str, tuple[int, int]]:
    folder = root / "sys/kernel/mm/hugepages"
    found = {}
    for name in sysfs.names(folder):
        pages = sysfs.value(folder / name / "nr_hugepages", sysfs.parse_count)
        free = sysfs.value(folder / name / "free_hugepages", sysfs.parse_count)
        if (match := _HUGE.fullmatch(name)) and pages is not None and free is not None:
            found[str(int(match[1]) * _KIB)] = (pages, free)
    return found


def _iommu_groups(root: Path) -> dict[str, int] | None:
    folder = root / "sys/kernel/iommu_groups"
    if not folder.is_dir():
        return None
    return dict(Counter(sysfs.text(folder / group / "type") or "" for group in sysfs.names(folder)))


def _numa_nodes(root: Path) -> int | None:
    names = sysfs.names(root / "sys/devices/system/node")
    return len([name for name in names if re.fullmatch(r"node[0-9]+", name)]) or None


def _product(root: Path) -> str | None:
    parts = [sysfs.text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or None


def _virtual(hypervisor: bool | None, product: str | None) -> bool | None:
    if hypervisor or (product and _HYPERVISORS.search(product)):
        return True
    return hypervisor  # False: an x86 CPU that would say so; None: Arm does not


def _container(root: Path) -> str | None:
    for sign, name in _SIGNS:
        if (root / sign).exists():
            return name
    match = _CONTAINERS.search(sysfs.text(root / "proc/self/cgroup") or "")
    return match[0] if match else None


def _peermem(root: Path) -> str | None:
    folder = root / "sys/module/nvidia_peermem"
    return sysfs.text(folder / "version") or ("loaded" if folder.is_dir() else None)
