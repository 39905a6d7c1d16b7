"""Common mistakes in NCCL_IB_HCA, found by comparing a selector with the devices that it is meant for.

Each rule is one function and one row of ``RULES``; each warning says what NCCL will do and what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from bench.model.late_dataclass import dataclass
from bench.nccl.c_strings import length
from bench.nccl.selector import (
    MAX_NAME,
    Choice,
    Device,
    Item,
    Selector,
    device_limit,
    parse,
    select,
)
from bench.nccl.version import NEWEST, Version


@dataclass(frozen=True)
class Trap:
    """``kind`` is the rule's name, ``text`` what NCCL does with the specification and what to do about it."""

    kind: str
    text: str


@dataclass(frozen=True)
class Situation:
    """What a rule may look at. ``rails`` are HCA names, or name:port; empty where they are not known."""

    selector: Selector
    devices: tuple[Device, ...]
    choices: tuple[Choice, ...]
    rails: tuple[str, ...]
    interfaces: tuple[str, ...]
    version: Version

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(device.hca for device in self.devices))

    def takes(self, item: Item) -> tuple[str, ...]:
        """The devices whose name the entry matches, whatever their port or state."""
        exact = self.selector.exact
        return tuple(n for n in self.names if (n == item.name if exact else n.startswith(item.name)))


Texts = Iterator[str]

# what netdevs are called: an HCA called so too is in ``devices``, and then this is not asked
_INTERFACE = re.compile(r"(ib\d|ibs\d|ibp\d|eth\d|en[opsx]\d|bond\d|docker|lo$|team\d|gpu\d+rdma\d)")


def _blank(s: Situation) -> Texts:
    if any(letter.isspace() for letter in s.selector.spec or ""):
        effect = "excludes nothing" if s.selector.negated else "selects nothing"
        yield f"{s.selector.spec!r} holds a blank; NCCL trims nothing, so an entry with a blank {effect}"


def _quote(s: Situation) -> Texts:
    if any(quote in (s.selector.spec or "") for quote in "'\"`‘’“”"):
        yield f"{s.selector.spec} holds a quote; NCCL takes it as part of a device's name"


def _modifier_inside(s: Situation) -> Texts:
    for number, item in enumerate(s.selector.items):
        if item.name[0] in "^=" and not (number == 0 and _reversed(s)):
            yield (
                f"{item.text!r}: '^' and '=' count only at the start of the list, in the order '^='; "
                f"here NCCL looks for a device called {item.name!r}"
            )


def _reversed(s: Situation) -> bool:
    return (s.selector.spec or "").startswith("=^")


def _order(s: Situation) -> Texts:
    if _reversed(s):
        yield f"{s.selector.spec!r}: '=^' searches a device called '^...'; to exclude write '^='"


def _too_many_entries(s: Situation) -> Texts:
    if s.selector.ignored:
        effect = "stay selected" if s.selector.negated else "are not selected"
        lost = ", ".join(item.text for item in s.selector.ignored)
        yield f"NCCL reads the first {device_limit(s.version)} entries; {lost} {effect}"


def _too_many_devices(s: Situation) -> Texts:
    lost = [c for c in s.choices if c.reason.startswith("NCCL stops")]
    if lost:
        yield f"NCCL keeps {device_limit(s.version)} ports; it never looks at {_ports(lost)}"


def _long_name(s: Situation) -> Texts:
    for item in s.selector.items:
        if length(item.text.split(":")[0]) > MAX_NAME:
            yield f"{item.text[:20]}...: more than {MAX_NAME} bytes are cut, or overrun NCCL's memory"


def _not_present(s: Situation) -> Texts:
    for item in s.selector.items:
        if not s.takes(item) and not _SLASH.fullmatch(item.name) and not _is_interface(s, item):
            near = [name for name in s.names if name.lower() == item.name.lower().strip(" \t\r\n'\"^=")]
            hint = f"; the device is called {near[0]}" if near else ""
            effect = "nothing is excluded by it" if s.selector.negated else "nothing is selected by it"
            yield f"no device matches {item.name!r}; that is no error to NCCL, but {effect}{hint}"


_SLASH = re.compile(r"\S+/\d+")


def _slash(s: Situation) -> Texts:
    for item in s.selector.items:
        if _SLASH.fullmatch(item.name):
            yield f"{item.text!r} matches nothing; a port is written {item.name.replace('/', ':')!r}"


