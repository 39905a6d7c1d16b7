"""The GPUs: how many, healthy, free, joined by NVLink, and each with a rail of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from statistics import median

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import by_profile, check
from bench.model.facts import Gpu, Node, relation
from bench.model.majority import odd_ones
from bench.model.profile import Profile
from bench.model.rails import by_port, joined, nearest_rails, own_rails, rails_of
from bench.model.units import MEGA, show_share, show_size

MEMORY = "NVIDIA, GPU Memory Error Management"
# what slows a GPU for a fault of cooling, power or board; sw_power_cap and the others are its normal work
FAULTS = ("hw_slowdown", "hw_thermal", "hw_power_brake", "sw_thermal", "reliability")
# °C: NVIDIA's data-centre GPUs slow down below 90 and shut down at 92 to 95 (nvidia-smi -q -d TEMPERATURE)
HOTTEST = 95.0

HELD = 0.1  # of its memory: more than the driver keeps for itself
Answer = tuple[bool | None, str]  # whether a GPU is well, None where that is not known, and what it shows


def no_gpus(evidence: Evidence) -> str:
    if evidence.profile.gpus:
        return ""
    return "the profile leaves open which GPUs" if evidence.profile.gpu_counts else "the profile has no GPUs"


def either(counts: Sequence[int]) -> str:
    """``8``, or ``1, 2, 4 or 8``."""
    *some, last = map(str, counts or (0,))
    return f"{', '.join(some)} or {last}" if some else last


def unordered(evidence: Evidence) -> str:
    """What a PASS does not say where the profile leaves the number open."""
    return "; give --gpus N for the number that was ordered" if len(evidence.gpu_counts) > 1 else ""


def _each_gpu(look: Callable[[Gpu, Evidence], Answer]) -> Callable[[Evidence], Iterator[Finding]]:
    """One finding for every GPU, as ``look`` answers."""

    @wraps(look)
    def find(evidence: Evidence) -> Iterator[Finding]:
        for node in evidence.nodes:
            if not node.gpus:
                yield Finding(node.name, None, "no GPU was found", step="see gpus.count")
            for gpu in node.gpus:
                ok, text = look(gpu, evidence)
                note = f"{text}; {'; '.join(gpu.notes)}" if ok is None and gpu.notes else ""
                yield Finding(f"{node.name} GPU {gpu.index}", ok, text, note=note)

    return find


_of_gpus = partial(check, unit="GPUs", unless=(no_gpus,), facts_only=True)


def _on(value: bool | None) -> str:
    return {True: "on", False: "off", None: "not known"}[value]


@check(
    "gpus.count",
    wanted=lambda evidence: f"{either(evidence.gpu_counts)} GPUs",
    source=lambda evidence: "--gpus" if evidence.manifest.settings.gpus else by_profile(evidence),
    on_fail="look at nvidia-smi: install or load the driver; or see dmesg for Xid and 'fallen off the bus', and reboot",
    on_inconclusive="see why NVML does not show all: nvidia-smi; --gpus N says how many were ordered",
    every=lambda evidence: f"every node has {either(evidence.gpu_counts)} GPUs{unordered(evidence)}",
    unit="nodes",
    bound=lambda evidence: float(evidence.gpu_counts[0]) if len(evidence.gpu_counts) == 1 else None,
    unless=(lambda evidence: "" if evidence.gpu_counts else "the profile has no GPUs",),
    facts_only=True,
)
def count(evidence: Evidence) -> Iterator[Finding]:
    """Every node has the number of GPUs that --gpus or the profile names, and NVML shows all that the PCI bus has."""
    for node in evidence.nodes:
        number, bus = len(node.gpus), node.host.nvidia_on_bus
        text = f"{number} GPUs" + (
            f", {len(bus)} on the PCI bus" if bus is not None and len(bus) != number else ""
        )
        why = [note for note in node.notes if note.startswith("nvml")]
        if not number and why:
            text += f"; {why[0]}"
        # without NVML and without the PCI bus nobody has looked
        unseen = not number and bus is None and bool(why)
        fits = number in evidence.gpu_counts
        # a GPU that NVML lost, or a container that was given some of them: the order alone tells
        doubtful = fits and len(evidence.gpu_counts) > 1 and len(bus or ()) > number
        yield Finding(node.name, None if unseen or doubtful else fits, text, float(number))


@_of_gpus(
    "gpus.name",
    wanted=lambda evidence: evidence.profile.gpu_name,
    source=by_profile,
    on_fail="choose the profile of this cluster: railgauge profiles",
    every=lambda evidence: f"every GPU is {evidence.profile.gpu_name}",
    unless=(lambda evidence: "" if evidence.profile.gpu_name else "the profile names no model", no_gpus),
)
@_each_gpu
def name(gpu: Gpu, evidence: Evidence) -> Answer:
    """Every GPU is of the model that the profile names."""
    ok = None if gpu.name is None else evidence.profile.gpu_name in gpu.name
    return ok, f"is {gpu.name or 'not known'}"


@_of_gpus(
    "gpus.ecc",
    wanted="ECC on, 0 uncorrected errors",
    source=MEMORY,
    on_fail="switch it on (nvidia-smi -e 1), reset the GPU, and test it: dcgmi diag -r 3",
)
@_each_gpu
def ecc(gpu: Gpu, _: Evidence) -> Answer:
    """ECC is on, and no GPU has had an error that it could not correct since its driver was loaded."""
    enabled, wrong = gpu.ecc.enabled, gpu.ecc.volatile_uncorrected
    if enabled is False:
        return False, "ECC is off"
    if wrong:
        return False, f"{wrong} uncorrected errors since the driver was loaded"
    if enabled is None or wrong is None:
        return None, "ECC mode and counts are not known"
    return True, "ECC is on, 0 uncorrected errors"


@_of_gpus(
    "gpus.remap",
    wanted="none pending, none failed",
    source=MEMORY,
    on_fail="pending: reset the GPU; failed: have the board replaced",
)
@_each_gpu
def remap(gpu: Gpu, _: Evidence) -> Answer:
    """No row of a GPU's memory waits to be remapped, and no remapping has failed."""
    pending, failed = gpu.ecc.remap_pending, gpu.ecc.remap_failed
    if failed:
        return False, "row remapping failed"
    if pending:
        return False, "a row remapping is pending"
    if pending is None or failed is None:
        return None, "row remapping is not known"
    return True, f"{gpu.ecc.remapped_uncorrected or 0} rows were remapped after uncorrected errors"


