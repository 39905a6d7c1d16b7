"""A driver's own counters of an interface, as ``ethtool -S`` prints them, asked of the kernel by ioctl.

Source: Linux, include/uapi/linux/ethtool.h. Any user may ask. What is not in the table of counters is left out: an mlx5
port has thousands more, of its queues.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Callable

from bench.model.counter_table import ETHTOOL, counter

SIOCETHTOOL = 0x8946
GET_DRIVER, GET_NAMES, GET_VALUES = 0x3, 0x1B, 0x1D  # ETHTOOL_GDRVINFO, _GSTRINGS, _GSTATS
STATISTICS = 1  # ETH_SS_STATS
NAME_BYTES, DRIVER_BYTES, COUNT_AT = 32, 196, 180  # ETH_GSTRING_LEN; struct ethtool_drvinfo and its n_stats
SPARE = 1024  # counters of queues that come up while they are asked for: the kernel writes all there are
_REQUEST = struct.Struct("16sQ16x")  # struct ifreq: the interface's name, the address of the command

Ask = Callable[[str, "ctypes.Array[ctypes.c_char]"], None]
"""Puts a command to an interface and leaves the answer in it; OSError where it is not answered."""


def pauses(interface: str, ask: Ask | None = None) -> dict[str, int]:
    """The interface's counters that ``counter_table`` holds; none where it is not here or does not count."""
    ask = ask or ioctl
    try:
        return _known(interface, ask)
    except (OSError, struct.error):
        return {}


def _known(interface: str, ask: Ask) -> dict[str, int]:
    driver = ctypes.create_string_buffer(struct.pack("=I", GET_DRIVER), DRIVER_BYTES)
    ask(interface, driver)
    (count,) = struct.unpack_from("=I", driver, COUNT_AT)
    room = 2 * count + SPARE
    names = ctypes.create_string_buffer(
        struct.pack("=III", GET_NAMES, STATISTICS, count), 12 + NAME_BYTES * room
    )
    values = ctypes.create_string_buffer(struct.pack("=II", GET_VALUES, count), 8 + 8 * room)
    ask(interface, names)
    ask(interface, values)
    if (count,) != struct.unpack_from("=I", names, 8) or (count,) != struct.unpack_from("=I", values, 4):
        return {}  # queues came or went meanwhile: the names are not those of the values
    found = zip(_names(names, count), struct.unpack_from(f"={count}Q", values, 8), strict=True)
    return {name: value for name, value in found if counter(ETHTOOL, name)}


def _names(answer: ctypes.Array[ctypes.c_char], count: int) -> list[str]:
    """The names; mlx5 writes a blank behind one of them."""
    parts = (answer.raw[12 + at * NAME_BYTES :][:NAME_BYTES] for at in range(count))
    return [part.split(b"\0")[0].decode("ascii", "replace").strip() for part in parts]


def ioctl(interface: str, command: ctypes.Array[ctypes.c_char]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(
            asker.fileno(), SIOCETHTOOL, _REQUEST.pack(interface.encode()[:15], ctypes.addressof(command))
        )
