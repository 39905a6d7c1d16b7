"""The GPUs while they were measured: what held their clocks, judged rank by rank."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from statistics import median

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.run_folder_lines import GpuDuringCase, HealthLine
from bench.model.units import MEGA, show_share
from bench.store import IMPORTED

from .gpus import FAULTS, HOTTEST

# what slows a GPU as it is meant to, and is shown with the others' clocks
LEAST_CLOCK = 0.85  # of the median GPU: what power costs one more than another is a few per cent
# of the highest clock that it can: moving data draws too little power to be held below
LEAST_OF_MOST, LEAST_OF_MEMORY = 0.75, 0.9
ALIKE = ("nodes", "collectives", "ring")  # phases in which every call loads every GPU
WORK = ("sw_power_cap", "applications_clocks", "sync_boost", "display_clocks", "board_limit")


def no_gpu_measured(evidence: Evidence) -> str:
    return "" if evidence.backend == "nccl" else "no GPU was measured"


def _imported(evidence: Evidence) -> str:
    return "an import holds no clocks of GPUs" if evidence.manifest.launcher == IMPORTED else ""


@check(
    "gpus.throttled",
    subject="all GPUs",
    wanted=f"none of {', '.join(FAULTS)}",
    source="NVIDIA, NVML: clocks event reasons",
    on_fail="look at its cooling and power: nvidia-smi -q -d PERFORMANCE,TEMPERATURE; then run again",
    on_inconclusive="see why NVML shows none: nvidia-smi -q -d PERFORMANCE",
    unit="GPUs",
    unless=(no_gpu_measured, _imported),
)
def throttled(evidence: Evidence) -> Iterator[Finding]:
    """No GPU was slowed by heat, power brake or a fault of its board while it was measured."""
    by_rank: dict[int, list[HealthLine]] = {}
    for line in evidence.run.health:
        if line.gpu is not None:
            by_rank.setdefault(line.rank, []).append(line)
    phases, own = _measured(evidence), _reported(evidence)
    planned = {case.id for case in evidence.run.plan.cases}
    for rank in evidence.ranks:
        lines = by_rank.get(rank.rank, [])
        yield _of_another(rank.rank, rank.node, lines, own.get(rank.rank, set())) or _finding(
            rank.rank, rank.node, lines, phases.get(rank.rank, set()), planned
        )


def _reported(evidence: Evidence) -> dict[int, set[str]]:
    """Rank → the UUIDs of the GPUs that its workers reported."""
    found: dict[int, set[str]] = {}
    for line in evidence.run.joined:
        for rank, gpu in (line.gpus or {}).items():
            found.setdefault(int(rank), set()).add(gpu.uuid)
    return {rank: uuids for rank, uuids in found.items() if "" not in uuids}


def _of_another(rank: int, node: str, lines: list[HealthLine], own: set[str]) -> Finding | None:
    """The finding where the clocks of a rank were sampled on another GPU than its worker's."""
    found = ((line.phase, line.gpu.uuid) for line in lines if own and line.gpu and line.gpu.uuid)
    phase, odd = next(((phase, uuid) for phase, uuid in found if uuid not in own), ("", ""))
    if not odd:
        return None
    text = f"the clocks in phase {phase} are of {odd}; its worker had {' and '.join(sorted(own))}"
    step = "see whether health.jsonl is of this run, then run again"
    return Finding(f"{node} rank {rank}", None, text, wanted="the GPU of its worker", step=step)


def _finding(
    rank: int, node: str, lines: list[HealthLine], phases: set[str], planned: Collection[str]
) -> Finding:
    """``phases``: in which it measured something, so in each of them its clocks must have been sampled, in cases that
    were ``planned``.
    """
    gpu = lines[0].gpu if lines else None
    name = f"{node} GPU {gpu.index} (rank {rank})" if gpu else f"{node} rank {rank}"
    spells = [spell for line in lines for spell in line.cases]
    clocks = _clocks(spells, lines)
    held = [(spell, bad) for spell in spells if (bad := [each for each in _reasons(spell) if each in FAULTS])]
    if held:
        worst, reasons = max(held, key=lambda each: sum(each[0].reasons.get(reason, 1) for reason in each[1]))
        times = max(worst.reasons.get(reason, 1) for reason in reasons)
        text = (
            f"held by {', '.join(reasons)} in {times} of {worst.samples} samples during {worst.case}"
            f"{f' and in {len(held) - 1} more cases' if len(held) > 1 else ''}; {_clocks([worst], lines)}"
        )
        return Finding(name, False, text, note=clocks)
    hottest = max((degrees for spell in spells for degrees in spell.temperature), default=0.0)
    if hottest >= HOTTEST:
        text = f"was at {hottest:.0f} °C; {clocks}"
        return Finding(name, False, text, hottest, wanted=f"below {HOTTEST:.0f} °C", bound=HOTTEST)
    sampled = {line.phase for line in lines if _is_sampled(line, planned)}
    unseen = sorted(phases - sampled)
    if unseen or not sampled:
        why = next((line.note for line in lines if line.note), "no sample was taken, or NVML hid it")
        when = f" in {', '.join(unseen)}" if unseen and sampled else ""
        return Finding(name, None, f"what held its clocks while it was measured is not known{when}: {why}")
    odd = next((spell for spell in spells if max(spell.reasons.values(), default=0) > spell.samples), None)
    if odd:
        reason = max(odd.reasons, key=lambda each: odd.reasons[each])
        text = f"{reason} is said to have held it in {odd.reasons[reason]} of {odd.samples} samples during {odd.case}"
        return Finding(name, None, text, wanted="samples of one run")
    work = sorted({each for spell in spells for each in spell.reasons if each in WORK})
    return Finding(name, True, clocks, note="; held by ".join([clocks, *([", ".join(work)] if work else [])]))


