"""Fills in the templates of ``templates/``. Every value is escaped on the way: names from a cluster are data."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.model.printable import as_attribute, as_markdown

from .summary import MARKS
from .tables import MOST_EVIDENCE, markdown_table

FOLDER = Path(__file__).with_name("templates")


def render(template: str, **values: object) -> Markup:
    """A template with its values; ``.html`` templates escape HTML, ``.md`` templates Markdown."""
    return Markup(_environment(template.endswith(".html")).get_template(template).render(values))


def compile_templates() -> None:
    """Compile every template, which takes longer than to fill it in; a process does so once."""
    for ending in ("html", "md"):
        environment = _environment(ending == "html")
        for name in environment.list_templates(extensions=[ending]):
            environment.get_template(name)


@cache
def _environment(html: bool) -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=html, finalize=_printable if html else _markdown,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.globals |= {"MARKS": MARKS, "MOST_EVIDENCE": MOST_EVIDENCE, "table": markdown_table}
    found.filters["attribute"] = lambda text: Markup(as_attribute(text))
    found.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "ensure_ascii": False}
    return found


def _printable(value: object) -> object:
    """The value as text that HTML can hold: "" for None, no control characters, no direction marks, which disguise
    names.
    """
    if value is None or isinstance(value, Markup):
        return "" if value is None else value
    text = str(value)
    if text.isprintable():  # nearly every text of a page is
        return text
    return "".join(c if c.isprintable() or c in "\n\t\xa0" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _markdown(value: object) -> str:
    return value if isinstance(value, Markup) else as_markdown(value)
