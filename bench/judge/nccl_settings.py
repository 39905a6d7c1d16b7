"""What the workers are told: one rank's environment as NCCL reads it, conf files and profile included.

Not a check: the checks on environment and exclusion share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench.model.facts import Node
from bench.model.profile import Profile
from bench.nccl.environment import SYSTEM_FILE, Effective, conf_files, effective
from bench.nccl.version import NEWEST, Version, parse_version

from .evidence import Evidence

# where NCCL's reading changed: conf comments, $HOME, the selector's grammar. None of them known: all are tried
UNKNOWN: tuple[Version, ...] = ((2, 18, 6), (2, 26, 6), (2, 30, 4), NEWEST)


@dataclass(frozen=True)
class Told:
    """Ranks of one node that are told the same, what they have of their own, and the node's facts.

    ``mixed``: the node's ranks are not all told the same.
    """

    node: Node
    ranks: tuple[int, ...]
    own: Mapping[str, str]
    mixed: bool = False

    @property
    def where(self) -> str:
        """``n0``; where its ranks differ, ``n0 rank 3`` and who else is told the same."""
        if not self.mixed:
            return self.node.name
        more = f" and {len(self.ranks) - 1} more" if len(self.ranks) > 1 else ""
        return f"{self.node.name} rank {self.ranks[0]}{more}"


def told(evidence: Evidence) -> Iterator[Told]:
    """Every node's ranks, those with equal environments together. A rank without a record has its node's."""
    for node in evidence.nodes:
        groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for rank in evidence.ranks:
            if rank.node == node.name:
                own = evidence.manifest.environment.get(str(rank.rank), node.environment.variables)
                groups.setdefault(tuple(sorted(own.items())), []).append(rank.rank)
        if not groups:
            groups[tuple(sorted(node.environment.variables.items()))] = []
        for own_items, ranks in groups.items():
            yield Told(node, tuple(ranks), dict(own_items), len(groups) > 1)


def of_workers(each: Told, want: Profile, version: Version = NEWEST) -> Effective:
    """What NCCL sees in a worker: the profile's environment goes over the user's own."""
    return of_user(Told(each.node, each.ranks, {**each.own, **want.environment}), version)


def of_user(each: Told, version: Version = NEWEST) -> Effective:
    """What NCCL would see in a program that the user starts by himself."""
    facts = each.node.environment
    return effective({**_home(each), **each.own}, facts.files, version, facts.home)


def _home(each: Told) -> dict[str, str]:
    """$HOME is not on the list of what is recorded; the files that were looked at tell it."""
    chosen = each.own.get("NCCL_CONF_FILE")
    users = [path for path in each.node.environment.files if path not in (chosen, SYSTEM_FILE)]
    folders = [path.removesuffix("/.nccl.conf") for path in users if path.endswith("/.nccl.conf")]
    return {"HOME": folders[0]} if folders else {}


def blind(each: Told, want: Profile) -> tuple[str, ...]:
    """Conf files that NCCL may open in a worker and the probe has not looked at."""
    found = [
        path
        for version in versions(each.node)
        for path in conf_files(
            {**_home(each), **each.own, **want.environment}, each.node.environment.home, version
        )
        if path not in each.node.environment.files
    ]
    return tuple(dict.fromkeys(found))


def versions(node: Node) -> tuple[Version, ...]:
    """The NCCL versions that a process of this node may load; where none is known, one of each behaviour."""
    found = sorted({version for text in _version_texts(node) if (version := parse_version(text))})
    return tuple(found) or UNKNOWN


def _version_texts(node: Node) -> Iterable[str]:
    software = node.software
    yield software.torch_nccl or ""
    yield from software.nccl_wheels.values()
    for path in software.nccl_libraries:
        yield path.rpartition("libnccl.so.")[2]
