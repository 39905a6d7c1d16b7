"""Checks that the log of each rank is its own, and that no setting and library that NCCL took distorts the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.judge import nccl_log
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check
from bench.model.majority import odd_ones
from bench.model.units import show_count
from bench.nccl.distortions import FAIL, distortions
from bench.nccl.log import LogProcess

from .exclusion import LOGGED


@check(
    "nccl.ranks",
    subject="all ranks",
    wanted="its own rank of the whole job, and one NCCL",
    source=nccl_log.SOURCE,
    on_fail="install one NCCL on all nodes, and see LD_LIBRARY_PATH there",
    on_inconclusive=nccl_log.NEXT,
    every="every rank's log is its own",
    unit="logs",
    unless=LOGGED,
)
def own(evidence: Evidence) -> Iterator[Finding]:
    """Every rank's log speaks of that rank among all of the job, and of the NCCL that the others have."""
    world = len(evidence.ranks)
    versions = {
        f"rank {each.given}": ", ".join(each.versions) for each in evidence.log.processes if each.versions
    }
    for odd in odd_ones(versions):
        yield Finding(
            odd.name,
            False,
            f"its NCCL is {odd.value}; {odd.peers} others have {odd.usual or 'no one version'}",
        )
    for process in evidence.log.processes:
        said = {(member.rank, member.nranks) for member in process.members}
        if process.given is not None and said:
            text = ", ".join(f"rank {rank} of {nranks}" for rank, nranks in sorted(said)[:4])
            yield Finding(
                f"rank {process.given}", ((process.given, world) in said) or None, f"its log says {text}"
            )
        yield from _nodes(process, evidence)


def _nodes(process: LogProcess, evidence: Evidence) -> Iterator[Finding]:
    """Over how many nodes NCCL spreads the whole job; where NVLink spans several, they count as one."""
    world, count = len(evidence.ranks), evidence.node_count
    spread = {member.nodes for member in process.members if member.nranks == world and member.nodes}
    if process.given is not None and evidence.profile.nvlink_nodes == 1 and spread - {count}:
        text = f"NCCL counts {' and '.join(show_count(each, 'node') for each in sorted(spread))}, the run has {count}"
        yield Finding(f"rank {process.given}", None, text)


@check(
    "nccl.settings",
    subject="all ranks",
    wanted="nothing that distorts",
    source="NCCL and torch.distributed documentation, by NCCL's own log",
    on_fail="unset it, or take it out of the conf file (see environment.files), and run again",
    on_inconclusive="see whether the log is of this run, and what sets it: a wrapper of the launcher, a conf file",
    every="NCCL read no setting that distorts",
    unit="logs",
    unless=LOGGED,
)
def settings(evidence: Evidence) -> Iterator[Finding]:
    """No setting that NCCL said it had read disables or distorts it, wherever it was set."""
    planned = {*evidence.profile.environment}
    for phase in evidence.run.plan.phases:
        planned |= {*phase.environment} if phase.name == "evidence" else set()
    for process in evidence.log.processes:
        said = {setting.name: setting.value for setting in process.settings}
        bad = [row for row in distortions(said, planned) if row.severity == FAIL]
        subject = f"rank {process.given}" if process.given is not None else process.name
        text = "; ".join(f"{row.name}={row.value!r}: {row.reason}" for row in bad)
        other = "" if bad else _other(said, evidence)
        yield Finding(subject, None if other else not bad, text or other or "no such setting")


def _other(said: Mapping[str, str], evidence: Evidence) -> str:
    """Which setting NCCL read otherwise than RailGauge gave it to the workers, by the profile of the run."""
    if evidence.profile.text != evidence.manifest.profile_text:
        return ""
    given = evidence.profile.environment
    return "; ".join(
        f"NCCL read {name}={said[name]!r}, and the profile sets {value!r}"
        for name, value in given.items()
        if name in said and said[name].strip() != value.strip()
    )


@check(
    "versions.workers",
    subject="all ranks",
    wanted="one version in all workers",
    source="what the workers loaded",
    on_fail="install what the others have, and see LD_LIBRARY_PATH on every node",
    every="all workers loaded the same libraries",
    unit="libraries",
    only=lambda evidence: any(line.versions for line in evidence.run.joined),
)
def workers(evidence: Evidence) -> Iterator[Finding]:
    """The workers of a phase loaded one version of each library."""
    for line in evidence.run.joined:
        for name, found in line.versions.items():
            yield Finding(name, len(found) < 2, f"{' and '.join(found)} in phase {line.phase}")
