"""What must carry nothing is left out: by NCCL's selector, by the census, and by NCCL's own log.

The fourth layer, the bytes on the excluded ports, stands in ``quiet``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.judge import nccl_log
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.nccl_settings import Told, blind, of_user, of_workers, told, versions
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.profile import Profile
from bench.model.rails import Part, by_port, missing, part, rails_of, roles
from bench.model.verdict import Status, Verdict
from bench.nccl.devices import nccl_devices, nccl_name
from bench.nccl.environment import ENVIRONMENT, Effective
from bench.nccl.log import Log
from bench.nccl.selector import interfaces, select
from bench.nccl.version import Version

NO_RAILS = "the profile speaks of no rails, so nothing is excluded"
LINK = {"infiniband": "IB", "roce": "RoCE"}  # as NCCL's log calls them


@check("exclusion.selector", early=True)
def selector(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL's selector, as the workers get it, takes exactly the rails of every node."""
    ask = Question(
        "exclusion.selector",
        "exactly the rails",
        evidence.profile.name,
        f"set {_name(evidence.profile)} in the profile's [environment] so that it takes the rails alone",
        "see what is not known: railgauge explain",
    )
    if evidence.rails.kind == "none":
        yield ask.skip("all nodes", NO_RAILS)
        return
    if evidence.rails.kind == "socket" and evidence.backend != "nccl":
        yield ask.skip(
            "all nodes", f"{evidence.backend} moves the data and knows no {_name(evidence.profile)}"
        )
        return
    found = [_selected(each, evidence.profile, True) for each in told(evidence)]
    yield from ask.verdicts(found, f"environments select exactly the rails{_given(evidence.profile)}")


@check("exclusion.own_environment", early=True)
def own_environment(evidence: Evidence) -> Iterator[Verdict]:
    """What the user's environment alone would select: told, not judged, for the workers get the profile's."""
    ask = Question("exclusion.own_environment", "exactly the rails", evidence.profile.name, "")
    if evidence.rails.kind == "none":
        yield ask.skip("all nodes", NO_RAILS)
        return
    if _name(evidence.profile) not in evidence.profile.environment:
        yield ask.skip(
            "all nodes", f"the profile sets no {_name(evidence.profile)}: the workers get what the user has"
        )
        return
    found = [_selected(each, evidence.profile, False) for each in told(evidence)]
    odd = [each for each in found if not each.ok]
    if odd:
        notes = tuple(f"{each.subject}: {each.measured}" for each in odd[:64])
        name = _name(evidence.profile)
        value = evidence.profile.environment[name]
        advice = f"the workers get {name}={value!r}; export it for your own jobs too"
        yield ask.skip(odd[0].subject, f"left to itself, {odd[0].measured}; {advice}", *notes)
    else:
        yield from ask.verdicts(found, "environments would have selected the rails by themselves")


def _name(want: Profile) -> str:
    return "NCCL_IB_HCA" if by_port(want.rails) else "NCCL_SOCKET_IFNAME"


def _given(want: Profile) -> str:
    """``, RailGauge sets NCCL_IB_HCA='^=mlx5_0'``: what it sets is said."""
    value = want.environment.get(_name(want))
    return "" if value is None else f"; RailGauge sets {_name(want)}={value!r} for its workers"


def _selected(each: Told, want: Profile, workers: bool) -> Finding:
    """By every NCCL that may be loaded; where these do not agree, it cannot be determined."""
    answers = []
    for version in versions(each.node):
        seen = of_workers(each, want, version) if workers else of_user(each, version)
        answers.append((version, _by_version(each, want, seen, version)))
    unlike = {(answer.ok, answer.measured) for _, answer in answers}
    if len(unlike) == 1:
        return answers[0][1]
    if all(answer.ok is False for _, answer in answers):
        return answers[-1][1]
    texts = "; ".join(f"NCCL {'.'.join(map(str, version))}: {answer.measured}" for version, answer in answers)
    return Finding(each.where, None, f"it depends on the version of NCCL: {texts}")


