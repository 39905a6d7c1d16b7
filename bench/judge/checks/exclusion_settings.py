"""Three proofs that NCCL leaves out the excluded devices: by its selector, the devices of each node, and its log.

The fourth, the bytes on the excluded ports, stands in ``exclusion_bytes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from bench.judge import nccl_diagnostics, nccl_log, nccl_selection
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable, Outcome
from bench.judge.nccl_settings import (
    RankEnvironment,
    for_user,
    for_workers,
    rank_environments,
    unread_files,
    versions,
)
from bench.judge.registry import by_profile, check
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.profile import Profile
from bench.model.rails import DeviceUse, by_port, missing, rails_of, roles, used_as
from bench.model.verdict import Verdict
from bench.nccl.devices import nccl_devices, nccl_name
from bench.nccl.environment import ENVIRONMENT, Effective
from bench.nccl.log import Log
from bench.nccl.selector import interfaces, select
from bench.nccl.version import Version

LINK = {"infiniband": "IB", "roce": "RoCE"}  # as NCCL's log calls them

Read = Callable[[Version], Effective]


def nothing_excluded(evidence: Evidence) -> str:
    return "the profile has no rails, so nothing is excluded" if evidence.rails.kind == "none" else ""


def _selector(want: Profile) -> str:
    return "NCCL_IB_HCA" if by_port(want.rails) else "NCCL_SOCKET_IFNAME"


def _no_selector(evidence: Evidence) -> str:
    unused = evidence.rails.kind == "socket" and evidence.backend != "nccl"
    return f"{evidence.backend} moves the data and reads no {_selector(evidence.profile)}" if unused else ""


def _exactly_the_rails(evidence: Evidence) -> str:
    """What RailGauge sets is shown."""
    name = _selector(evidence.profile)
    value = evidence.profile.environment.get(name)
    given = "" if value is None else f"; RailGauge sets {name}={value!r} for its workers"
    return f"NCCL's selector takes exactly the rails{given}"


@check(
    "exclusion.selector",
    wanted="exactly the rails",
    source=by_profile,
    on_fail=lambda evidence: (
        f"set {_selector(evidence.profile)} in the profile's [environment] so that it takes the rails alone"
    ),
    on_inconclusive="see what is not known: railgauge explain SPEC",
    every=_exactly_the_rails,
    unit="environments",
    unless=(nothing_excluded, _no_selector),
    facts_only=True,
    beside=False,
)
def selector(evidence: Evidence) -> Iterator[Finding]:
    """NCCL's selector, as the workers get it, takes exactly the rails of every node."""
    want = evidence.profile
    for each in rank_environments(evidence):
        yield _selected(each, want, partial(for_workers, each, want))


def _profile_sets_none(evidence: Evidence) -> str:
    name = _selector(evidence.profile)
    if name in evidence.profile.environment:
        return ""
    return f"the profile sets no {name}: the workers get what the user has"


@check(
    "exclusion.own_environment",
    wanted="exactly the rails",
    source=by_profile,
    every="the user's own environment would have selected the rails too",
    unit="environments",
    unless=(nothing_excluded, _profile_sets_none),
    facts_only=True,
    beside=False,
)
def own_environment(evidence: Evidence) -> Iterator[Outcome]:
    """What the user's environment alone would select: shown, not judged, for the workers get the profile's."""
    want = evidence.profile
    found = [_selected(each, want, partial(for_user, each)) for each in rank_environments(evidence)]
    odd = [each for each in found if not each.ok]
    if not odd:
        yield from found
        return
    name = _selector(want)
    advice = f"the workers get {name}={want.environment[name]!r}; export it for your own jobs too"
    notes = tuple(f"{each.subject}: {each.measured}" for each in odd[:64])
    yield NotApplicable(f"without RailGauge {odd[0].measured}; {advice}", odd[0].subject, notes)


def _selected(each: RankEnvironment, want: Profile, read: Read) -> Finding:
    """The finding by every NCCL that may be loaded; inconclusive where their answers differ."""
    answers = [(version, _by_version(each, want, read(version), version)) for version in versions(each.node)]
    if len({(answer.ok, answer.measured) for _, answer in answers}) == 1:
        return answers[0][1]
    if all(answer.ok is False for _, answer in answers):
        return answers[-1][1]
    texts = "; ".join(f"NCCL {'.'.join(map(str, version))}: {answer.measured}" for version, answer in answers)
    return Finding(each.where, None, f"it depends on the version of NCCL: {texts}")


