"""The command line: which mutants, run them, the kill rate by room with the survivors, exit status."""

from __future__ import annotations

import argparse
import functools
import math
import random
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import equivalents, forks, places, trial
from .places import GREEN, Mutant, Source
from .reach import Reach, gather, test_files

# a room's name, and what belongs to it and to none before it
FORMULAS = (
    "bounds collectives counter_table counters elements majority packets rails rounds stats units verdict"
)
ROOMS = {
    **{f"judge/{name}": (f"bench/judge/{name}",) for name in ("blame", "checks", "drift", "fabric", "wire")},
    "judge": ("bench/judge",),
    "nccl": ("bench/nccl",),
    "plan": ("bench/plan",),
    "model": tuple(f"bench/model/{name}.py" for name in FORMULAS.split()),
    "measure": ("bench/measure/backend/correctness.py",),
}
SHARE = 4  # parts of --within: a test that takes longer than one is not asked
EPILOG = """\
exit status: 0; 1 if a green mutant survives that is not listed as equivalent, if a listed one is killed or is not there
any more, or if a room's rate of random mutants is below --at-least; 2 wrong usage

With --green the tests of ci/mutation/first.txt are asked first, and what survives them is tried with all others. Which
tests reach which lines is kept in build/mutants until the test or the broken file changes: remove it when in doubt.
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant; ``tests``: how many reach it."""

    mutant: Mutant
    room: str
    status: int
    tests: int
    reason: str = ""

    @property
    def survived(self) -> bool:
        return survived(self.status)


def survived(status: int) -> bool:
    return status in (trial.SURVIVED, trial.EMPTY)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        "ci/mutants", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--green", action="store_true", help="turn each FAIL and INCONCLUSIVE into PASS")
    found.add_argument("--random", type=int, default=0, metavar="N", help="make N other changes in each room")
    found.add_argument(
        "--seed", type=int, default=0, metavar="S", help="choose other random changes (default: 0)"
    )
    found.add_argument(
        "--some", type=int, default=0, metavar="N", help="only N of the green ones, chosen by the seed"
    )
    found.add_argument(
        "--rooms", nargs="+", default=[], metavar="ROOM", help=f"only these, or files: {', '.join(ROOMS)}"
    )
    found.add_argument(
        "--within",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="ask each mutant tests of so many seconds, of its own file and room first, and none that takes a quarter "
        "of that: the rate is then the least it can be",
    )
    found.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time (default: 1)")
    found.add_argument(
        "--at-least", type=float, default=0.0, metavar="%", help="the random rate that each room must reach"
    )
    found.add_argument(
        "--remember", action="store_true", help="put the tests that killed into ci/mutation/first.txt"
    )
    found.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    found.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parents[2], help=argparse.SUPPRESS
    )
    return found


def main(words: Sequence[str] | None = None) -> int:
    given = parser().parse_args(words)
    if not (given.green or given.random):
        parser().error("nothing asked for: --green, --random N, or both")
    root = given.root.resolve()
    listed = equivalents.read(root / "ci/mutation/equivalents.txt")
    sources = {room: [places.read(root, path) for path in _files(root, room)] for room in ROOMS}
    chosen = [
        (room, source) for room in ROOMS for source in sources[room] if _wanted(room, source, given.rooms)
    ]
    if not chosen:
        parser().error(f"no room or file is called {' or '.join(given.rooms)}: there are {', '.join(ROOMS)}")
    mutants = dict(_mutants(chosen, given))
    if given.list:
        print(*(f"{mutant.kind:10} {mutant}" for mutant in mutants), sep="\n")
        return 0
    gone = equivalents.gone(listed, [source for each in sources.values() for source in each])
    began = time.monotonic()
    first = root / "ci/mutation/first.txt"
    asked = first.read_text().split("\n")[:-1] if first.exists() else []
    outcomes, killers = _run(root, mutants, listed, given.jobs, asked if given.green else [], given.within)
    if given.remember:
        first.write_text("".join(f"{test}\n" for test in sorted({*killers})))
    print(*report(outcomes), sep="\n")
    print(f"{len(outcomes)} mutants in {time.monotonic() - began:.0f} s")
    for key in gone:
        print(f"listed as equivalent, and not in the code any more: {' | '.join(key)}")
    return 1 if gone or list(_bad(outcomes, given.at_least)) else 0


def _files(root: Path, room: str) -> list[Path]:
    """The Python files of a room that belong to none before it."""
    before = [path for other in list(ROOMS)[: list(ROOMS).index(room)] for path in ROOMS[other]]
    found = []
    for place in ROOMS[room]:
        at = root / place
        found += sorted(at.rglob("*.py")) if at.is_dir() else [at] if at.exists() else []
    return [
        path
        for path in found
        if not any(path == root / each or root / each in path.parents for each in before)
    ]


