"""What NCCL's RAS service reports of a job: processes that do not answer, ranks that launched less than the others.

A thread of every NCCL process answers on a port of its own machine. Source: NCCL user guide, RAS (2.24; JSON since
2.28.7). The text is for people and varies from release to release, so what is not understood is kept as it is.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Mapping

from bench.model.late_dataclass import dataclass
from bench.probe import tcp_sockets
from bench.probe.sysfs import LIVE

PORT = 28028
VARIABLE, SWITCH = "NCCL_RAS_ADDR", "NCCL_RAS_ENABLE"
SECONDS = 8.0  # RAS itself waits about 5 s for processes that do not answer
LONGEST = 1 << 20
MOST = 1 << 16  # ranks that are taken from one answer
SHOWN = 200  # characters of a word that is repeated to people

_PROCESS = re.compile(r"Process (\d{1,10}) on node (\S{1,255}) managing GPUs? ([\d, -]{1,80})")
_RANK = re.compile(r"Rank (\d{1,9}) -- GPU ([\d,]{1,40}) managed by process (\d{1,10}) on node (\S{1,255})")
_MISSING = re.compile(r"The missing ranks?: ([\d, -]{1,400})")
_SHARE = re.compile(r"(\d{1,9}) ranks? ha(?:s|ve) (\S.{0,200})")
_HEADS = ("Errors", "Warnings", "Job summary", "Communicators")


@dataclass(frozen=True)
class RasFindings:
    """What is wrong: ``missing`` and ``late`` are ranks of a communicator, ``lost`` are processes."""

    lost: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    late: tuple[tuple[int, str], ...] = ()
    text: str = ""

    @property
    def summary(self) -> str:
        """One line; "" where RAS reports nothing wrong."""
        parts = [f"no answer from {', '.join(self.lost[:4])}"] * bool(self.lost)
        parts += [f"ranks missing: {', '.join(map(str, self.missing[:16]))}"] * bool(self.missing)
        parts += [f"rank {rank} {what}" for rank, what in self.late[:4]]
        return "; ".join(parts)


def parse(text: str) -> RasFindings:
    """The findings in RAS's answer, as text or JSON. What is not understood is left out: never an error."""
    text = text[:LONGEST]
    start = text.find("{")
    if start >= 0:
        try:
            return _of_json(json.loads(text[start:]), text)
        except (ValueError, RecursionError):
            pass
    return _of_text(text)


def _of_text(text: str) -> RasFindings:
    lost: list[str] = []
    missing: list[int] = []
    late: list[tuple[int, str]] = []
    what = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(_HEADS):
            what = ""
        elif found := _PROCESS.search(line):
            lost.append(_process(found[1], found[2], found[3].strip()))
        elif found := _MISSING.search(line):
            missing += _numbers(found[1])[: MOST - len(missing)]
        elif found := _SHARE.fullmatch(line):
            what = "has " + found[2]
        elif (found := _RANK.search(line)) and what:
            late.append((int(found[1]), f"(GPU {found[2]} of {found[4]}) {what}"))
    return RasFindings(tuple(dict.fromkeys(lost)), tuple(dict.fromkeys(missing)), tuple(late), text)


def _process(pid: str, node: str, gpus: str) -> str:
    return f"pid {pid} on {node}, GPU {gpus}"[:SHOWN]


def _numbers(text: str) -> list[int]:
    """``21, 23-25``."""
    found: list[int] = []
    for part in text.split(","):
        ends = [int(word) for word in part.split("-") if word.strip().isdigit()]
        if ends and ends[-1] - ends[0] <= MOST - len(found):
            found += range(ends[0], ends[-1] + 1)
    return found


def _of_json(data: object, text: str) -> RasFindings:
    """Outliers are not marked there: ranks that launched less of a collective than most."""
    lost: list[str] = []
    missing: list[int] = []
    late: list[tuple[int, str]] = []
    for comm in _rows(data, "communicators"):
        for row in _rows(comm, "missing_ranks"):
            rank = row.get("rank")
            if isinstance(rank, int):
                missing.append(rank)
            status = row.get("status")
            if isinstance(status, dict) and (status.get("unresponsive") or status.get("considered_dead")):
                lost.append(_process(str(row.get("pid")), str(row.get("host")), str(row.get("cuda_dev"))))
        late += _less(_rows(comm, "ranks"))
    return RasFindings(tuple(dict.fromkeys(lost)), tuple(dict.fromkeys(missing)), tuple(late), text)


def _rows(of: object, key: str) -> list[dict[str, object]]:
    found = of.get(key) if isinstance(of, dict) else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _less(ranks: list[dict[str, object]]) -> list[tuple[int, str]]:
    counts = [(row.get("rank"), row.get("collective_counts")) for row in ranks]
    known = [(rank, each) for rank, each in counts if isinstance(rank, int) and isinstance(each, dict)]
    found = []
    for name in sorted({str(name) for _, each in known for name in each}):
        values = [(rank, each[name]) for rank, each in known if isinstance(each.get(name), int)]
        usual = Counter(value for _, value in values).most_common(1)[0][0] if values else 0
        found += [
            (rank, f"has launched {value} {name[:SHOWN]}, most {usual}")
            for rank, value in values
            if value < usual
        ]
    return found


@dataclass(frozen=True)
class RasAnswer:
    """What RAS sent, to its last whole line; ``cut`` says why it is not all, "" where it is."""

    text: str
    cut: str = ""


def ask(settings: Mapping[str, str], limit: float = SECONDS) -> RasAnswer:
    """What the RAS of this machine answers within ``limit`` seconds; OSError where there is none or it is silent.

    ``settings``: NCCL's variables as the workers have them. A job in trouble is slow to answer: what has come counts.
    """
    deadline = time.monotonic() + limit
    if settings.get(SWITCH, "").strip() == "0":
        # another job of this machine may have one at the same place
        raise OSError(f"{SWITCH} is 0: this job has no RAS")
    host, _, port = settings.get(VARIABLE, f"localhost:{PORT}").strip().rpartition(":")
    try:
        number = int(port)
    except ValueError:
        raise OSError(f"{VARIABLE} is {settings.get(VARIABLE)!r}, which has no port") from None
    if others := _others(host, number):
        raise OSError(f"port {number} of this machine is held by {others}")
    answer = b""
    with socket.create_connection((host.strip("[]") or "localhost", number), limit) as line:
        line.sendall(b"VERBOSE STATUS\n")
        while len(answer) < LONGEST:
            line.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = line.recv(1 << 16)
            except OSError as error:
                if not answer:
                    raise
                return _cut(answer, f"{error} after {limit:.0f} s")
            if not data:
                return RasAnswer(answer.decode(errors="replace"))
            answer += data
    return _cut(answer, f"longer than {LONGEST} bytes")


def _others(host: str, port: int) -> str:
    """Another user of this machine who listens at the port and could answer in NCCL's place; "" for none."""
    if host.strip("[]") not in ("", "localhost", "::1") and not host.startswith("127."):
        return ""
    users = {each.uid for each in tcp_sockets.listeners(LIVE) if each.port == port}
    others = sorted(users - {os.geteuid()})
    return f"another user ({', '.join(map(str, others))})" if others else ""


def _cut(answer: bytes, why: str) -> RasAnswer:
    """Half a line may say something else: ``ranks: 2`` of ``ranks: 21``."""
    whole, end, _ = answer.decode(errors="replace").rpartition("\n")
    return RasAnswer(whole + end, why)
