"""The items of gpu-check: each looks at what a real job left, and says what was seen."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import card_items
import endings
import job
import marked
import profiles
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

from bench.model.collectives import COLLECTIVES, COPIES
from bench.model.units import show_rate, show_seconds, show_size
from bench.model.verdict import Status, Verdict
from bench.nccl.log import read_ranks
from bench.store.rows import Row

ROOT = Path(__file__).parent.parent.parent
GPU_SECONDS, SHARED_SECONDS, RING_SECONDS, RAW_SECONDS = 150.0, 130.0, 60.0, 60.0
RULES = {"precision": 0.05, "budget": 0.4}
SLOW_RULES = {"precision": 0.2, "budget": 0.25}
# ranks on one GPU are nodes of their own for NCCL: no peer access, no shared memory, everything by the network
SHARED = {
    "NCCL_MNNVL_ENABLE": "0",
    "NCCL_NVLS_ENABLE": "0",
    "NCCL_MAX_CTAS": "2",
}
OVER_SOCKETS = {"NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1", "NCCL_SOCKET_IFNAME": "=lo"}
HANG_LIMIT = 12.0  # seconds without progress, after which a rank that stopped is named
FIDELITY = 0.95  # of a raw CUDA-event loop, from 1 MiB


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────


def all_gpus(here: Here) -> job.Done:
    """Every GPU a rank: all phases of an acceptance run on one node."""
    text = profiles.every_gpu(here.backend)
    return here.job(job.Asked("gpus", here.ranks, text, rules=RULES), GPU_SECONDS)


def on_gpu(here: Here) -> Callable[[int], Mapping[str, str]]:
    """Each rank is shown one GPU, in turn. Ranks that share one need hosts of their own (NCCL's getHostHash), or NCCL
    refuses them.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpus = shown if shown != [""] else [str(at) for at in range(max(1, here.gpus))]
    return lambda rank: {
        "NCCL_HOSTID": f"gpu-check-{rank}",
        "CUDA_VISIBLE_DEVICES": gpus[rank % len(gpus)],
        **SHARED,
    }


def shared(here: Here) -> job.Done:
    """Two ranks that NCCL takes for two nodes, over sockets; on one GPU where there is only one."""
    others = [each.name for each in here.node.interfaces if each.name != "lo" and each.operstate == "up"]
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], others[:1], OVER_SOCKETS)
    return here.job(job.Asked("shared", 2, text, rules=SLOW_RULES, each=on_gpu(here)), SHARED_SECONDS)


def three(here: Here) -> job.Done:
    """Three ranks, because two hide mistakes of ring and index."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    names = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
    sweeps = tuple({"collective": name, "begin": 49152, "end": 49152} for name in names)
    return here.job(job.Asked("three", 3, text, sweeps, SLOW_RULES, on_gpu(here)), RING_SECONDS)


def hung(here: Here, collective: str) -> job.Done:
    """Two ranks, of which the second's worker is stopped for ever as soon as it measures."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": collective, "begin": 4096, "end": 1 << 20},)
    rules = {"precision": 0.0, "budget": 4.0}
    name = f"hung-{collective}"
    folder = here.out / name / "run"

    def stop_the_second(pids: Sequence[int]) -> bool:
        if not endings.measures(folder):
            return False
        workers = job.workers_of(pids[1])
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        return bool(workers)

    asked = job.Asked(name, 2, text, sweeps, rules, on_gpu(here), HANG_LIMIT, stop_the_second)
    return here.job(asked, RING_SECONDS)


