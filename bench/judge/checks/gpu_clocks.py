"""The GPUs while they were measured: what held their clocks, judged rank by rank."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.lines import GpuDuringCase, HealthLine
from bench.model.units import MEGA
from bench.model.verdict import Verdict
from bench.store import IMPORTED

from .gpus import EVENTS, FAULTS

# what slows a GPU as it is meant to, and is told with the others' clocks
WORK = ("sw_power_cap", "applications_clocks", "sync_boost", "display_clocks", "board_limit")


@check("gpus.throttled")
def throttled(evidence: Evidence) -> Iterator[Verdict]:
    """No GPU was slowed by heat, power brake or a fault of its board while it was measured."""
    ask = Question(
        "gpus.throttled",
        f"none of {', '.join(FAULTS)}",
        EVENTS,
        "look at its cooling and power: nvidia-smi -q -d PERFORMANCE,TEMPERATURE; then run again",
        "see why NVML does not tell: nvidia-smi -q -d PERFORMANCE",
    )
    if evidence.backend != "nccl":
        yield ask.skip("all GPUs", "no GPU was measured")
        return
    if evidence.manifest.launcher == IMPORTED:
        yield ask.skip("all GPUs", "an import does not say what held their clocks")
        return
    by_rank: dict[int, list[HealthLine]] = {}
    for line in evidence.run.health:
        if line.gpu is not None:
            by_rank.setdefault(line.rank, []).append(line)
    phases = _measured(evidence)
    ranks = evidence.ranks
    yield from ask.verdicts(
        [
            _finding(rank.rank, rank.node, by_rank.get(rank.rank, []), phases.get(rank.rank, set()))
            for rank in ranks
        ],
        "GPUs were not slowed by a fault while they were measured",
    )


def _finding(rank: int, node: str, lines: list[HealthLine], phases: set[str]) -> Finding:
    """``phases``: in which it measured something, so in each of them somebody must have looked."""
    gpu = lines[0].gpu if lines else None
    name = f"{node} GPU {gpu.index} (rank {rank})" if gpu else f"{node} rank {rank}"
    spells = [spell for line in lines for spell in line.cases]
    clocks = _clocks(spells, lines)
    held = [(spell, bad) for spell in spells if (bad := [each for each in spell.reasons if each in FAULTS])]
    if held:
        worst, reasons = max(held, key=lambda each: sum(each[0].reasons[reason] for reason in each[1]))
        times = max(worst.reasons[reason] for reason in reasons)
        measured = (
            f"held by {', '.join(reasons)} in {times} of {worst.samples} looks during {worst.case}"
            f"{f' and in {len(held) - 1} more cases' if len(held) > 1 else ''}; {_clocks([worst], lines)}"
        )
        return Finding(name, False, measured, note=clocks)
    unseen = sorted(phases - {line.phase for line in lines if _told(line)})
    if unseen or not any(map(_told, lines)):
        why = next((line.note for line in lines if line.note), "nobody looked at it, or NVML hid it")
        when = f" in {', '.join(unseen)}" if unseen and any(map(_told, lines)) else ""
        return Finding(name, None, f"what held its clocks while it was measured is not known{when}: {why}")
    work = sorted({each for spell in spells for each in spell.reasons if each in WORK})
    return Finding(name, True, clocks, note="; held by ".join([clocks, *([", ".join(work)] if work else [])]))


def _told(line: HealthLine) -> bool:
    """Whether NVML told in most of the looks of a phase, of which there was at least one."""
    looks = sum(spell.samples for spell in line.cases)
    silent = sum(spell.silent for spell in line.cases)
    return 2 * silent < looks


def _measured(evidence: Evidence) -> dict[int, set[str]]:
    """Rank -> the phases in which it measured something."""
    phase = {case.id: case.phase for case in evidence.run.plan.cases}
    found: dict[int, set[str]] = {}
    for row in evidence.run.measurements:
        if row.stop != "failed" and row.case in phase:
            for rank in row.ranks:
                found.setdefault(rank, set()).add(phase[row.case])
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
    return ", ".join(parts) or "clocks not told"
