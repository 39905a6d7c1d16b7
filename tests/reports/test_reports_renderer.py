"""The renderer: the same pictures from a process of its own, and all of them whatever becomes of it."""

import json
import re
import sys

import pytest

from reports.pictures import svgs
from reports.renderer import Renderer


def spec(text):
    return {
        "title": text,
        "mark": "bar",
        "data": {"values": [{"a": "x", "b": 28.5}, {"a": "ü\u2028", "b": None}]},
        "encoding": {"x": {"field": "a"}, "y": {"field": "b", "type": "quantitative"}},
    }


SPECS = [spec("one"), spec("two"), spec("three\x1b ✔")]


@pytest.fixture(scope="module")
def wanted():
    return [svgs(each) for each in SPECS]


def drawn(specs=SPECS):
    with Renderer() as renderer:
        for each in specs:
            renderer.ask(each)
        return renderer.pictures()


def program(tmp_path, monkeypatch, body):
    """What is started in place of the renderer."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_the_pictures_are_those_that_this_process_draws(wanted):
    assert drawn() == wanted


def test_they_come_from_the_other_process(wanted, monkeypatch):
    monkeypatch.setattr("reports.pictures.svgs", None)
    assert drawn() == wanted


def test_without_a_renderer_they_are_drawn_here(wanted, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "is not there"))
    assert drawn() == wanted


@pytest.mark.parametrize(
    "body", ["exit 0", "kill -9 $$", "cat > /dev/null", "cat > /dev/null; printf '{\"light\"'"]
)
def test_what_a_renderer_does_not_answer_is_drawn_here(body, wanted, monkeypatch, tmp_path):
    program(tmp_path, monkeypatch, body)
    assert drawn() == wanted


def test_what_it_answered_before_it_died_is_kept(wanted, monkeypatch, tmp_path):
    told = {"light": "its own", "dark": "its own"}
    program(tmp_path, monkeypatch, f"echo '{json.dumps(told)}'; printf '{{\"light\"'; kill -9 $$")
    assert drawn() == [told, *wanted[1:]]


@pytest.mark.parametrize("said", ["no JSON", "[]", "{}", "1", '{"light": 1, "dark": "x"}', '{"light": "x"}'])
def test_an_answer_that_is_none_is_drawn_here(said, wanted, monkeypatch, tmp_path):
    program(tmp_path, monkeypatch, f"echo '{said}'")
    assert drawn() == wanted


def test_more_is_asked_than_a_pipe_holds():
    many = [{**SPECS[0], "description": "x" * 50_000} for _ in range(8)]
    found = drawn(many)
    assert len(found) == 8
    assert {re.sub(r"gradient_\d+", "", each["light"]) for each in found} == {found[0]["light"]}


def test_where_nothing_is_asked_nobody_waits_and_nobody_stays(monkeypatch, tmp_path):
    program(tmp_path, monkeypatch, "exec sleep 600")
    with Renderer() as renderer:
        assert renderer.pictures() == []
        process = renderer._process
    assert process.poll() is not None


def test_a_mistake_meanwhile_leaves_no_process(monkeypatch, tmp_path):
    program(tmp_path, monkeypatch, "exec sleep 600")
    seen = []

    def mistaken():
        with Renderer() as renderer:
            seen.append(renderer._process)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mistaken()
    assert seen[0].poll() is not None