@_of_gpus(
    "gpus.mig",
    wanted="MIG off",
    source="NVIDIA, MIG user guide",
    on_fail="switch it off: nvidia-smi -mig 0",
)
@_each_gpu
def mig(gpu: Gpu, _: Evidence) -> Answer:
    """No GPU is cut into MIG instances, which have no NVLink and only a part of it."""
    return None if gpu.mig is None else not gpu.mig, f"MIG is {_on(gpu.mig)}"


@_of_gpus(
    "gpus.persistence",
    wanted="on",
    source="NVIDIA, driver persistence",
    on_fail="switch it on: systemctl start nvidia-persistenced, or nvidia-smi -pm 1",
)
@_each_gpu
def persistence(gpu: Gpu, _: Evidence) -> Answer:
    """Persistence mode is on: else each phase starts the GPUs anew and their error counts are lost."""
    return gpu.persistence, f"persistence mode is {_on(gpu.persistence)}"


@_of_gpus(
    "gpus.clocks",
    wanted=f"none of {', '.join(FAULTS)}",
    source="NVIDIA, NVML: clocks event reasons",
    on_fail="look at its cooling and power: nvidia-smi -q -d PERFORMANCE,TEMPERATURE",
)
@_each_gpu
def clocks(gpu: Gpu, _: Evidence) -> Answer:
    """No GPU is slowed by heat, power brake or a fault of its board."""
    if gpu.limits is None:
        return None, "the reasons of its clocks are not known"
    bad = [limit for limit in gpu.limits if limit in FAULTS]
    if (gpu.temperature or 0) >= HOTTEST:
        return False, f"is at {gpu.temperature} °C before anything was measured"
    return not bad, f"clocks are held by {', '.join(bad or gpu.limits) or 'nothing'}"


