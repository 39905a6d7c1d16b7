"""JSON as dataclasses: what fits, what does not, and where."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from bench.model.timings import Seconds
from bench.model.typed_json import Count, Misfit, NotJson, decode, encode, load, to_json


@dataclass(frozen=True)
class Inner:
    name: str
    rate: float | None = None


@dataclass(frozen=True)
class Outer:
    count: Count
    inner: Inner
    several: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    counts: Mapping[str, int] = field(default_factory=dict)
    odd: dict[str, tuple[float, ...]] = field(default_factory=dict)
    sure: bool = False
    times: Seconds = field(default_factory=lambda: Seconds(()))


WHOLE = {
    "count": 3,
    "inner": {"name": "a", "rate": 2},
    "several": [{"name": "b"}, {"name": "c", "rate": None}],
    "pair": ["x", 4],
    "counts": {"k": 1},
    "odd": {"l": [1, 2.5]},
    "sure": True,
}


def test_a_whole_object_comes_back_as_it_was():
    whole = Outer(3, Inner("a", 2.0), (Inner("b"), Inner("c")), ("x", 4), {"k": 1}, {"l": (1.0, 2.5)}, True)
    assert load(Outer, WHOLE) == decode(Outer, json.dumps(WHOLE).encode()) == whole
    assert load(Outer, to_json(whole)) == decode(Outer, encode(whole)) == whole
    assert type(load(Outer, WHOLE).inner.rate) is float


def test_what_is_absent_has_its_default_and_what_is_unknown_is_left_out():
    assert load(Outer, {"count": 1, "inner": {"name": "a"}, "later": 1}) == Outer(1, Inner("a"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": True}, "count: expected a whole number, found true"),
        ({"count": 1.0}, "count: expected a whole number, found 1.0"),
        ({"count": -1}, "count: expected a whole number >= 0, found -1"),
        ({"count": 10**400}, "count: expected a whole number <= 9223372036854775807, found 1000"),
        ({"inner": None}, "inner: expected an object, found null"),
        ({"inner": {}}, "inner.name: is missing"),
        ({"inner": {"name": 1}}, "inner.name: expected a text, found 1"),
        ({"inner": {"name": "a", "rate": "fast"}}, 'inner.rate: expected a number or null, found "fast"'),
        ({"inner": {"name": "a", "rate": 1 << 1025}}, "inner.rate: number out of range, found 3595"),
        ({"several": {}}, "several: expected a list, found {}"),
        ({"several": [{"name": "b"}, {"name": None}]}, "several[1].name: expected a text, found null"),
        ({"pair": ["x"]}, 'pair: expected a list of length 2, found ["x"]'),
        ({"pair": ["x", "y"]}, 'pair[1]: expected a whole number, found "y"'),
        ({"counts": []}, "counts: expected an object, found []"),
        ({"counts": {"j": 1, "k [0].x": "v"}}, 'counts.k [0].x: expected a whole number, found "v"'),
        ({"odd": {"j": [1], "l": [1, None]}}, "odd.l[1]: expected a number, found null"),
        ({"sure": 1}, "sure: expected true or false, found 1"),
        ({"times": [1, None]}, "times: expected seconds, found [1, null]"),
        ({"times": [10**400]}, "times: expected seconds, found [1000"),
        ({"times": "x" * 99}, f'times: expected seconds, found "{"x" * 59}\N{HORIZONTAL ELLIPSIS}'),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change, said):
    for read in (lambda row: load(Outer, row), lambda row: decode(Outer, json.dumps(row).encode())):
        with pytest.raises(Misfit) as caught:
            read({**WHOLE, **change})
        assert str(caught.value).startswith(said)


def test_what_is_no_object_at_all():
    with pytest.raises(Misfit, match=r"^expected an object, found \[\]$"):
        load(Outer, [])


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"7", b"{} x", b"\xff", b"\x00", b'{"count": ' + b"1" * 9999 + b"}"]
)
def test_what_is_no_json_object_is_told_apart_from_one_that_does_not_fit(text):
    with pytest.raises(NotJson, match="^is not "):
        decode(Outer, text)


@pytest.mark.parametrize("bracket", [b"[]", b"{}"])
def test_deep_json_is_refused_and_no_traceback(bracket):
    inside = b'"x":' if bracket == b"{}" else b""
    deep = (bracket[:1] + inside) * 400_000 + b"1" + bracket[1:] * 400_000
    with pytest.raises(Misfit, match="^is nested too deeply$"):
        decode(Outer, b'{"count": 1, "inner": {"name": "a"}, "later": ' + deep + b"}")
    with pytest.raises(Misfit, match="^is nested too deeply$"):
        decode(Outer, deep)


def test_numbers_that_are_not_finite_are_written_as_null_and_read_as_unknown():
    text = encode(Outer(1, Inner("a", float("nan")), odd={"x": (float("inf"),)}))
    strict = json.loads(text, parse_constant=pytest.fail)
    assert (strict["inner"]["rate"], strict["odd"]) == (None, {"x": [None]})
    for old in (b"NaN", b"Infinity", b"-Infinity"):
        assert decode(Outer, b'{"count": 1, "inner": {"name": "a", "rate": ' + old + b"}}").inner.rate is None


def test_text_of_no_utf8_is_written_readably():
    assert encode(["a\udc80b"]) == rb'["a\\udc80b"]'


@pytest.mark.parametrize("text", [rb'{"name": "\ud800"}', b'{"name": "\xed\xa0\x80"}'])
def test_what_is_half_a_character_is_shown_and_can_be_written_again(text: bytes) -> None:
    found = decode(Inner, text)
    assert found.name == "\\ud800" and found.name.encode()
