"""The items of gpu-check: each looks at what a real job left, and says what was seen."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import card_items
import comparisons
import endings
import gpu_jobs
import job
import marked
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

from bench.model.collectives import COLLECTIVES, COPIES
from bench.model.units import show_rate, show_seconds, show_size
from bench.model.verdict import Status, Verdict
from bench.nccl.log import read_ranks
from bench.store.rows import Row

ROOT = Path(__file__).parent.parent.parent


def machine(here: Here) -> Said:
    return Said(SEEN, f"{here.title}; as torch sees them")


def nvml(here: Here) -> Said:
    if here.no_nvml:
        return not_possible(here.no_nvml)
    known = len(here.node.gpus)
    if known < here.gpus:
        return failed(f"torch sees {here.gpus} GPUs, NVML {known}: {'; '.join(here.node.notes)[:300]}")
    gpu = here.node.gpus[0]
    told = [name for name in ("clock_sm", "temperature", "power", "limits") if getattr(gpu, name) is not None]
    return Said(SEEN, f"{known} GPUs; it tells {', '.join(told) or 'nothing of clocks'}")


def copies(here: Here) -> Said:
    done = gpu_jobs.all_gpus(here)
    if here.rehearsal:
        return not_possible("copies of a GPU need one")
    rows = [row for row in done.rows if row.case.collective in COPIES]
    wanted = len(COPIES) * 2 * here.ranks
    trouble = _trouble(done, rows, wanted)
    if trouble:
        return failed(trouble)
    big = max(row.case.size for row in rows)
    least = {
        name: min(row.algbw for row in rows if (row.case.collective, row.case.size) == (name, big))
        for name in COPIES
    }
    text = ", ".join(f"{name} {show_rate(rate)}" for name, rate in least.items())
    return Said(SEEN, f"{wanted} rows, 0 wrong; at {show_size(big)}: {text}", {"least": least})


def one_rank_a_gpu(here: Here) -> Said:
    done = gpu_jobs.all_gpus(here)
    rows = [row for row in done.rows if row.case.phase == "collectives"]
    names = {row.case.collective for row in rows}
    wanted = {name for name in COLLECTIVES if not name.startswith("p2p")}
    trouble = _trouble(done, rows, 1) or _lacking(names, wanted)
    if trouble:
        return failed(trouble)
    text = f"{len(rows)} rows of {len(names)} collectives, 0 wrong"
    if here.ranks == 1:
        who = "gloo on the CPU" if here.rehearsal else "NCCL"
        return Said(SEEN, f"{text}; {who}, one rank, so nothing crosses a link")
    best = max(rows, key=lambda row: row.busbw)
    return Said(SEEN, f"{text}; {here.ranks} ranks, most {show_rate(best.busbw)} ({best.case.id})")


def links(here: Here) -> Said:
    if here.gpus < 2:
        return not_possible(f"{here.gpus} GPU: NVLink joins two or more")
    done = gpu_jobs.all_gpus(here)
    rows = [row for row in done.rows if row.case.phase == "links"]
    trouble = _trouble(done, rows, here.ranks * (here.ranks - 1) // 2)
    if trouble:
        return failed(trouble)
    rates = [row.busbw for row in rows]
    told = "; ".join(each.message for each in done.verdicts("nvlink.pairs"))
    text = f"{len(rows)} pairs, {show_rate(min(rates))} to {show_rate(max(rates))}, median {show_rate(median(rates))}"
    return Said(SEEN, f"{text}; {told}")


def graphs(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("CUDA graphs need a GPU")
    done = gpu_jobs.all_gpus(here) if here.ranks > 1 else gpu_jobs.shared(here)
    rows = [row for row in done.rows if row.case.algorithm == "graph"]
    trouble = _trouble(done, rows, 1)
    if trouble:
        return failed(trouble)
    parts = []
    for row in rows:
        plain = [
            each
            for each in done.rows
            if (each.case.collective, each.case.size, each.case.algorithm, each.case.phase)
            == (row.case.collective, row.case.size, "auto", "collectives")
        ]
        before = f", direct {show_seconds(plain[0].seconds)}" if plain else ""
        parts.append(f"{row.case.collective} {show_size(row.case.size)} {show_seconds(row.seconds)}{before}")
    return Said(SEEN, f"{len(rows)} rows, 0 wrong; {'; '.join(parts[:3])}")


def registered(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("registered buffers need NCCL")
    done = gpu_jobs.all_gpus(here) if here.ranks > 1 else gpu_jobs.shared(here)
    rows = [row for row in done.rows if row.case.algorithm == "registered"]
    refused = {str(row.measurement.extra.failed) for row in rows if row.measurement.extra.failed}
    if refused:
        return not_possible("; ".join(sorted(refused)))
    trouble = _trouble(done, rows, 1)
    return failed(trouble) if trouble else Said(SEEN, f"{len(rows)} rows, 0 wrong")


def launch_overhead(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("on a CPU a call returns when it is done: starting it is no time of its own")
    rows = [row for row in gpu_jobs.all_gpus(here).rows if row.measurement.extra.launch]
    if not rows:
        return failed("no row tells what starting a call costs the host")
    by_name: dict[str, list[float]] = {}
    for row in rows:
        by_name.setdefault(row.case.algorithm, []).append(max(row.measurement.extra.launch))
    text = ", ".join(f"{name}: {show_seconds(median(values))} a call" for name, values in by_name.items())
    return Said(
        SEEN, f"median over {len(rows)} rows, {text}", {name: median(each) for name, each in by_name.items()}
    )


def started(here: Here) -> Said:
    done = gpu_jobs.all_gpus(here)
    if not done.run or not done.run.joined:
        return failed(done.trouble or "no phase says how its workers started")
    steps = {name: max(line.seconds[name] for line in done.run.joined) for name in done.run.joined[0].seconds}
    versions = done.run.joined[0].versions
    text = ", ".join(f"{name} {show_seconds(value)}" for name, value in steps.items())
    return Said(SEEN, f"slowest of {len(done.run.joined)} starts: {text}; {versions}", steps)


def clocks(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("no GPU to look at")
    if here.no_nvml:
        return not_possible(here.no_nvml)
    done = gpu_jobs.all_gpus(here)
    looked = [spell for line in (done.run.health if done.run else ()) for spell in line.cases]
    samples = sum(spell.samples for spell in looked)
    verdicts = done.verdicts("gpus.throttled")
    if not samples or not verdicts:
        notes = {line.note for line in (done.run.health if done.run else ())}
        return failed(
            f"nobody saw the clocks while it was measured: {'; '.join(sorted(notes)) or 'no health.jsonl'}"
        )
    if any(each.status is Status.INCONCLUSIVE for each in verdicts):
        return not_possible(verdicts[0].message)
    told = verdicts[0].evidence[0] if verdicts[0].evidence else verdicts[0].measured
    return Said(SEEN, f"{samples} looks at {len(looked)} cases; {verdicts[0].status.name}: {told}")


def nccl_log(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("gloo logs nothing")
    parts = []
    for done, ranks in ((gpu_jobs.all_gpus(here), here.ranks), (gpu_jobs.shared(here), 2)):
        files = done.logs("evidence")
        texts = {
            int(path.name.split(".")[1]): path.read_text(encoding="utf-8", errors="replace") for path in files
        }
        log = read_ranks(texts)
        if len(texts) != ranks or set(log.by_rank()) != set(range(ranks)):
            return failed(
                f"{done.folder.name}: logs of {sorted(texts)}, ranks found in them {sorted(log.by_rank())}"
            )
        networks = sorted({each for process in log.processes for each in process.networks})
        versions = sorted({each for process in log.processes for each in process.versions})
        tuned = sum(len(process.tuned) for process in log.processes)
        parts.append(
            f"{done.folder.name}: {ranks} ranks, NCCL {versions}, network {networks}, {tuned} choices of algorithm"
        )
    return Said(SEEN, "; ".join(parts))


def several_on_one(here: Here) -> Said:
    done = gpu_jobs.shared(here)
    rows = [row for row in done.rows if row.case.phase in ("pairs", "collectives")]
    trouble = _trouble(done, rows, 1) or _lacking({row.case.collective for row in rows}, set(COLLECTIVES))
    if trouble:
        return failed(trouble)
    again = gpu_jobs.three(here)
    trouble = _trouble(again, again.rows, 4)
    if trouble:
        return failed(f"three ranks: {trouble}")
    where = "CPUs" if here.rehearsal else "one GPU" if here.gpus < 2 else f"{here.gpus} GPUs"
    return Said(
        SEEN,
        f"all {len(COLLECTIVES)} collectives on 2 ranks and 4 on 3, over sockets on {where}, 0 wrong (no speed)",
    )


def layer(*names: str) -> Callable[[Here], Said]:
    """One layer of the exclusion proof, as the checks judged it on the ranks that talk over sockets."""

    def item(here: Here) -> Said:
        return _judged(gpu_jobs.shared(here), names)

    return item


def hang_named(collective: str) -> Callable[[Here], Said]:
    """What a run says of a worker that was stopped in the middle of a collective, or of an exchange."""
    return lambda here: _names_the_second(here, gpu_jobs.hung(here, collective))


def _names_the_second(here: Here, done: job.Done) -> Said:
    if done.run is None:
        return failed(done.trouble)
    reasons = [loss.reason for loss in done.run.losses]
    text = next((reason for reason in reasons if "rank 1" in reason), "")
    if not text:
        return failed(f"rank 1 was stopped, and the run says: {'; '.join(reasons)[:300] or 'nothing'}")
    recorded = here.rehearsal or "torch's recorder" in text
    return Said(SEEN, text) if recorded else failed(f"without a word of torch's recorder: {text[:300]}")


def duplicate_named(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("gloo needs no GPU of its own")
    done = gpu_jobs.duplicate(here)
    reasons = [loss.reason for loss in done.run.losses] if done.run else [done.trouble]
    text = next((reason for reason in reasons if "uplicate GPU" in reason), "")
    return Said(SEEN, text) if text else failed(f"the run says: {'; '.join(reasons)[:300] or 'nothing'}")


def everything_logged(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("gloo logs nothing")
    done = gpu_jobs.logged(here)
    trouble = _trouble(done, done.rows, 1)
    lines = sum(len(path.read_bytes().splitlines()) for path in done.folder.glob("run/logs/*.log"))
    dumps = ", ".join(
        f"{path.name} {show_size(path.stat().st_size)}" for path in sorted(here.out.glob("*.xml"))
    )
    return failed(trouble) if trouble else Said(SEEN, f"{lines} lines; {dumps or 'no topology dumped'}")


COMMANDS = {
    "probe": ("probe",),
    "run": ("run", "all_gather", "-b", "1M", "-e", "1M", "--out", "{out}/command-line", "--ranks", "{ranks}"),
}


def command_line(here: Here) -> Said:
    """``railgauge probe`` and ``railgauge run``, with what the command line needs beside torch."""
    lacking = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if lacking:
        return not_possible(f"no {', '.join(lacking)}")
    parts = []
    for name, words in COMMANDS.items():
        command = [word.format(out=here.out, ranks=here.ranks) for word in words]
        status, said = job.finish(
            [sys.executable, "-m", "bench", *command], here.out / f"{name}.log", min(180.0, here.left())
        )
        lines = said.strip().splitlines()
        if status != 0:
            return failed(f"{name} ended with {status} ({name}.log): {said[-300:]}")
        parts.append(f"{name}: {len(lines)} lines, the last: {lines[-1] if lines else ''}")
    return Said(SEEN, "; ".join(parts))


PACKAGES = """
import importlib.metadata, sys
print(sys.version)
for each in sorted(importlib.metadata.distributions(), key=lambda each: str(each.metadata["Name"]).lower()):
    print(each.metadata["Name"], each.version)