@_of_gpus(
    "gpus.compute_mode",
    wanted="default, or exclusive process",
    source="NVIDIA, nvidia-smi: compute mode",
    on_fail="nvidia-smi -c 0",
)
@_each_gpu
def compute_mode(gpu: Gpu, _: Evidence) -> Answer:
    """Every GPU accepts a process."""
    ok = None if gpu.compute_mode is None else gpu.compute_mode in ("default", "exclusive process")
    return ok, f"compute mode is {gpu.compute_mode or 'not known'}"


@_of_gpus(
    "gpus.idle",
    wanted="0 processes",
    source="RailGauge: a second load is measured too",
    on_fail="end the other job, or take this node out: nvidia-smi",
    beside=False,
)
@_each_gpu
def idle(gpu: Gpu, _: Evidence) -> Answer:
    """No other process computes on the GPUs when the run begins."""
    if gpu.processes is None:
        return None, "the processes on it are not known"
    total = gpu.memory_total or 0
    used = 0 if gpu.memory_free is None else total - gpu.memory_free
    if gpu.processes == 0 and used > HELD * total:
        return (
            None,
            f"no process shows, and {show_size(used)} of its memory are in use: by another container?",
        )
    return gpu.processes == 0, f"{gpu.processes} processes compute on it"


ALIKE = 0.95  # of the median GPU, and of the limit that the profile states
SAME: tuple[tuple[str, str, float, Callable[[Gpu], float | None]], ...] = (
    ("power limit", "W", 1.0, lambda gpu: gpu.power_limit),
    ("SM clock at most", "MHz", MEGA, lambda gpu: gpu.clock_sm_max),
    ("memory clock at most", "MHz", MEGA, lambda gpu: gpu.clock_memory_max),
    ("memory", "GiB", 1 << 30, lambda gpu: gpu.memory_total),
)


@_of_gpus(
    "gpus.alike",
    wanted=lambda evidence: (
        f"at least {show_share(ALIKE)} of the median GPU, and of {_limit_meant(evidence.profile)}"
    ),
    source=lambda evidence: f"its peers, and {_who_limits(evidence.profile)}",
    on_fail="take the limit away (nvidia-smi -pl, nvidia-smi -rgc), or have the board replaced by one like the others",
    on_inconclusive="set the intended limit (nvidia-smi -pl), or state it in the profile: [cluster] power_limit",
    every="every GPU may draw as much power, and has as much memory and clock, as the others",
)
def alike(evidence: Evidence) -> Iterator[Finding]:
    """No GPU has a lower power limit, lower clocks or less memory than the others: its calls would hold up all."""
    usual = [
        median([value for node in evidence.nodes for gpu in node.gpus if (value := read(gpu))] or [0.0])
        for _, _, _, read in SAME
    ]

    @_each_gpu
    def find(gpu: Gpu, _: Evidence) -> Answer:
        less = [
            f"{name} {value / unit:.0f} {sign}; median of all GPUs {most / unit:.0f}"
            for (name, sign, unit, read), most in zip(SAME, usual, strict=True)
            if (value := read(gpu)) is not None and value < ALIKE * most
        ]
        ok, capped = _capped(gpu, evidence.profile)
        return (False if less else ok), "; ".join(less) or capped or "like the others"

    return find(evidence)


