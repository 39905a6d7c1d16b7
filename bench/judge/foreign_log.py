"""Verdicts on NCCL's log of a job that was not started by RailGauge."""

from __future__ import annotations

from collections.abc import Sequence

from bench.judge import nccl_log
from bench.judge.checks.exclusion_settings import by_log
from bench.model.profile import Profile
from bench.model.rails import by_port
from bench.model.verdict import Verdict
from bench.nccl.log import Log


def judge_log(log: Log, want: Profile) -> tuple[Verdict, ...]:
    """The four verdicts that NCCL's own words allow; a rank that the log lacks makes them INCONCLUSIVE."""
    ranks = range(log.nranks[-1]) if log.nranks else range(0)
    verdicts = [
        by_log(log, _rails(log, want), ranks, want),
        nccl_log.network(log, ranks, "IB" if by_port(want.rails) else "Socket"),
        nccl_log.warnings(log, ranks),
    ]
    if by_port(want.rails):
        each = max((_ranks_of_host(log, host) for host in log.hosts), default=0) <= want.rails.count
        verdicts.insert(2, nccl_log.gpudirect(log, ranks, each=each))
    return tuple(verdicts)


def _ranks_of_host(log: Log, host: str) -> int:
    return len({rank for process in log.processes if process.host == host for rank in log.ranks_of(process)})


def _rails(log: Log, want: Profile) -> Sequence[str]:
    """The rails that the profile names; where it gives a number alone: what is listed, if not excluded and as many."""
    if want.rails.devices:
        return [name.replace("/", ":") for name in want.rails.devices]
    seen = dict.fromkeys(
        hca.name for process in log.processes for using in process.using for hca in using.hcas
    )
    rails = [name for name in seen if name not in want.rails.excluded]
    return rails if len(rails) == want.rails.count else []
