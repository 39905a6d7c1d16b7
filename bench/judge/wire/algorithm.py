"""Which algorithm carried a row: forced, the only one, or as NCCL's log said; else unknown. And by which protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from bench.model.bounds import UNKNOWN, WAYS, candidates
from bench.model.collectives import COLLECTIVES
from bench.model.measurement import Case
from bench.model.memo import once
from bench.nccl.log import read
from bench.store import LOGS, Run

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
EVIDENCE = "evidence"  # the phase whose logs speak for every phase with the same settings
OTHER_BUFFERS = ("graph", "registered")  # values of Case.algorithm for which NCCL may choose otherwise
SIGN = " Bytes -> "  # stands in every line that names an algorithm; the other lines are not parsed

# (collective, bytes) -> NCCL's names of (algorithm, protocol)
Chosen = Mapping[tuple[str, int], frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class AlgorithmInForce:
    """An algorithm by the name of ``bounds``, or UNKNOWN; ``how`` it is known, or why not.

    protocol    LL, LL128 or Simple as NCCL's log named it for this size; several with a slash; "" where it did not
    """

    algorithm: str
    how: str
    protocol: str = ""

    @property
    def known(self) -> bool:
        return self.algorithm != UNKNOWN


def in_force(case: Case, run: Run) -> AlgorithmInForce:
    """The algorithm that carried this case in this run, and the protocol.

    NCCL's log speaks for its own collective and size alone: at another size NCCL may choose otherwise.
    """
    if run.manifest.backend == "gloo":
        known = (case.collective, "gloo") in WAYS
        return (
            AlgorithmInForce("gloo", "gloo has one")
            if known
            else AlgorithmInForce(UNKNOWN, f"gloo's {case.collective} has no row")
        )
    force = _algorithm(case, run)
    return replace(force, protocol=_protocol(case, run, force.algorithm))


def _algorithm(case: Case, run: Run) -> AlgorithmInForce:
    name = case.collective
    if (name, case.algorithm) in WAYS:
        return AlgorithmInForce(case.algorithm, "forced")
    if len(_possible(name)) == 1:
        return AlgorithmInForce(_possible(name)[0], "there is one")
    said = {algorithm for algorithm, _ in logged(run, case.phase).get((name, case.size), ())}
    ours = {_ours(each) for each in said}
    if len(ours) == 1 and (name, *ours) in WAYS:
        return AlgorithmInForce(ours.pop(), f"NCCL's log: {', '.join(sorted(said))}")
    if said:
        return AlgorithmInForce(UNKNOWN, f"NCCL's log names {', '.join(sorted(said))}")
    return AlgorithmInForce(UNKNOWN, "not forced, and no line of NCCL's log speaks of this size")


def _ours(name: str) -> str:
    return OURS.get(name.replace("_", "").lower(), UNKNOWN)


def _protocol(case: Case, run: Run, algorithm: str) -> str:
    """The protocols that NCCL's log names with this algorithm, where it speaks of such a call: of all ranks, and of
    plain buffers. A forced algorithm has the protocol that NCCL took when it took that one by itself."""
    everyone = len(case.groups) == 1 and len(case.groups[0]) == len(run.manifest.ranks)
    if case.collective not in FUNCTIONS.values() or not everyone or case.algorithm in OTHER_BUFFERS:
        return ""
    said = logged(run, case.phase).get((case.collective, case.size), ())
    names = {
        PROTOCOLS.get(protocol.lower(), protocol)
        for each, protocol in said
        if protocol and algorithm in (UNKNOWN, _ours(each))
    }
    return "/".join(sorted(names))


_possible = lru_cache(candidates)


def logged(run: Run, phase: str) -> Chosen:
    """What NCCL's logs of ``phase`` and of the evidence phase name; empty where nothing was logged."""
    known = _logs(run)
    if phase not in known:
        folder = run.path / LOGS
        known[phase] = _chosen(
            sorted(file for name in {EVIDENCE, phase} for file in folder.glob(f"{name}.*.log"))
        )
    return known[phase]


@once()
def _logs(run: Run) -> dict[str, Chosen]:
    """What the logs of each phase name, as they are looked into: every row of a run asks, and there is one a rank."""
    return {}


def _chosen(files: Iterable[Path]) -> Chosen:
    found: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        log = read("\n".join(line for line in text.splitlines() if SIGN in line))
        for process in log.processes:
            for tuned in process.tuned:
                name = FUNCTIONS.get(tuned.collective, "")
                found.setdefault((name, tuned.size), set()).add((tuned.algorithm, tuned.protocol))
    return {key: frozenset(names) for key, names in found.items()}
