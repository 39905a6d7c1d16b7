"""Host files, as Open MPI, DeepSpeed, MPICH, PBS, Slurm and people write them.

    node1 slots=8 max_slots=8     Open MPI, DeepSpeed
    node1:8                       MPICH
    node[001-064,070]             Slurm; also with :8 or slots=8 behind it
    node1                         a name; the same name again is one more slot (PBS)

What stands in a host file ends up on command lines, on remote shells and in reports, so a name may hold
letters, digits, ``.``, ``_`` and ``-`` inside and nothing else: no option can be smuggled in as a host.
IPv6 addresses are refused: mpirun's lists of hosts part name and slots by the colon, and the workers' stores meet
at IPv4 addresses (``address``).
Slurm's grammar is read here and not by a library: the one that is kept is under the GPL, and checks no name.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.model.errors import EXIT_USAGE
from bench.model.late_dataclass import dataclass, field, replace

from .table import LaunchError

LONGEST = 1 << 20  # bytes of a host file
MOST = 20_000  # hosts
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
PART = re.compile(r"([^\[\],]*)\[([^\[\]]*)\]", re.ASCII)


class HostsError(LaunchError):
    """What is wrong with a host file: another file would mend it."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class HostEntry:
    """A machine and how many ranks it takes; 0: the file does not say. ``line`` of the file first names it."""

    name: str
    slots: int = 0
    line: int = field(default=0, compare=False)


def read_hosts(path: Path) -> tuple[HostEntry, ...]:
    """The hosts of a file. Raises HostsError, one line that names file and line."""
    # imported here: the room of run folders takes longer to import than this one
    from bench.store.files import read_plain

    try:
        raw = read_plain(path, LONGEST)
    except OSError as error:
        raise HostsError(f"cannot read the host file {path}: {error.strerror}") from None
    if len(raw) > LONGEST:
        raise HostsError(f"{path} is not a host file: it is larger than {LONGEST} bytes")
    # Windows' editors put a mark before the first name
    return parse_hosts(raw.decode("utf-8-sig", "replace"), str(path))


def parse_hosts(text: str, where: str) -> tuple[HostEntry, ...]:
    """The hosts of a text in their order. ``where`` names it in messages."""
    found: dict[str, int] = {}
    said: set[str] = set()  # names whose slots were given
    lines: dict[str, int] = {}
    # only \n and \r\n end a line: other separators are characters that no name may hold
    for number, line in enumerate(text.split("\n"), 1):
        try:
            for name, slots in _line(line.removesuffix("\r")):
                if name in found and (slots or name in said):
                    raise _Wrong(f"{name} is listed a second time; give all its slots on one line")
                if slots:
                    said.add(name)
                found[name] = slots or (found.get(name, 0) + 1)
                lines.setdefault(name, number)
                if len(found) > MOST:
                    raise _Wrong(f"more than {MOST} hosts")
        except _Wrong as wrong:
            raise HostsError(f"{where} line {number}: {wrong}") from None
    if not found:
        raise HostsError(f"{where} names no host")
    plain = all(count == 1 for name, count in found.items() if name not in said)
    return tuple(
        HostEntry(name, count if name in said or not plain else 0, lines[name])
        for name, count in found.items()
    )


def with_slots(hosts: Sequence[HostEntry], each: int, where: Path) -> tuple[HostEntry, ...]:
    """``hosts`` with ``each`` ranks where the file ``where`` gives none. Raises HostsError where nobody does."""
    without = next((host for host in hosts if not host.slots), None)
    if without and each < 1:
        raise HostsError(
            f"{where} line {without.line}: {without.name} has no slots, and the profile gives no GPUs per node: write "
            f"{without.name} slots=8, or give --per-node"
        )
    return tuple(host if host.slots else replace(host, slots=each) for host in hosts)


def meetable(hosts: Sequence[HostEntry], where: Path) -> None:
    """Raise HostsError where the others could not find rank 0 by the name of the first host."""
    first = hosts[0]
    if len(hosts) > 1 and (first.name == "localhost" or first.name.startswith("127.")):
        raise HostsError(
            f"{where} line {first.line}: {first.name} means a different machine on every host; write a name by "
            "which the others reach rank 0"
        )


