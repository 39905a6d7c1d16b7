"""The rules that find what is odd in NCCL's log of a job and say what would change it; each is a function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model.late_dataclass import dataclass
from bench.nccl.distortions import FAIL, distortions
from bench.nccl.log import Log, LogProcess
from bench.nccl.networks import SOCKETS
from bench.nccl.rank_answers import RankAnswer, answer_of
from bench.nccl.selector import Item, parse


@dataclass(frozen=True)
class Oddity:
    """Something that is not as it should be, and what would change it."""

    what: str
    remedy: str


def two_jobs(log: Log) -> list[int]:
    """The ranks that two processes each say to be: these are logs of two jobs, whose differences are no fault."""
    return [rank for rank, claimed in log.by_rank().items() if len(claimed) > 1]


def differ(log: Log, what: str, answers: tuple[RankAnswer, ...], remedy: str) -> Iterator[Oddity]:
    whole = [answer for answer in answers if "(the list is cut)" not in answer.value]
    if len({answer.value for answer in whole}) > 1 and not two_jobs(log):
        lists = "; ".join(
            f"{answer.who}: {answer.value}" if answer.ranks else answer.value for answer in whole[:4]
        )
        more = f" and {len(whole) - 4} more" if len(whole) > 4 else ""
        yield Oddity(f"the ranks have different {what}: {lists}{more}", remedy)


def names_in(networks: Iterable[RankAnswer]) -> set[str]:
    return {name for each in networks for name in each.value.split(", ")}


def odd_networks(log: Log, networks: tuple[RankAnswer, ...], meant: bool) -> Iterator[Oddity]:
    yield from differ(log, "networks", networks, "set NCCL_NET, which makes a fall-back an error")
    by_sockets = [each for each in networks if names_in([each]) & set(SOCKETS)]
    one_node = log.nodes == 1
    if by_sockets and not meant and not one_node:
        disabled = any(
            setting.name == "NCCL_IB_DISABLE" and setting.value not in ("", "0")
            for process in log.processes
            for setting in process.settings
        )
        remedy = (
            "take NCCL_IB_DISABLE away"
            if disabled
            else "see that /dev/infiniband is in the container, that ports are active (railgauge probe) and that "
            "NCCL_IB_HCA takes them (railgauge explain SPEC); NCCL_NET=IB makes it an error"
        )
        who = "; ".join(each.who for each in by_sockets)
        yield Oddity(f"data goes by TCP sockets, not by InfiniBand or RoCE ({who})", remedy)


def excluded_in_use(log: Log, speakers: Iterable[LogProcess]) -> Iterator[Oddity]:
    """An HCA that NCCL_IB_HCA leaves out on one rank, and that another one uses."""
    specs = {s.value for process in log.processes for s in process.settings if s.name == "NCCL_IB_HCA"}
    out = set() if two_jobs(log) else {item.name for spec in specs for item in _left_out(spec)}
    for name in sorted(out):
        users = [
            each for each in speakers if any(hca.name == name for using in each.using for hca in using.hcas)
        ]
        if users:
            who = answer_of(log, name, users).who
            yield Oddity(
                f"{name} is in use ({who}), although NCCL_IB_HCA leaves it out elsewhere in this log",
                "set NCCL_IB_HCA alike on every rank (mpirun -x, srun --export, env of each pod)",
            )


def _left_out(spec: str) -> tuple[Item, ...]:
    selector = parse(spec)
    return selector.items if selector.negated and selector.exact else ()


def odd_gpudirect(answers: tuple[RankAnswer, ...]) -> Iterator[Oddity]:
    for answer in answers:
        if not answer.value.startswith("on every"):
            yield Oddity(
                f"GPUDirect RDMA is used {answer.value} ({answer.who})",
                "load nvidia_peermem or use DMA-BUF, turn ACS off on PCIe switches, and let NCCL_NET_GDR_LEVEL reach "
                "from GPU to adapter (PIX, PXB, PHB, SYS)",
            )


def odd_settings(settings: tuple[RankAnswer, ...]) -> Iterator[Oddity]:
    for answer in settings:
        name, _, value = answer.value.partition("=")
        for found in distortions({name: value}):
            if found.severity == FAIL:
                yield Oddity(f"{answer.value} ({answer.who}) {found.reason}", f"take {name} away")
