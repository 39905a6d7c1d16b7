"""What drivers count by themselves: the kernel's answers to ETHTOOL_GDRVINFO, _GSTRINGS and _GSTATS."""

from __future__ import annotations

import errno
import struct

import pytest

from bench.model.facts import Port
from bench.probe import ethtool, node
from bench.probe.ethtool import ioctl, pauses

# names, in this order, of mlx5_core with PFC on for priority 3: Linux 5.15, drivers/net/ethernet/mellanox/mlx5/core/
# en_stats.c (pport_per_prio_pfc_stats_desc, pport_pfc_stall_stats_desc), where the first storm counter ends in a blank
MLX5 = {
    "rx_packets": 845320277,
    "rx_ecn_mark": 17,
    "rx_pause_ctrl_phy": 41927,
    "rx_prio3_bytes": 84719203847362,
    "rx_prio3_pause": 41927,
    "rx_prio3_pause_duration": 8134,
    "tx_prio3_pause": 1290418,
    "tx_prio3_pause_duration": 2914772,
    "rx_prio3_pause_transition": 39218,
    "tx_pause_storm_warning_events ": 2,
    "tx_pause_storm_error_events": 1,
    "rx0_packets": 5,
}


def driver(counters, there="eth7", also=0, also_names=0):
    """An interface of such a driver; ``also``: counters more when it is asked for its values, or its names."""

    def ask(interface, command):
        if interface != there:
            raise OSError(errno.ENODEV, "No such device")
        (what,) = struct.unpack_from("=I", command)
        if what == ethtool.GET_DRIVER:
            struct.pack_into("=I", command, 180, len(counters))
        elif what == ethtool.GET_NAMES:
            assert struct.unpack_from("=I", command, 4) == (ethtool.STATISTICS,)
            names = b"".join(name.encode().ljust(32, b"\0") for name in counters)
            struct.pack_into(f"=I{len(names)}s", command, 8, len(counters) + also_names, names)
        elif what == ethtool.GET_VALUES:
            struct.pack_into(f"=I{len(counters)}Q", command, 4, len(counters) + also, *counters.values())

    return ask


def test_the_counters_of_the_table_are_read_and_no_others():
    assert pauses("eth7", driver(MLX5)) == {
        "rx_ecn_mark": 17,
        "rx_prio3_pause_duration": 8134,
        "tx_prio3_pause_duration": 2914772,
        "tx_pause_storm_warning_events": 2,
        "tx_pause_storm_error_events": 1,
    }


@pytest.mark.parametrize(
    ("interface", "answers"),
    [("eth8", driver(MLX5)), ("eth7", driver({})), ("eth7", driver(MLX5, also=1)),
     ("eth7", driver(MLX5, also_names=1)), ("eth7", driver({"rx_packets": 1}))],
)  # fmt: skip
def test_an_interface_that_is_elsewhere_counts_nothing_or_changes_meanwhile_has_none(interface, answers):
    assert pauses(interface, answers) == {}


def test_the_kernel_is_asked_in_its_own_form():
    """Loopback has no driver: the kernel understands the command and says so."""
    with pytest.raises(OSError, match="not supported") as refused:
        ethtool._known("lo", ioctl)
    assert refused.value.errno == errno.EOPNOTSUPP
    assert pauses("lo") == pauses("no-such-device") == {}


def test_only_ports_of_a_live_machine_with_an_interface_are_asked(monkeypatch):
    monkeypatch.setattr(ethtool, "ioctl", driver(MLX5))
    ports = (Port("mlx5_0", 1, netdev="eth7"), Port("mlx5_1", 1))
    assert list(node._pauses(ports, True)) == ["mlx5_0/1"]
    assert node._pauses(ports, True)["mlx5_0/1"]["rx_prio3_pause_duration"] == 8134
    assert node._pauses(ports, False) == {}
