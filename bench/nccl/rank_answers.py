"""What the processes of a log answer to one question, equal answers together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.model.late_dataclass import dataclass
from bench.model.printable import ranges
from bench.model.units import show_some
from bench.nccl.log import Log, LogProcess


@dataclass(frozen=True)
class RankAnswer:
    """One answer, and who gives it: ``ranks``, or the names of processes whose rank the log does not tell."""

    value: str
    ranks: tuple[int, ...]
    processes: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        if self.ranks:
            return f"rank{'s' if len(self.ranks) > 1 else ''} {ranges(self.ranks)}"
        return f"{'process' if len(self.processes) == 1 else 'processes'} {show_some(self.processes)}"


def answers(
    log: Log, processes: Iterable[LogProcess], ask: Callable[[LogProcess], str]
) -> tuple[RankAnswer, ...]:
    """Equal answers together; "" is no answer."""
    said: dict[str, list[LogProcess]] = {}
    for process in processes:
        if value := ask(process):
            said.setdefault(value, []).append(process)
    return tuple(answer_of(log, value, who) for value, who in said.items())


def answer_of(log: Log, value: str, processes: Iterable[LogProcess]) -> RankAnswer:
    ranks: set[int] = set()
    nameless = []
    for process in processes:
        own = log.ranks_of(process)
        ranks.update(own)
        if not own:
            nameless.append(process.name)
    return RankAnswer(value, tuple(sorted(ranks)), tuple(dict.fromkeys(nameless)))
