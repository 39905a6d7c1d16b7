"""Which tests reach which line: gathered once by coverage, kept in build/ until a file that a test stands on changes.

One entry a test file: its tests with the seconds that each takes, and for every line of ``bench`` the tests that
run it, as a whole number whose bits are the tests. Edge: runs the tests.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pickle
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import forks
from .imports import Imports

PACKAGE = "bench"
# a room is held by the tests of the rooms that judge; what a command or a report makes of it comes after
FOLDERS = ("judge", "nccl", "plan", "model", "measure")
# and by those of commands that stand on a module of such a room alone: judge/actions and judge/since_gate
FILES = ("exchange/test_acting.py", "run/test_gate.py")
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

    ``stood_on``: digests of the files under the root that they ran.
    """

    name: str
    tests: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lines: dict[str, dict[int, int]] = field(default_factory=dict)
    stood_on: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


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


def gather(root: Path, kept: Path, jobs: int, changed: Collection[str] = ()) -> Reach:
    """The map of the tree as it is: what is kept where it still holds, the rest run anew, ``jobs`` at a time.

    ``changed``: the files that are broken; files of tests that import none of them are not asked.
    """
    kept.mkdir(parents=True, exist_ok=True)
    digests, imports = _Digests(root), Imports(root)
    files = [file for file in test_files(root) if imports.reach(file, changed)]
    stale = [file for file in files if not _holds(_entry(root, kept, file), digests)]
    if stale:
        print(f"which tests reach which lines: {len(stale)} of {len(files)} test files are run", flush=True)
        # a few files at a time: a process that has run hundreds of tests is slow
        with forks.Pool(jobs, kept / "log", loud=True) as pool:
            for file in stale:
                pool.start(file, functools.partial(_record, root, kept, file), 1800)
            for file, ended in pool.results():
                if ended != 0:
                    raise SystemExit(
                        f"mutants: {file} did not run to its end without a mutant (status {ended}): see {kept / 'log'}"
                    )
    found = tuple(_load(_entry(root, kept, file)) for file in files)
    for test in [test for entry in found for test in entry.failed]:
        print(f"left out, since it fails without a mutant: {test}", flush=True)
    return Reach(found)


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


def _holds(entry: Path, digests: _Digests) -> bool:
    if not entry.exists():
        return False
    return all(digests.of(name) == digest for name, digest in _load(entry).stood_on.items())


def _record(root: Path, kept: Path, file: Path) -> int:
    """Run one file of tests under coverage and write its entry; in a process of its own."""
    from coverage import Coverage

    measured = Coverage(data_file=None, include=[str(root / PACKAGE / "*")], config_file=False)
    measured.start()
    recorder = _Recorder(root, measured)
    status = pytest.main([*PYTEST, f"--rootdir={root}", str(file)], plugins=[recorder])
    measured.stop()
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED):
        return int(status)
    found = recorder.found(file)
    entry = _entry(root, kept, file)
    entry.with_suffix(".new").write_bytes(pickle.dumps(found))
    entry.with_suffix(".new").replace(entry)
    return 0


class _Recorder:
    """A plugin of pytest: a context of coverage for each test, and for each fixture that several tests share."""

    def __init__(self, root: Path, measured: Any) -> None:
        self.root, self.measured = root, measured
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.shared: dict[str, list[str]] = {}
        self.caches: list[Any] = []
        self.current = ""

    def pytest_collection(self) -> None:
        same_examples()  # after the conftest has chosen its own, before a test is defined

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.caches = list(caches(self.root))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        for each in self.caches:
            each.cache_clear()  # what an earlier test has computed, this one would not be seen to reach
        for name in getattr(item, "fixturenames", ()):
            self.shared.setdefault(name, []).append(item.nodeid)
        self.current = item.nodeid
        self.measured.switch_context(self.current)
        result = yield
        self.measured.switch_context("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        self.measured.switch_context(f"@{fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.measured.switch_context(self.current)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def found(self, file: Path) -> Reached:
        tests = sorted(set(self.seconds) - self.failed)
        bit = {test: 1 << position for position, test in enumerate(["", *tests])}
        for name, users in self.shared.items():
            bit[f"@{name}"] = sum(bit.get(user, 0) for user in set(users))
        data = self.measured.get_data()
        own = file.relative_to(self.root).as_posix()
        digests, reached = _Digests(self.root), Reached(own, tests, [self.seconds[test] for test in tests])
        for path in data.measured_files():
            name = Path(path).relative_to(self.root).as_posix()
            reached.stood_on[name] = digests.of(name)
            for line, contexts in data.contexts_by_lineno(path).items():
                bits = functools.reduce(int.__or__, (bit.get(each, 0) for each in contexts), 0)
                if bits:
                    reached.lines.setdefault(name, {})[line] = bits
        reached.stood_on[own] = digests.of(own)
        reached.failed = sorted(self.failed)
        return reached


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