def _limit_meant(profile: Profile) -> str:
    limit = profile.power_limit
    return f"the {limit.text} that it is meant to draw" if limit else "its own default power limit"


def _who_limits(profile: Profile) -> str:
    return profile.power_limit.source if profile.power_limit else "NVML"


def _capped(gpu: Gpu, profile: Profile) -> Answer:
    """Whether a GPU may draw what it is meant to: what the profile states, else what its board may.

    A limit below that of the board that all GPUs have alike is no fault of one, and perhaps meant.
    """
    limit, default, meant = gpu.power_limit, gpu.power_limit_default, profile.power_limit
    if meant is None:
        low = limit is not None and default is not None and limit < ALIKE * default
        return (None, f"power limit {limit:.0f} W, and its default {default:.0f} W") if low else (True, "")
    if limit is None:
        return None, f"its power limit is not known; the profile states {meant.text}"
    text = f"power limit {limit:.0f} W; the profile states {meant.text}"
    if limit < ALIKE * meant.value:
        return False, text
    return (True, "") if ALIKE * limit <= meant.value else (None, text)


def _no_nvlink(evidence: Evidence) -> str:
    wanted = evidence.profile.nvlink or any(gpu.nvlinks for node in evidence.nodes for gpu in node.gpus)
    return "" if wanted else "the profile names no NVLink, and no GPU shows one"


@_of_gpus(
    "gpus.nvlink",
    wanted="every NVLink up, as many as its peers have",
    source=lambda evidence: evidence.profile.nvlink.source if evidence.profile.nvlink else "its peers",
    on_fail="see nvidia-smi nvlink -s and systemctl status nvidia-fabricmanager",
    on_inconclusive="see nvidia-smi nvlink -s",
    unless=(no_gpus, _no_nvlink),
)
def nvlink(evidence: Evidence) -> Iterator[Finding]:
    """Every NVLink of every GPU is up, and every GPU has as many as the profile says, else as most GPUs have."""
    wanted = evidence.profile.nvlinks
    gpus = [(f"{node.name} GPU {gpu.index}", gpu) for node in evidence.nodes for gpu in node.gpus]
    odd = odd_ones({name: str(len(gpu.nvlinks)) for name, gpu in gpus if gpu.nvlinks})
    names = {each.name for each in odd}
    short = {name: len(gpu.nvlinks) for name, gpu in gpus if gpu.nvlinks and len(gpu.nvlinks) < wanted}
    versions = odd_ones(
        {
            name: ", ".join(sorted({str(link.version) for link in gpu.nvlinks or () if link.version}))
            for name, gpu in gpus
            if any(link.version for link in gpu.nvlinks or ())
        }
    )
    names |= {*short, *(each.name for each in versions)}
    yield from (each for each in _nvlinks(evidence) if not each.ok or each.subject not in names)
    for each in versions:
        usual = f"{each.usual}, as {each.peers} GPUs have" if each.usual else "one; there is no majority"
        yield Finding(each.name, False, f"NVLinks of version {each.value}, not {usual}")
    for name, count in short.items():
        text = f"has {count} NVLinks, not {wanted}"
        yield Finding(name, False, text, wanted=f"{wanted} NVLinks", source=evidence.profile.name)
    for each in (each for each in odd if each.name not in short):
        usual = (
            f"{each.usual}, as {each.peers} GPUs have" if each.usual else "one number; there is no majority"
        )
        yield Finding(each.name, False, f"{each.value} NVLinks, not {usual}")


@_each_gpu
def _nvlinks(gpu: Gpu, _: Evidence) -> Answer:
    if gpu.nvlinks is None:
        return None, "NVLink is not known"
    down = [str(link.link) for link in gpu.nvlinks if not link.active]
    up = f"{len(gpu.nvlinks) - len(down)} of {len(gpu.nvlinks)} NVLinks are up"
    return bool(gpu.nvlinks) and not down, f"{up}; down: {', '.join(down)}" if down else up


