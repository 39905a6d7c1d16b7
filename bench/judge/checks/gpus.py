"""The GPUs: how many, healthy, free, joined by NVLink, and each with a rail of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.facts import Gpu, Node, rail_of_gpu, relation
from bench.model.majority import odd_ones
from bench.model.profile import Profile
from bench.model.rails import by_port, joined, own_rails, rails_of
from bench.model.verdict import Verdict

NO_GPUS = "the profile speaks of no GPUs"
MEMORY = "NVIDIA, GPU Memory Error Management"
EVENTS = "NVIDIA, NVML: clocks event reasons"
# what slows a GPU for a fault of cooling, power or board; sw_power_cap and the others are its normal work
FAULTS = ("hw_slowdown", "hw_thermal", "hw_power_brake", "sw_thermal", "reliability")

Look = Callable[[Gpu], tuple[bool | None, str]]


@check("gpus.count", early=True)
def count(evidence: Evidence) -> Iterator[Verdict]:
    """Every node has as many GPUs as the profile says, and NVML sees all that are on the bus."""
    ask = Question(
        "gpus.count",
        f"{evidence.profile.gpus} GPUs",
        evidence.profile.name,
        "ask nvidia-smi: install or load the driver; or see dmesg for Xid and 'fallen off the bus', and reboot",
        "see why NVML gives none: nvidia-smi",
        float(evidence.profile.gpus),
    )
    if not evidence.profile.gpus:
        yield ask.skip("all nodes", NO_GPUS)
        return
    yield from ask.verdicts(
        (_count(node, evidence.profile.gpus) for node in evidence.nodes),
        f"nodes have {evidence.profile.gpus} GPUs",
    )


def _count(node: Node, wanted: int) -> Finding:
    seen, bus = len(node.gpus), node.host.nvidia_on_bus
    told = f"{seen} GPUs" + (f", {len(bus)} on the PCI bus" if bus is not None and len(bus) != seen else "")
    why = [note for note in node.notes if note.startswith("nvml")]
    if not seen and why:
        told += f"; {why[0]}"
    # without NVML and without the PCI bus nobody has looked
    blind = not seen and bus is None and bool(why)
    return Finding(node.name, None if blind else seen == wanted, told, float(seen))


@check("gpus.name", early=True)
def name(evidence: Evidence) -> Iterator[Verdict]:
    """Every GPU is of the model that the profile names."""
    ask = Question(
        "gpus.name",
        evidence.profile.gpu_name,
        evidence.profile.name,
        "choose the profile of this cluster: railgauge profiles",
    )
    if not evidence.profile.gpu_name:
        yield ask.skip("all nodes", "the profile names no model")
        return

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        return (
            None if gpu.name is None else evidence.profile.gpu_name in gpu.name,
            f"is {gpu.name or 'not known'}",
        )

    yield from _each(ask, evidence, look, f"GPUs are {evidence.profile.gpu_name}")


def _each(ask: Question, evidence: Evidence, look: Look, well: str) -> Iterator[Verdict]:
    """One finding a GPU."""
    if not evidence.profile.gpus:
        yield ask.skip("all nodes", NO_GPUS)
        return
    found = []
    for node in evidence.nodes:
        if not node.gpus:
            found.append(Finding(node.name, None, "no GPU could be asked"))
        for gpu in node.gpus:
            ok, told = look(gpu)
            note = f"{told}; {'; '.join(gpu.notes)}" if ok is None and gpu.notes else ""
            found.append(Finding(f"{node.name} GPU {gpu.index}", ok, told, note=note))
    yield from ask.verdicts(found, well)


@check("gpus.ecc", early=True)
def ecc(evidence: Evidence) -> Iterator[Verdict]:
    """ECC is on, and no GPU has had an error that it could not correct since its driver was loaded."""
    ask = Question(
        "gpus.ecc",
        "ECC on, 0 uncorrected errors",
        MEMORY,
        "switch it on (nvidia-smi -e 1), reset the GPU, and test it: dcgmi diag -r 3",
    )
    yield from _each(ask, evidence, _ecc, "GPUs have ECC on and 0 uncorrected errors")


def _ecc(gpu: Gpu) -> tuple[bool | None, str]:
    enabled, wrong = gpu.ecc.enabled, gpu.ecc.volatile_uncorrected
    if enabled is False:
        return False, "ECC is off"
    if wrong:
        return False, f"{wrong} uncorrected errors since the driver was loaded"
    if enabled is None or wrong is None:
        return None, "ECC mode and counts are not known"
    return True, "ECC is on, 0 uncorrected errors"


@check("gpus.remap", early=True)
def remap(evidence: Evidence) -> Iterator[Verdict]:
    """No row of a GPU's memory waits to be remapped, and none could not be."""
    ask = Question(
        "gpus.remap",
        "none pending, none failed",
        MEMORY,
        "pending: reset the GPU; failed: have the board replaced",
    )
    yield from _each(ask, evidence, _remap, "GPUs have no row remapping pending or failed")


