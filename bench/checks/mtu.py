"""The largest packet that a rail carries: one size on all rails, or large messages vanish between two of them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.facts import Interface
from bench.majority import odd_ones
from bench.model import Verdict
from bench.profile import Profile
from bench.rails import Role, rails_of

from .findings import Finding, Question
from .registry import Evidence, check


@check("rails.mtu", early=True)
def mtu(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """Every rail that is an interface, or has one (RoCE), has the profile's MTU, or that of most of them."""
    wanted = want.rails.mtu
    ask = Question(
        "rails.mtu",
        f"MTU {wanted}" if wanted else "the MTU of most rails",
        want.name if wanted else "its peers",
        "set it as on the others (ip link set DEVICE mtu SIZE, and where it is configured), on the switch port too",
        "read it by hand: ip link",
    )
    if want.rails.kind not in ("socket", "roce"):
        yield ask.skip("all nodes", "the profile's rails are no interfaces, nor have they any")
        return
    sizes = {
        f"{node.name} {role.name}": _size(node.interfaces, role)
        for node in seen.nodes
        for role in rails_of(node, want.rails)
    }
    silent = [node.name for node in seen.nodes if not rails_of(node, want.rails)]
    odd = {each.name: each for each in odd_ones({name: str(size) for name, size in sizes.items() if size})}
    found = [Finding(name, None, "none of its devices is known to be a rail") for name in silent]
    for name, size in sizes.items():
        if size is None:
            found.append(Finding(name, None, "its MTU is not known"))
        elif wanted and size != wanted:
            found.append(Finding(name, False, f"MTU {size}", size))
        elif not wanted and name in odd:
            found.append(
                Finding(name, False, f"MTU {size}, {_others(odd[name].usual, odd[name].peers)}", size)
            )
        else:
            found.append(Finding(name, True, f"MTU {size}", size))
    yield from ask.verdicts(found, f"rails have MTU {next(filter(None, sizes.values()), 0)}")


def _others(usual: str | None, peers: int) -> str:
    return f"not {usual} as {peers} others have" if usual else "and there is no majority"


def _size(interfaces: tuple[Interface, ...], role: Role) -> int | None:
    if role.interface is not None:
        return role.interface.mtu
    name = role.port.netdev if role.port else None
    return next((each.mtu for each in interfaces if each.name == name), None)