class _Wrong(Exception):
    """What is wrong with a line."""


def _line(line: str) -> Iterator[tuple[str, int]]:
    """(name, slots or 0) of one line."""
    words = line.partition("#")[0].strip(" \t").split()
    if not words:
        return
    first, slots = words[0], 0
    for word in (first, *_split(first)):
        _refuse_ipv6(word)
    head, colon, tail = first.rpartition(":")
    if colon:
        first, slots = head, _count(tail, first)
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key not in ("slots", "max_slots", "max-slots"):
            raise _Wrong(f"{_show(word)} is unknown; known: slots=N, max_slots=N, NAME:N")
        if key == "slots":
            if slots:
                raise _Wrong("slots is given twice")
            slots = _count(value, word)
    for name in _names(first):
        if re.fullmatch(r"[\d.]+", name, re.ASCII):
            _address_of_four(name)
        yield name, slots


def _refuse_ipv6(word: str) -> None:
    """Refuse IPv6 addresses (``fd00::1``, ``fe80::1%eth0``, ``[fd00::1]:8``), which read like NAME:N."""
    inside = re.fullmatch(r"\[(.*)\](?::.*)?", word)
    try:
        ipaddress.IPv6Address((inside[1] if inside else word).partition("%")[0])
    except ValueError:
        return
    raise _Wrong(
        f"{_show(word)} is an IPv6 address, which launchers cannot tell from NAME:N; write the host's name"
    )


def _address_of_four(name: str) -> None:
    # ssh and mpirun read 8 as 0.0.0.8, and 10.1 as 10.0.0.1
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        raise _Wrong(f"{_show(name)} is neither a host name nor a complete IPv4 address") from None


def _count(text: str, word: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII):
        raise _Wrong(f"{_show(word)}: slots must be a number from 1 to 99999")
    return int(text)


def expand(expression: str) -> tuple[str, ...]:
    """``n[1-2],m5`` as ``n1, n2, m5``: Slurm's node lists. Raises HostsError.

    Widths are kept (``n[08-10]`` is n08, n09, n10), several brackets multiply.
    """
    try:
        return tuple(_names(expression))
    except _Wrong as wrong:
        raise HostsError(str(wrong)) from None


def _names(expression: str) -> Iterator[str]:
    for part in _split(expression):
        yield from _expand(part)


def _split(expression: str) -> list[str]:
    """At the commas outside of brackets."""
    parts = [""]
    for text in re.split(r"(,|\[[^\[\]]*\])", expression):
        if text == ",":
            parts.append("")
        else:
            parts[-1] += text
    return parts


def _expand(part: str) -> Iterator[str]:
    pieces, at, many = list[list[str]](), 0, 1
    while match := PART.match(part, at):  # not finditer, which tries at each character of a long name
        numbers = _numbers(match[2], part)
        pieces += [[match[1]], numbers]
        many *= len(numbers)
        if many > MOST:
            raise _Wrong(f"{_show(part)} stands for more than {MOST} hosts")
        at = match.end()
    pieces.append([part[at:]])
    for choice in itertools.product(*pieces):
        yield _name("".join(choice), part)


def _numbers(text: str, part: str) -> list[str]:
    found: list[str] = []
    for item in text.split(","):
        match = RANGE.fullmatch(item)
        if not match:
            raise _Wrong(f"{_show(part)}: {_show(item)} is not a range, e.g. 001-064")
        low, high = match[1], match[2] or match[1]
        if int(high) < int(low):
            raise _Wrong(f"{_show(part)}: {_show(item)} ends before it begins")
        if int(high) - int(low) + len(found) >= MOST:
            raise _Wrong(f"{_show(part)} stands for more than {MOST} hosts")
        found += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return found


def _name(name: str, part: str) -> str:
    if not NAME.fullmatch(name):
        shown = name or part
        why = "a host name cannot begin with '-'" if shown.startswith("-") else "not a host name"
        raise _Wrong(f"{_show(shown)}: {why}; letters, digits, '.', '_' and inner '-' make one")
    return name


def _show(text: str) -> str:
    """Whatever it holds, as one short line of printable ASCII."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