"""


def surroundings(here: Here) -> Said:
    """What a reader of the archive will ask for: what is installed, which kernel, what is mounted and allowed."""
    commands = {
        "packages.txt": [sys.executable, "-c", PACKAGES],  # pip itself may be lacking
        "kernel.txt": ["uname", "-a"],
        "mounts.txt": ["cat", "/proc/self/mounts"],
        "limits.txt": ["cat", "/proc/self/limits"],
        "devices.txt": ["sh", "-c", "ls -l /dev/nvidia* /dev/infiniband"],
        "nvidia-smi.txt": ["sh", "-c", "nvidia-smi -q; nvidia-smi topo -m; nvidia-smi nvlink -s"],
    }
    optional = ("devices.txt", "nvidia-smi.txt")
    statuses = {name: job.finish(command, here.out / name, 20.0)[0] for name, command in commands.items()}
    lacking = [name for name, status in statuses.items() if status != 0 and name not in optional]
    return failed(f"no {', '.join(lacking)}") if lacking else Said(SEEN, ", ".join(commands))


def exclusion_infiniband(here: Here) -> Said:
    hcas = gpu_jobs.infiniband(here)
    if len(hcas) < 2:
        return not_possible(f"{len(hcas)} active InfiniBand ports: one to exclude and one to use are needed")
    names = ("exclusion.selector", "exclusion.census", "exclusion.log", "exclusion.bytes")
    return _judged(gpu_jobs.over_infiniband(here), names)


# ── judging ─────────────────────────────────────────────────────────────────────────────────────────────


def _trouble(done: job.Done, rows: Iterable[Row], least: int) -> str:
    """What is wrong with a job's rows; empty when all are there and right."""
    rows = list(rows)
    if done.run is None:
        return done.trouble
    # what another phase of the job lost is not held against these rows
    phases = {row.case.phase for row in rows}
    lost = [
        f"{loss.case}: {loss.reason}"
        for loss in done.run.losses
        if not rows or _phase_of(loss.case) in phases
    ]
    broken = [
        f"{row.case.id}: {row.measurement.extra.failed}" for row in rows if row.measurement.extra.failed
    ]
    wrong = [f"{row.case.id}: {row.wrong} wrong" for row in rows if row.wrong]
    unchecked = [f"{row.case.id}: not checked" for row in rows if row.wrong is None]
    for found in (broken, wrong, unchecked, lost):
        if found:
            return f"{found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}"
    # a job that was ended for time may have done the phases of these rows before
    ended = {mark.name for mark in done.run.phases if mark.state == "end"}
    if done.trouble and not (phases and phases <= ended):
        return done.trouble
    return "" if len(rows) >= least else f"{len(rows)} rows, {least} are wanted"


