"""Which tests reach which line: gathered once by coverage, kept in build/ until the test or what is broken changes.

One entry a test file: its tests with the seconds that each takes, and for every line of ``bench`` the tests that
run it, as a whole number whose bits are the tests. Edge: runs the tests.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import math
import os
import pickle
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import forks
from .imports import Imports

PACKAGE = "bench"
TOGETHER = 12  # files of tests that one process runs
# a room is held by the tests of the rooms that judge; what a command or a report makes of it comes after
FOLDERS = ("judge", "nccl", "plan", "model", "measure")
# and by those of commands that stand on modules of such a room alone: judge/actions, judge/errors_since_gate,
# nccl/log_summary
FILES = ("exchange/test_acting.py", "run/test_gate.py", "cli/test_explain_log.py")
OUTSIDE = (
    "mpi or gpu or root or torch"  # tests whose work is done in processes of their own, or by what may lack
)
PYTEST = [
    "-q",
    "-s",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "-m",
    f"not ({OUTSIDE})",
]


@dataclass
class Reached:
    """What the tests of file ``name`` reach: the lowest bit of a line is for the import, then one for each test.

    ``stood_on``: digests of the files under the root of which they run more than the import. ``late``: the tests that
    were ended after ``longest`` seconds.
    """

    name: str
    tests: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lines: dict[str, dict[int, int]] = field(default_factory=dict)
    stood_on: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    longest: float = math.inf


@dataclass(frozen=True)
class Reach:
    """The entries of all test files."""

    files: tuple[Reached, ...]

    def of_file(self, name: str) -> dict[str, float]:
        """All tests of a file of tests."""
        found = (entry for entry in self.files if entry.name == name)
        return {test: took for each in found for test, took in zip(each.tests, each.seconds, strict=True)}

    def on_import(self, name: str, lines: Sequence[int]) -> bool:
        """Whether one of these lines is run before any test, while files are imported and tests collected."""
        return any(entry.lines.get(name, {}).get(line, 0) & 1 for entry in self.files for line in lines)

    def tests(self, name: str, lines: Sequence[int]) -> dict[str, float]:
        """The tests that run one of these lines, with their seconds."""
        found = {}
        for entry in self.files:
            bits = 0
            for line in lines:
                bits |= entry.lines.get(name, {}).get(line, 0)
            for position, test in enumerate(entry.tests) if bits else ():
                if bits >> position & 2:
                    found[test] = entry.seconds[position]
        return found


def gather(
    root: Path,
    kept: Path,
    jobs: int,
    changed: Collection[str] = (),
    only: Collection[str] = (),
    longest: float = math.inf,
) -> Reach:
    """The map of the tree as it is: what is kept where it still holds, the rest run anew, ``jobs`` at a time.

    ``changed``: the files that are broken; files of tests that import none of them are not asked. ``only``: tests.
    ``longest``: seconds of CPU time after which a test is ended and left out: under coverage, which is slow.
    """
    kept.mkdir(parents=True, exist_ok=True)
    digests, imports = _Digests(root), Imports(root)
    named = {test.partition("::")[0] for test in only}
    files = [file for file in test_files(root) if imports.reach(file, changed)]
    files = [file for file in files if not only or file.relative_to(root).as_posix() in named]
    stale = [file for file in files if not _holds(root, kept, file, digests, changed, longest)]
    if stale:
        print(f"which tests reach which lines: {len(stale)} of {len(files)} test files are run", flush=True)
        # what is kept serves other mutants too; of a few tests nothing is kept
        lines = [str(root / name) for name in changed] if only and changed else [str(root / PACKAGE / "*")]
        record = functools.partial(_record, root, kept, frozenset(only), lines, longest)
        _record_all(kept, stale, jobs, record)
    found = tuple(_load(_entry(root, kept, file)) for file in files)
    for test in [test for entry in found for test in entry.failed]:
        print(f"left out, since it fails without a mutant: {test}", flush=True)
    for test in [test for entry in found for test in entry.late]:
        print(f"left out, since it takes more than {longest:g} s: {test}", flush=True)
    return Reach(found)


def _record_all(
    kept: Path, files: Sequence[Path], jobs: int, record: Callable[[Sequence[Path]], int]
) -> None:
    """Some files in each process: one process a file imports for longer than it tests, one for all grows slow."""
    count = max(min(jobs, len(files)), -(-len(files) // TOGETHER))
    with forks.Pool(jobs, kept / "log", loud=True) as pool:
        for number in range(count):
            some = files[number::count]
            pool.start(some[0], functools.partial(record, some), 1800)
        for file, ended in pool.results():
            if ended != 0:
                raise SystemExit(
                    f"mutants: {file} and those run with it did not come to their end without a mutant (status "
                    f"{ended}): see {kept / 'log'}"
                )


def test_files(root: Path) -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((root / "tests" / folder).rglob("test_*.py"))]
    return found + [path for name in FILES if (path := root / "tests" / name).exists()]


class _Digests:
    """Of a file's text; and of all helpers of the tests together, on which any test may stand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        helpers = [
            path for path in sorted((root / "tests").rglob("*.py")) if not path.name.startswith("test_")
        ]
        self.helpers = hashlib.sha256(b"".join(path.read_bytes() for path in helpers)).hexdigest()

    @functools.cache  # noqa: B019 - lives as long as the process
    def of(self, name: str) -> str:
        path = self.root / name
        return hashlib.sha256(path.read_bytes()).hexdigest() + self.helpers if path.exists() else ""


def _entry(root: Path, kept: Path, file: Path) -> Path:
    return kept / (file.relative_to(root).as_posix().replace("/", "+") + ".reach")


def _load(entry: Path) -> Reached:
    found = pickle.loads(entry.read_bytes())
    assert isinstance(found, Reached)
    return found


