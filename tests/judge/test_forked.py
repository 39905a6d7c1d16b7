"""A part of the judging in a copy of this process."""

import os

import pytest

import runs
from bench.judge import verdicts
from bench.judge.forked import forked
from bench.store import load

# pytest's own threads, where it has some, wait for nothing that these copies do
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_what_a_copy_made_is_handed_back():
    here = os.getpid()
    result = forked(lambda: ("made", os.getpid() == here))
    assert result() == ("made", False)


def test_what_a_copy_could_not_make_or_hand_back_is_made_here():
    here = os.getpid()

    def dies():
        return "here" if os.getpid() == here else os._exit(7)

    def raises():
        return "here" if os.getpid() == here else 1 / 0

    def cannot_be_pickled():
        return "here" if os.getpid() == here else (lambda: 0)

    assert [forked(make)() for make in (dies, raises, cannot_be_pickled)] == ["here"] * 3


def test_a_large_run_judged_by_two_processes_has_the_same_verdicts_in_the_same_order(tmp_path, monkeypatch):
    run = load(runs.folder(tmp_path / "r"))
    alone = verdicts.judge(run, runs.LOCAL).verdicts
    copies = []
    monkeypatch.setattr(verdicts, "LARGE", 0)
    monkeypatch.setattr(verdicts, "can_fork", lambda: True)
    monkeypatch.setattr(verdicts, "forked", lambda make: copies.append(make) or forked(make))
    assert verdicts.judge(run, runs.LOCAL).verdicts == alone
    (of_machines,) = copies
    names = set(of_machines())
    assert "growth.errors" in names and "host.facts" in names and "wire.ceiling" not in names