def _remap(gpu: Gpu) -> tuple[bool | None, str]:
    pending, failed = gpu.ecc.remap_pending, gpu.ecc.remap_failed
    if failed:
        return False, "row remapping failed"
    if pending:
        return False, "a row remapping is pending"
    if pending is None or failed is None:
        return None, "row remapping is not known"
    return True, f"{gpu.ecc.remapped_uncorrected or 0} rows were remapped after uncorrected errors"


@check("gpus.mig", early=True)
def mig(evidence: Evidence) -> Iterator[Verdict]:
    """No GPU is cut into MIG instances, which have no NVLink and only a part of it."""
    ask = Question("gpus.mig", "MIG off", "NVIDIA, MIG user guide", "switch it off: nvidia-smi -mig 0")

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        return None if gpu.mig is None else not gpu.mig, f"MIG is {_switch(gpu.mig)}"

    yield from _each(ask, evidence, look, "GPUs have MIG off")


@check("gpus.persistence", early=True)
def persistence(evidence: Evidence) -> Iterator[Verdict]:
    """Persistence mode is on: else each phase starts the GPUs anew and their error counts are lost."""
    ask = Question(
        "gpus.persistence",
        "on",
        "NVIDIA, driver persistence",
        "switch it on: systemctl start nvidia-persistenced, or nvidia-smi -pm 1",
    )

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        return gpu.persistence, f"persistence mode is {_switch(gpu.persistence)}"

    yield from _each(ask, evidence, look, "GPUs have persistence mode on")


def _switch(value: bool | None) -> str:
    return {True: "on", False: "off", None: "not known"}[value]


@check("gpus.clocks", early=True)
def clocks(evidence: Evidence) -> Iterator[Verdict]:
    """No GPU is slowed by heat, power brake or a fault of its board."""
    ask = Question(
        "gpus.clocks",
        f"none of {', '.join(FAULTS)}",
        EVENTS,
        "look at its cooling and power: nvidia-smi -q -d PERFORMANCE,TEMPERATURE",
    )

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        if gpu.limits is None:
            return None, "the reasons of its clocks are not known"
        bad = [limit for limit in gpu.limits if limit in FAULTS]
        return not bad, f"clocks are held by {', '.join(bad or gpu.limits) or 'nothing'}"

    yield from _each(ask, evidence, look, "GPUs are not slowed by a fault")


@check("gpus.compute_mode", early=True)
def compute_mode(evidence: Evidence) -> Iterator[Verdict]:
    """Every GPU lets a process in."""
    ask = Question(
        "gpus.compute_mode",
        "default, or exclusive process",
        "NVIDIA, nvidia-smi: compute mode",
        "nvidia-smi -c 0",
    )

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        mode = gpu.compute_mode
        return None if mode is None else mode in (
            "default",
            "exclusive process",
        ), f"compute mode is {mode or 'not known'}"

    yield from _each(ask, evidence, look, "GPUs let a process in")


@check("gpus.idle", early=True)
def idle(evidence: Evidence) -> Iterator[Verdict]:
    """Nobody else computes on the GPUs when the run begins."""
    ask = Question(
        "gpus.idle",
        "0 processes",
        "RailGauge: a second load is measured too",
        "end the other job, or take this node out: nvidia-smi",
    )

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        told = (
            "the processes on it are not known"
            if gpu.processes is None
            else f"{gpu.processes} processes compute on it"
        )
        return None if gpu.processes is None else gpu.processes == 0, told

    yield from _each(ask, evidence, look, "GPUs were free")


