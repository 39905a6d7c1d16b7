"""What a missing program means: a skip for a person, a failure in continuous integration."""

from __future__ import annotations

import pytest

import programs

MISSING = "chromium, nftables not installed; next: apt-get install chromium; apt-get install nftables"


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.setattr(programs, "PATH", "/nonexistent")
    monkeypatch.delenv("CI", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("ci", "outcome"), [(None, pytest.skip), ("true", pytest.fail)])
def test_what_is_missing_is_named_with_the_way_to_get_it(bare, ci, outcome):
    if ci:
        bare.setenv("CI", ci)
    with pytest.raises(outcome.Exception) as caught:
        programs.need("chromium", "nftables")
    assert caught.value.msg == MISSING


def test_what_is_there_is_used_without_a_word(bare, tmp_path):
    for name in ("google-chrome", "nft"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    bare.setattr(programs, "PATH", str(tmp_path))
    bare.setenv("CI", "true")
    programs.need("chromium", "nftables")
    assert programs.find("chromium") == str(tmp_path / "google-chrome")


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "errors")])
def test_a_marked_test_does_not_run_without_its_program(bare, ci, outcome, request, monkeypatch):
    monkeypatch.setenv("CI", ci)
    node = request.node
    node.add_marker(pytest.mark.needs("shellcheck"))
    expected = pytest.skip.Exception if outcome == "skipped" else pytest.fail.Exception
    conftest = next(
        each
        for each in request.config.pluginmanager.get_plugins()
        if getattr(each, "programs", None) is programs
    )
    with pytest.raises(expected, match="shellcheck not installed; next: apt-get install shellcheck"):
        conftest.pytest_runtest_setup(node)