def logged(here: Here) -> job.Done:
    """Two ranks with all that NCCL can log, and the topology and graphs that it found."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": "all_reduce", "begin": 4096, "end": 4096},)

    def each(rank: int) -> Mapping[str, str]:
        dumps = {f"NCCL_{what}_DUMP_FILE": str(here.out / f"{what}.{rank}.xml") for what in ("TOPO", "GRAPH")}
        return {**on_gpu(here)(rank), **dumps, "NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "ALL"}

    return here.job(job.Asked("logged", 2, text, sweeps, SLOW_RULES, each), RING_SECONDS)


def duplicate(here: Here) -> job.Done:
    """Two ranks of one host on one GPU, which NCCL refuses."""
    text = profiles.shared_gpu(here.backend, "socket", ["lo"], [], OVER_SOCKETS)
    sweeps = ({"collective": "all_reduce", "begin": 4096, "end": 4096},)
    first = {"CUDA_VISIBLE_DEVICES": on_gpu(here)(0)["CUDA_VISIBLE_DEVICES"]}
    return here.job(job.Asked("duplicate", 2, text, sweeps, SLOW_RULES, lambda rank: first), RING_SECONDS)


def infiniband(here: Here) -> list[str]:
    """HCAs with an active InfiniBand port."""
    return [port.hca for port in here.node.ports if port.active and port.link_layer == "InfiniBand"]


def over_infiniband(here: Here) -> job.Done:
    """Two ranks as two nodes over every InfiniBand HCA but the first, which is excluded."""
    first, *rails = infiniband(here)
    text = profiles.shared_gpu(
        here.backend,
        "infiniband",
        [f"{name}/1" for name in rails],
        [first],
        {"NCCL_NET": "IB", "NCCL_IB_HCA": f"^={first}"},
    )
    return here.job(job.Asked("infiniband", 2, text, rules=SLOW_RULES, each=on_gpu(here)), SHARED_SECONDS)


# ── items ───────────────────────────────────────────────────────────────────────────────────────────────


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
    done = all_gpus(here)
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
    done = all_gpus(here)
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
    done = all_gpus(here)
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
    done = all_gpus(here) if here.ranks > 1 else shared(here)
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
    done = all_gpus(here) if here.ranks > 1 else shared(here)
    rows = [row for row in done.rows if row.case.algorithm == "registered"]
    refused = {str(row.measurement.extra.failed) for row in rows if row.measurement.extra.failed}
    if refused:
        return not_possible("; ".join(sorted(refused)))
    trouble = _trouble(done, rows, 1)
    return failed(trouble) if trouble else Said(SEEN, f"{len(rows)} rows, 0 wrong")


def launch_overhead(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("on a CPU a call returns when it is done: starting it is no time of its own")
    rows = [row for row in all_gpus(here).rows if row.measurement.extra.launch]
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
    done = all_gpus(here)
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
    done = all_gpus(here)
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
    for done, ranks in ((all_gpus(here), here.ranks), (shared(here), 2)):
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
    done = shared(here)
    rows = [row for row in done.rows if row.case.phase in ("pairs", "collectives")]
    trouble = _trouble(done, rows, 1) or _lacking({row.case.collective for row in rows}, set(COLLECTIVES))
    if trouble:
        return failed(trouble)
    again = three(here)
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
        return _judged(shared(here), names)

    return item


def hang_named(collective: str) -> Callable[[Here], Said]:
    """What a run says of a worker that was stopped in the middle of a collective, or of an exchange."""
    return lambda here: _names_the_second(here, hung(here, collective))


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
    done = duplicate(here)
    reasons = [loss.reason for loss in done.run.losses] if done.run else [done.trouble]
    text = next((reason for reason in reasons if "uplicate GPU" in reason), "")
    return Said(SEEN, text) if text else failed(f"the run says: {'; '.join(reasons)[:300] or 'nothing'}")


def everything_logged(here: Here) -> Said:
    if here.rehearsal:
        return not_possible("gloo logs nothing")
    done = logged(here)
    trouble = _trouble(done, done.rows, 1)
    lines = sum(len(path.read_bytes().splitlines()) for path in done.folder.glob("run/logs/*.log"))
    dumps = ", ".join(
        f"{path.name} {show_size(path.stat().st_size)}" for path in sorted(here.out.glob("*.xml"))
    )
    return failed(trouble) if trouble else Said(SEEN, f"{lines} lines; {dumps or 'no topology dumped'}")


def command_line(here: Here) -> Said:
    """``railgauge probe``, with what the command line needs beside torch."""
    lacking = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if lacking:
        return not_possible(f"no {', '.join(lacking)}")
    status, said = job.finish([sys.executable, "-m", "bench", "probe"], here.out / "probe.log", 90.0)
    lines = said.strip().splitlines()
    return (
        Said(SEEN, f"probe: {len(lines)} lines (probe.log)")
        if status == 0
        else failed(f"probe: {said[-300:]}")
    )


def surroundings(here: Here) -> Said:
    """What a reader of the archive will ask for: what is installed, which kernel, what is mounted and allowed."""
    commands = {
        "pip.txt": [sys.executable, "-m", "pip", "list", "--disable-pip-version-check"],
        "kernel.txt": ["uname", "-a"],
        "mounts.txt": ["cat", "/proc/self/mounts"],
        "limits.txt": ["cat", "/proc/self/limits"],
        "devices.txt": ["sh", "-c", "ls -l /dev/nvidia* /dev/infiniband"],
    }
    statuses = {name: job.finish(command, here.out / name, 20.0)[0] for name, command in commands.items()}
    lacking = [name for name, status in statuses.items() if status != 0 and name != "devices.txt"]
    return failed(f"no {', '.join(lacking)}") if lacking else Said(SEEN, ", ".join(commands))


def exclusion_infiniband(here: Here) -> Said:
    hcas = infiniband(here)
    if len(hcas) < 2:
        return not_possible(f"{len(hcas)} active InfiniBand ports: one to exclude and one to use are needed")
    names = ("exclusion.selector", "exclusion.census", "exclusion.log", "exclusion.bytes")
    return _judged(over_infiniband(here), names)


def fidelity(here: Here) -> Said:
    """RailGauge's loop and a raw one with CUDA events, turn by turn in one process a rank."""
    name = "all_reduce" if here.ranks > 1 else "all_gather"
    sizes = (1 << 20, 64 << 20)
    cases = ",".join(f"{name}:{size}" for size in sizes)
    command = [
        sys.executable,
        str(ROOT / "ci/speed/fidelity.py"),
        "--backend",
        here.backend,
        "--seconds",
        "4",
    ]
    command += ["--ranks", str(here.ranks), "--cases", cases]
    _, said = job.finish(command, here.out / "fidelity.log", max(5.0, min(RAW_SECONDS, here.left())))
    found = re.findall(r"^(\S+) +(\d+) +ratio ([0-9.]+)", said, re.MULTILINE)
    if len(found) != len(sizes):
        return failed(f"{len(found)} of {len(sizes)} sizes compared: {said.strip()[-300:]}")
    text = ", ".join(f"{show_size(int(size))}: {ratio}" for _, size, ratio in found)
    ok = all(float(ratio) >= FIDELITY for *_, ratio in found)
    said = f"busbw of RailGauge ÷ raw loop, {name}, {here.ranks} ranks: {text}"
    return Said(SEEN, said) if ok or here.rehearsal else failed(f"{said}, wanted {FIDELITY}")


