"""The environment of each rank as NCCL reads it, conf files and the profile's variables included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, replace
from bench.model.profile import Profile
from bench.model.units import show_some
from bench.nccl.environment import SYSTEM_FILE, Effective, conf_files, effective
from bench.nccl.version import NEWEST, Version, parse_version

from .evidence import Evidence

# where NCCL's reading changed: conf comments, $HOME, the selector's grammar. None of them known: all are tried
UNKNOWN: tuple[Version, ...] = ((2, 18, 6), (2, 26, 6), (2, 30, 4), NEWEST)


@dataclass(frozen=True)
class RankEnvironment:
    """The variables that some ranks of one node have in common, and the node's facts.

    ``mixed``: not all ranks of the node have the same.
    """

    node: Node
    ranks: tuple[int, ...]
    variables: Mapping[str, str]
    mixed: bool = False

    @property
    def where(self) -> str:
        """``n0``; where its ranks differ, ``n0 rank 3`` and how many more have the same."""
        if not self.mixed:
            return self.node.name
        return f"{self.node.name} rank {show_some(map(str, self.ranks), 1)}"


def rank_environments(evidence: Evidence) -> Iterator[RankEnvironment]:
    """Every node's ranks, those with equal variables together. A rank without a record has its node's."""
    ranks_on: dict[str, list[int]] = {}
    for rank in evidence.ranks:
        ranks_on.setdefault(rank.node, []).append(rank.rank)
    for node in evidence.nodes:
        groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for number in ranks_on.get(node.name, ()):
            own = evidence.manifest.environment.get(str(number), node.environment.variables)
            groups.setdefault(tuple(sorted(own.items())), []).append(number)
        if not groups:
            groups[tuple(sorted(node.environment.variables.items()))] = []
        for own_items, ranks in groups.items():
            yield RankEnvironment(node, tuple(ranks), dict(own_items), len(groups) > 1)


def for_workers(each: RankEnvironment, want: Profile, version: Version = NEWEST) -> Effective:
    """What NCCL reads in a worker: the profile's variables replace the user's own."""
    return for_user(_with_profile(each, want), version)


def for_user(each: RankEnvironment, version: Version = NEWEST) -> Effective:
    """What NCCL would read in a program that the user starts without RailGauge."""
    facts = each.node.environment
    return effective({**_home(each), **each.variables}, facts.files, version, facts.home)


def _with_profile(each: RankEnvironment, want: Profile) -> RankEnvironment:
    return replace(each, variables={**each.variables, **want.environment})


def _home(each: RankEnvironment) -> dict[str, str]:
    """{"HOME": folder}, taken from the paths of the recorded files, since $HOME itself is not recorded."""
    chosen = each.variables.get("NCCL_CONF_FILE")
    users = [path for path in each.node.environment.files if path not in (chosen, SYSTEM_FILE)]
    folders = [path.removesuffix("/.nccl.conf") for path in users if path.endswith("/.nccl.conf")]
    return {"HOME": folders[0]} if folders else {}


def unread_files(each: RankEnvironment, want: Profile) -> tuple[str, ...]:
    """Conf files that NCCL may open in a worker and the probe has not read."""
    variables = {**_home(each), **_with_profile(each, want).variables}
    facts = each.node.environment
    found = [
        path
        for version in versions(each.node)
        for path in conf_files(variables, facts.home, version)
        if path not in facts.files
    ]
    return tuple(dict.fromkeys(found))


def versions(node: Node) -> tuple[Version, ...]:
    """The NCCL versions that a process of this node may load; where none is known, one version for each way of
    reading settings.
    """
    found = sorted({version for text in _version_texts(node) if (version := parse_version(text))})
    return tuple(found) or UNKNOWN


def _version_texts(node: Node) -> Iterable[str]:
    software = node.software
    yield software.torch_nccl or ""
    yield from software.nccl_wheels.values()
    for path in software.nccl_libraries:
        yield path.rpartition("libnccl.so.")[2]