def _phase_of(case: str) -> str:
    return case.partition("/")[0]


def _lacking(names: set[str], wanted: set[str]) -> str:
    return f"not measured: {', '.join(sorted(wanted - names))}" if wanted - names else ""


def _judged(done: job.Done, names: tuple[str, ...]) -> Said:
    found = done.verdicts(*names)
    if not found:
        return failed(done.trouble or f"no verdict on {', '.join(names)}")
    text = "; ".join(f"{each.check} {each.status.name}: {each.subject}: {each.measured}" for each in found)
    seen = {each.status for each in found}
    if seen == {Status.PASS}:
        return Said(SEEN, text)
    if Status.FAIL in seen:
        return failed(text)
    # what cannot be determined here, in a container that hides sysfs say, has not been seen wrong
    odd = [each for each in found if each.status is not Status.PASS]
    return not_possible("; ".join(f"{each.check} {each.status.name}: {_why(each)}" for each in odd))


def _why(verdict: Verdict) -> str:
    return f"{verdict.subject}: {verdict.measured or verdict.message}"


ITEMS: tuple[tuple[str, Callable[[Here], Said]], ...] = (
    ("GPUs, driver, torch", machine),
    ("GPUs as NVML sees them", nvml),
    ("packages, kernel, mounts and limits", surroundings),
    ("our own command line", command_line),
    ("CUDA events, host clock and the memory's rate", card_items.clock_and_rate),
    ("every getter of NVML, idle and loaded", card_items.getters),
    ("copies inside a GPU and to its host", copies),
    ("every collective, one rank a GPU", one_rank_a_gpu),
    ("links between GPUs, pair by pair", links),
    ("CUDA graphs", graphs),
    ("registered buffers", registered),
    ("launch overhead", launch_overhead),
    ("start, timed step by step", started),
    ("clocks, heat and power while measuring", clocks),
    ("every collective, several ranks on one GPU", several_on_one),
    ("NCCL's log of every rank", nccl_log),
    ("exclusion 1: the selector", layer("exclusion.selector")),
    ("exclusion 2: the census", layer("exclusion.census")),
    # over sockets the log names the interfaces, and its network is no more than the word Socket
    ("exclusion 3: the interfaces in NCCL's own log", layer("exclusion.log")),
    ("exclusion 3: the network in NCCL's own log", layer("nccl.network")),
    ("a rank that stops in a collective is named", hang_named("all_reduce")),
    ("a rank that stops in an exchange is named", hang_named("p2p_bidirectional")),
    ("two ranks on one GPU are refused", duplicate_named),
    (
        "a GPU whose memory another process takes",
        lambda here: endings.out_of_memory(here, gpu_jobs.on_gpu, gpu_jobs.OVER_SOCKETS),
    ),
    ("all that NCCL logs", everything_logged),
    (
        "a rank that is killed is named",
        lambda here: endings.killed(here, gpu_jobs.on_gpu, gpu_jobs.OVER_SOCKETS),
    ),
    ("what the recorder and the gauge cost", card_items.watching),
    ("exclusion over InfiniBand", exclusion_infiniband),
    ("fidelity against a raw loop", comparisons.fidelity),
    ("against nccl-tests", comparisons.against_nccl_tests),
    ("tests marked gpu", marked.tests),
)
