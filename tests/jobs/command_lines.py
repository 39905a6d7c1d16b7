"""Every ``railgauge …`` command line in a text, and what the real command line's parser says of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from bench.cli import cli
from bench.cli.option_types import Quantity

# where a shell's word or a sentence's end stops a command; what stands for something to fill in
_END = re.compile(r"(?:^|\s)(?:#|;|&&|\|\|?|>>?|<)(?:\s|$)|;|`")
_PLACEHOLDER = re.compile(r"""^["']?[\[<$…]|\$|^…$|\.\.\.$|…$|\]$""")
CHECKED = (click.Choice, Quantity)


def markdown_code(text: str) -> str:
    """The code of a Markdown text: indented, fenced, or between backticks; one piece a line."""
    kept, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            kept.append(line)
        else:
            kept += re.findall(r"`([^`]+)`", line)
    return "\n".join(kept)


def command_lines(text: str) -> list[list[str]]:
    """The words after ``railgauge`` of each command line in a text, up to the end of the command."""
    found = []
    joined = re.sub(r"\\\n\s*#?\s*", " ", text)
    for match in re.finditer(r"(?:^|[\s`/(])railgauge[ \t]+(?=[a-z-])", joined):
        words = joined[match.end() :].partition("\n")[0]
        end = _END.search(words)
        words = words[: end.start()] if end else words
        try:
            split = shlex.split(words)
        except ValueError:
            split = words.split()
        if split and split[0] in cli.commands:
            found.append(split)
        elif split and split[0].strip("),.:") in cli.commands:  # a sentence that ends with the command
            found.append([split[0].strip("),.:")])
    return found


def complaint(words: list[str]) -> str:
    """What the parser of the command says against its words; "" when it takes them."""
    command = cli.commands[words[0]]
    given = [word.strip("\"'").rstrip(",.)") for word in words[1:]]
    inner = given.index("--") if "--" in given else None
    context = click.Context(command, info_name=words[0])
    try:
        if isinstance(command, click.Group):
            return _of_group(command, given)
        mine = given if inner is None else given[:inner]
        options, left, _ = command.make_parser(context).parse_args(
            [word for word in mine if not word.startswith(("[", "…", "$@", "$*"))]
        )
    except click.UsageError as error:
        return error.format_message()
    for parameter in command.params:
        said = options.get(parameter.name)
        if isinstance(parameter.type, CHECKED) and isinstance(said, str) and not _PLACEHOLDER.search(said):
            try:
                parameter.type.convert(said, parameter, context)
            except click.UsageError as error:
                return error.format_message()
    if inner is not None and given[inner + 1] in cli.commands:
        return complaint(given[inner + 1 :])
    return f"takes no {left}" if left and not context.allow_extra_args else ""


def _of_group(group: click.Group, given: list[str]) -> str:
    """A command with commands of its own: its first plain word is one of them."""
    plain = [word for word in given if not word.startswith(("-", "["))]
    known = set(group.commands)
    if plain and plain[0] not in known and not set(plain) & known:
        return f"no command {plain[0]!r}; known: {', '.join(sorted(known))}"
    return ""


def texts(root: Path) -> dict[str, str]:
    """Everything that tells a person or a machine how to call railgauge: name → its code."""
    found = {}
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        if path.exists():
            found[str(path.relative_to(root))] = markdown_code(path.read_text(encoding="utf-8"))
    for path in sorted((root / "ci").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".db"):
            text = path.read_text(encoding="utf-8", errors="replace")
            found[str(path.relative_to(root))] = markdown_code(text) if path.suffix == ".md" else text
    return found
