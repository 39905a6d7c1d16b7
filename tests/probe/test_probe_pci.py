import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.facts import relation
from bench.probe import pci
from trees import plant, rail_machine


@pytest.mark.parametrize(
    ("path", "root", "addresses"),
    [
        (
            "/d/pci0000:40/0000:40:03.0/0000:43:00.0/infiniband/qib0",
            "pci0000:40",
            ("0000:43:00.0", "0000:40:03.0"),
        ),
        ("/x/sys/devices/pci0000:00/0000:00:03.0/virtio2", "pci0000:00", ("0000:00:03.0",)),
        (
            "/sys/devices/LNXSYSTM:00/VMBUS:00/4750-01/pci0101:00/0101:00:00.0",
            "pci0101:00",
            ("0101:00:00.0",),
        ),
        ("/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0", "pci10000:e0", ("10000:e0:01.0",)),
        ("/sys/devices/virtual/net/lo", "", ()),
        ("/sys/devices/0000:40:03.0", "", ()),
        ("", "", ()),
    ],
)
def test_the_way_to_the_root_stands_in_the_path(path, root, addresses):
    assert pci.parse_path(path) == (root, addresses)


def test_a_degraded_link_above_the_device_is_seen(tmp_path):
    plant(tmp_path, rail_machine())
    gpu, hca = (pci.path(tmp_path / pci.DEVICES / f"0000:{bus}:00.0") for bus in (13, 14))
    assert gpu is not None
    assert [(hop.width, hop.max_width) for hop in gpu.hops] == [(16, 16)] * 3 + [(8, 16)]
    assert {(hop.speed, hop.max_speed) for hop in gpu.hops} == {(32.0, 32.0)}
    assert relation(gpu, hca) == "PIX"


def test_a_device_off_pci_has_no_way(tmp_path):
    plant(tmp_path, "sys/devices/virtual/net/lo/mtu = 65536")
    assert pci.path(tmp_path / "sys/devices/virtual/net/lo") is None
    assert pci.path(tmp_path / "nothing") is None


def test_a_loop_of_links_has_no_way(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert pci.path(tmp_path / "a") is None


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("32.0 GT/s PCIe", 32.0),
        ("8 GT/s", 8.0),
        ("2.5 GT/s PCIe", 2.5),
        ("Unknown", None),
        ("Unknown speed", None),
        ("", None),
    ],
)
def test_speed(text, speed):
    assert pci.parse_speed(text) == speed


@pytest.mark.parametrize(
    ("text", "width"), [("16", 16), ("1", 1), ("0", None), ("255", None), ("x16", None), ("", None)]
)
def test_width(text, width):
    assert pci.parse_width(text) == width


# ── ACS ─────────────────────────────────────────────────────────────────────────────────────────────────


def config(*capabilities: tuple[int, int, bytes], size: int = 4096) -> bytes:
    """Config space with extended capabilities (id, offset, body), chained in this order."""
    space = bytearray(size)
    space[0:2] = b"\x86\x80"
    for at, (kind, offset, body) in enumerate(capabilities):
        following = capabilities[at + 1][1] if at + 1 < len(capabilities) else 0
        space[offset : offset + 4] = struct.pack("<I", kind | 1 << 16 | following << 20)
        space[offset + 4 : offset + 4 + len(body)] = body
    return bytes(space)


def acs(control: int) -> bytes:
    return struct.pack("<HH", 0x7F, control)


LOOP = (
    config((0x0001, 0x100, b""))[:0x100]
    + struct.pack("<I", 0x0001 | 1 << 16 | 0x100 << 20)
    + bytes(4096 - 0x104)
)


@pytest.mark.parametrize(
    ("space", "controls"),
    [
        (config((0x000D, 0x100, acs(0))), ()),
        (
            config((0x0001, 0x100, b""), (0x000D, 0x148, acs(0x1D))),
            ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"),
        ),
        (config((0x000D, 0xFF8, acs(0x7F))), ()),  # not on the chain
        (config((0x0001, 0x100, b""), (0x000D, 0xFF8, acs(0x01))), ("SrcValid",)),
        (config((0x0001, 0x100, b""), (0x0002, 0x148, b"")), ()),
        (LOOP, None),
        (config((0x000D, 0x100, acs(1)))[:256], None),
        (config((0x000D, 0x100, acs(1)))[:64], None),
        (config((0x0001, 0x100, b""), (0x000D, 0x148, acs(1)))[:0x14C], None),
        (b"\xff" * 4096, None),
        (b"", None),
    ],
)
def test_acs_of_config_space(space, controls):
    assert pci.parse_acs(space) == controls


@given(st.binary(max_size=600))
def test_no_config_space_crashes_or_hangs(tail):
    found = pci.parse_acs(b"\x86\x80\x00\x00" + bytes(0xFC) + tail)
    assert found is None or set(found) <= set(pci.ACS)


def test_acs_is_read_of_bridges_alone(tmp_path):
    plant(tmp_path, rail_machine())
    gpu = tmp_path / pci.DEVICES / "0000:13:00.0"
    space = config((0x000D, 0x100, acs(0x1)))
    for folder in (gpu.resolve(), gpu.resolve().parent):
        (folder / "config").write_bytes(space)
    path = pci.path(gpu)
    assert path is not None
    assert [hop.acs for hop in path.hops] == [None, ("SrcValid",), None, None]


# ── GPUs on the bus ─────────────────────────────────────────────────────────────────────────────────────


def test_nvidia_gpus_are_counted_on_the_bus_even_if_no_driver_sees_them(tmp_path):
    plant(tmp_path, rail_machine())
    plant(
        tmp_path,
        """
sys/bus/pci/devices/0000:05:00.0/vendor = 0x10de
sys/bus/pci/devices/0000:05:00.0/class = 0x068000
sys/bus/pci/devices/0000:06:00.0/vendor = 0x1a03
sys/bus/pci/devices/0000:06:00.0/class = 0x030000
""",
    )
    assert pci.nvidia_gpus(tmp_path) == ("0000:13:00.0",)  # neither the NVSwitch nor the console's VGA
    assert pci.nvidia_gpus(tmp_path / "etc") is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:18:00.0", "0000:18:00.0"),
        ("00000001:0A:00.0", "0001:0a:00.0"),
        ("00010000:E0:01.0", "10000:e0:01.0"),
        ("0000:18:00.0", "0000:18:00.0"),
        ("18:00.0", None),
        ("", None),
    ],
)
def test_bus_id(text, address):
    assert pci.parse_bus_id(text) == address