def _wanted(room: str, source: Source, rooms: Sequence[str]) -> bool:
    return not rooms or room in rooms or any(source.name.startswith(each) for each in rooms)


def _mutants(chosen: Sequence[tuple[str, Source]], given: argparse.Namespace) -> Iterator[tuple[Mutant, str]]:
    if given.green:
        found = [(mutant, room) for room, source in chosen for mutant in places.green(source)]
        yield from (
            random.Random(given.seed).sample(found, min(given.some, len(found))) if given.some else found
        )
    for room in dict.fromkeys(room for room, _ in chosen if given.random):
        drawn = [mutant for name, source in chosen if name == room for mutant in places.random(source)]
        random.Random(given.seed).shuffle(drawn)
        yield from ((mutant, room) for mutant in drawn[: given.random])


def _run(
    root: Path,
    mutants: Mapping[Mutant, str],
    listed: Mapping[equivalents.Key, str],
    jobs: int,
    first: list[str],
    within: float,
) -> tuple[list[Outcome], list[str]]:
    """What came of each, and the tests that killed them. Those that survive ``first`` are tried with all tests."""
    sys.path[:0] = [str(root), str(root / "tests")]
    began, kept, tried, killers = time.monotonic(), root / "build/mutants", {}, []
    shutil.rmtree(kept / "first", ignore_errors=True)  # of other tests
    for only in [first, []] if first else [[]]:
        left = [mutant for mutant in mutants if mutant not in tried or survived(tried[mutant][0])]
        found, by = _round(root, kept / "first" if only else kept, left, jobs, only, within)
        tried |= found
        killers += by
        if only:
            many = sum(survived(status) for status, _ in tried.values())
            took = time.monotonic() - began
            print(
                f"{many} of {len(mutants)} survive the tests that are asked first ({took:.0f} s)", flush=True
            )
    return [
        Outcome(each, room, *tried[each], listed.get(each.key, "")) for each, room in mutants.items()
    ], killers


def _round(
    root: Path, kept: Path, mutants: Sequence[Mutant], jobs: int, only: Sequence[str], within: float
) -> tuple[dict[Mutant, tuple[int, int]], list[str]]:
    """Of each its status and how many tests reach it, and the tests that killed."""
    if not mutants:
        return {}, []
    longest = within / SHARE or math.inf
    reach = gather(root, kept, jobs, {mutant.source.name for mutant in mutants}, only, longest)
    files = [*(root / "bench").rglob("*.py"), *test_files(root)]
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files}
    tests = {mutant: cheapest(reaching(reach, texts, mutant), mutant, within) for mutant in mutants}
    status = dict.fromkeys(mutants, trial.EMPTY)
    killers = kept / "killers"
    killers.write_text("")
    swapped = {mutant: found for mutant, found in tests.items() if found and trial.swaps(mutant)}
    _warm(root, kept, swapped, status, jobs)
    again = [mutant for mutant, found in tests.items() if found and _anew(mutant, status[mutant], reach)]
    print(
        f"{len(again)} of {len(mutants)} mutants change what is run on import: each is tried by itself",
        flush=True,
    )
    with forks.Pool(jobs, kept / "log") as pool:
        for mutant in again:
            work = functools.partial(trial.cold, mutant, tests[mutant], root, killers)
            pool.start(mutant, work, trial.limit(tests[mutant]))
        for mutant, ended in pool.results():
            status[mutant] = ended
    for mutant in (mutant for mutant, ended in status.items() if ended == forks.BROKEN):
        raise SystemExit(f"mutants: {mutant} could not be tried: see {kept / 'log'}")
    return {each: (status[each], len(tests[each])) for each in mutants}, killers.read_text().splitlines()


def _anew(mutant: Mutant, status: int, reach: Reach) -> bool:
    """Whether it was not tried yet, or survived although a test may have been collected with what it changes."""
    late = status == trial.SURVIVED and reach.on_import(mutant.source.name, mutant.lines)
    return late or status in (trial.COLD, trial.EMPTY)


def _warm(
    root: Path, kept: Path, work: Mapping[Mutant, trial.Tests], status: dict[Mutant, int], jobs: int
) -> None:
    """In one process that forks for each mutant; it writes what came of them into a file."""
    numbers = {mutant: number for number, mutant in enumerate(work)}
    answers = kept / "answers"
    answers.write_text("")
    with answers.open("a", buffering=1) as written, forks.Pool(1, kept / "log", loud=True) as pool:

        def answer(mutant: Mutant, ended: int) -> None:
            written.write(f"{numbers[mutant]} {ended}\n")

        pool.start(
            "warm",
            lambda: trial.warm(work, root, forks.Pool(jobs, kept / "log"), answer, kept / "killers"),
            sum(map(trial.limit, work.values())) + 600,
        )
        ((_, ended),) = pool.results()
    if ended:
        raise SystemExit(
            f"mutants: the process that forks for each mutant has ended with {ended}: see {kept / 'log'}"
        )
    mutants = list(work)
    for number, result in (line.split() for line in answers.read_text().splitlines()):
        status[mutants[int(number)]] = int(result)


