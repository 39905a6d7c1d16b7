"""The gate: whether one node may take a job now, from its facts, its counters and, on request, short measurements."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.judge import errors_since_gate
from bench.judge.errors_since_gate import WORDS
from bench.judge.evidence import Evidence
from bench.judge.problems import places_in, problems_of
from bench.judge.verdicts import judge
from bench.launch.python import as_module
from bench.launch.table import LAUNCHERS
from bench.model.counters import Snapshot
from bench.model.discovered_rails import at_hand
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.typed_json import JsonAnswer
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict, overall
from bench.plan.phase_names import GIVEN_UP
from bench.probe.host import machine
from bench.probe.node import probe, snapshot
from bench.probe.sysfs import LIVE
from bench.store import Manifest, Run, RunError, Settings, load, of_facts
from bench.store.gate_state import GateState, read_state, save_state
from bench.store.history import HistoryError

from .gate_history import NAME, last_nights

START = 6.0  # seconds of a level's limit that its job does not get: to start, judge and end it
Say = Callable[[str], None]


@dataclass(frozen=True)
class GateOptions:
    """What a gate is asked for.

    profile_name  as the command line has it, for the jobs that are started; ``profile``: the same, read
    level        1: facts and counters; 2: what one node can measure alone; 3: also with a ``neighbour``
    state        file that keeps the counters between two gates; None: they are not compared
    forget       begin anew with the counters of now
    history      of nightly runs, with the ``cluster``'s name in it ("" for none)
    limit        seconds for everything
    scratch      folder for what levels 2 and 3 make; the caller removes it, also where it ends this process
    """

    profile_name: str
    profile: Profile
    level: int = 1
    state: Path | None = None
    forget: bool = False
    history: str = ""
    cluster: str = ""
    neighbour: str = ""
    limit: float = 5.0
    scratch: Path = Path()


class GateAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge gate"):
    """Whether a node may take a job.

    sentence   the first problem, or what passed, on one line: good for a reason to drain
    problems   each problem on one line, causes first
    counts     status → how many verdicts; null where the gate ran out of time
    left_out   what the time was too short to measure
    folders    run folders of what was measured and did not pass
    seconds    that the gate took
    """

    node: str
    level: int
    status: Status
    sentence: str
    profile: str
    problems: tuple[str, ...] = ()
    counts: dict[str, int] | None = None
    left_out: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    seconds: float


def gate(options: GateOptions, say: Say = lambda _: None) -> GateAnswer:
    """Look at this machine. ``say`` hears what is looked at next, for whoever ends us when it hangs."""
    begun = time.monotonic()
    say("reading the facts of this machine")
    node = probe()
    options = replace(options, profile=at_hand(options.profile, [node]))
    say("reading its counters")
    now = snapshot()
    say("judging")
    judged = _judged(options, node, now)
    verdicts = list(judged.verdicts)
    if (
        overall(each.status for each in verdicts) is not Status.FAIL
    ):  # whose answer must not wait for a far disk
        verdicts += _history(options, node.name, say)
    folders: list[str] = []
    left_out: list[str] = []
    for command in _jobs(options, node.name):
        if overall(each.status for each in verdicts) is Status.FAIL:
            break  # nothing that is measured would let the node pass
        found = _measured(command, options, options.limit - (time.monotonic() - begun) - START, say)
        verdicts += _of_measured(found, node.name)
        left_out += _left_out(found)
        folders += [str(found.path)] * bool(found.path.name)
    seconds = time.monotonic() - begun
    return _answer(options, replace(judged.run, verdicts=tuple(verdicts)), left_out, folders, seconds)


def _answer(
    options: GateOptions, run: Run, left_out: Sequence[str], folders: Sequence[str], seconds: float
) -> GateAnswer:
    found, verdicts = problems_of(run).listed, run.verdicts
    lines = tuple(
        f"{each.sentence}; {each.verdict.next_step}".rstrip("; ").replace("\n", " ") for each in found
    )
    status = overall(each.status for each in verdicts)
    counts = {each.value: sum(verdict.status is each for verdict in verdicts) for each in Status}
    node = run.facts[0]
    passed = f"{len(node.gpus)} GPUs, {len(node.ports)} RDMA ports, {counts[Status.PASS.value]} checks passed"
    if left_out:
        passed += f"; there was no time for {show_some(left_out, separator='; ')}"
    sentence = found[0].sentence if found else passed
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return GateAnswer(
        node=node.name,
        level=options.level,
        status=status,
        sentence=sentence + more,
        profile=options.profile.name,
        problems=lines,
        counts=counts,
        left_out=tuple(left_out),
        folders=tuple(folders),
        seconds=seconds,
    )


def _judged(options: GateOptions, node: Node, now: Snapshot) -> Evidence:
    """The facts of the node by the profile, and its error counters since the last gate that found none."""
    run = _of(options.profile, node)
    judged = judge(run, options.profile, facts_only=True)
    since = list(_since(options, node, now))
    return judged.judged((*judged.verdicts, *since))


def _of(profile: Profile, node: Node) -> Run:
    """The run that an acceptance of this node alone would begin: its ranks get our environment and the profile's."""
    ranks = tuple(Rank(at, node.name, at) for at in range(max(1, profile.gpus or len(node.gpus))))
    ours = dict(node.environment.variables)
    manifest = Manifest(
        "gate",
        time.time(),
        (),
        profile.name,
        profile.text,
        "none",
        "nccl" if profile.gpus else "gloo",
        ranks,
        Settings(worker_environment=dict(profile.environment)),
        environment={str(rank.rank): ours for rank in ranks},
    )
    return of_facts(Path(), manifest, node)


