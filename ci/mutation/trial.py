"""A mutant is put into a process that has forked, and the tests that reach it are run until the first that fails.

Most mutants change the inside of functions: their code is swapped in a process that has collected all tests already.
What runs when a module is imported is changed in a process that has imported none of it. Edge: forks, runs tests.
"""

from __future__ import annotations

import functools
import gc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from . import forks
from .places import Mutant
from .reach import PYTEST, caches, same_examples

SURVIVED, KILLED, COLD, EMPTY = 0, 1, 4, 5
SLOWER = 10  # times as long as without a mutant, and START: then it has timed out
START = float(os.environ.get("MUTANTS_START", "20"))  # seconds

Tests = Mapping[str, float]  # a test's id: seconds


def limit(tests: Tests) -> float:
    return START + SLOWER * sum(tests.values())


def swaps(mutant: Mutant) -> dict[CodeType, CodeType] | None:
    """Functions' code, by what it is without the mutant; None if something changes that runs on import."""
    found: dict[CodeType, CodeType] = {}
    for old, new in _pairs(mutant.source.code(), mutant.code()):
        if old == new:
            continue
        if old.co_flags & 1:  # CO_OPTIMIZED: a function; not a module, not the body of a class
            found[old] = new
        elif _bare(old) != _bare(new):
            return None
    return found


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    yield old, new
    inside = [[each for each in code.co_consts if isinstance(each, CodeType)] for code in (old, new)]
    if len(inside[0]) == len(inside[1]):
        for pair in zip(*inside, strict=True):
            yield from _pairs(*pair)


def _bare(code: CodeType) -> CodeType:
    """Without the functions in it."""
    return code.replace(co_consts=tuple(each for each in code.co_consts if not isinstance(each, CodeType)))


def put(mutant: Mutant, functions: Sequence[FunctionType]) -> bool:
    """Into this process, wherever its module stands: False if that cannot be done after the import."""
    if mutant.source.module not in sys.modules:
        sys.meta_path.insert(0, _Finder(mutant))
        return True
    changed = swaps(mutant)
    if not changed:
        return False
    path = str(mutant.source.path)
    try:
        for each in functions:
            if each.__code__.co_filename == path and each.__code__ in changed:
                each.__code__ = changed[each.__code__]
    except ValueError:  # other variables of the function around it
        return False
    return True


class _Finder:
    """Imports one module with the mutant in it, all others as they are."""

    def __init__(self, mutant: Mutant) -> None:
        self.name, self.code = mutant.source.module, mutant.code()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.loader is not None
        spec.loader.get_code = lambda name: self.code  # type: ignore[attr-defined]
        return spec


class _Listener:
    """A plugin of pytest: which tests are wanted, in which order, and whether one has failed."""

    def __init__(self, tests: Tests, killers: Path) -> None:
        self.tests, self.killers, self.failed = tests, killers, False

    def pytest_collection(self) -> None:
        same_examples()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            filter(lambda item: item.nodeid in self.tests, items), key=lambda item: self.tests[item.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = True
            with self.killers.open("a") as file:
                file.write(f"{report.nodeid}\n")


Answer = Callable[[Mutant, int], None]


class _Warm(_Listener):
    """Where pytest would run the tests it has collected, a process is forked for each mutant."""

    def __init__(
        self, work: Mapping[Mutant, Tests], root: Path, pool: forks.Pool, answer: Answer, killers: Path
    ) -> None:
        asked = {test: seconds for tests in work.values() for test, seconds in tests.items()}
        super().__init__(asked, killers)
        self.work, self.root, self.pool, self.answer = work, root, pool, answer

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = [each for each in gc.get_objects() if type(each) is FunctionType]
        own = [each for each in functions if each.__code__.co_filename.startswith(f"{self.root}{os.sep}")]
        kept = list(caches(self.root))
        items = {item.nodeid: item for item in session.items}
        with self.pool as pool:
            for mutant, tests in self.work.items():
                chosen = [
                    items[test] for test in sorted(tests, key=lambda test: tests[test]) if test in items
                ]
                pool.start(mutant, functools.partial(self._try, mutant, chosen, own, kept), limit(tests))
            for mutant, status in pool.results():
                self.answer(mutant, status)
        return True

    def _try(self, mutant: Mutant, items: list[pytest.Item], own: list[FunctionType], kept: list[Any]) -> int:
        if not put(mutant, own):
            return COLD
        for each in kept:
            each.cache_clear()
        for position, item in enumerate(items):
            following = items[position + 1] if position + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return KILLED
        return SURVIVED if items else EMPTY


def warm(work: Mapping[Mutant, Tests], root: Path, pool: forks.Pool, answer: Answer, killers: Path) -> int:
    """Every mutant of ``work`` in a process that has collected all tests; what comes of each goes to ``answer``.

    ``killers``: a file to which each child appends the test that failed.
    """
    plugin = _Warm(work, root, pool, answer, killers)
    status = pytest.main([*PYTEST, f"--rootdir={root}", *_files(plugin.tests, root)], plugins=[plugin])
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else int(status)


def cold(mutant: Mutant, tests: Tests, root: Path, killers: Path) -> int:
    """One mutant in this process, which has not imported what it changes."""
    put(mutant, ())
    plugin = _Listener(tests, killers)
    status = pytest.main([*PYTEST, f"--rootdir={root}", "-x", *_files(tests, root)], plugins=[plugin])
    return SURVIVED if status == pytest.ExitCode.OK and not plugin.failed else KILLED


def _files(tests: Tests, root: Path) -> list[str]:
    """Their files; those whose tests take the least first."""
    seconds: dict[str, float] = {}
    for test, took in tests.items():
        file = test.partition("::")[0]
        seconds[file] = seconds.get(file, 0.0) + took
    return [str(root / file) for file in sorted(seconds, key=lambda file: seconds[file])]
