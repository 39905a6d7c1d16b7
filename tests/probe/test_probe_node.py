import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import typed_json
from bench.model.counters import TCP, Snapshot, bytes_moved, delta
from bench.model.facts import GpuToHca, Node
from bench.model.rails import shared_out
from bench.probe import addresses, environment, host, infiniband, network, pci, software, sysfs
from bench.probe.node import COPY, probe, snapshot
from fake_nvml import Nvml
from trees import plant, planted, rail_machine


def test_a_copied_machine_is_read_whole(tmp_path):
    plant(tmp_path, rail_machine() + "\nproc/sys/kernel/hostname = node7")
    node = probe(tmp_path, nvml=Nvml(nvmlDeviceGetCount=lambda: 1))
    assert (node.name, len(node.ports), len(node.interfaces), len(node.gpus)) == ("node7", 1, 1, 1)
    assert node.host.nvidia_on_bus == ("0000:13:00.0",)
    assert GpuToHca(0, "mlx5_3", "PIX") in node.affinity
    assert shared_out(node, ["mlx5_3"]) == (("mlx5_3",),)
    assert typed_json.load(Node, json.loads(json.dumps(typed_json.to_json(node)))) == node


def test_a_copied_tree_says_nothing_of_the_machine_it_is_read_on(tmp_path):
    node = probe(planted(tmp_path, "h100.txt"))
    assert (node.name, node.gpus, node.interfaces, node.tcp) == ("unnamed", (), (), {})
    assert (node.software.python, node.host.clock, node.environment.variables) == (None, None, {})
    assert len(node.ports) == 9
    assert any(note.startswith("nvml") and COPY in note for note in node.notes)
    assert any(note.startswith("/sys/class/net: ") for note in node.notes)


def test_this_machine_can_be_probed_and_its_facts_survive_json():
    node = probe(nvml=Nvml(), environ={"NCCL_DEBUG": "INFO", "NCCL_TOKEN": "hunter2"})
    assert node.name
    assert None not in (node.host.clock, node.host.kernel, node.software.python)
    assert node.environment.variables == {"NCCL_DEBUG": "INFO"}
    assert len(node.gpus) == 2
    text = json.dumps(typed_json.to_json(node))
    assert "hunter2" not in text
    assert typed_json.load(Node, json.loads(text)) == node


def test_a_source_that_breaks_is_a_note_and_the_others_are_read(tmp_path):
    plant(tmp_path, rail_machine())
    node = probe(
        tmp_path, nvml=Nvml(nvmlDeviceGetName=lambda gpu: {}["name"])
    )  # its text is alike in every Python
    assert node.gpus == ()
    assert "nvml: KeyError: 'name'" in node.notes
    assert len(node.ports) == 1


def test_no_rdma_device_is_a_note(tmp_path):
    assert "/sys/class/infiniband: no RDMA device" in probe(tmp_path).notes


def test_two_snapshots_of_a_tree_tell_what_moved(tmp_path):
    plant(tmp_path, rail_machine())
    counters = tmp_path / infiniband.CLASS / "mlx5_3/ports/1/counters"
    (counters / "port_rcv_data").write_text("0\n")
    before = snapshot(tmp_path)
    (counters / "port_xmit_data").write_text("275\n")
    moved = delta(before, snapshot(tmp_path))
    traffic = bytes_moved(moved, "mlx5_3/1")
    assert (traffic.sent, traffic.received) == (1000, 0)
    assert moved.seconds is not None
    assert typed_json.load(Snapshot, json.loads(json.dumps(typed_json.to_json(before)))) == before


def test_a_snapshot_of_nothing_has_no_readings(tmp_path):
    assert snapshot(tmp_path).readings == {TCP: {TCP: {}}}


# ── no input crashes ────────────────────────────────────────────────────────────────────────────────────

PARSERS = [
    sysfs.parse_int,
    sysfs.parse_count,
    infiniband.parse_state,
    infiniband.parse_rate,
    infiniband.parse_gid,
    network.parse_carrier,
    network.parse_speed,
    network.parse_snmp,
    pci.parse_path,
    pci.parse_speed,
    pci.parse_width,
    pci.parse_bus_id,
    host.parse_meminfo,
    host.parse_os_release,
    host.parse_cpuinfo,
    host.parse_memlock,
    host.parse_range,
    host.parse_iommu_options,
    host.parse_nvidia,
    lambda text: list(host.parse_cgroups(text)),
    software.parse_mpirun,
    software.parse_ucx,
    software.parse_ofed,
    software.parse_torch_version,
    lambda text: software.parse_pin([text]),
    environment.without_secrets,
    lambda text: addresses.parse(text.encode("utf-8", "replace")),
]
SCRAPS = st.sampled_from(
    [
        *(
            "400 Gb/sec (4X NDR)",
            "4: ",
            "Tcp: ",
            "RetransSegs",
            "pci0000:00/",
            "0000:00:01.0",
            "0x",
            "-1",
            "9" * 30,
        ),
        *(
            "=",
            "\n",
            "flags\t: ",
            "processor\t:",
            "MemTotal: 1 kB",
            "0::/..",
            "4:memory:/",
            "NVRM version:",
            "²",
            "١",
        ),
    ]
)
TEXTS = st.lists(SCRAPS | st.text(max_size=6), max_size=6).map("".join)


@settings(max_examples=60)
@given(TEXTS)
def test_no_text_crashes_a_parser(text):
    for parse in PARSERS:
        parse(text)


@pytest.mark.parametrize(
    "text", ["²", "١٢", "1_0", " ", "0x", "0xg", "1e3", "1.0", "N/A (no PMA)", "9" * 5000, "--1"]
)
def test_what_only_looks_like_a_number_is_none(text):
    assert sysfs.parse_int(text) is None


PATHS = [
    "sys/class/infiniband/mlx5_0/ports/1/state",
    "sys/class/infiniband/mlx5_0/ports/1/rate",
    "sys/class/infiniband/mlx5_0/ports/1/gids/0",
    "sys/class/infiniband/mlx5_0/ports/1/counters/link_downed",
    "sys/class/infiniband/mlx5_0/ports",
    "sys/class/infiniband/mlx5_0",
    "sys/class/net/eth0/carrier",
    "sys/class/net/eth0/statistics/tx_bytes",
    "sys/bus/pci/devices/0000:01:00.0/vendor",
    "sys/devices/pci0000:00/0000:00:01.0/config",
    "proc/net/snmp",
    "proc/meminfo",
    "proc/cpuinfo",
    "proc/self/cgroup",
    "proc/self/limits",
    "proc/driver/nvidia/version",
    "proc/cmdline",
    "proc/sys/kernel/hostname",
    "etc/nccl.conf",
    "etc/os-release",
]


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=40) | TEXTS.map(str.encode), max_size=12))
def test_no_tree_crashes_the_probe(files):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, body in files.items():
            path = root / name
            if not path.exists() and not any(parent.is_file() for parent in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
        node = probe(root)
        assert typed_json.load(Node, json.loads(json.dumps(typed_json.to_json(node)))) == node
        assert not [note for note in node.notes if "Error" in note]  # nothing had to be caught
        snapshot(root)


def test_a_pipe_in_a_copied_tree_is_a_value_that_is_not_known(tmp_path):
    os.mkfifo(tmp_path / "rate")
    assert sysfs.data(tmp_path / "rate") is None
