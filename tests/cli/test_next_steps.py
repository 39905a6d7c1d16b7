"""Every command that a message tells a person to run can be run as it stands there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from bench.cli import cli
from bench.judge.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ast.Module, ast.ClassDef, ast.FunctionDef)
# what follows these words names a command, and is not typed
COMMAND = re.compile(r"(?<!by )(?<!as )(?<!starts )(?<!whether )\brailgauge ([a-z]+(?: [^;,)]*)?)")
CHECK = re.compile(r"(?<![\w./%-])[a-z_]+\.[a-z_]{3,}\b(?![(/*.])")
NO_CHECK = re.compile(r"gate\..*|torch\.distributed|.*\.(json|jsonl|toml|conf|max|log|html|run)")
BARE = re.compile(r"railgauge [a-z ]+")  # the name of a JSON object


def _texts():
    """(where, text) of every string in the program but docstrings; what is filled in later is X."""
    for path in sorted([*(ROOT / "bench").rglob("*.py"), *(ROOT / "reports").rglob("*.py")]):
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, DOCUMENTS) and node.body and isinstance(node.body[0], ast.Expr)
        }
        inside = {
            id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (each.value if isinstance(each, ast.Constant) else "X" for each in node.values)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(parts)
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documents | inside
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def _found():
    for where, text in _texts():
        for match in () if BARE.fullmatch(text) else COMMAND.finditer(text):
            yield pytest.param(match[1].strip(), id=f"{where} {match[1][:40].strip()}")


def _command(words):
    """The command that the words begin with, and its words up to the first that is prose."""
    command, context = cli, click.Context(cli)
    while isinstance(command, click.Group):
        name = words.pop(0) if words else ""
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
        context = click.Context(command, parent=context, info_name=name)
    return command


@pytest.mark.parametrize("text", list(_found()))
def test_a_command_that_a_message_names_can_be_run(text):
    words = shlex.split(text.replace("'", ""))
    command = _command(words)
    prose = next((at for at, word in enumerate(words) if re.fullmatch(r"[a-z…].*", word)), len(words))
    if prose == 0 and words and not words[0].startswith("…"):
        return  # "railgauge accept measures all three": a sentence about the command
    sample = {"DIR": str(ROOT), "RUN": str(ROOT), "X": str(ROOT), "FILE": __file__, "N": "1"}
    command.make_context(text, [sample.get(word, word) for word in words[:prose]], click.Context(cli))


def test_a_check_that_a_message_names_exists():
    """The next step of a rail once named a check "counters.errors", which no report has ever held."""
    named = {
        (where, name)
        for where, text in _texts()
        if where.startswith("bench/judge") and " " in text
        for name in CHECK.findall(text)
        if not NO_CHECK.fullmatch(name)
    }
    assert len(named) > 20
    assert {(where, name) for where, name in named if name not in CHECKS} == set()