def _reasons(spell: GpuDuringCase) -> list[str]:
    return list(dict.fromkeys([*spell.reasons, *(each for _, found in spell.changes for each in found)]))


def _is_sampled(line: HealthLine, planned: Collection[str]) -> bool:
    """Whether NVML answered in most of the samples of a phase's planned cases, of which there was at least one."""
    spells = [spell for spell in line.cases if spell.case in planned]
    samples = sum(spell.samples for spell in spells)
    silent = sum(spell.silent for spell in spells)
    return 2 * silent < samples


def _measured(evidence: Evidence) -> dict[int, set[str]]:
    """Rank -> the phases in which it measured something."""
    phase = {case.id: case.phase for case in evidence.run.plan.cases}
    ranks: dict[str, set[int]] = {}
    for row in evidence.run.measurements:
        if row.stop != "failed" and row.case in phase:
            ranks.setdefault(phase[row.case], set()).update(row.ranks)
    found: dict[int, set[str]] = {}
    for name, members in ranks.items():
        for rank in members:
            found.setdefault(rank, set()).add(name)
    return found


def _clocks(spells: list[GpuDuringCase], lines: list[HealthLine]) -> str:
    """``SM 1755 to 1980 MHz of at most 1980, 31 to 64 °C, 120 to 691 W``; what NVML refused is left out."""
    most = next((line.gpu.clock_sm_max for line in lines if line.gpu and line.gpu.clock_sm_max), None)
    top = f" of at most {most / MEGA:.0f}" if most else ""
    words = (
        ("clock_sm", "SM ", 1 / MEGA, f" MHz{top}"),
        ("temperature", "", 1.0, " °C"),
        ("power", "", 1.0, " W"),
    )
    parts = []
    for field, before, unit, after in words:
        values = [value * unit for spell in spells for value in getattr(spell, field)]
        if values:
            parts.append(f"{before}{min(values):.0f} to {max(values):.0f}{after}")
    return ", ".join(parts) or "clocks not known"


@check(
    "gpus.clock",
    subject="all GPUs",
    wanted=f"at least {show_share(LEAST_CLOCK)} of the median of the GPUs",
    source="NVML, sampled while it was measured",
    on_fail="see whether its clocks are locked (nvidia-smi -rgc frees them), then its power and cooling",
    every="every GPU reached the clock of the others",
    unit="GPUs",
    unless=(no_gpu_measured, _imported),
)
def clock(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every GPU reached the SM clock of the others, and three quarters of what it can, while it was measured."""
    top = _highest(evidence.run.health, "clock_sm")
    most = {
        line.rank: line.gpu.clock_sm_max for line in evidence.run.health if line.gpu and line.gpu.clock_sm_max
    }
    yield from _in_phases(evidence)
    if not top:
        yield NotApplicable("NVML showed no clock while it was measured; see gpus.throttled")
        return
    usual = median(top.values())
    for rank in evidence.ranks:
        reached, can = top.get(rank.rank), most.get(rank.rank, 0.0)
        name = f"{rank.node} rank {rank.rank}"
        if reached is None:
            yield Finding(name, None, "its clock while it was measured is not known")
            continue
        text = f"at most {reached / MEGA:.0f} MHz in the whole run; median of all GPUs {usual / MEGA:.0f}"
        text += f", its maximum {can / MEGA:.0f}" if can else ""
        ok: bool | None = reached >= LEAST_CLOCK * usual
        if ok and evidence.profile.limits and reached < LEAST_OF_MOST * can:
            ok = None  # all GPUs alike: locked so by somebody, or never loaded
        yield Finding(name, ok, text, reached)
    yield from _memory(evidence)


def _memory(evidence: Evidence) -> Iterator[Finding]:
    """Each GPU whose memory clock stayed below nine tenths of its maximum in the whole run."""
    top = _highest(evidence.run.health, "clock_memory")
    for rank in evidence.ranks:
        gpu, reached = evidence.gpu_of(rank.rank), top.get(rank.rank)
        most = gpu.clock_memory_max if gpu else None
        if most and reached is not None and reached < LEAST_OF_MEMORY * most:
            text = f"its memory clock was at most {reached / MEGA:.0f} MHz in the whole run"
            yield Finding(
                f"{rank.node} rank {rank.rank}", None, f"{text}, its maximum {most / MEGA:.0f}", reached
            )


def _highest(lines: Iterable[HealthLine], field: str) -> dict[int, float]:
    """Rank → the highest clock of its GPU, in hertz; ranks without one are missing. ``field``: of GpuDuringCase."""
    top: dict[int, float] = {}
    for line in lines:
        clocks = [value for spell in line.cases for value in getattr(spell, field)]
        if clocks:
            top[line.rank] = max(*clocks, top.get(line.rank, 0.0))
    return top


def _in_phases(evidence: Evidence) -> Iterator[Finding]:
    """Each GPU whose SM or memory clock stayed below the others' in a phase that loads all GPUs alike."""
    nodes = evidence.run.node_of
    for phase in ALIKE:
        lines = [line for line in evidence.run.health if line.phase == phase]
        for field, name in (("clock_sm", "SM"), ("clock_memory", "memory")):
            top = _highest(lines, field)
            usual = median(top.values()) if top else 0.0
            for rank, reached in top.items():
                if reached < LEAST_CLOCK * usual:
                    text = f"its {name} clock was at most {reached / MEGA:.0f} MHz in phase {phase}; "
                    text += f"median of all GPUs {usual / MEGA:.0f}"
                    yield Finding(f"{nodes.get(rank, '?')} rank {rank}", False, text, reached)
