"""Small file systems for the probes: a line ``path = value`` is a file, ``path -> target`` a link."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"
SWITCH = "sys/devices/pci0000:10/0000:10:01.0/0000:11:00.0"  # root port, upstream port of a switch


def plant(root: Path, text: str) -> Path:
    """Make the files and links of ``text`` below ``root``; blank lines and ``#`` say nothing."""
    for line in text.splitlines():
        name, arrow, rest = line.partition(" -> ")
        if not arrow:
            name, equals, rest = line.partition(" = ")
        if not line.strip() or line.startswith("#"):
            continue
        path = root / name.strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(rest)
        else:
            assert equals, line
            path.write_text(rest + "\n")
    return root


def planted(root: Path, name: str) -> Path:
    return plant(root, (DATA / name).read_text())


def link(folder: str, generation: str = "32.0 GT/s PCIe", width: int = 16, best: int = 16) -> str:
    """The link files of one PCI device."""
    return f"""
{folder}/current_link_speed = {generation}
{folder}/current_link_width = {width}
{folder}/max_link_speed = 32.0 GT/s PCIe
{folder}/max_link_width = {best}
"""


def rail_machine() -> str:
    """A GPU and the HCA mlx5_3 with its interface below one switch; the root port runs at x8 of x16."""
    gpu, hca = f"{SWITCH}/0000:12:00.0/0000:13:00.0", f"{SWITCH}/0000:12:01.0/0000:14:00.0"
    bridges = (
        "sys/devices/pci0000:10/0000:10:01.0",
        SWITCH,
        f"{SWITCH}/0000:12:00.0",
        f"{SWITCH}/0000:12:01.0",
    )
    port = f"{hca}/infiniband/mlx5_3/ports/1"
    return "\n".join(
        (
            *(f"{bridge}/class = 0x060400" for bridge in bridges),
            *(link(folder) for folder in (gpu, hca, *bridges[1:])),
            link(bridges[0], width=8),
            f"{gpu}/numa_node = 1\n{gpu}/vendor = 0x10de\n{gpu}/class = 0x030200",
            f"{hca}/numa_node = 1\n{hca}/vendor = 0x15b3\n{hca}/class = 0x020700",
            f"{port}/state = 4: ACTIVE\n{port}/phys_state = 5: LinkUp\n{port}/rate = 400 Gb/sec (4X NDR)",
            f"{port}/link_layer = InfiniBand\n{port}/lid = 0x2a\n{port}/sm_lid = 0x1",
            f"{port}/gids/0 = fe80:0000:0000:0000:a088:c203:0012:3456",
            f"{port}/counters/port_xmit_data = 25\n{port}/counters/symbol_error = N/A (no PMA)",
            f"{port}/hw_counters/out_of_sequence = 3\n{port}/hw_counters/lifespan = 10",
            f"{hca}/infiniband/mlx5_3/device -> ../../../0000:14:00.0",
            f"{hca}/infiniband/mlx5_3/node_guid = a088:c203:0012:3456",
            f"{hca}/net/ibs3/dev_port = 0\n{hca}/net/ibs3/operstate = up\n{hca}/net/ibs3/mtu = 4092",
            f"{hca}/net/ibs3/device -> ../../../0000:14:00.0",
            "sys/bus/pci/drivers/mlx5_core/module/version = 24.10",
            f"{hca}/driver -> {'../' * 6}bus/pci/drivers/mlx5_core",
            f"sys/class/infiniband/mlx5_3 -> ../../{hca.removeprefix('sys/')}/infiniband/mlx5_3",
            f"sys/class/net/ibs3 -> ../../{hca.removeprefix('sys/')}/net/ibs3",
            f"sys/bus/pci/devices/0000:13:00.0 -> ../../../{gpu.removeprefix('sys/')}",
            f"sys/bus/pci/devices/0000:14:00.0 -> ../../../{hca.removeprefix('sys/')}",
        )
    )
