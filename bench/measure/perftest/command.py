"""The command lines of server and client. The server's supervisor adds the TCP port, which it chooses.

16 messages of 512 KiB under way are far more than a rail holds (400 Gb/s × 10 µs are 0.5 MB) and, unlike
perftest's own 128, little enough for a slow rail to finish in time. Duration and not a number of
iterations, so that a rail takes as long at 1 Gb/s as at 400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bench.model.profile import Verbs
from bench.model.run_folder_lines import PerftestEnd, PerftestTool

from .tool import LATENCY, NAME

DEPTH = 16
ROUND_TRIPS, PINGED = 10_000, 8  # and bytes of a message, both as OCI's node check takes them: some 40 ms
SECONDS, MARGIN = 4, 1  # of which the first and the last are not counted
TIMEOUT = 18  # of the queue pair, 4 µs × 2^18: a busy host must not look like a dead link


def words(
    side: PerftestEnd,
    tool: PerftestTool,
    address: str,
    peer: str = "",
    nccl: Mapping[str, str] | None = None,
    size: int = Verbs.size,
) -> tuple[str, ...]:
    """ib_write_bw on ``side``: a server, or with ``peer`` (its address) a client that writes to it.

    ``address``: of this node's management interface; perftest talks over it where it lets itself be bound.
    ``nccl``: NCCL's environment; on RoCE the same GID and traffic class, or another class of service is measured.
    """
    plain = (NAME, "-d", side.hca, "-i", str(side.number), "-F", "-s", str(size), "-t", str(DEPTH))
    timed = ("-D", str(SECONDS), "-f", str(MARGIN), "-u", str(TIMEOUT))
    bound = ("--bind_source_ip", address) if "bind_source_ip" in tool.knows and address else ()
    lane = _lane(tool, nccl or {})
    return (*plain, *timed, *lane, *_memory(side, tool), *bound, *((peer,) if peer else ()))


def latency_words(
    side: PerftestEnd, tool: PerftestTool, address: str, peer: str = "", nccl: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """As ``words``, of ib_write_lat, always in host memory: a processor polls the last byte of each message."""
    plain = (LATENCY, "-d", side.hca, "-i", str(side.number), "-F", "-s", str(PINGED), "-n", str(ROUND_TRIPS))
    bound = ("--bind_source_ip", address) if "bind_source_ip" in tool.knows and address else ()
    return (*plain, "-u", str(TIMEOUT), *_lane(tool, nccl or {}), *bound, *((peer,) if peer else ()))


_LAWFUL = re.compile(
    r"-[diFstDfunxS]|--bind_source_ip|--tclass=\d+|--use_cuda(_bus_id)?=[\w:.]+|--use_cuda_dmabuf|\w[\w:.%-]*|::[\w:.%-]*"
)


def lawful(given: Sequence[str]) -> bool:
    """Whether these could be ``words``: rank 0 of another node orders nothing but a measurement from a supervisor."""
    return bool(given) and given[0] in (NAME, LATENCY) and all(map(_LAWFUL.fullmatch, given[1:]))


def _lane(tool: PerftestTool, nccl: Mapping[str, str]) -> tuple[str, ...]:
    """GID, service level and traffic class from NCCL's settings; a value that is no number (-1: choose) is ignored."""
    settings = {name: value.strip() for name, value in nccl.items() if value.strip().isdecimal()}
    found: list[str] = []
    for name, flag in (("NCCL_IB_GID_INDEX", "-x"), ("NCCL_IB_SL", "-S")):
        found += [flag, settings[name]] if name in settings else []
    if "NCCL_IB_TC" in settings and "tclass" in tool.knows:
        found.append(f"--tclass={settings['NCCL_IB_TC']}")
    return tuple(found)


def _memory(side: PerftestEnd, tool: PerftestTool) -> tuple[str, ...]:
    if not side.gpu:
        return ()
    by_bus = "use_cuda_bus_id" in tool.knows and side.gpu_address
    which = f"--use_cuda_bus_id={side.gpu_address}" if by_bus else f"--use_cuda={side.gpu}"
    return (which, "--use_cuda_dmabuf") if side.dmabuf else (which,)