def against_nccl_tests(here: Here) -> Said:
    program = shutil.which("all_reduce_perf", path=str(here.nccl_tests) if here.nccl_tests else None)
    if not program:
        return not_possible("nccl-tests is not built here: --nccl-tests DIR, or all_reduce_perf on the PATH")
    if here.gpus < 2:
        return not_possible("one GPU: busbw of one rank is 0 by its definition")
    size = 64 << 20
    command = [program, "-b", str(size), "-e", str(size), "-g", str(here.ranks), "-c", "0"]
    status, said = job.finish(command, here.out / "nccl-tests.log", max(5.0, min(60.0, here.left())))
    line = next((line.split() for line in said.splitlines() if line.split()[:1] == [str(size)]), None)
    ours = [
        row for row in all_gpus(here).rows if (row.case.collective, row.case.size) == ("all_reduce", size)
    ]
    plain = [row for row in ours if row.case.algorithm == "auto" and row.case.phase == "collectives"]
    if not line or not plain:
        return failed(f"nothing to compare: nccl-tests ended with {status}, we have {len(plain)} rows")
    theirs = float(line[7]) * 1e9  # the out-of-place busbw in GB/s
    return Said(
        SEEN, f"busbw at 64 MiB: RailGauge {show_rate(plain[0].busbw)}, nccl-tests {show_rate(theirs)}"
    )


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
    if done.trouble:
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
    ("all that NCCL logs", everything_logged),
    ("a rank that is killed is named", lambda here: endings.killed(here, on_gpu, OVER_SOCKETS)),
    ("what the recorder and the gauge cost", card_items.watching),
    ("exclusion over InfiniBand", exclusion_infiniband),
    ("fidelity against a raw loop", fidelity),
    ("against nccl-tests", against_nccl_tests),
    ("tests marked gpu", marked.tests),
)