def _by_version(each: Told, want: Profile, seen: Effective, version: Version) -> Finding:
    setting = seen.find(_name(want))
    spec = setting.value if setting else None
    how = f"{_name(want)}={spec!r}" if setting else f"{_name(want)} unset"
    if setting and setting.origin != ENVIRONMENT:
        how += f" ({setting.origin}:{setting.line})"
    taken, unknown = _taken(each.node, want, spec, version)
    rails = [nccl_name(role) for role in rails_of(each.node, want.rails)]
    extra = [name for name in taken if name not in rails]
    gone = [*missing(each.node, want.rails), *(name for name in rails if name not in taken)]
    blank = [name for name in extra if name in unknown]
    sure = [name for name in extra if name not in unknown]
    if sure:
        return Finding(each.where, False, f"{how} takes {_reasons(each.node, want, sure)}, which is no rail")
    if not taken:
        return Finding(each.where, False, f"{how} takes nothing: NCCL falls back to sockets")
    if gone:
        return Finding(each.where, False, f"{how} leaves out rail {', '.join(gone)}")
    if blank:
        return Finding(
            each.where, None, f"{how} takes {', '.join(blank)}, and whether that is a rail is not known"
        )
    unread = blind(each, want)
    if unread and (setting is None or setting.origin != ENVIRONMENT):
        return Finding(each.where, None, f"what {', '.join(unread)} says is not known")
    return Finding(
        each.where, True, f"{how} takes {', '.join(taken)}", note=f"{how} takes {', '.join(taken)}"
    )


def _taken(node: Node, want: Profile, spec: str | None, version: Version) -> tuple[list[str], set[str]]:
    """What is selected, as NCCL names it, and what of the node's devices is not known well enough."""
    unknown = {nccl_name(role) for role in part(node, want.rails, Part.UNKNOWN)}
    if by_port(want.rails):
        choices = select(spec, nccl_devices(node), version)
        return [f"{choice.name}:{choice.port}" for choice in choices if choice.taken], unknown
    names = [each.name for each in node.interfaces if each.addresses != () and each.operstate != "down"]
    return [choice.name for choice in interfaces(spec, names, version) if choice.taken], unknown


def _reasons(node: Node, want: Profile, names: list[str]) -> str:
    why = {nccl_name(role): role.reason for role in roles(node, want.rails)}
    return ", ".join(f"{name} ({why.get(name, 'not known')})" for name in names)


@check("exclusion.census", early=True)
def census(evidence: Evidence) -> Iterator[Verdict]:
    """Every node has the devices that the profile names, called as on the other nodes."""
    ask = Question(
        "exclusion.census",
        "the devices of the profile, called alike on every node",
        evidence.profile.name,
        "see which adapter is gone or renamed (ls -l /sys/class/infiniband): a name that moved excludes the wrong one",
    )
    if evidence.rails.kind == "none":
        yield ask.skip("all nodes", NO_RAILS)
        return
    odd = {
        each.name: each
        for each in odd_ones({node.name: _inventory(node, evidence.profile) for node in evidence.nodes})
    }
    found = []
    for node in evidence.nodes:
        gone, other = missing(node, evidence.rails), odd.get(node.name)
        if gone:
            found.append(Finding(node.name, False, f"has no {', '.join(gone)}"))
        elif other:
            usual = (
                f"{other.peers} others have {other.usual}" if other.usual else "no inventory has a majority"
            )
            found.append(Finding(node.name, False, f"has {other.value}; {usual}"))
        else:
            found.append(_census(node, evidence.profile))
    yield from ask.verdicts(found, "nodes have the devices of the profile, called alike")


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
    unknown = [f"{role.name}: {role.reason}" for role in part(node, want.rails, Part.UNKNOWN)]
    out = [role.name for role in part(node, want.rails, Part.EXCLUDED)]
    told = f"rails {', '.join(rails) or 'none'}; excluded {', '.join(out) or 'none of those named is there'}"
    if unknown:
        return Finding(node.name, None, f"{told}; not known of {', '.join(unknown)}")
    enough = bool(rails) and (not want.rails.count or len(rails) == want.rails.count)
    return Finding(node.name, enough, told, float(len(rails)), note=told)


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────


