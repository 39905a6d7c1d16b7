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
    conftest = conftest_of(request)
    with pytest.raises(expected, match="shellcheck not installed; next: apt-get install shellcheck"):
        conftest.pytest_runtest_setup(node)


def conftest_of(request):
    """The conftest of all tests: others import ``programs`` as well, but only this one orders what was collected."""
    plugins = request.config.pluginmanager.get_plugins()
    ours = (each for each in plugins if getattr(each, "programs", None) is programs)
    return next(each for each in ours if hasattr(each, "pytest_collection_modifyitems"))


@pytest.mark.parametrize(
    ("marker", "ci", "torch", "expected"),
    [
        ("root", "", "", pytest.skip.Exception),
        ("root", "true", "", pytest.fail.Exception),
        ("root", "true", "none", pytest.fail.Exception),
        ("mpi", "true", "", pytest.fail.Exception),
        ("torch", "true", "", pytest.fail.Exception),
    ],
)
def test_labs_and_ranks_that_cannot_be_run_fail_in_continuous_integration(
    bare, marker, ci, torch, expected, request, monkeypatch
):
    conftest, node = conftest_of(request), request.node
    monkeypatch.setattr(conftest, "HAS_TORCH", False)
    monkeypatch.setattr(conftest.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("TORCH", torch)
    node.add_marker(getattr(pytest.mark, marker))
    conftest.pytest_collection_modifyitems([node])
    with pytest.raises(expected, match="needs root|not installed"):
        conftest.pytest_runtest_setup(node)


def test_tests_of_torch_are_skipped_where_somebody_chose_to_go_without(bare, request, monkeypatch):
    conftest, node = conftest_of(request), request.node
    monkeypatch.setattr(conftest, "HAS_TORCH", False)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("TORCH", "none")
    node.add_marker(pytest.mark.torch)
    conftest.pytest_collection_modifyitems([node])
    assert [mark.kwargs["reason"] for mark in node.iter_markers("skip")] == ["torch is not installed"]
