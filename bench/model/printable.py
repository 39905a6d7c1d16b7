"""Makes text from outside safe to print: control characters are shown, never obeyed.

A host can be called anything, and so can an interface, a profile or a line of NCCL's log. Escape sequences could
clear the screen, rename the window or answer in the reader's name; marks that turn the direction of writing make a
text read as another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

# C0 but tab and newline, DEL, C1; line and paragraph separators; marks of direction, and what isolates or overrides it;
# bytes that were no text, as Python keeps them
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
A_NAME = "letters, digits, dots, dashes and underscores, a letter or digit first, 100 at most"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?![\s\S])"  # as JSON Schema takes it

# what Markdown or the HTML inside it would read as its own, inside a line; ``://`` would become a link
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&$@!]|:(?=//))")
_ATTRIBUTE = re.compile(rf"[\"'()]|{_MARKDOWN.pattern}")


def plain(text: str) -> str:
    """``text`` with every character that a terminal obeys written out, such as ``\\x1b``; newlines and tabs stay."""
    return _OBEYED.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def on_one_line(text: str) -> str:
    """``plain`` text whose newlines are written out too: a name must not begin a line of its own, such as a verdict."""
    return plain(text).replace("\n", "\\n")


def is_name(text: str) -> bool:
    """Whether a text is ``A_NAME``, so that a file can be called by it and stays in its folder."""
    return re.search(NAME, text) is not None


def as_markdown(text: object, longest: int | None = None) -> str:
    """A text as Markdown that shows exactly it, on one line, of at most ``longest`` characters before escapes."""
    shown = "".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return _MARKDOWN.sub(r"\\\1", " ".join(shown.split())[:longest])


def as_attribute(text: str) -> str:
    """A text as the value of an HTML attribute inside Markdown, on one line: some readers look for links in it."""
    return _ATTRIBUTE.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def no_formula(text: str) -> str:
    """``text`` as a spreadsheet cell that is no formula: opening the file must not run anything."""
    # the characters by OWASP's page on CSV injection; a blank before them is skipped by some programs
    return f"'{text}" if text.lstrip(" ")[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV: a value that is missing or not finite is an empty cell, and no text is a formula."""
    return ",".join(map(csv_cell, values)) + "\n"


def csv_cell(value: object) -> str:
    """See ``csv_line``."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    text = no_formula(value)
    quoted = any(character in text for character in ',"\r\n') or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if quoted else text


def ranges(numbers: Iterable[int]) -> str:
    """``0-7, 12``: each number once, in order."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{low}-{high}" if high > low else f"{low}" for low, high in spans)


def grid(rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """Rows as lines whose columns are as wide as their widest cell; ``right``: all but the first align to the right."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right and at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    )