def _holds(
    root: Path, kept: Path, file: Path, digests: _Digests, changed: Collection[str], longest: float
) -> bool:
    """Whether the entry is of this file of tests, and of what is broken as it is now."""
    entry, own = _entry(root, kept, file), file.relative_to(root).as_posix()
    if not entry.exists():
        return False
    asked, found = {own, *changed}, _load(entry)
    if found.late and found.longest < longest:
        return False
    return all(digests.of(name) == digest for name, digest in found.stood_on.items() if name in asked)


def _record(
    root: Path,
    kept: Path,
    only: frozenset[str],
    lines: Sequence[str],
    longest: float,
    files: Sequence[Path],
) -> int:
    """Run some files of tests under coverage and write their entries; in a process of its own.

    ``lines``: of which files coverage records them.
    """
    from coverage import Coverage

    measured = Coverage(data_file=None, include=list(lines), config_file=False)
    measured.start()
    recorder = _Recorder(root, measured, only, longest)
    status = pytest.main([*PYTEST, f"--rootdir={root}", *map(str, files)], plugins=[recorder])
    measured.stop()
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED):
        return int(status)
    for found in recorder.found(files):
        entry = _entry(root, kept, root / found.name)
        entry.with_suffix(".new").write_bytes(pickle.dumps(found))
        entry.with_suffix(".new").replace(entry)
    return 0


class _Recorder:
    """A plugin of pytest: a context of coverage for each test, and for each fixture that several tests share."""

    def __init__(self, root: Path, measured: Any, only: frozenset[str], longest: float) -> None:
        self.root, self.measured, self.only, self.longest = root, measured, only, longest
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.late: set[str] = set()
        self.shared: dict[str, list[str]] = {}
        self.caches: list[Any] = []
        self.current = ""

    def pytest_collection(self) -> None:
        same_examples()  # after the conftest has chosen its own, before a test is defined

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only:
            items[:] = [item for item in items if item.nodeid in self.only]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.caches = list(caches(self.root))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        for each in self.caches:
            each.cache_clear()  # what an earlier test has computed, this one would not be seen to reach
        for each in {id(each): each for each in _fixtures(item)}.values():
            self.shared.setdefault(_context(each), []).append(item.nodeid)
        self.current = item.nodeid
        self.measured.switch_context(self.current)
        result = yield
        self.measured.switch_context("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        if not math.isfinite(self.longest):
            return (yield)

        def end(*_: object) -> None:
            self.late.add(item.nodeid)
            pytest.fail("it takes too long")  # no Exception, which the judge would catch

        before = signal.signal(signal.SIGPROF, end)
        signal.setitimer(signal.ITIMER_PROF, self.longest, 1)
        try:
            return (yield)
        except BaseException:
            if item.nodeid in self.late:  # where it was ended there may be no line, and pytest asks for one
                raise pytest.fail.Exception("it takes too long", pytrace=False) from None
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        self.measured.switch_context(_context(fixturedef))
        try:
            return (yield)
        finally:
            self.measured.switch_context(self.current)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def found(self, files: Sequence[Path]) -> Iterator[Reached]:
        """One entry for each of the files."""
        digests, data = _Digests(self.root), self.measured.get_data()
        paths = {path: Path(path).relative_to(self.root).as_posix() for path in data.measured_files()}
        contexts = {name: data.contexts_by_lineno(path) for path, name in paths.items()}
        for file in files:
            own = file.relative_to(self.root).as_posix()
            tests = [
                each for each in sorted(set(self.seconds) - self.failed - self.late) if _file_of(each) == own
            ]
            reached = Reached(own, tests, [self.seconds[test] for test in tests])
            reached.failed = sorted(test for test in self.failed - self.late if _file_of(test) == own)
            reached.late, reached.longest = (
                sorted(test for test in self.late if _file_of(test) == own),
                self.longest,
            )
            bit = self._bits(tests)
            for name, lines in contexts.items():
                for line, each in lines.items():
                    if bits := functools.reduce(int.__or__, (bit.get(one, 0) for one in each), 0):
                        reached.lines.setdefault(name, {})[line] = bits
            run = [name for name, lines in reached.lines.items() if max(lines.values()) > 1]
            reached.stood_on = {name: digests.of(name) for name in (own, *run)}
            yield reached

    def _bits(self, tests: Sequence[str]) -> dict[str, int]:
        """By context of coverage: "" for imports, a test, a fixture that several tests share."""
        bit = {test: 1 << position for position, test in enumerate(["", *tests])}
        shared = {each: sum(bit.get(user, 0) for user in {*users}) for each, users in self.shared.items()}
        return bit | shared


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _fixtures(item: pytest.Item) -> Iterator[Any]:
    """All that the test may stand on, those of fixtures too."""
    info = getattr(item, "_fixtureinfo", None)
    for each in info.name2fixturedefs.values() if info else ():
        yield from each


def _context(fixture: Any) -> str:
    """Of two files' fixtures of one name each has its own."""
    return f"@{fixture.baseid}@{fixture.argname}"


def caches(root: Path) -> Iterator[Any]:
    """The caches of functions that stand in this tree."""
    for each in gc.get_objects():
        if type(each) is functools._lru_cache_wrapper:  # isinstance would ask the proxies of torch
            file = getattr(sys.modules.get(each.__module__), "__file__", None) or ""
            if file.startswith(f"{root}{os.sep}"):
                yield each


def same_examples() -> None:
    """Hypothesis tries the same examples in every process, and keeps none for the next."""
    with contextlib.suppress(ModuleNotFoundError):
        from hypothesis import settings

        settings.register_profile("mutants", settings(), derandomize=True, database=None)
        settings.load_profile("mutants")
