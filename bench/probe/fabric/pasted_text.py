"""Removes what surrounds a tool's text when it is pasted or printed by a launcher, once for all parsers."""

from __future__ import annotations

import re

from bench.model.errors import RailGaugeError

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_LINE_END = re.compile(r"\r?\n|\r")
_QUOTE = re.compile(r"^(?:\[[0-9]+,[0-9]+\]<std(?:out|err)>: ?|(?:> ?)+)")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
# the libraries' own warnings: "ibwarn: [168988] umad_init: …", "./libibnetdisc/query_smp.c:186; …"
_WARNING = re.compile(r"^\s*(?:ibwarn:|ibpanic:|iberror:|\S*lib\w+/\w+\.c:[0-9]+;)")
_KEY = re.compile(r"[A-Za-z][\w. ()/-]*")
_LONGEST = 4096
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")


class UnknownToolOutput(RailGaugeError, ValueError):
    """A text that is not what the parser reads; the message says what it should look like."""


def lines(text: str) -> list[str]:
    """The lines of a text without colours, CR, byte-order mark, quote marks and code fences; with tabs."""
    clean = _ANSI.sub("", text.replace("\ufeff", "").replace("\x00", ""))
    return [_QUOTE.sub("", _bounded(line)) for line in _LINE_END.split(clean) if not _FENCE.match(line)]


def _bounded(line: str) -> str:
    """The line, or its length where it is too long: no tool writes such lines, and a pattern may be slow on them."""
    return line if len(line) <= _LONGEST else f"(a line of {len(line)} characters)"


def is_warning(line: str) -> bool:
    """Whether the InfiniBand libraries wrote this line about themselves."""
    return bool(_WARNING.match(line))


def pair(line: str) -> tuple[str, str] | None:
    """``("Base lid", "287")`` of ``Base lid: 287``; the value may be empty; None where there is no colon."""
    key, colon, value = (part.strip() for part in line.partition(":"))
    return (key, value) if colon and _KEY.fullmatch(key) else None


def number(text: str | None) -> int | None:
    """An unsigned decimal or 0x number of at most 64 bits; None for anything else."""
    text = (text or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    return value if value < 1 << 64 else None


def guid(text: str | None) -> str | None:
    """``0x58a2e103001b2576`` of a GUID in any spelling: ``58a2:e103:001b:2576``, ``S-58a2…``, no zeros."""
    digits = re.sub(r"^(?:[SHR]-|0[xX])", "", (text or "").strip()).replace(":", "")
    return f"0x{int(digits, 16):016x}" if re.fullmatch(r"[0-9a-fA-F]{1,16}", digits) else None


def refuse_unless(found: object, text: str, tool: str, looks_like: str) -> None:
    """Raises ``UnknownToolOutput`` where a text held nothing of the tool; an empty text is empty, not wrong."""
    if not found and text.strip():
        first = next((line.strip() for line in lines(text) if line.strip()), "")
        raise UnknownToolOutput(
            f"not {tool} output: no line like {looks_like!r}; it starts with {first[:60]!r}"
        )
