"""Sizes, rates and times as people write them, and as the code keeps them.

Inside, everything is bytes, seconds and bytes per second. The factors between units are defined here alone.
1 GB/s = 10⁹ B/s and 1 Gb/s = 10⁹ b/s (decimal, as NCCL and network vendors count); message sizes
K, M and G are powers of 1024, as nccl-tests reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import islice

from bench.model.errors import EXIT_USAGE, RailGaugeError

GIGA = 1e9
MEGA = 1e6
BITS = 8
MICRO = 1e-6

_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_RATES = {
    "GB/s": GIGA,
    "Gb/s": GIGA / BITS,
    "Gbit/s": GIGA / BITS,
    "Gbps": GIGA / BITS,
    "Tb/s": 1e3 * GIGA / BITS,
    "MB/s": MEGA,
    "Mb/s": MEGA / BITS,
    "Mbit/s": MEGA / BITS,
    "B/s": 1.0,
}
_TIMES = {"ns": 1e-9, "us": MICRO, "µs": MICRO, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_POWERS = {"W": 1.0, "kW": 1e3}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"


class UnitError(RailGaugeError, ValueError):
    """A text that is not a size, rate or time; the message lists what would be."""

    exit_status = EXIT_USAGE


def parse_size(text: str) -> int:
    """Bytes of ``8``, ``64K``, ``128M``, ``1.5G``: 1024-based, like nccl-tests ``-b`` and ``-e``."""
    match = re.fullmatch(_NUMBER + r"\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UnitError(
            f"{text!r} is not a size; write bytes or K, M, G, T (1024-based), such as 8, 64K, 128M"
        )
    value = float(match[1]) * _BINARY[match[2].upper()]
    if not value.is_integer():
        raise UnitError(f"{text!r} is not a whole number of bytes")
    return int(value)


def parse_rate(text: str) -> float:
    """Bytes per second of ``400 Gb/s`` or ``50 GB/s``; the unit is required."""
    return _parse(text, _RATES, "a rate")


def parse_seconds(text: str) -> float:
    """Seconds of ``10m``, ``90 s``, ``5 us``; the unit is required."""
    return _parse(text, _TIMES, "a time")


def parse_power(text: str) -> float:
    """Watts of ``600 W``; the unit is required."""
    return _parse(text, _POWERS, "a power")


def parse_share(text: str) -> float:
    """0.95 of ``95 %``."""
    match = re.fullmatch(_NUMBER + r"\s*%", text.strip())
    if not match:
        raise UnitError(f"{text!r} is not a share; write it in percent, such as 95 %")
    return float(match[1]) / 100


def _parse(text: str, units: dict[str, float], what: str) -> float:
    match = re.fullmatch(_NUMBER + r"\s*(\S+)", text.strip())
    if not match or match[2] not in units:
        raise UnitError(f"{text!r} is not {what}; write a number and one of: {', '.join(units)}")
    return float(match[1]) * units[match[2]]


def show_size(size: int) -> str:
    """``8 B``, ``64 KiB``, ``1.5 GiB``: four digits at most."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} B"


def show_rate(rate: float, unit: str = "GB/s") -> str:
    """A rate in bytes per second, shown in ``unit``; below 1 with three significant digits: ``0.0123 GB/s``."""
    if not math.isfinite(rate):
        return f"{rate} {unit}"
    value = rate / _RATES[unit]
    if 0 < abs(value) < 1:
        return f"{value:#.3g} {unit}"
    if not value:
        return f"0 {unit}"
    return f"{value:.{2 if abs(value) < 100 else 1}f} {unit}"


def show_both(rate: float) -> str:
    """A rate in the two units that people mix up: ``50.00 GB/s (400.0 Gb/s)``."""
    return f"{show_rate(rate)} ({show_rate(rate, 'Gb/s')})"


def show_seconds(seconds: float) -> str:
    """``12.3 µs``, ``4.56 ms``, ``7.8 s``, ``3 min 20 s``."""
    if not math.isfinite(seconds):
        return str(seconds)
    if seconds >= 90:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", MICRO)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def show_count(count: int, what: str) -> str:
    """``1 pair of nodes``, ``2 pairs of nodes``: of ``what`` in the singular, whose plural is an s more."""
    noun, *rest = re.split(r"( of | within | left )", what, maxsplit=1)
    return f"{count:,} {what}" if count == 1 else f"{count:,} {noun}s{''.join(rest)}"


def show_some(
    names: Iterable[str], most: int = 4, of: str = "", separator: str = "", count: int | None = None
) -> str:
    """``n0, n1, n2, n3 and 60 more nodes``: the first of many names, and how many more there are.

    Semicolons stand between names that have commas. ``count``: of so many names that no more than those shown are made.
    """
    listed = list(names if count is None else islice(names, most))
    count = len(listed) if count is None else count
    separator = separator or ("; " if any("," in name for name in listed) else ", ")
    more = f" and {count - most} more {of}".rstrip() if count > most else ""
    return separator.join(listed[:most]) + more


def show_figure(value: float) -> str:
    """A figure as people write it: four digits, and all of those before the point (``10,580``)."""
    return f"{value:,.4g}" if abs(value) < 1e4 or not math.isfinite(value) else f"{value:,.0f}"


def show_share(share: float) -> str:
    """``92.8 %`` of 0.928."""
    return f"{100 * share:.1f} %"


def number(text: str) -> float:
    """A number as printed; NaN of what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
