"""Strict JSON to and from the dataclasses that define what lies in a file or travels in a message, by msgspec.

A number that is not finite is written as ``null``, and ``null`` means "not known". Files of earlier versions hold
``NaN`` and ``Infinity``, which no JSON has: they are read as ``null``. A field that a class does not have is left out,
so that a folder of a later version can be read.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from .errors import RailGaugeError
from .printable import A_NAME, NAME
from .timings import LONGEST, Blocks, Seconds

MOST = (1 << 63) - 1  # of bytes, elements, calls: more fits in no counter
YEAR_5000 = 1e11  # seconds since 1970, nearly: no clock is set so

Count = Annotated[int, Meta(ge=0, le=MOST)]
Reading = Annotated[int, Meta(ge=0, description="a counter of the kernel or the driver, up to 64 bits")]
Name = Annotated[str, Meta(pattern=NAME, description=A_NAME)]
Time = Annotated[float, Meta(ge=0, lt=YEAR_5000, description="seconds since 1970")]
Duration = Annotated[float, Meta(ge=0, lt=LONGEST, description="seconds")]
Positive = Annotated[float, Meta(gt=0, lt=LONGEST, description="seconds, more than 0")]

Kind = TypeVar("Kind")
NAMES = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false",
    "object": "an object", "array": "a list", "null": "null",
}  # fmt: skip
DEEP = "is nested too deeply"
SHOWN = 60  # characters of a value that does not fit


class NotJson(ValueError):
    """Text that is no JSON."""


class Misfit(RailGaugeError, ValueError):
    """A value that does not fit its class; the message names the field, what is there and what belongs there."""


class JsonAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema"):
    """What every object that a command prints with ``--json`` begins with: its name and its version."""

    version: Literal[1] = 1


def to_json(value: object) -> Any:
    """``value`` in dicts, lists, numbers and texts, as it travels in a message."""
    return msgspec.to_builtins(value, enc_hook=_encoded)


def encode(value: object) -> bytes:
    """``value`` as strict JSON on one line."""
    try:
        return msgspec.json.encode(value, enc_hook=_encoded)
    except UnicodeEncodeError:  # such as a file name that is no UTF-8
        return msgspec.json.encode(_readable(to_json(value)))


def load(kind: type[Kind], value: object) -> Kind:
    """A message as ``kind``. Raises Misfit."""
    try:
        return msgspec.convert(value, kind, dec_hook=_decoded)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Misfit(_as_sentence(kind, value, error)) from None


def decode(kind: type[Kind], text: bytes) -> Kind:
    """JSON as ``kind``. Raises NotJson where it is none, and Misfit where it holds something else."""
    if (found := decode_strictly(kind, text)) is not None:
        return found
    value = parse(text)
    if not isinstance(value, dict):
        raise NotJson("is not a JSON object")
    return load(kind, value)


def decode_strictly(kind: type[Kind], text: bytes) -> Kind | None:
    """JSON as ``kind``; None where it does not fit, or would not read again once it is written, as NaN and 1e999."""
    try:
        found: Kind = _decoder(cast(Any, kind)).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def parse(text: bytes) -> Any:
    """JSON, also of earlier versions, in dicts, lists, numbers and texts. Raises NotJson, and Misfit if too deep."""
    try:
        return _readable(json.loads(text, parse_constant=lambda _: None))
    except RecursionError:
        raise Misfit(DEEP) from None
    except ValueError:
        raise NotJson("is not JSON") from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_decoded)


def _decoded(kind: type, value: Any) -> Any:
    if kind in (Seconds, Blocks):
        try:
            return kind(value)
        except (TypeError, OverflowError):
            raise ValueError("expected seconds") from None
    raise NotImplementedError(kind)


def _encoded(value: Any) -> Any:
    if isinstance(value, (Seconds, Blocks)):
        return list(value)
    raise NotImplementedError(type(value))


def _readable(value: Any) -> Any:
    """The value without lone surrogates, which no file can hold: undecodable bytes are shown as ``\\udc80``."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (list, tuple)):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return value


_AT = re.compile(r"(?P<what>.*?)(?: - at `\$?(?P<place>.*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<types>[^`]*)`(?P<more>.*?)(?:, got .*)?")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def _as_sentence(kind: Any, value: object, error: Exception) -> str:
    """msgspec's words as ``host.cpus: expected a whole number, found "many"``."""
    match = _AT.fullmatch(str(error))
    if match is None or isinstance(error, RecursionError):
        return DEEP
    what, steps = match["what"], [name or step for name, step in _STEP.findall(match["place"] or "")]
    place, found = _at(kind, copy.deepcopy(value), steps)
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"{place}.{missing[1]}: is missing".lstrip(".")
    if expected := _EXPECTED.fullmatch(what):
        types = " or ".join(NAMES.get(name, name) for name in expected["types"].split(" | "))
        more = f": {A_NAME}" if NAME in what else expected["more"]
        what = f"expected {types}{more}"
    return f"{place}: {what[:1].lower()}{what[1:]}, found {shown(found)}".removeprefix(": ")


def _at(kind: Any, value: Any, steps: list[str]) -> tuple[str, object]:
    """Describes a place in the file in words, with the value that stands there."""
    words, inside = "", value
    for step in steps:
        if isinstance(inside, list):
            words, inside = f"{words}[{step}]", inside[int(step)]
        else:
            name = _misfit_key(kind, value, inside) if step == "..." else step
            words, inside = f"{words}.{name}", inside.get(name)
    return words.removeprefix("."), inside


def _misfit_key(kind: Any, value: Any, mapping: dict[str, Any]) -> str:
    """The first key of a mapping inside ``value`` that does not fit, which msgspec does not name; the others go."""
    items = dict(mapping)
    for name, item in items.items():
        mapping.clear()
        mapping[name] = item
        try:
            msgspec.convert(value, kind, dec_hook=_decoded)
        except msgspec.ValidationError:
            break
    return name


def shown(value: object) -> str:
    """A value as it stands in the file, on one line; of a long one its beginning."""
    text = json.dumps(to_json(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\N{HORIZONTAL ELLIPSIS}"
