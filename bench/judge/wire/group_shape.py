"""How many nodes, GPUs and rails a group of ranks runs on, by the manifest and the profile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from bench.judge.evidence import Evidence, derived
from bench.model.bounds import ClusterShape
from bench.model.collective_calls import partner
from bench.model.collectives import COPIES
from bench.model.facts import nvlink_domain
from bench.model.groups import Group
from bench.model.measurement import Case
from bench.model.profile import Profile

PAIRED = ("p2p", "p2p_bidirectional")
OWN = "own"  # case.rail: every rank on the rail of its local rank
VERBS = "ib_"  # case.algorithm of a perftest result: ib_write_bw
NO_LAYOUT = "unknown"  # manifest.settings.layout of an import that does not tell which rank ran where


class Unplaced(ValueError):
    """A group under which no shape can be determined; the message says why."""


def node_names(ranks: Group, evidence: Evidence) -> tuple[str, ...]:
    """The node of each rank."""
    known = _names(evidence)
    if found := known.get(ranks):
        return found
    if not ranks:
        raise Unplaced("the group has no ranks")
    where = evidence.run.node_of
    try:
        names = known[ranks] = tuple(map(where.__getitem__, ranks))
    except KeyError as rank:
        raise Unplaced(f"rank {rank} is not in the manifest") from None
    return names


@derived
def _names(evidence: Evidence) -> dict[Group, tuple[str, ...]]:
    """Group of ranks → the node of each rank, of the groups that were asked for so far."""
    return {}


def shape_of(case: Case, ranks: Group, evidence: Evidence) -> ClusterShape:
    """The shape that ``case`` ran on when its group is ``ranks``.

    A group of some of a node's ranks has their share of its rails; pairs have that of one GPU, and any call
    of gloo has one rail (torch gives each call one of its interfaces in turn). Raises
    Unplaced where the profile names no rails or rates, or the ranks lie so that no bound describes them.
    """
    if evidence.manifest.settings.layout == NO_LAYOUT:
        raise Unplaced("the import does not tell which ranks share a node: give --nodes")
    if case.collective in COPIES:
        raise Unplaced("a copy is a rank's own: it crosses no link of the fabric")
    names = node_names(ranks, evidence)
    # of a large cluster there are tens of thousands of rows on some thousands of groups of nodes
    known = _shapes(evidence)
    key = (case.collective, case.rail, case.algorithm, names)
    found = known.get(key)
    if found is None:
        try:
            found = _shape(case, names, evidence)
        except Unplaced as reason:
            found = str(reason)
        known[key] = found
    if isinstance(found, str):
        raise Unplaced(found)
    return found


@derived
def _shapes(evidence: Evidence) -> dict[tuple[object, ...], ClusterShape | str]:
    """The shapes of a run as they are found, or why there is none."""
    return {}


def _shape(case: Case, names: tuple[str, ...], evidence: Evidence) -> ClusterShape:
    # what is measured on a rail is measured with NVLink between nodes switched off: bench.plan.rails.off_nvlink
    if evidence.profile.nvlink_nodes > 1 and not case.rail and len(set(names)) > 1:
        names = _domains(names, evidence)
    if case.collective in PAIRED:
        names = _one_pair(names)
    counts = Counter(names)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} ranks on {name}" for name, count in counts.items())
        raise Unplaced(f"no bound describes uneven nodes: {listed}")
    follows_ranks = evidence.backend == "gloo" or case.collective == "p2p_ring"
    borders = sum(one != other for one, other in pairwise(names))
    if follows_ranks and borders != len(counts) - 1:
        raise Unplaced("the ring follows the ranks, and these go back and forth between the nodes")
    if len(counts) == 1:
        return _inside(len(names), evidence.profile)
    return _across(case, counts, evidence)


def _domains(names: tuple[str, ...], evidence: Evidence) -> tuple[str, ...]:
    """The NVLink domain of each rank, where all are in one; Unplaced where they are not, or a GPU does not tell."""
    domains = [nvlink_domain(evidence.facts[name]) if name in evidence.facts else None for name in names]
    if None in domains:
        at = names[domains.index(None)]
        raise Unplaced(f"the NVLink domain of {at} is not known: its GPUs tell no common cluster and clique")
    found = sorted({domain for domain in domains if domain})
    if len(found) > 1:
        raise Unplaced(f"no bound describes {len(found)} NVLink domains together: measure one at a time")
    return tuple(domain or "" for domain in domains)


def _one_pair(names: Sequence[str]) -> tuple[str, ...]:
    """The nodes of one pair that stands for all: 0-1, 2-3, … as point-to-point pairs them."""
    pairs = {
        (names[i], names[other]) for i in range(len(names)) if (other := partner(i, len(names))) is not None
    }
    crossing = {one != other for one, other in pairs}
    if len(crossing) != 1:
        raise Unplaced("some pairs are on one node and some are not" if pairs else "there is no pair")
    return next(iter(sorted(pairs)))


def _inside(gpus: int, profile: Profile) -> ClusterShape:
    if profile.nvlink is None:
        raise Unplaced("single node, and the profile gives no NVLink rate")
    return ClusterShape(1, gpus, 1, math.inf, profile.nvlink.value)


def rail_rate(profile: Profile) -> float:
    """Nominal bytes/s of one rail; Unplaced where the profile tells none."""
    rails = profile.rails
    if rails.open:
        raise Unplaced(f"the profile leaves open: {rails.open}")
    if rails.rate:
        return rails.rate.value
    if rails.target and rails.count:
        return rails.target.value / rails.count
    what = "names no rails" if rails.kind == "none" else "gives no rate of its rails"
    raise Unplaced(f"the profile {profile.name} {what}")


def _across(case: Case, counts: Counter[str], evidence: Evidence) -> ClusterShape:
    profile = evidence.profile
    rate = rail_rate(profile)
    if not profile.rails.count:
        raise Unplaced(f"the profile {profile.name} does not say how many rails a node has")
    gpus = next(iter(counts.values()))
    here = min(evidence.run.ranks_on[name] for name in counts)
    # one call of gloo goes over one interface, whatever list it was given; perftest uses one HCA
    one_rail = evidence.backend == "gloo" or case.algorithm.startswith(VERBS)
    pinned = one_rail or case.rail not in ("", OWN)
    rails = 1 if pinned else max(1, profile.rails.count * gpus // here)
    return ClusterShape(len(counts), gpus, rails, rate, profile.nvlink.value if profile.nvlink else math.inf)
