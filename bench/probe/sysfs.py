"""One value, one file: how sysfs and procfs are read. What cannot be read, or means "not known", is None."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LIVE = Path("/")  # the running machine, where a copied tree has another root
NET, INFINIBAND = "sys/class/net", "sys/class/infiniband"  # the folders of interfaces and HCAs
_MOST = 1 << 20  # bytes; no file that the probes read is longer, and a copied tree may hold anything
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}")


def data(path: Path) -> bytes | None:
    """The file's bytes, 1 MiB at most; None where it is missing, no regular file (a pipe in a copied tree never ends),
    or the kernel refuses (EINVAL for a counter that the device lacks, for ``carrier`` of an interface that is down).
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_MOST) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except (OSError, ValueError):
        return None


def text(path: Path) -> str | None:
    """The file's text without surrounding blanks; None where it cannot be read or is empty."""
    raw = data(path)
    return (raw.decode("utf-8", "replace").replace("\0", " ").strip() or None) if raw is not None else None


def value(path: Path, parse: Callable[[str], T | None]) -> T | None:
    """What ``parse`` makes of the file's text, None without text."""
    found = text(path)
    return None if found is None else parse(found)


def names(folder: Path) -> tuple[str, ...]:
    """What the folder holds, ``mlx5_2`` before ``mlx5_10``; () where there is no folder."""
    try:
        return tuple(in_order(entry.name for entry in folder.iterdir()))
    except (OSError, ValueError):
        return ()


def in_order(found: Iterable[str]) -> list[str]:
    """Sorted, numbers in names by value."""
    return sorted(found, key=lambda name: re.sub(r"[0-9]+", lambda number: number[0].zfill(20), name))


def target(link: Path) -> Path | None:
    """The resolved path; None where nothing exists."""
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop, up to Python 3.12
        return None


def parse_int(text: str) -> int | None:
    """The number in ``12``, ``-1`` or ``0x1f``; None for anything else (``N/A (no PMA)``)."""
    found = text.strip()
    return int(found, 0 if found[:2] in ("0x", "0X") else 10) if _NUMBER.fullmatch(found) else None


def parse_count(text: str) -> int | None:
    """A count or a size: an int that is not negative."""
    number = parse_int(text)
    return number if number is not None and number >= 0 else None


def counts(folder: Path) -> dict[str, int]:
    """Every file of the folder that reads as a count; the others are absent."""
    found = {name: value(folder / name, parse_count) for name in names(folder)}
    return {name: count for name, count in found.items() if count is not None}
