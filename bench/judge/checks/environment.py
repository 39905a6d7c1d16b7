"""Variables and conf files that disable or distort what is measured, and ranks that are told different things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.nccl_settings import Told, blind, of_workers, told, versions
from bench.judge.registry import check
from bench.model.majority import odd_ones, shared_by
from bench.model.profile import Profile
from bench.model.verdict import Verdict
from bench.nccl.distortions import FAIL, RULES, Distortion, distortions

# what must be the same on every rank; launchers and schedulers give each rank some of their own
SHARED = ("NCCL_", "TORCH_NCCL_", "TORCH_DISTRIBUTED_", "GLOO_", "UCX_", "FI_", "SHARP_")
SHARED_NAMES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS")
UNSET = "unset"


@check("environment.distortions", early=True)
def distorting(evidence: Evidence) -> Iterator[Verdict]:
    """No variable or conf file disables the hardware under test or spoils the timing."""
    ask = Question(
        "environment.distortions",
        "not set",
        "NCCL and torch.distributed documentation",
        "unset it, or take it out of the conf file, and run again",
    )
    found, mild = [], []
    for each in told(evidence):
        odd = list(_distortions(each, evidence))
        bad = [row for row in odd if row.severity == FAIL]
        mild += [f"{each.where}: {_words(row)}" for row in odd if row.severity != FAIL]
        found += [Finding(each.where, False, _words(row)) for row in bad]
        unread = blind(each, evidence.profile) if evidence.backend == "nccl" else ()
        if unread and not bad:
            found.append(Finding(each.where, None, f"what {', '.join(unread)} says is not known"))
        elif not bad:
            found.append(Finding(each.where, True, "nothing that distorts"))
    yield from ask.verdicts(found, "environments disable and distort nothing")
    if mild:
        yield ask.skip(
            "all nodes",
            f"{len(mild)} settings change what NCCL would choose by itself; {mild[0]}",
            *mild[:64],
        )


def _distortions(each: Told, evidence: Evidence) -> Iterator[Distortion]:
    """By the newest rules; gloo asks no variable of NCCL's. What the profile sets is meant."""
    variables: dict[str, str] = {**each.own, **evidence.profile.environment}
    for version in versions(each.node):
        variables |= {row.name: row.value for row in of_workers(each, evidence.profile, version).settings}
    nccl = evidence.backend == "nccl"
    rules = RULES if nccl else tuple(rule for rule in RULES if rule.name.startswith("TORCH_DISTRIBUTED_"))
    yield from distortions(variables, tuple(evidence.profile.environment), rules)


def _words(row: Distortion) -> str:
    return f"{row.name}={row.value!r}: {row.reason}"


@check("environment.ranks", early=True)
def ranks(evidence: Evidence) -> Iterator[Verdict]:
    """Every rank is told the same."""
    ask = Question(
        "environment.ranks",
        "one value on all ranks",
        "NVIDIA/nccl issue 1478",
        "export it alike on all nodes (mpirun -x, srun --export)",
        "start the job again: a rank did not say what it was told",
    )
    said, all_ranks = evidence.manifest.environment, evidence.ranks
    silent = [f"rank {rank.rank} ({rank.node})" for rank in all_ranks if str(rank.rank) not in said]
    if not said and evidence.rails.kind == "none":
        yield ask.skip("all ranks", "no rank's environment was recorded, and the profile speaks of no rails")
        return
    if silent or not all_ranks:
        yield ask.verdict(
            Finding(shared_by(silent, "ranks") or "job", None, "said nothing of its environment")
        )
    nodes = {str(rank.rank): rank.node for rank in all_ranks}
    names = sorted({name for own in said.values() for name in own if _is_shared(name)})
    found = [finding for name in names for finding in _differences(name, said, nodes, evidence.profile)]
    if found:
        yield from ask.verdicts(found, "")
    elif not silent and all_ranks:
        told = Finding("all ranks", True, f"{len(names)} variables are the same on {len(all_ranks)} ranks")
        yield ask.verdict(told)


def _is_shared(name: str) -> bool:
    return name.startswith(SHARED) or name in SHARED_NAMES


def _differences(
    name: str, said: Mapping[str, Mapping[str, str]], nodes: Mapping[str, str], want: Profile
) -> Iterator[Finding]:
    """The ranks that differ, those of one value together; what the profile sets is the same for all workers."""
    if name in want.environment:
        return
    values = {rank: _told(name, own[name]) if name in own else UNSET for rank, own in said.items()}
    if len(set(values.values())) == 1:
        return
    groups: dict[str, list[str]] = {}
    odd = odd_ones(values)
    for each in odd:
        groups.setdefault(each.value, []).append(f"{each.name} ({nodes.get(each.name, '?')})")
    for value, members in groups.items():
        usual = f"{odd[0].peers} others {odd[0].usual}" if odd[0].usual else "no value has a majority"
        yield Finding(f"rank {shared_by(members, 'ranks')}", False, f"{name} is {value}, {usual}")


def _told(name: str, value: str) -> str:
    """A search path by the folders in it: launchers put their own there once more on remote nodes."""
    if name.endswith("_PATH"):
        return repr(":".join(dict.fromkeys(folder for folder in value.split(":") if folder)))
    return repr(value)


@check("environment.files", early=True)
def files(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL's conf files are the same on every node and mean what they seem to."""
    ask = Question(
        "environment.files",
        "the same on every node",
        "NCCL: setEnvFile",
        "make it the same everywhere: NAME=VALUE, no blank, no quote, no CRLF",
    )
    texts = {
        node.name: {path: text for path, text in node.environment.files.items() if text}
        for node in evidence.nodes
    }
    if not any(texts.values()):
        yield ask.skip("all nodes", "no node has a conf file of NCCL's")
        return
    found = []
    for path in sorted({path for held in texts.values() for path in held}):
        odd = odd_ones({name: held.get(path, "not there") for name, held in texts.items()})
        found += [
            Finding(each.name, False, _differs(path, each.value, each.usual, each.peers)) for each in odd
        ]
        if not odd:
            found.append(Finding(path, True, "the same on every node"))
    yield from ask.verdicts(found, "conf files are the same on every node")
    notes = [
        f"{each.node.name} {note.origin}:{note.line}: {note.text}"
        for each in told(evidence)
        for note in of_workers(each, evidence.profile, max(versions(each.node))).notes
    ]
    if notes:
        yield ask.skip(
            "all nodes", f"NCCL reads some lines otherwise than they seem; {notes[0]}", *dict.fromkeys(notes)
        )


def _differs(path: str, text: str, usual: str | None, peers: int) -> str:
    head = text.strip().splitlines()[0][:60] if text.strip() else "empty"
    return f"differs in {path}: {head!r}; {f'{peers} others are the same' if usual else 'no text has a majority'}"
