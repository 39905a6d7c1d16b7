"""The acceptance of a lab: healthy it passes; with a fault planted the fault is named, and nothing else.

``demo`` shows that to a person with one fault, ``check`` counts it: each fault so many times, and a table.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from netlab import columns
from netlab import lab as labs
from netlab.faults import FAULTS, plant
from netlab.naming import STOPPED, Outcome, blamed, complaint, false_names, told
from netlab.plan import Lab, LabError, address, show_rate
from netlab.rules import DEFAULT, Rules

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "ci" / "lab" / "net"
LIMIT = 300.0  # s for one acceptance; on two idle cores it takes about 30
SHARE = 0.8  # of the shaped rate that a healthy rail must reach; TCP carries at most 95.6 % of it
ENDING = 10.0  # s for the other nodes' launchers once the first one's has ended
HANG = 20  # s without progress after which the bench gives a case up, in place of a minute
DEMO = "slow-rail n2 1"
HEALTHY = "healthy"  # what a lab without a fault is called on the command line
# One of each way to be named (rates, quota, facts, windows, reachability, retransmissions, identity), none that stops
# a node.
QUICK = (
    *("slow-rail n2 1", "slow-cpu n0 0.3", "rail-down n2 1", "flapping n1 2"),
    *("half-open n0 1", "one-path-loss n1 1", "duplicate-address n1 2"),
    *("renamed n2 1", "missing n1 2", "bridges", "isolated-management"),
)
# Planted before mpirun starts these would keep it from starting, and nothing would be measured.
LATE = STOPPED


@dataclass(frozen=True)
class How:
    """How a lab is accepted: more options, the management interface of its profile, whether that leaves the rails to be
    ``found``, and the launcher's commands. ``back``: mended, the node takes part again by ``resume``, and all passes;
    ``stops``: nothing may be measured."""

    words: tuple[str, ...] = ()
    management: str = "eth0"
    found: bool = False
    back: bool = False
    stops: bool = False
    commands: Callable[[Lab, str, Sequence[str]], list[list[str]]] = columns.mpirun


HOW = {
    # told from its likes: without the option both rails are dead, and only a guess is left
    "swapped-rails": How(("--cross-rail",)),
    # as RunPod's launcher, which names an address on the first rail
    "isolated-management": How(
        management="", found=True, commands=functools.partial(columns.torchrun, first=address("n0", 1))
    ),
    "bridges": How(management=""),
    "rail-down": How(back=True),
    "admin-down": How(("--strict",), stops=True),
}
EVERY = tuple(
    fault.name + " n2" * (not fault.everywhere) + " 1" * fault.on_rail + " 0.3" * (fault.name == "slow-cpu")
    for fault in FAULTS.values()
    if fault.name != "little-memory"  # not slow but deadly: see deaths
)


def profile(lab: Lab, rails_only: bool = False, how: How | None = None) -> str:
    """The TOML of what a lab is sold as; ``rails_only``: nothing but the rails is measured, which is quicker."""
    how = how or How()
    if lab.rate is None:
        raise LabError(
            f"the rails of lab {lab.name!r} are not shaped, so nothing can be asked of them; give --rate"
        )
    devices = ", ".join(f'"eth{rail}"' for rail in range(1, lab.rails + 1))
    names = "found = true" if how.found else f"devices = [{devices}]"
    megabits = lab.rate * 8 / 1_000_000
    return f"""\
format = 1
name = "lab"
title = "network namespaces: {lab.nodes} nodes, {lab.rails} rails of {show_rate(lab.rate)}"
source = "ci/lab/net"

[cluster]
backend = "gloo"
nodes = [{lab.nodes}, {lab.nodes}]

[rails]
kind = "socket"
count = {lab.rails}
{names}
excluded = ["eth0"]
management = "{how.management}"
rate = {{ value = "{megabits:g} Mb/s", source = "ci/lab/net shapes every rail to it" }}

[sweep]
collectives = [{"" if rails_only else '"all_reduce"'}]
begin = "64K"
end = "1M"
factor = 16
pairs = ["p2p"]
pair_sizes = ["1M"]
budget = "600 ms"
precision = "5 %"