@check("gpus.nvlink", early=True)
def nvlink(evidence: Evidence) -> Iterator[Verdict]:
    """Every NVLink of every GPU is up, and every GPU has as many as most have."""
    source = evidence.profile.nvlink.source if evidence.profile.nvlink else "its peers"
    ask = Question(
        "gpus.nvlink",
        "every NVLink up, as many as its peers have",
        source,
        "see nvidia-smi nvlink -s and systemctl status nvidia-fabricmanager",
        "see nvidia-smi nvlink -s",
    )
    gpus = [(f"{node.name} GPU {gpu.index}", gpu) for node in evidence.nodes for gpu in node.gpus]
    if evidence.profile.gpus and evidence.profile.nvlink is None and not any(gpu.nvlinks for _, gpu in gpus):
        yield ask.skip("all nodes", "the profile names no NVLink, and no GPU shows one")
        return
    odd = {
        each.name: each
        for each in odd_ones({name: str(len(gpu.nvlinks)) for name, gpu in gpus if gpu.nvlinks})
    }

    def look(gpu: Gpu) -> tuple[bool | None, str]:
        if gpu.nvlinks is None:
            return None, "NVLink is not known"
        down = [str(link.link) for link in gpu.nvlinks if not link.active]
        up = f"{len(gpu.nvlinks) - len(down)} of {len(gpu.nvlinks)} NVLinks are up"
        return bool(gpu.nvlinks) and not down, f"{up}; down: {', '.join(down)}" if down else up

    verdicts = _each(ask, evidence, look, "GPUs have every NVLink up")
    yield from (
        verdict
        for verdict in verdicts
        if not (odd and verdict.subject == "all nodes" and evidence.profile.gpus)
    )
    for name, each in odd.items() if evidence.profile.gpus else ():
        usual = (
            f"{each.usual}, as {each.peers} GPUs have" if each.usual else "one number; there is no majority"
        )
        yield ask.verdict(Finding(name, False, f"{each.value} NVLinks, not {usual}"))


@check("gpus.rail", early=True)
def rail(evidence: Evidence) -> Iterator[Verdict]:
    """Every GPU has a rail of its own, near to it over PCI."""
    ask = Question(
        "gpus.rail",
        "a known way to a rail that no other GPU uses",
        "NCCL: ncclTopoGetLocalNet",
        "compare with: nvidia-smi topo -m",
        "see nvidia-smi topo -m: the PCI tree could not be read",
    )
    if not evidence.profile.gpus or not by_port(evidence.rails):
        yield ask.skip(
            "all nodes", NO_GPUS if not evidence.profile.gpus else "the rails are no ports of HCAs"
        )
        return
    found = [finding for node in evidence.nodes for finding in _rails(node, evidence.profile)]
    yield from ask.verdicts(found, "GPUs have a rail of their own")


def _rails(node: Node, want: Profile) -> Iterator[Finding]:
    rails = {role.name: role for role in rails_of(node, want.rails)}
    chosen = rail_of_gpu(node, list(rails))
    if not chosen:
        yield Finding(node.name, None, "no GPU could be asked")
    # a profile with fewer rails than GPUs means them to share
    most = -(-want.gpus // max(want.rails.count, 1))
    own_of = own_rails(node, want.rails)
    for at, gpu in enumerate(node.gpus):
        name = chosen[gpu.index]
        subject = f"{node.name} GPU {gpu.index}"
        if name is None:
            yield Finding(subject, None, "its way to the rails is not known")
            continue
        port = rails[name].port
        others = [index for index, other in chosen.items() if other == name and index != gpu.index]
        own = own_of[at] if name in own_of[at] else (name,)
        told = f"uses {joined(own)} ({relation(gpu.pci, port.pci if port else None)})"
        if others:
            told += f", and so does GPU {', '.join(str(index) for index in others)}"
        yield Finding(subject, len(others) < most, told, note=told)
