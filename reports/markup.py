"""HTML as nested calls in which every text is escaped: names from a cluster are data, never markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "col", "hr", "img", "link", "meta", "wbr"})


class Html(str):
    """Text that is markup already; everything else is escaped where it enters a tag."""

    __slots__ = ()


Child = str | Html | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """``<name attributes>children</name>``; a trailing ``_`` of an attribute is dropped, other ``_`` become ``-``.

    None and False attributes are left out, True ones have no value. Children may be nested iterables.
    """
    head = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children after each other, escaped."""
    return Html("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int, float)):
        return escape(_printable(str(child)))
    return join(child)


def _printable(text: str) -> str:
    if text.isprintable():  # nearly every text of a page is
        return text
    # control characters are not HTML, and direction marks could make one host name look like another
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(_printable(str(value)), quote=True)}"'
