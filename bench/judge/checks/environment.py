"""Variables and conf files that disable or distort what is measured, and ranks whose environments differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.nccl_settings import RankEnvironment, for_workers, rank_environments, unread_files, versions
from bench.judge.registry import check, no_rails
from bench.model.majority import odd_ones
from bench.model.units import show_count, show_some
from bench.nccl.distortions import FAIL, RULES, Distortion, distortions, without_rule

# what must be the same on every rank; launchers and schedulers give each rank some of their own
SHARED = ("NCCL_", "TORCH_NCCL_", "TORCH_DISTRIBUTED_", "GLOO_", "UCX_", "FI_", "SHARP_")
SHARED_NAMES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS")
UNSET = "unset"


@check(
    "environment.distortions",
    wanted="not set",
    source="NCCL and torch.distributed documentation",
    on_fail="unset it, or take it out of the conf file, and run again",
    unit="environments",
    facts_only=True,
    beside=False,
)
def distorting(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No variable or conf file disables or distorts NCCL."""
    mild = []
    for each in rank_environments(evidence):
        odd = list(_distortions(each, evidence))
        bad = [row for row in odd if row.severity == FAIL]
        mild += [f"{each.where}: {_text(row)}" for row in odd if row.severity != FAIL]
        yield from (Finding(each.where, False, _text(row)) for row in bad)
        unread = unread_files(each, evidence.profile) if evidence.backend == "nccl" else ()
        if unread and not bad:
            yield Finding(each.where, None, f"what {', '.join(unread)} says is not known")
        elif not bad:
            yield Finding(each.where, True, "nothing that distorts")
    if mild:
        text = f"what NCCL would choose by itself is changed by {show_count(len(mild), 'setting')}; {mild[0]}"
        yield NotApplicable(text, evidence=tuple(mild[:64]))


def _distortions(each: RankEnvironment, evidence: Evidence) -> Iterator[Distortion]:
    """The variables that distort NCCL by the newest rules; gloo reads none of NCCL's, and the profile may set some."""
    given = evidence.manifest.settings.worker_environment
    variables: dict[str, str] = {**each.variables, **given, **evidence.profile.environment}
    for version in versions(each.node):
        variables |= {row.name: row.value for row in for_workers(each, evidence.profile, version).settings}
    nccl = evidence.backend == "nccl"
    rules = RULES if nccl else tuple(rule for rule in RULES if rule.name.startswith("TORCH_DISTRIBUTED_"))
    planned = tuple(evidence.profile.environment)
    yield from distortions(variables, planned, rules)
    yield from without_rule(variables, planned, nccl)


def _text(row: Distortion) -> str:
    return f"{row.name}={row.value!r}: {row.reason}"


def _nothing_recorded(evidence: Evidence) -> str:
    if evidence.manifest.environment or not no_rails(evidence):
        return ""
    return "no rank's environment was recorded, and the profile has no rails"


@check(
    "environment.ranks",
    subject="all ranks",
    wanted="one value on all ranks",
    source="NVIDIA/nccl issue 1478",
    on_fail="export it alike on all nodes (mpirun -x, srun --export)",
    on_inconclusive="start the job again: the environment of a rank was not recorded",
    unit="variables",
    unless=(_nothing_recorded,),
    facts_only=True,
    beside=False,
)
def ranks(evidence: Evidence) -> Iterator[Finding]:
    """The variables that must be the same are the same on all ranks."""
    recorded = evidence.manifest.environment
    missing = [f"rank {rank.rank} ({rank.node})" for rank in evidence.ranks if str(rank.rank) not in recorded]
    if missing or not evidence.ranks:
        yield Finding(show_some(missing, of="ranks") or "job", None, "no environment was recorded")
    nodes = {str(rank.rank): rank.node for rank in evidence.ranks}
    # what the profile sets is the same for all workers
    names = {name for own in recorded.values() for name in own if _is_shared(name)} - {
        *evidence.profile.environment
    }
    for name in sorted(names):
        values = {rank: _shown(name, own[name]) if name in own else UNSET for rank, own in recorded.items()}
        yield from _differences(name, values, nodes)
    if not names:  # said only where no rank is missing
        yield Finding("all ranks", True, "no variable that must be the same is set")


def _is_shared(name: str) -> bool:
    return name.startswith(SHARED) or name in SHARED_NAMES


def _differences(name: str, values: Mapping[str, str], nodes: Mapping[str, str]) -> Iterator[Finding]:
    """The ranks that differ, those of one value together; one finding where none does."""
    odd = odd_ones(values)
    groups: dict[str, list[str]] = {}
    for each in odd:
        groups.setdefault(each.value, []).append(f"{each.name} ({nodes.get(each.name, '?')})")
    for value, members in groups.items():
        usual = f"{odd[0].peers} others {odd[0].usual}" if odd[0].usual else "no value has a majority"
        yield Finding(f"rank {show_some(members, of='ranks')}", False, f"{name} is {value}, {usual}")
    if not odd:
        yield Finding(name, True, "the same on all ranks")


def _shown(name: str, value: str) -> str:
    """A search path by the folders in it: launchers put their own there once more on remote nodes."""
    if name.endswith("_PATH"):
        return repr(":".join(dict.fromkeys(folder for folder in value.split(":") if folder)))
    return repr(value)


def _texts(evidence: Evidence) -> dict[str, dict[str, str]]:
    """Node → path → text of the conf files that it has."""
    return {
        node.name: {path: text for path, text in node.environment.files.items() if text}
        for node in evidence.nodes
    }


@check(
    "environment.files",
    wanted="the same on every node",
    source="NCCL: setEnvFile",
    on_fail="make it the same everywhere: NAME=VALUE, no blank, no quote, no CRLF",
    unit="conf files",
    unless=(lambda evidence: "" if any(_texts(evidence).values()) else "no node has a conf file of NCCL's",),
    facts_only=True,
    beside=False,
)
def files(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """NCCL's conf files are the same on every node and mean what they seem to."""
    texts = _texts(evidence)
    for path in sorted({path for held in texts.values() for path in held}):
        odd = odd_ones({name: held.get(path, "not there") for name, held in texts.items()})
        for each in odd:
            head = each.value.strip().splitlines()[0][:60] if each.value.strip() else "empty"
            others = f"{each.peers} others are the same" if each.usual else "no text has a majority"
            yield Finding(each.name, False, f"differs in {path}: {head!r}; {others}")
        if not odd:
            yield Finding(path, True, "the same on every node")
    notes = [
        f"{each.node.name} {note.origin}:{note.line}: {note.text}"
        for each in rank_environments(evidence)
        for note in for_workers(each, evidence.profile, max(versions(each.node))).notes
    ]
    if notes:
        text = f"NCCL reads some lines otherwise than they seem; {notes[0]}"
        yield NotApplicable(text, evidence=tuple(dict.fromkeys(notes)))
