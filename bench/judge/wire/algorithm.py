"""Which algorithm carried a case: forced, the only one, or as NCCL's log names it; else unknown. And which protocol."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import lru_cache

from bench.judge.evidence import Evidence, derived
from bench.judge.log_files import log_of
from bench.model.bounds import UNKNOWN, WAYS, candidates
from bench.model.collectives import COLLECTIVES
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case
from bench.nccl.log import Log

# NCCL's names of algorithms by ours, without case and underscores: 2.24 and later print RING and NVLS_TREE,
# earlier ones Ring and NVLSTree. NVLS spans nodes only where the switches reduce
OURS = {
    "ring": "ring",
    "tree": "tree",
    "nvlstree": "tree",
    "nvls": "in_network",
    "collnetdirect": "in_network",
    "collnetchain": "in_network",
    "pat": "hierarchical",
}
FUNCTIONS = {row.nccl: row.name for row in COLLECTIVES.values() if row.nccl}
PROTOCOLS = {
    "ll": "LL",
    "ll128": "LL128",
    "simple": "Simple",
}  # by NCCL's names, which were SIMPLE from 2.24 on
OTHER_BUFFERS = ("graph", "registered")  # values of Case.algorithm for which NCCL may choose otherwise
MARK = " Bytes -> "  # stands in every line of NCCL's log that names an algorithm

# (collective, bytes) -> NCCL's names of (algorithm, protocol)
Tuning = Mapping[tuple[str, int], set[tuple[str, str]]]


@dataclass(frozen=True)
class AlgorithmUsed:
    """An algorithm by the name of ``bounds``, or UNKNOWN; ``how`` it is known, or why not.

    protocol    LL, LL128 or Simple as NCCL's log names it for this size; several with a slash; "" where it does not
    """

    algorithm: str
    how: str
    protocol: str = ""

    @property
    def known(self) -> bool:
        return self.algorithm != UNKNOWN


def algorithm_used(case: Case, evidence: Evidence) -> AlgorithmUsed:
    """The algorithm that carried this case in this run, and the protocol.

    NCCL's log speaks for its own collective and size alone: at another size NCCL may choose otherwise.
    """
    known = _known(evidence)
    if case not in known:
        known[case] = _used(case, evidence)
    return known[case]


@derived
def _known(evidence: Evidence) -> dict[Case, AlgorithmUsed]:
    """Case → its algorithm, of the cases that were asked for so far."""
    return {}


def _used(case: Case, evidence: Evidence) -> AlgorithmUsed:
    if evidence.backend == "gloo":
        if (case.collective, "gloo") in WAYS:
            return AlgorithmUsed("gloo", "gloo has one")
        return AlgorithmUsed(UNKNOWN, f"gloo's {case.collective} has no row")
    logged = _tuning(evidence).get(case.phase, {}).get((case.collective, case.size), set())
    used = _algorithm(case, logged)
    protocol = _protocol(case, logged, used.algorithm, len(evidence.ranks)) if logged else ""
    return replace(used, protocol=protocol) if protocol else used


def _algorithm(case: Case, logged: Set[tuple[str, str]]) -> AlgorithmUsed:
    name = case.collective
    if (name, case.algorithm) in WAYS:
        return AlgorithmUsed(case.algorithm, "forced")
    possible = _candidates(name)
    if len(possible) == 1:
        return AlgorithmUsed(possible[0], "there is one")
    if not logged:
        return AlgorithmUsed(UNKNOWN, "not forced, and no line of NCCL's log speaks of this size")
    ours = {_ours(each) for each, _ in logged}
    listed = ", ".join(sorted({each for each, _ in logged}))
    if len(ours) == 1 and (name, *ours) in WAYS:
        return AlgorithmUsed(ours.pop(), f"NCCL's log: {listed}")
    return AlgorithmUsed(UNKNOWN, f"NCCL's log names {listed}")


def _ours(name: str) -> str:
    return OURS.get(name.replace("_", "").lower(), UNKNOWN)


def _protocol(case: Case, logged: Set[tuple[str, str]], algorithm: str, everyone: int) -> str:
    """The protocols that NCCL's log names with this algorithm, for calls of all ranks on plain buffers. A forced
    algorithm has the protocol that NCCL took when it took that one by itself.
    """
    of_all = len(case.groups) == 1 and len(case.groups[0]) == everyone
    if case.collective not in FUNCTIONS.values() or not of_all or case.algorithm in OTHER_BUFFERS:
        return ""
    names = {
        PROTOCOLS.get(protocol.lower(), protocol)
        for each, protocol in logged
        if protocol and algorithm in (UNKNOWN, _ours(each))
    }
    return "/".join(sorted(names))


_candidates = lru_cache(candidates)


@derived
def _tuning(evidence: Evidence) -> Mapping[str, Tuning]:
    """Phase → what NCCL's logs name: its own logs, and those of the evidence phase, which hold for every phase."""
    general = _named(evidence.log)
    own = {phase.name: _named(log_of(evidence.run, phase.name, MARK)) for phase in evidence.run.plan.phases}
    return {
        phase: {**general, **{key: names | general.get(key, set()) for key, names in found.items()}}
        for phase, found in own.items()
    }


def _named(log: Log) -> dict[tuple[str, int], set[tuple[str, str]]]:
    found: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for process in log.processes:
        for tuned in process.tuned:
            key = FUNCTIONS.get(tuned.collective, ""), tuned.size
            found.setdefault(key, set()).add((tuned.algorithm, tuned.protocol))
    return found
