"""Text as C code reads it: counted in bytes, ended by a NUL, numbers by atoi and strtoll.

Python has the environment and files as str, where each byte that is no UTF-8 is one surrogate
(surrogateescape); here it counts as that byte again.
"""

from __future__ import annotations

import re


def encode(text: str) -> bytes:
    """The bytes a text came from; a surrogate that no byte makes is a question mark."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def length(text: str) -> int:
    """strlen, for a text without NUL."""
    return len(encode(text))


def cut(text: str, limit: int) -> str:
    """The first ``limit`` bytes."""
    raw = encode(text)
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "surrogateescape")


def pieces(text: str, size: int) -> list[str]:
    """The pieces in which fgets, with a buffer of ``size`` + 1, reads one line; the line end stays."""
    raw = encode(text)
    if len(raw) <= size:
        return [text]
    return [raw[at : at + size].decode("utf-8", "surrogateescape") for at in range(0, len(raw), size)]


def until_nul(text: str) -> str:
    return text.split("\0", 1)[0]


_DECIMAL = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]*)")
_ANY_BASE = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]0*([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")


def atoi(text: str) -> int:
    """glibc's atoi: blanks, a sign, digits; clamped to 64 bits, then cut to 32; no number is 0."""
    match = _DECIMAL.match(text)
    sign, digits = (match[1], match[2]) if match else ("", "")
    # 20 digits are past the clamp; Python refuses to convert very many
    value = int(digits or "0") if len(digits) < 20 else 1 << 64
    value = max(-value, -(1 << 63)) if sign == "-" else min(value, (1 << 63) - 1)
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def strtoll(text: str) -> int | None:
    """``strtoll(text, 0, 0)``: decimal, 0x or octal; no number is 0; None where it is out of range."""
    match = _ANY_BASE.match(text)
    if not match:
        return 0
    digits = match[2] or match[3] or match[4]
    base = 16 if match[2] else 8 if match[3] else 10
    digits = digits.lstrip("0") or "0"
    value = int(digits, base) if len(digits) <= 22 else 1 << 64
    value = -value if match[1] == "-" else value
    return value if -(1 << 63) <= value < 1 << 63 else None