[[bounds]]
collective = "p2p_bidirectional"
quantity = "rail_rate"
at_least = "{megabits * SHARE:g} Mb/s"
source = "{SHARE:.0%} of the rate that ci/lab/net shapes every rail to"
"""


def accept(lab: Lab, out: Path, late: str = "", rails_only: bool = False, how: How | None = None) -> Outcome:
    """One acceptance run over the lab, one rank per rail on every node; what it prints is passed on.

    ``late`` is a fault to plant once measuring has begun. A run that takes longer than LIMIT is ended.
    """
    how = how or How()
    out.parent.mkdir(parents=True, exist_ok=True)
    toml = out.with_name(f"{out.name}.toml")
    toml.write_text(profile(lab, rails_only, how))
    own = ["accept", "--profile", str(toml), "--out", str(out), "--hang", f"{HANG}s", *how.words]
    return run(lab, out, own, how, late)


def run(lab: Lab, out: Path, own: Sequence[str], how: How, late: str = "") -> Outcome:
    """A command of RailGauge's on every rank of the lab."""
    commands = how.commands(lab, sys.executable, ["-m", "bench", *own])
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        first, *_ = [stack.enter_context(started(lab, words)) for words in commands]
        try:
            if late:
                _wait_for(out / "journal.jsonl", first)
                labs.fault_line(lab.name, late)
            status: int | None = first.wait(start + LIMIT - time.monotonic())
        except subprocess.TimeoutExpired:
            status = None
    return Outcome(status, time.monotonic() - start, _verdicts(out))