def _any_fabric(evidence: Evidence) -> bool:
    return any(gpu.fabric for node in evidence.nodes for gpu in node.gpus)


@_of_gpus(
    "gpus.fabric",
    wanted="registered, healthy, and in the clique of its node",
    source="NVIDIA, NVML: nvmlDeviceGetGpuFabricInfoV",
    on_fail="see nvidia-smi -q (Fabric), systemctl status nvidia-fabricmanager; on NVL72 nvidia-imex-ctl -N too",
    on_inconclusive="see nvidia-smi -q (Fabric)",
    unless=(no_gpus,),
    only=_any_fabric,
)
def fabric(evidence: Evidence) -> Iterator[Finding]:
    """Every GPU is registered in its NVLink fabric and healthy there, in one clique with the others of its node."""
    for node in evidence.nodes:
        cliques = [f"{gpu.fabric.cluster}/{gpu.fabric.clique}" for gpu in node.gpus if gpu.fabric]
        usual = max(cliques, key=cliques.count, default="")
        for gpu in node.gpus:
            yield Finding(f"{node.name} GPU {gpu.index}", *_in_fabric(gpu, usual))


def _in_fabric(gpu: Gpu, usual: str) -> Answer:
    found = gpu.fabric
    if found is None:
        return None, "its NVLink fabric is not known, and that of others is"
    if found.state != "completed" or found.status:
        failed = f", and ended with NVML's error {found.status}" if found.status else ""
        return False, f"its registration in the NVLink fabric is {found.state}{failed}"
    if found.trouble:
        return False, "; ".join(found.trouble)
    where = f"clique {found.clique}" + (f" of {found.cluster}" if found.cluster else "")
    same = f"{found.cluster}/{found.clique}" == usual
    return same, f"is in {where}" + ("" if same else ", and most GPUs of its node are in another")


@_of_gpus(
    "gpus.rail",
    wanted="a known way to a rail that no other GPU uses",
    source="NCCL: ncclTopoGetLocalNet",
    on_fail="compare with: nvidia-smi topo -m",
    on_inconclusive="see nvidia-smi topo -m: the PCI tree could not be read, or does not decide",
    unless=(no_gpus, lambda evidence: "" if by_port(evidence.rails) else "the rails are not ports of HCAs"),
)
def rail(evidence: Evidence) -> Iterator[Finding]:
    """Every GPU has a rail of its own, near to it over PCI."""
    return (finding for node in evidence.nodes for finding in _rails(node, evidence.profile))


def _rails(node: Node, want: Profile) -> Iterator[Finding]:
    ports = {role.name: role.port for role in rails_of(node, want.rails)}
    near, own = nearest_rails(node, want.rails), own_rails(node, want.rails)
    if not node.gpus:
        yield Finding(node.name, None, "no GPU was found", step="see gpus.count")
    # a profile with fewer rails than GPUs means them to share
    most = -(-want.gpus // max(want.rails.count, 1))
    for at, gpu in enumerate(node.gpus):
        subject = f"{node.name} GPU {gpu.index}"
        users = {
            rail: [other.index for place, other in enumerate(node.gpus) if place != at and rail in own[place]]
            for rail in {*near[at], *own[at]}
        }
        if not near[at]:
            yield Finding(subject, None, "its way to the rails is not known")
        elif not own[at]:
            # whichever of them it uses, another GPU may use it too
            ok = False if all(len(users[rail]) >= most for rail in near[at]) else None
            text = f"is equally near to {', '.join(near[at])}, which other GPUs use"
            yield Finding(subject, ok, text)
        else:
            port = ports[own[at][0]]
            others = sorted({index for rail in own[at] for index in users[rail]})
            text = f"uses {joined(own[at])} ({relation(gpu.pci, port.pci if port else None)})"
            if others:
                text += f", and so does GPU {', '.join(map(str, others))}"
            yield Finding(subject, len(others) < most, text, note=text)
