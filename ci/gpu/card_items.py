"""Items on one GPU by itself: its clocks, the rate of its memory, NVML under load, and what watching it costs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import job
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

from bench.measure.flight_recorder import SIZES
from bench.model.units import show_rate, show_seconds, show_share

FOLDER = Path(__file__).parent
# bytes/s of memory by words of the name, the longest that fit: NVIDIA's datasheets (SXM, where nothing else is said)
MEMORY = {
    "H100": 3.35e12, "H100 PCIe": 2.0e12, "H100 NVL": 3.9e12, "H200": 4.8e12, "B200": 8.0e12, "GB200": 8.0e12,
    "B300": 8.0e12, "GB300": 8.0e12, "A100-SXM4-40GB": 1.555e12, "A100-SXM4-80GB": 2.039e12, "A100 80GB PCIe": 1.935e12,
    "L40S": 0.864e12, "L40": 0.864e12, "L4": 0.3e12, "T4": 0.32e12,
}  # fmt: skip
LEAST = 0.6  # of that, by a copy, which reads and writes
CLOCKS = 0.05  # by which CUDA events and the host's clock may differ over many copies
CALLS_SECONDS = 3.0


def _card(here: Here, log: str, seconds: float, *words: str, **environment: str) -> tuple[int | None, str]:
    command = [sys.executable, str(FOLDER / "card.py"), *words]
    limit = max(5.0, min(seconds, here.left()))
    return job.finish(command, here.out / log, limit, {**os.environ, **environment})


def clock_and_rate(here: Here) -> Said:
    """CUDA events against the host's clock, and a copy against the datasheet of the card's memory."""
    if here.rehearsal:
        return not_possible("no GPU to copy in")
    status, said = _card(here, "rates.log", 60.0, "rates")
    if status != 0:
        return failed(f"ended with {status}: {said.strip()[-300:]}")
    return judge_rates(json.loads(said.strip().splitlines()[-1]))


def judge_rates(told: dict[str, float | str]) -> Said:
    """What the copies say; a rate above the datasheet's is a wrong clock, and no fast card."""
    events, host = float(told["events"]), float(told["host"])
    rate = 2 * float(told["bytes"]) * float(told["copies"]) / events
    text = f"events {show_seconds(events)}, host {show_seconds(host)}; a copy moves {show_rate(rate)}"
    if not abs(events / host - 1) <= CLOCKS:
        return failed(f"{text}: the clocks differ by more than {show_share(CLOCKS)}")
    named = str(told["name"])
    known = max((name for name in MEMORY if re.search(rf"\b{name}\b", named)), key=len, default="")
    if not known or "MIG" in named:
        return Said(SEEN, f"{text}; no datasheet of {named} is known here", dict(told))
    share = rate / MEMORY[known]
    text += f", {show_share(share)} of the {known} datasheet's {show_rate(MEMORY[known])}"
    return Said(SEEN, text, dict(told)) if LEAST <= share <= 1 else failed(text, **told)


@contextlib.contextmanager
def beside(log: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of card.py that has said its word, ended with all that it started."""
    command = [sys.executable, str(FOLDER / "card.py"), *words]
    with log.open("wb") as errors:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip
    try:
        assert started.stdout is not None
        if not started.stdout.readline():
            raise RuntimeError(f"card.py {words[0]} ended: {log.read_text(errors='replace')[-300:]}")
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def getters(here: Here) -> Said:
    """Each getter of NVML that takes a GPU alone, while it is idle and while it copies: who answers, and how long the
    slowest takes.
    """
    if here.no_nvml:
        return not_possible(here.no_nvml)
    idle = _getters(here, "nvml.jsonl")
    if here.rehearsal:
        return Said(SEEN, _told(idle), dict(_refused(idle)))
    with beside(here.out / "load.log", "load"):
        loaded = _getters(here, "nvml-loaded.jsonl")
    changed = [
        name for name in idle if ("error" in idle[name]) != ("error" in loaded.get(name, {"error": ""}))
    ]
    text = f"idle {_told(idle)}; loaded {_told(loaded)}"
    if changed:
        text += f"; otherwise under load: {', '.join(changed[:4])}"
    return Said(SEEN, text, dict(_refused(loaded)))


Answers = dict[str, dict[str, str]]


def _getters(here: Here, name: str) -> Answers:
    status, said = job.finish([sys.executable, str(FOLDER / "nvml_getters.py")], here.out / name, 60.0)
    if status != 0:
        raise RuntimeError(f"{name}: ended with {status} after: {said.strip()[-200:]}")
    answers: Answers = dict(json.loads(line) for line in said.splitlines() if line.startswith("["))
    return answers


def _told(answers: Answers) -> str:
    refused = _refused(answers).total()
    slowest = max(answers, key=lambda name: float(answers[name]["seconds"]))
    took = show_seconds(float(answers[slowest]["seconds"]))
    return f"{len(answers) - refused} of {len(answers)} answer, the slowest in {took} ({slowest})"


def _refused(answers: Answers) -> Counter[str]:
    return Counter(answer["error"] for answer in answers.values() if "error" in answer)


def watching(here: Here) -> Said:
    """Small calls with torch's recorder off and on, and with the gauge that reads clocks beside them, in turns."""
    if here.rehearsal:
        return not_possible("gloo's calls are no measure of NCCL's")
    found: dict[str, list[float]] = {}
    for turn in ("plain", "recorder", "gauge", "plain"):
        found.setdefault(turn, []).extend(_turn(here, turn))
    plain = median(found["plain"])
    ratios = {name: median(values) / plain for name, values in found.items() if name != "plain"}
    text = ", ".join(f"{name} {ratio:.3f} times" for name, ratio in ratios.items())
    return Said(
        SEEN, f"a small call takes {show_seconds(plain)}; with {text} as long", {"plain": plain, **ratios}
    )


def _turn(here: Here, turn: str) -> list[float]:
    size = "2000" if turn == "recorder" else "0"
    recorder = dict.fromkeys(SIZES, size)
    polling = [sys.executable, str(FOLDER / "nvml_getters.py"), "--gauge"]
    gauge = (
        subprocess.Popen(polling, stdout=subprocess.DEVNULL, start_new_session=True)
        if turn == "gauge"
        else None
    )
    try:
        status, said = _card(here, f"calls-{turn}.log", 60.0, "calls", str(CALLS_SECONDS), **recorder)
    finally:
        if gauge:
            gauge.kill()
            gauge.wait()
    if status != 0:
        raise RuntimeError(f"calls with {turn}: ended with {status}: {said.strip()[-300:]}")
    line = next(line for line in reversed(said.splitlines()) if line.startswith("["))
    blocks: list[float] = json.loads(line)
    return blocks
