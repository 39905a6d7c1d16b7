import socket

import pytest

from bench.model.facts import Host
from bench.probe import host
from bench.probe.node import probe
from bench.supervise.answers import hello
from trees import plant

MEMINFO = """MemTotal:       24682416 kB
MemFree:        24092256 kB
MemAvailable:   24271052 kB
HugePages_Total:       0
"""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max locked memory         {0}              {0}              bytes
"""
OPEN = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)
GCC version:  gcc version 12.3.0
"""
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"


def written(root, files: dict[str, str]):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_an_empty_tree_is_all_unknown(tmp_path):
    assert host.host(tmp_path) == Host()
    assert host.hostname(tmp_path) is None


def test_a_bare_metal_host_is_read(tmp_path):
    plant(
        tmp_path,
        """
proc/sys/kernel/hostname = node7
proc/sys/kernel/osrelease = 6.8.0-60-generic
proc/sys/net/ipv4/ip_local_port_range = 32768	60999
proc/cmdline = BOOT_IMAGE=/vmlinuz intel_iommu=on iommu=pt pci=realloc=off hugepages=8
etc/os-release = PRETTY_NAME="Ubuntu 22.04.5 LTS"
sys/class/dmi/id/sys_vendor = Supermicro
sys/class/dmi/id/product_name = SYS-821GE-TNHR
sys/devices/system/node/node0/cpulist = 0-55
sys/devices/system/node/node1/cpulist = 56-111
sys/devices/system/node/online = 0-1
sys/kernel/iommu_groups/0/type = identity
sys/kernel/iommu_groups/1/type = DMA
sys/kernel/iommu_groups/10/type = DMA
sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages = 8
sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages = 5
sys/module/nvidia_peermem/version = 570.86.15
sys/kernel/mm/memory_peers/nv_mem/version = 1.1
""",
    )
    cpu = "processor\t: {}\nmodel name\t: Intel(R) Xeon(R) Platinum 8480C\nflags\t\t: fpu vme ssse3\n\n"
    written(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/cpuinfo": cpu.format(0) + cpu.format(1),
            "proc/self/limits": LIMITS.format("unlimited"),
            "proc/driver/nvidia/version": OPEN,
        },
    )
    assert host.hostname(tmp_path) == "node7"
    assert host.host(tmp_path) == Host(
        kernel="6.8.0-60-generic",
        os="Ubuntu 22.04.5 LTS",
        product="Supermicro SYS-821GE-TNHR",
        cpu="Intel(R) Xeon(R) Platinum 8480C",
        cpus=2,
        numa_nodes=2,
        memory_total=24682416 << 10,
        memory_available=24271052 << 10,
        hugepages={"2097152": (8, 5)},
        memlock_unlimited=True,
        port_range=(32768, 60999),
        iommu_groups={"identity": 1, "DMA": 2},
        iommu_options=("intel_iommu=on", "iommu=pt", "pci=realloc=off"),
        virtual=False,
        peermem="570.86.15",
        memory_peers=("nv_mem",),
        nvidia_module="570.86.15",
        nvidia_open=True,
    )


@pytest.mark.parametrize(
    ("files", "limit", "available"),
    [
        ({}, None, 24271052 << 10),
        # version 2, in the container's own namespace; file cache can be dropped
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1000000\n",
                "sys/fs/cgroup/memory.current": "700000\n",
                "sys/fs/cgroup/memory.stat": "anon 300000\ninactive_file 400000\n",
            },
            1000000,
            700000,
        ),
        # version 2: the folder above is tighter
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/memory.max": "max\n",
                "sys/fs/cgroup/job/memory.max": "500\n",
                "sys/fs/cgroup/job/memory.current": "600\n",
            },
            500,
            0,
        ),
        # version 1 beside an empty version 2
        (
            {
                "proc/self/cgroup": "5:devices:/\n4:cpu,memory:/slurm\n0::/\n",
                "sys/fs/cgroup/memory/slurm/memory.limit_in_bytes": "2000\n",
                "sys/fs/cgroup/memory/slurm/memory.usage_in_bytes": "500\n",
            },
            2000,
            1500,
        ),
        # version 1 says "no limit" as a number
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
            24271052 << 10,
        ),
        # a path that leaves the namespace is not followed
        ({"proc/self/cgroup": "0::/../../other\n", "other/memory.max": "1\n"}, None, 24271052 << 10),
    ],
)
def test_a_cgroup_limits_the_memory_that_is_left(tmp_path, files, limit, available):
    facts = host.host(written(tmp_path, {"proc/meminfo": MEMINFO, **files}))
    assert (facts.memory_limit, facts.memory_available) == (limit, available)


@pytest.mark.parametrize(
    ("text", "memlock", "unlimited"),
    [(LIMITS.format("8388608"), 8388608, False), (LIMITS.format("unlimited"), None, True), ("", None, None)],
)
def test_memlock(text, memlock, unlimited):
    assert host.parse_memlock(text) == (memlock, unlimited)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (OPEN, ("570.86.15", True)),
        (CLOSED, ("535.183.01", False)),
        ("GCC version:  gcc version 12.3.0\n", (None, None)),
        ("NVRM version:", (None, False)),
        ("", (None, None)),
    ],
)
def test_the_nvidia_module_says_whether_it_is_open(text, found):
    assert host.parse_nvidia(text) == found


@pytest.mark.parametrize(
    ("flags", "product", "virtual"),
    [
        ("fpu hypervisor", "", True),
        ("fpu", "Dell Inc. PowerEdge XE9680", False),
        (None, "QEMU Standard PC", True),
        (None, "NVIDIA Grace", None),
        (None, "", None),
    ],
)
def test_a_virtual_machine_is_told_by_its_cpu_or_its_product(tmp_path, flags, product, virtual):
    files = {
        "sys/class/dmi/id/product_name": product,
        "proc/cpuinfo": f"flags\t: {flags}\n" if flags else "processor : 0\n",
    }
    assert host.host(written(tmp_path, files)).virtual is virtual


@pytest.mark.parametrize(
    ("files", "container"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({".singularity.d/env/x": ""}, "apptainer"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1\n"}, "kubepods"),
        ({"proc/self/cgroup": "0::/user.slice\n"}, None),
    ],
)
def test_a_container_is_told_by_its_signs(tmp_path, files, container):
    assert host.host(written(tmp_path, files)).container == container


def test_a_loaded_module_without_version_is_loaded(tmp_path):
    plant(tmp_path, "sys/module/nvidia_peermem/refcnt = 0")
    assert host.host(tmp_path).peermem == "loaded"


@pytest.mark.parametrize(
    ("text", "found"), [("1024 65535", (1024, 65535)), ("1024", None), ("a b", None), ("", None)]
)
def test_port_range(text, found):
    assert host.parse_range(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("PRETTY_NAME='Debian 12'", "Debian 12"), ("PRETTY_NAME=", None), ("NAME=x", None), ("", None)],
)
def test_os_release(text, found):
    assert host.parse_os_release(text) == found


def test_a_node_is_called_as_it_is_told_where_its_hostname_is_a_containers():
    assert host.node_name({}) == host.node_name({host.NODE: " "}) == socket.gethostname()
    assert host.node_name({host.NODE: "gpu-17"}) == "gpu-17"
    assert "\n" not in host.node_name({host.NODE: "gpu\n17\x1b[31m"})


def test_the_node_of_a_run_bears_that_name_in_its_facts_and_in_its_greeting(monkeypatch):
    monkeypatch.setenv(host.NODE, "gpu-17")
    assert probe().name == "gpu-17"
    assert hello()["host"] == "gpu-17"