def _is_interface(s: Situation, item: Item) -> bool:
    return item.name in s.interfaces or bool(_INTERFACE.match(item.name))


def _interface(s: Situation) -> Texts:
    for item in s.selector.items:
        if not s.takes(item) and _is_interface(s, item):
            yield f"{item.name!r} is a network interface; NCCL_IB_HCA wants names from /sys/class/infiniband"


def _wildcard(s: Situation) -> Texts:
    for item in s.selector.items:
        if re.search(r"[*?\[\]{};|]|\d-\d", item.name):
            yield f"{item.text!r}: NCCL knows no ranges and wildcards, and no separator but ','"


def _port(s: Situation) -> Texts:
    present = {(device.hca, device.port) for device in s.devices}
    for item in s.selector.items:
        names = s.takes(item)
        if names and item.port != -1 and not any((name, item.port) in present for name in names):
            yield f"{item.text!r} matches nothing: {', '.join(names)} has no port {item.port}"


def _duplicate(s: Situation) -> Texts:
    seen: set[str] = set()
    for item in s.selector.items:
        if item.text in seen:
            yield f"{item.text!r} is listed twice; was another device meant"
        seen.add(item.text)


def _prefix(s: Situation) -> Texts:
    for item in () if s.selector.exact else s.selector.items:
        others = [name for name in s.takes(item) if name != item.name]
        # a whole device's name, or one that ends inside a number: a deliberate prefix does neither
        inside = item.name[-1].isdigit() and any(name[len(item.name)].isdigit() for name in others)
        if others and (item.name in s.names or inside):
            verb = "excludes" if s.selector.negated else "selects"
            sign = "'^='" if s.selector.negated else "'='"
            yield f"{item.name!r} is a prefix and {verb} {', '.join(others)} too; put {sign} before the list"


def _nothing(s: Situation) -> Texts:
    if s.devices and not any(choice.taken for choice in s.choices):
        yield "no port is selected: NCCL falls back to sockets without an error, unless NCCL_NET=IB is set"


def _not_a_rail(s: Situation) -> Texts:
    extra = [c for c in s.choices if s.rails and c.taken and not _is_rail(c, s.rails)]
    if extra:
        yield f"{_ports(extra)} is selected but is not a rail: NCCL would send training traffic through it"


def _rail_missing(s: Situation) -> Texts:
    for rail in s.rails:
        mine = [c for c in s.choices if _is_rail(c, (rail,))]
        if not any(choice.taken for choice in mine):
            why = mine[0].reason if mine else "no such device"
            yield f"rail {rail} is not selected: {why}"


def _is_rail(choice: Choice, rails: Sequence[str]) -> bool:
    return choice.name in rails or f"{choice.name}:{choice.port}" in rails


def _ports(choices: Sequence[Choice]) -> str:
    return ", ".join(f"{choice.name}:{choice.port}" for choice in choices)


RULES: tuple[tuple[str, Callable[[Situation], Texts]], ...] = (
    ("blank", _blank),
    ("quote", _quote),
    ("order", _order),
    ("modifier inside the list", _modifier_inside),
    ("too many entries", _too_many_entries),
    ("too many devices", _too_many_devices),
    ("long name", _long_name),
    ("slash", _slash),
    ("interface", _interface),
    ("wildcard", _wildcard),
    ("not present", _not_present),
    ("port", _port),
    ("duplicate", _duplicate),
    ("prefix", _prefix),
    ("nothing selected", _nothing),
    ("not a rail", _not_a_rail),
    ("rail missing", _rail_missing),
)


def traps(
    spec: str | None,
    devices: Sequence[Device],
    rails: Sequence[str] = (),
    version: Version = NEWEST,
    interfaces: Sequence[str] = (),
) -> tuple[Trap, ...]:
    """The certain and likely mistakes in NCCL_IB_HCA=``spec`` on ``devices``; None is an unset variable.

    ``rails`` are the HCAs that should carry the traffic; where empty, the two rules about rails say nothing.
    ``interfaces`` are the names of the node's network interfaces.
    """
    situation = Situation(
        parse(spec, version),
        tuple(devices),
        select(spec, devices, version),
        tuple(rails),
        tuple(interfaces),
        version,
    )
    return tuple(Trap(kind, text) for kind, rule in RULES for text in rule(situation))
