"""The acceptance of a lab: healthy it passes; with a fault planted the fault is named, and nothing else.

``demo`` shows that to a person with one fault, ``check`` proves it to CI with the quick ones.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab import lab as labs
from netlab.faults import FAULTS
from netlab.plan import Lab, LabError, show_rate

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "ci" / "lab" / "net"
LIMIT = 240.0  # s for one acceptance; on two idle cores it takes about 20
SHARE = 0.8  # of the shaped rate that a healthy rail must reach; TCP carries at most 95.6 % of it
DEMO = "slow-rail n2 1"
QUICK = ("slow-rail n2 1", "slow-node n1", "lossy-rail n1 2", "rail-down n2 1", "wrong-mtu n0 2")
# Planted before mpirun starts these would keep it from starting, and nothing would be measured.
LATE = ("frozen", "dead")
# Of faults in both directions at the same size, blame must not see half.
ONE_WAY = {"slow-rail": "", "slow-node": "", "slow-tx": "sending only", "slow-rx": "receiving only"}


@dataclass(frozen=True)
class Outcome:
    """``status`` is the exit status, None when it had to be ended; ``verdicts`` are rows of verdicts.json."""

    status: int | None
    seconds: float
    verdicts: tuple[dict[str, object], ...]


def profile(lab: Lab) -> str:
    """The TOML of what a lab is sold as."""
    if lab.rate is None:
        raise LabError(
            f"the rails of lab {lab.name!r} are not shaped, so nothing can be asked of them; give --rate"
        )
    devices = ", ".join(f'"eth{rail}"' for rail in range(1, lab.rails + 1))
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
devices = [{devices}]
excluded = ["eth0"]
management = "eth0"
rate = {{ value = "{megabits:g} Mb/s", source = "ci/lab/net shapes every rail to it" }}

[sweep]
collectives = ["all_reduce"]
begin = "64K"
end = "1M"
factor = 16
pairs = ["p2p"]
pair_sizes = ["512K"]
budget = "600 ms"
precision = "5 %"

[[bounds]]
collective = "p2p_bidirectional"
quantity = "rail_rate"
at_least = "{megabits * SHARE:g} Mb/s"
source = "{SHARE:.0%} of the rate that ci/lab/net shapes every rail to"
"""