def _by_version(each: RankEnvironment, want: Profile, read: Effective, version: Version) -> Finding:
    name, setting = _selector(want), read.find(_selector(want))
    how = f"{name}={setting.value!r}" if setting else f"{name} unset"
    if setting and setting.origin != ENVIRONMENT:
        how += f" ({setting.origin}:{setting.line})"
    taken, unknown = _taken(each.node, want, setting.value if setting else None, version)
    rails = [nccl_name(role) for role in rails_of(each.node, want.rails)]
    gone = [*missing(each.node, want.rails), *(rail for rail in rails if rail not in taken)]
    doubtful = [device for device in taken if device not in rails and device in unknown]
    extra = [device for device in taken if device not in rails and device not in unknown]
    if extra:
        return Finding(each.where, False, f"{how} takes {_reasons(each.node, want, extra)}, which is no rail")
    if not taken:
        return Finding(each.where, False, f"{how} takes nothing: NCCL falls back to sockets")
    if gone:
        return Finding(each.where, False, f"{how} leaves out rail {', '.join(gone)}")
    text = f"{how} takes {', '.join(doubtful or taken)}"
    if doubtful:
        return Finding(each.where, None, f"{text}, and whether that is a rail is not known")
    unread = unread_files(each, want)
    if unread and (setting is None or setting.origin != ENVIRONMENT):
        return Finding(each.where, None, f"what {', '.join(unread)} says is not known")
    return Finding(each.where, True, text, note=text)


def _taken(node: Node, want: Profile, spec: str | None, version: Version) -> tuple[list[str], set[str]]:
    """What is selected, as NCCL names it, and what of the node's devices is not known well enough."""
    unknown = {nccl_name(role) for role in used_as(node, want.rails, DeviceUse.UNKNOWN)}
    if by_port(want.rails):
        choices = select(spec, nccl_devices(node), version)
        return [f"{choice.name}:{choice.port}" for choice in choices if choice.taken], unknown
    names = [each.name for each in node.interfaces if each.addresses != () and each.operstate != "down"]
    return [choice.name for choice in interfaces(spec, names, version) if choice.taken], unknown


def _reasons(node: Node, want: Profile, names: list[str]) -> str:
    why = {nccl_name(role): role.reason for role in roles(node, want.rails)}
    return ", ".join(f"{name} ({why.get(name, 'not known')})" for name in names)


@check(
    "exclusion.census",
    wanted="the devices of the profile, called alike on every node",
    source=by_profile,
    on_fail="see which adapter is gone or renamed (ls -l /sys/class/infiniband): a name that moved excludes the wrong "
    "one",
    unit="nodes",
    unless=(nothing_excluded,),
    facts_only=True,
)
def census(evidence: Evidence) -> Iterator[Finding]:
    """Every node has the devices that the profile names, called as on the other nodes."""
    inventories = {node.name: _inventory(node, evidence.profile) for node in evidence.nodes}
    odd = {each.name: each for each in odd_ones(inventories)}
    for node in evidence.nodes:
        gone, other = missing(node, evidence.rails), odd.get(node.name)
        if gone:
            yield Finding(node.name, False, f"has no {', '.join(gone)}")
        elif other:
            usual = (
                f"{other.peers} others have {other.usual}" if other.usual else "no inventory has a majority"
            )
            yield Finding(node.name, False, f"has {other.value}; {usual}")
        else:
            yield _census(node, evidence.profile)


def _inventory(node: Node, want: Profile) -> str:
    """What must be alike: names and kinds of HCAs, not their state. Of interfaces only those the profile names."""
    if by_port(want.rails):
        kinds = [f"{port.name} {port.hca_type or port.board or 'of a kind not known'}" for port in node.ports]
    else:
        named = {*want.rails.devices, *want.rails.excluded, want.rails.management}
        kinds = [each.name for each in node.interfaces if each.name in named]
    return ", ".join(kinds) or "no device"