@check("exclusion.log")
def log(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL's own log names exactly the rails, on every rank."""
    skipped = _no_log("exclusion.log", evidence)
    if skipped:
        yield skipped
        return
    named = {tuple(nccl_name(role) for role in rails_of(node, evidence.rails)) for node in evidence.nodes}
    if len(named) > 1:
        told = " or ".join(", ".join(names) or "none" for names in sorted(named))
        yield Verdict(
            "exclusion.log",
            "all ranks",
            Status.INCONCLUSIVE,
            f"the nodes' rails have different names: {told}",
            "one list of rails",
            nccl_log.SOURCE,
            "see exclusion.census first",
        )
        return
    rails = next(iter(named), ())
    yield replace(by_log(evidence.log, rails, _ranks(evidence), evidence.profile), check="exclusion.log")


def by_log(said: Log, rails: Sequence[str], ranks: Sequence[int], want: Profile) -> Verdict:
    """Whether NCCL says of every rank that it uses exactly ``rails``: ports of HCAs, or interfaces."""
    excluded = [name.replace("/", ":") for name in (*want.rails.excluded, want.rails.management) if name]
    if by_port(want.rails):
        return nccl_log.exclusion(said, excluded, rails, ranks, LINK[want.rails.kind])
    return nccl_log.interfaces(said, excluded, rails, ranks)


@check("nccl.network")
def network(evidence: Evidence) -> Iterator[Verdict]:
    """Every rank says that it uses the network of the profile, and not sockets instead of InfiniBand."""
    skipped = _no_log("nccl.network", evidence)
    yield skipped or nccl_log.network(
        evidence.log, _ranks(evidence), "IB" if by_port(evidence.rails) else "Socket"
    )


@check("nccl.gpudirect")
def gpudirect(evidence: Evidence) -> Iterator[Verdict]:
    """Every channel between nodes goes by GPUDirect RDMA, by NCCL's own log."""
    skipped = _no_log("nccl.gpudirect", evidence)
    if skipped is None and not by_port(evidence.rails):
        skipped = Question("nccl.gpudirect", "", nccl_log.SOURCE, "").skip(
            "all ranks", "the rails are interfaces: no RDMA"
        )
    per_node = Counter(rank.node for rank in evidence.ranks)
    each = max(per_node.values(), default=0) <= evidence.profile.rails.count
    yield skipped or nccl_log.gpudirect(evidence.log, _ranks(evidence), evidence.node_count, each)


@check("nccl.warnings")
def warnings(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL warned of nothing while its log was on."""
    yield _no_log("nccl.warnings", evidence) or nccl_log.warnings(evidence.log, _ranks(evidence))


def _no_log(name: str, evidence: Evidence) -> Verdict | None:
    """Why there is no log that should be read; None: there should be one."""
    ask = Question(name, "", nccl_log.SOURCE, "")
    if evidence.backend != "nccl":
        return ask.skip(
            "all ranks", f"{evidence.backend} moves the data: NCCL is not in use and logs nothing"
        )
    if evidence.rails.kind == "none":
        return ask.skip("all ranks", NO_RAILS)
    reasons = [why for phase, why in evidence.run.plan.skipped if phase == "evidence"]
    if reasons:
        return ask.skip("all ranks", reasons[0])
    planned = [phase.name for phase in evidence.run.plan.phases]
    if planned and "evidence" not in planned:
        return ask.skip("all ranks", "no phase with NCCL's log was asked for: railgauge accept has one")
    return None


def _ranks(evidence: Evidence) -> list[int]:
    return [rank.rank for rank in evidence.ranks]