def _since(options: GateOptions, node: Node, now: Snapshot) -> Iterator[Verdict]:
    """Verdicts on what increased since the last gate; the counters of now are kept where nothing is wrong with them."""
    if options.state is None:
        text = "there is no folder to keep counters in; give a file with --state"
        yield Verdict(errors_since_gate.NAME, node.name, Status.NOT_APPLICABLE, text)
        return
    try:
        before = None if options.forget else _earlier_counters(options.state)
    except RunError as error:
        yield _unusable(node.name, error)
        return
    found = list(WORDS.verdicts(errors_since_gate.since_gate(node, options.profile.rails, before, now)))
    yield from found
    if all(each.status in (Status.PASS, Status.NOT_APPLICABLE) for each in found):
        try:
            save_state(options.state, GateState(node.name, machine(LIVE), now))
        except RunError as error:
            yield _unusable(node.name, error, "give another file with --state")


def _unusable(node: str, error: RunError, step: str = "") -> Verdict:
    """A state that cannot be read or kept; a fault of the node is still the verdict."""
    return Verdict("gate.state", node, Status.INCONCLUSIVE, str(error), next_step=step)


def _earlier_counters(path: Path) -> Snapshot | None:
    """The counters that an earlier gate kept, of this boot. Raises RunError."""
    state = read_state(path)
    return state.counters if state and state.machine == machine(LIVE) else None


def _history(options: GateOptions, node: str, say: Say) -> Iterator[Verdict]:
    if not options.history:
        return
    say(f"reading {options.history}")
    try:
        yield from last_nights(options.history, _cluster_names(options, node), node)
    except HistoryError as error:
        yield Verdict(NAME, node, Status.INCONCLUSIVE, str(error))


def _cluster_names(options: GateOptions, node: str) -> tuple[str, ...]:
    """As given, else those that ``railgauge nightly`` gives: one machine's own, Slurm's, the profile's."""
    if options.cluster:
        return (options.cluster,)
    names = (node, os.environ.get("SLURM_CLUSTER_NAME", ""), options.profile.name)
    return tuple(name for name in dict.fromkeys(names) if name)


def _jobs(options: GateOptions, node: str) -> Iterator[list[str]]:
    """The command lines of the measurements that the level asks for, without ``--out`` and ``--budget``."""
    accept = ["accept", "--profile", options.profile_name, "--quiet"]
    if options.level == 2:
        yield [*accept, "--ranks", str(options.profile.gpus)] if options.profile.gpus else accept
    if options.level == 3:
        hosts, slots = options.scratch / "hosts", options.profile.gpus or 1
        hosts.write_text(f"{node} slots={slots}\n{options.neighbour} slots={slots}\n")
        yield ["launch", "--hosts", str(hosts), "--", *accept, "--strict"]


def _measured(command: list[str], options: GateOptions, seconds: float, say: Say) -> Run:
    """Run a job of RailGauge and return its judged run.

    The folder of a run that passed is removed with ``scratch``, so the path of the returned run is ``.``.
    """
    say(f"measuring: railgauge {' '.join(command[:2])}")
    kept = options.scratch / "run"
    limit = ["--out", str(kept), "--budget", f"{max(seconds, 1):.0f}s"]
    done = subprocess.run(
        [sys.executable, *as_module("bench"), *command, *limit],
        env=_alone(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    try:
        run = load(kept)
    except RunError:
        why = _last_line(done.stderr) or f"railgauge {command[0]} left no run folder"
        more = f"; of --limit, it gets all but {START:g} s" if "--budget" in why else ""
        raise RunError(why + more) from None
    bad = (each for each in _of_measured(run, "") if each.status in (Status.FAIL, Status.INCONCLUSIVE))
    if next(bad, None) is None:
        return replace(run, path=Path())
    aside = Path(tempfile.mkdtemp(prefix="railgauge-gate-run-"))
    kept.rename(aside / "run")
    return replace(run, path=aside / "run")


def _of_measured(run: Run, node: str) -> Iterator[Verdict]:
    """What a short run says of this node. It covers no cluster, and ``_left_out`` says what there was no time for.

    Where its neighbour is at fault, only what names this node alone is held against it.
    """
    places = places_in(run)
    named = {verdict: {name for name, _ in places(verdict.subject)} for verdict in run.verdicts}
    failed = [verdict for verdict in run.verdicts if verdict.status is Status.FAIL]
    sick = any(named[each] and node not in named[each] for each in failed)
    for each in (each for each in run.verdicts if not _is_shortness(run, each)):
        excused = sick and each.status is Status.FAIL and named[each] != {node}
        step = "give a healthy node with --neighbour"
        yield replace(each, status=Status.INCONCLUSIVE, next_step=step) if excused else each
    if not run.measurements:
        step = "give it more time with --limit"
        yield Verdict("gate.measured", node, Status.INCONCLUSIVE, "nothing was measured", next_step=step)


def _is_shortness(run: Run, verdict: Verdict) -> bool:
    """Whether a verdict says only that one or two nodes were measured, or that time did not suffice for a phase."""
    if verdict.check == "coverage.cases":
        begun = {measurement.case.split("/")[0] for measurement in run.measurements}
        return bool(run.given_up) and verdict.subject not in begun
    return verdict.check in ("coverage.cluster", "coverage.budget")


def _left_out(run: Run) -> list[str]:
    """What a short run gave up, which a person who reads PASS must know."""
    return [*(text for phase, text in run.plan.skipped if phase == GIVEN_UP), *run.given_up]


def _alone(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without a launcher's variables, which a prolog has: our job must not see a launcher."""
    signs = {name for row in LAUNCHERS for name in row.sign}
    return {name: text for name, text in environment.items() if name not in signs}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("railgauge: exit")]
    return lines[-1].removeprefix("railgauge: ") if lines else ""