def reaching(reach: Reach, texts: Mapping[str, str], mutant: Mutant) -> trial.Tests:
    """The tests that run its lines; of what runs on import alone, those that run a line or stand in a file that names
    it, and where only a default or a type does so, all that run something of its file.
    """
    by_line = reach.tests(mutant.source.name, mutant.lines)
    if trial.swaps(mutant) is not None and (by_line or not reach.on_import(mutant.source.name, mutant.lines)):
        return by_line
    found: dict[str, float] = {}
    for name in mutant.names:
        word = re.compile(rf"\b{name}\b")
        for file, text in texts.items():
            if word.search(text) and file.startswith("tests/"):
                found |= reach.of_file(file)
            elif word.search(text):
                lines = [number for number, line in enumerate(text.splitlines(), 1) if word.search(line)]
                found |= reach.tests(file, lines)
    source = mutant.source
    return found or reach.tests(source.name, range(1, source.text.count("\n") + 2))


def cheapest(tests: trial.Tests, mutant: Mutant, within: float) -> trial.Tests:
    """Tests of ``within`` seconds together, or all for 0: those of the mutant's own file first, then those of the
    folder that mirrors its room, then the shortest.
    """
    own, found, left = f"test_{mutant.source.path.stem}.py", dict[str, float](), within or math.inf
    folder = mutant.source.name.replace("bench/", "tests/", 1).rpartition("/")[0]

    def order(test: str) -> tuple[bool, bool, float]:
        file = test.partition("::")[0]
        return not file.endswith(own), not file.startswith(f"{folder}/"), tests[test]

    for test in sorted(tests, key=order):
        left -= tests[test]
        if left < 0:
            break
        found[test] = tests[test]
    return found


def report(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """A table of rooms, then the survivors, the time-outs' count and what is listed."""
    outcomes = list(outcomes)
    columns = f"{'killed':>8}{'listed':>8}{'rate':>8}"
    yield f"{'room':14}{'green':>8}{columns}{'random':>10}{columns}"
    for room in [*ROOMS, "all"]:
        own = [each for each in outcomes if room in (each.room, "all")]
        if own:
            green = [each for each in own if each.mutant.kind == GREEN]
            others = [each for each in own if each.mutant.kind != GREEN]
            yield f"{room:14}{_columns(green, 8)}{_columns(others, 10)}"
    late = sum(each.status == forks.TIMED_OUT for each in outcomes)
    yield f"killed by their time limit: {late}" if late else ""
    for each in sorted(
        outcomes, key=lambda each: (each.mutant.kind != GREEN, each.mutant.source.name, each.mutant.line)
    ):
        if each.survived and not each.reason:
            yield f"survived: {each.mutant} ({each.mutant.kind}; {each.tests or 'no'} tests reach it)"
        elif each.reason:
            told = "listed as equivalent" if each.survived else "LISTED AS EQUIVALENT, AND KILLED"
            yield f"{told}: {each.mutant}: {each.reason}"


def rate(outcomes: Sequence[Outcome]) -> float:
    """Percent killed, of those that are not listed as equivalent."""
    counted = [each for each in outcomes if not each.reason]
    return 100.0 * sum(not each.survived for each in counted) / len(counted) if counted else 100.0


def _columns(outcomes: Sequence[Outcome], width: int) -> str:
    if not outcomes:
        return f"{'-':>{width}}{'-':>8}{'-':>8}{'-':>8}"
    killed, listed = sum(not each.survived for each in outcomes), sum(bool(each.reason) for each in outcomes)
    return f"{len(outcomes):>{width}}{killed:>8}{listed:>8}{rate(outcomes):>7.1f}%"


def _bad(outcomes: Sequence[Outcome], least: float) -> Iterator[str]:
    """Why the exit status is 1."""
    green = [each for each in outcomes if each.mutant.kind == GREEN]
    yield from (str(each.mutant) for each in green if each.survived and not each.reason)
    yield from (str(each.mutant) for each in outcomes if each.reason and not each.survived)
    for room in ROOMS:
        others = [each for each in outcomes if each.room == room and each.mutant.kind != GREEN]
        if rate(others) < least:
            yield room