def accept(lab: Lab, out: Path, late: str = "") -> Outcome:
    """One acceptance run over the lab, one rank per rail on every node; what it prints is passed on.

    ``late`` is a fault to plant once measuring has begun. A run that takes longer than LIMIT is ended.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    toml = out.with_suffix(".toml")
    toml.write_text(profile(lab))
    words = ["-m", "bench", "accept", "--profile", str(toml), "--out", str(out), "--hang", "20s"]
    command = [
        sys.executable,
        str(ENTRY),
        "--name",
        lab.name,
        "mpirun",
        str(lab.rails),
        "--",
        sys.executable,
        *words,
    ]
    start = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL) as run:
        try:
            if late:
                _wait_for(out / "journal.jsonl", run)
                kind, *rest = late.split()
                labs.fault(lab.name, kind, rest)
            status: int | None = run.wait(start + LIMIT - time.monotonic())
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if run.poll() is None:
                run.kill()
    return Outcome(status, time.monotonic() - start, _verdicts(out))


def _wait_for(journal: Path, run: subprocess.Popen[bytes]) -> None:
    """Until the first measurement is in the journal."""
    limit = time.monotonic() + LIMIT
    while run.poll() is None and time.monotonic() < limit:
        if journal.exists() and '"measurement"' in journal.read_text():
            return
        time.sleep(0.1)


def _verdicts(out: Path) -> tuple[dict[str, object], ...]:
    try:
        return tuple(json.loads((out / "verdicts.json").read_text())["verdicts"])
    except FileNotFoundError:
        return ()


def blamed(verdicts: Sequence[dict[str, object]]) -> set[str]:
    """Subjects that failed and are a place: all that blame names, and whatever else names a node."""
    return {
        str(row["subject"])
        for row in verdicts
        if row["status"] == "fail"
        and (str(row["check"]).startswith("blame.") or nodes_in(str(row["subject"])))
    }


def nodes_in(text: str) -> set[str]:
    return set(re.findall(r"\bn[0-9]+\b", text))


def rails_in(text: str) -> set[str]:
    return set(re.findall(r"\beth[0-9]+\b", text))


def is_right(subject: str, fault: str) -> bool:
    """Whether ``subject`` is where ``fault`` (its command line) is: this node, and this rail or all of it."""
    kind, node, *rest = fault.split()
    if nodes_in(subject) != {node}:
        return False
    if kind in ONE_WAY and ONE_WAY[kind] != (re.findall(r"sending only|receiving only", subject) or [""])[0]:
        return False
    if kind == "swapped-rails":  # both of them are without a peer
        return len(rails_in(subject)) == 1
    return rails_in(subject) == ({f"eth{rest[0]}"} if FAULTS[kind].on_rail else set())


def complaint(fault: str, outcome: Outcome) -> str:
    """What is wrong with an outcome under ``fault`` ("" for a healthy lab); "" when it is as it must be."""
    found = blamed(outcome.verdicts)
    if not fault:
        healthy = outcome.status == 0 and not found
        return "" if healthy else f"wanted a pass, got exit status {outcome.status}, blamed: {_told(found)}"
    if outcome.status == 0:
        return "it passed"
    wrong = {subject for subject in found if not is_right(subject, fault)}
    if wrong:
        return f"it blames {_told(wrong)}"
    if found or (fault.split()[0] in LATE and _spoken_of(fault.split()[1], outcome)):
        return ""
    return f"it is not named: exit status {outcome.status}, blamed: {_told(found)}"


def _spoken_of(node: str, outcome: Outcome) -> bool:
    """A node that stops in mid-run leaves less to blame it by: that it is lost is what can be said."""
    return any(
        nodes_in(str(row["message"])) == {node}
        for row in outcome.verdicts
        if row["status"] in ("fail", "error")
    )


def _told(subjects: set[str]) -> str:
    return ", ".join(sorted(subjects)) or "nobody"


def trial(lab: Lab, fault: str, folder: Path) -> bool:
    """Plant, accept, heal; prints who was blamed and whether that is right, which it returns."""
    late = fault if fault.split()[:1] and fault.split()[0] in LATE else ""
    if fault and not late:
        kind, *rest = fault.split()
        labs.fault(lab.name, kind, rest)
    print(f"\n=== {fault or 'healthy'} ===", flush=True)
    outcome = accept(lab, folder / (fault.replace(" ", "-") or "healthy"), late)
    print(f"blamed: {_told(blamed(outcome.verdicts))}")
    wrong = complaint(fault, outcome)
    print(
        f"{'NOT OK' if wrong else 'ok'}: {fault or 'healthy'}{': ' if wrong else ''}{wrong} ({outcome.seconds:.0f} s)"
    )
    labs.settle_down(lab.name)
    return not wrong


def trials(lab: Lab, faults: Sequence[str]) -> int:
    """A lab of its own, one trial each, nothing left; the exit status."""
    for module in ("torch", "mpi4py"):
        if importlib.util.find_spec(module) is None:
            raise LabError(
                f"{sys.executable} has no {module}; next: activate the environment that has it and keep it"
                ' through sudo: sudo env PATH="$PATH" ci/lab/net …'
            )
    folder = Path(tempfile.mkdtemp(prefix="railgauge-lab-"))
    with labs.signals_are_exceptions():
        labs.down(lab.name)  # of a run that was killed
        here = labs.up(lab)
        try:
            good = [trial(lab, fault, folder) for fault in faults if _possible(here, fault)]
        finally:
            labs.down(lab.name)
    print(f"\n{sum(good)} of {len(good)} as they must be; run folders and reports: {folder}")
    return 0 if all(good) else 1


def _possible(here: labs.Live, fault: str) -> bool:
    needs = FAULTS[fault.split()[0]].needs if fault else ""
    reason = here.powers[needs] if needs else None
    if isinstance(reason, str):
        print(f"\n=== {fault} ===\nskip: not possible on this machine: {reason}")
    return not isinstance(reason, str)


def demo(name: str) -> int:
    """Two minutes for a person."""
    lab = Lab(name)
    print(
        f"{lab.nodes} nodes with {lab.rails} rails of {show_rate(lab.rate)} on this machine. First a healthy\n"
        f"acceptance; then rail 1 of n2 runs at half its rate, which no counter shows, and must be named."
    )
    return trials(lab, ("", DEMO))


def check(name: str, every: bool) -> int:
    """The smoke test of CI; ``every``: all faults there are, in ten minutes and more."""
    rest = [f"{fault.name} n2 1" if fault.on_rail else f"{fault.name} n2" for fault in FAULTS.values()]
    return trials(Lab(name), ("", *(rest if every else QUICK)))