@contextlib.contextmanager
def started(lab: Lab, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command on the lab, which does not outlive the acceptance."""
    command = [sys.executable, str(ENTRY), "--name", lab.name, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **columns.TOKEN}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL) as run:
        try:
            yield run
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(0.1 if sys.exc_info()[0] else ENDING)
            if run.poll() is None:
                run.kill()


def _wait_for(journal: Path, run: subprocess.Popen[bytes]) -> None:
    """Until the first measurement is in the journal."""
    limit = time.monotonic() + LIMIT
    while run.poll() is None and time.monotonic() < limit:
        if _measured(journal.parent):
            return
        time.sleep(0.1)


def _measured(out: Path) -> bool:
    journal = out / "journal.jsonl"
    return journal.exists() and '"measurement"' in journal.read_text()


def _verdicts(out: Path) -> tuple[dict[str, object], ...]:
    try:
        return tuple(json.loads((out / "verdicts.json").read_text())["verdicts"])
    except FileNotFoundError:
        return ()


@dataclass(frozen=True)
class Trial:
    """What came of one acceptance under ``fault`` ("": healthy); ``wrong`` is "" when it is as it must be."""

    fault: str
    wrong: str
    false: frozenset[str]
    seconds: float
    load: float


def trial(lab: Lab, fault: str, out: Path, rails_only: bool) -> Trial:
    """Plant, accept, heal; prints who was blamed and whether that is right."""
    late = fault if fault.split()[:1] and fault.split()[0] in LATE else ""
    if fault and not late:
        labs.fault_line(lab.name, fault)
    print(f"\n=== {fault or HEALTHY} ===", flush=True)
    how = HOW.get(fault.partition(" ")[0], How())
    outcome = accept(lab, out, late, rails_only, how)
    wrong = complaint(fault, outcome, how.stops)
    if how.stops and _measured(out):
        wrong = wrong or f"it was measured in spite of {' '.join(how.words)}"
    if how.back and not wrong:
        labs.settle_down(lab.name)
        if wrong := complaint("", run(lab, out, ["resume", str(out)], how)):
            wrong = f"resumed with the node that was mended: {wrong}"
    load = os.getloadavg()[0]
    print(f"blamed: {told(blamed(outcome.verdicts))}")
    print(
        f"{'NOT OK' if wrong else 'ok'}: {fault or HEALTHY}{': ' if wrong else ''}{wrong}"
        f" ({outcome.seconds:.0f} s, load {load:.1f})",
        flush=True,
    )
    labs.settle_down(lab.name)
    return Trial(fault, wrong, frozenset(false_names(fault, outcome)), outcome.seconds, load)


def trials(
    lab: Lab,
    faults: Sequence[str],
    runs: int = 1,
    rails_only: bool = False,
    rules: Rules = DEFAULT,
    out: Path | None = None,
) -> int:
    """A lab of its own, ``runs`` trials of each fault in turn, nothing left, a table; the exit status."""
    for module in ("torch", "mpi4py"):
        if importlib.util.find_spec(module) is None:
            raise LabError(
                f"{sys.executable} has no {module}; next: activate the environment that has it and keep it"
                ' through sudo: sudo env PATH="$PATH" ci/lab/net …'
            )
    folder = _new(out) if out else Path(tempfile.mkdtemp(prefix="railgauge-lab-"))

    def one(fault: str, number: int) -> Trial:
        # a healthy lab is accepted in full: silence must be proven for every phase
        with _wide_enough(lab, fault) as its:
            return _tried(its, fault, folder / run_name(fault, number), rails_only and bool(fault))

    with labs.of_its_own(lab) as here:
        lacking = {fault: reason for fault in faults if (reason := _lacking(here, fault))}
        possible = [fault for fault in faults if fault not in lacking]
        done = [one(fault, number + 1) for number in range(runs) for fault in possible]
        done = rules.tried_again(done, lambda row: one(row.fault, runs + 1))
    print("", *table(done, lacking), sep="\n")
    print(f"run folders and reports: {folder}")
    return rules.exit_status(done, lacking)


def run_name(fault: str, number: int = 1) -> str:
    """Of a trial's run folder."""
    return f"{fault.replace(' ', '-') or HEALTHY}.{number}"


def _new(folder: Path) -> Path:
    """The folder, made. Raises LabError where something is in it: no report may be of an earlier run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise LabError(f"{folder} is not empty; next: name another folder")
    except OSError as error:
        raise LabError(f"{folder}: {error.strerror}") from error
    return folder.resolve()


@contextlib.contextmanager
def _wide_enough(lab: Lab, fault: str) -> Iterator[Lab]:
    """The lab, or where it has too few nodes to show the fault, one beside it that has enough."""
    nodes = FAULTS[fault.split()[0]].nodes if fault else lab.nodes
    if nodes <= lab.nodes:
        yield lab
        return
    wider = replace(lab, name=f"{lab.name[:10]}{nodes}", nodes=nodes)
    with labs.of_its_own(wider):
        yield wider


def _tried(lab: Lab, fault: str, out: Path, rails_only: bool) -> Trial:
    """As ``trial``; a fault that could not be planted is a row that is not as it must be, and no end of the table."""
    try:
        return trial(lab, fault, out, rails_only)
    except LabError as error:
        labs.settle_down(lab.name)
        return Trial(fault, str(error), frozenset(), 0.0, os.getloadavg()[0])


def table(done: Sequence[Trial], lacking: Mapping[str, str]) -> Iterator[str]:
    """A row a fault: how often it was named and nobody else, false names, seconds, load; or why it was not run."""
    yield f"{'fault':22}{'right':>9}{'false names':>13}{'seconds':>12}{'load':>7}"
    for fault in dict.fromkeys(each.fault for each in done):
        own = [each for each in done if each.fault == fault]
        right = sum(not each.wrong for each in own)
        seconds = [each.seconds for each in own]
        took = f"{median(seconds):.0f}..{max(seconds):.0f}"
        load = max(each.load for each in own)
        false = sum(len(each.false) for each in own)
        yield f"{fault or HEALTHY:22}{f'{right} of {len(own)}':>9}{false:>13}{took:>12}{load:>7.1f}"
        for text in dict.fromkeys(each.wrong for each in own if each.wrong):
            yield f"    {text}"
    for fault, reason in lacking.items():
        yield f"{fault:22}{'not run':>9}{'-':>13}{'-':>12}{'-':>7}"
        yield f"    not possible on this machine: {reason}"


def _lacking(here: labs.Live, fault: str) -> str:
    """Why this machine cannot show ``fault``, "" where it can."""
    needs = FAULTS[fault.split()[0]].needs if fault else ""
    reason = here.powers[needs] if needs else None
    return reason if isinstance(reason, str) else ""


def demo(name: str, out: Path | None = None) -> int:
    """Two minutes for a person; the run folders lie in ``out``."""
    lab = Lab(name)
    print(
        f"{lab.nodes} nodes with {lab.rails} rails of {show_rate(lab.rate)} on this machine. First a healthy\n"
        f"acceptance; then rail 1 of n2 runs at half its rate, which no counter shows, and must be named."
    )
    return trials(lab, ("", DEMO), out=out)


def check(name: str, quick: bool, runs: int, faults: Sequence[str], rules: Rules = DEFAULT) -> int:
    """Healthy, then every fault there is, or ``faults`` alone; ``quick``: the half that CI has minutes for."""
    chosen = tuple("" if fault == HEALTHY else fault for fault in faults)
    for fault in filter(None, chosen):
        kind, *words = fault.split()
        plant(Lab(name), kind, words)  # refuses what cannot be planted
    return trials(Lab(name), chosen or ("", *(QUICK if quick else EVERY)), runs, rails_only=True, rules=rules)
