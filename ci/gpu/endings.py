"""Items in which something ends a run's worker: what the run then says of it must name the rank and the cause."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import card_items
import job
import profiles
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

SECONDS = 60.0
LIMIT = 20.0  # seconds without progress
RULES = {"precision": 0.0, "budget": 4.0}

Shown = Callable[[int], Mapping[str, str]]


def measures(folder: Path) -> bool:
    """Whether the run's journal holds a figure: its workers measure."""
    return any("measurement" in path.read_text(errors="replace") for path in folder.glob("journal*"))


def begun(folder: Path) -> bool:
    """Whether the run's journal holds a phase: all is planned, and workers are on their way."""
    return any('"begin"' in path.read_text(errors="replace") for path in folder.glob("journal*"))


def killed(here: Here, shown: Callable[[Here], Shown], environment: Mapping[str, str]) -> Said:
    """The second rank's worker ends by kill -9 while it measures."""
    folder = here.out / "killed" / "run"

    def kill_the_second(pids: Sequence[int]) -> bool:
        workers = job.workers_of(pids[1]) if measures(folder) else []
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        return bool(workers)

    sweeps = ({"collective": "all_reduce", "begin": 4096, "end": 1 << 20},)
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], environment)
    asked = job.Asked("killed", 2, text, sweeps, RULES, shown(here), LIMIT, kill_the_second)
    return named(here.job(asked, SECONDS), ("rank 1", "SIGKILL"))


def out_of_memory(here: Here, shown: Callable[[Here], Shown], environment: Mapping[str, str]) -> Said:
    """Another process takes the memory of the first GPU when all is planned: the case finds less than was free then."""
    if here.rehearsal:
        return not_possible("no GPU whose memory could be taken")
    if here.one_process_a_gpu:
        return not_possible("the compute mode keeps a second process off the GPU")
    free = here.node.gpus[0].memory_free if here.node.gpus else None
    if not free:
        return not_possible("it is not known how much memory is free")
    folder, held = here.out / "memory" / "run", list[bytes]()
    large = 1 << ((free // 8).bit_length() - 1)
    sweeps = ({"collective": "all_reduce", "begin": large, "end": large},)
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], environment)
    first = {"CUDA_VISIBLE_DEVICES": shown(here)(0)["CUDA_VISIBLE_DEVICES"]}
    with card_items.beside(here.out / "hold.log", "hold", str(large // 4), **first) as holder:
        orders, answers = holder.stdin, holder.stdout
        assert orders is not None and answers is not None

        def take(pids: Sequence[int]) -> bool:
            if not begun(folder):
                return False
            orders.write(b"take\n")
            orders.flush()
            there, _, _ = select.select([answers], [], [], LIMIT)
            held.append(answers.readline() if there else b"")
            return True

        asked = job.Asked("memory", 2, text, sweeps, RULES, shown(here), LIMIT, take)
        done = here.job(asked, SECONDS)
    if held != [b"held\n"]:
        return failed(f"the memory could not be taken (hold.log); {done.trouble}")
    return named(done, ("out of memory",))


def named(done: job.Done, words: Sequence[str]) -> Said:
    """Whether one sentence of the run holds all of ``words``."""
    if done.run is None:
        return failed(done.trouble)
    reasons = [loss.reason for loss in done.run.losses]
    reasons += [row.measurement.extra.failed for row in done.rows if row.measurement.extra.failed]
    text = next((reason for reason in reasons if all(word in reason for word in words)), "")
    return Said(SEEN, text) if text else failed(f"the run says: {'; '.join(reasons)[:300] or 'nothing'}")
