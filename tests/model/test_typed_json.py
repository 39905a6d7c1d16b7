"""JSON as dataclasses: what fits, what does not, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from bench.model.typed_json import Misfit, load


@dataclass(frozen=True)
class Inner:
    name: str
    rate: float | None = None


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    several: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    counts: Mapping[str, int] = field(default_factory=dict)
    odd: dict[str, tuple[float, ...]] = field(default_factory=dict)
    sure: bool = False


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
    assert load(Outer, WHOLE, "it") == Outer(
        3, Inner("a", 2.0), (Inner("b"), Inner("c")), ("x", 4), {"k": 1}, {"l": (1.0, 2.5)}, True
    )
    assert type(load(Outer, WHOLE, "it").inner.rate) is float


def test_what_is_absent_has_its_default_and_what_is_unknown_is_left_out():
    assert load(Outer, {"count": 1, "inner": {"name": "a"}, "later": 1}, "it") == Outer(1, Inner("a"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": True}, "it.count: true where a whole number was wanted"),
        ({"count": 1.0}, "it.count: 1.0 where a whole number was wanted"),
        ({"inner": None}, "it.inner: null where an object was wanted"),
        ({"inner": {}}, "it.inner.name: is missing"),
        ({"inner": {"name": 1}}, "it.inner.name: 1 where a text was wanted"),
        ({"inner": {"name": "a", "rate": "fast"}}, 'it.inner.rate: "fast" where a number was wanted'),
        ({"inner": {"name": "a", "rate": float("nan")}}, "it.inner.rate: NaN where a number was wanted"),
        ({"inner": {"name": "a", "rate": 1 << 1001}}, "it.inner.rate: 2.* where a number was wanted"),
        ({"several": {}}, "it.several: {} where a list was wanted"),
        ({"several": [{"name": "b"}, {"name": None}]}, r"it.several\[1\].name: null where a text was wanted"),
        ({"pair": ["x"]}, "it.pair: 1 items where 2 were wanted"),
        ({"pair": ["x", "y"]}, r"it.pair\[1\]: \"y\" where a whole number was wanted"),
        ({"counts": []}, r"it.counts: \[\] where an object was wanted"),
        ({"counts": {1: 1}}, "it.counts: {.* where an object was wanted"),
        ({"counts": {"k": "v"}}, 'it.counts.k: "v" where a whole number was wanted'),
        ({"odd": {"l": [1, None]}}, r"it.odd.l\[1\]: null where a number was wanted"),
        ({"sure": 1}, "it.sure: 1 where true or false was wanted"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change, said):
    with pytest.raises(Misfit, match=f"^{said}$"):
        load(Outer, {**WHOLE, **change}, "it")


def test_what_is_no_object_at_all():
    with pytest.raises(Misfit, match=r"^it: \[\] where an object was wanted$"):
        load(Outer, [], "it")