def _census(node: Node, want: Profile) -> Finding:
    rails = [role.name for role in rails_of(node, want.rails)]
    unknown = [f"{role.name}: {role.reason}" for role in used_as(node, want.rails, DeviceUse.UNKNOWN)]
    out = [role.name for role in used_as(node, want.rails, DeviceUse.EXCLUDED)]
    text = f"rails {', '.join(rails) or 'none'}; excluded {', '.join(out) or 'none of those named is there'}"
    if unknown:
        return Finding(node.name, None, f"{text}; not known of {', '.join(unknown)}")
    enough = bool(rails) and (not want.rails.count or len(rails) == want.rails.count)
    return Finding(node.name, enough, text, float(len(rails)), note=text)


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────


def no_nccl(evidence: Evidence) -> str:
    return (
        ""
        if evidence.backend == "nccl"
        else f"{evidence.backend} moves the data: NCCL is not in use and logs nothing"
    )


def no_log(evidence: Evidence) -> str:
    """Why NCCL's log need not be there."""
    if reason := evidence.skipped.get("evidence"):
        return reason
    planned = [phase.name for phase in evidence.run.plan.phases]
    without = planned and "evidence" not in planned
    return "no phase with NCCL's log was asked for: railgauge accept has one" if without else ""


_of_log = partial(check, subject="all ranks", source=nccl_log.SOURCE)
LOGGED = (no_nccl, nothing_excluded, no_log)


@_of_log(
    "exclusion.log", wanted="one list of rails", on_inconclusive="see exclusion.census first", unless=LOGGED
)
def log(evidence: Evidence) -> Iterator[Outcome]:
    """NCCL's own log names exactly the rails, on every rank."""
    named = {tuple(nccl_name(role) for role in rails_of(node, evidence.rails)) for node in evidence.nodes}
    if len(named) > 1:
        lists = " or ".join(", ".join(names) or "none" for names in sorted(named))
        yield Finding("all ranks", None, f"the nodes' rails have different names: {lists}")
        return
    rails = next(iter(named), ())
    yield replace(by_log(evidence.log, rails, _ranks(evidence), evidence.profile), check="exclusion.log")


def by_log(log: Log, rails: Sequence[str], ranks: Sequence[int], want: Profile) -> Verdict:
    """Whether NCCL's log shows that every rank uses exactly ``rails``: ports of HCAs, or interfaces."""
    excluded = [name.replace("/", ":") for name in (*want.rails.excluded, want.rails.management) if name]
    if by_port(want.rails):
        return nccl_selection.exclusion(log, excluded, rails, ranks, LINK[want.rails.kind])
    return nccl_selection.interfaces(log, excluded, rails, ranks)


@_of_log("nccl.network", unless=LOGGED)
def network(evidence: Evidence) -> Iterator[Verdict]:
    """Every rank uses the network of the profile, and not sockets instead of InfiniBand."""
    yield nccl_log.network(evidence.log, _ranks(evidence), "IB" if by_port(evidence.rails) else "Socket")


@_of_log(
    "nccl.gpudirect",
    unless=(*LOGGED, lambda evidence: "" if by_port(evidence.rails) else "the rails are interfaces: no RDMA"),
)
def gpudirect(evidence: Evidence) -> Iterator[Verdict]:
    """Every channel between nodes goes by GPUDirect RDMA, by NCCL's own log."""
    each = max(evidence.run.ranks_on.values(), default=0) <= evidence.rails.count
    yield nccl_log.gpudirect(evidence.log, _ranks(evidence), evidence.node_count, each)


@_of_log("nccl.warnings", unless=LOGGED)
def warnings(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL warned of nothing while its log was on."""
    yield nccl_log.warnings(evidence.log, _ranks(evidence))


@_of_log("nccl.diagnostics", only=lambda evidence: nccl_diagnostics.asked_for(evidence.log))
def diagnostics(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL's own diagnostics at the start of a communicator found GPU pairs, network and machines well."""
    yield from nccl_diagnostics.diagnostics(evidence.log)


def _ranks(evidence: Evidence) -> list[int]:
    return [rank.rank for rank in evidence.ranks]
