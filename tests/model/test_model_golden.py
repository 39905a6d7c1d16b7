"""The formulas over tables of arguments, held to a golden file: a constant or a sign that changes is seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.model import majority, packets, stats, units, verdict
from bench.model.bounds import (
    ClusterShape,
    algorithms,
    candidates,
    ceiling,
    hard_ceiling,
    usable_rate,
    wire_factor,
)
from bench.model.collectives import COLLECTIVES, COPIES, busbw, count_of, least_size, size_of
from bench.model.counter_table import TABLE
from bench.model.counters import Snapshot, bytes_moved, delta, saturated
from bench.model.elements import ELEMENTS, REDUCTIONS, pattern, residue, tolerance
from bench.model.rails import (
    in_order,
    joined,
    members,
    missing,
    nearest,
    nearest_rails,
    own_rails,
    rails_of,
    roles,
    shared_out,
    unique_rail_names,
)  # fmt: skip
from bench.model.rounds import pack, rounds
from bench.model.verdict import Status
from golden import Golden, opened, shown
from made_nodes import LAMBDA, nodes

FABRICS = {
    f"{n} × {g} × {r}": ClusterShape(n, g, r, 50e9, *more)
    for (n, g, r), more in itertools.product(
        ((1, 8, 8), (2, 8, 8), (2, 1, 1), (5, 8, 4), (16, 4, 4)), ((), (450e9,))
    )
}
SAMPLES: dict[str, list[float]] = {
    "none": [],
    "one": [3.0],
    "two": [1.0, 4.0],
    "six": [5, 3, 8, 1, 9, 2],
    "many": [at * 7 % 31 + 0.5 for at in range(40)],
    "lots": [at * 13 % 101 + 1.0 for at in range(500)],
    "same": [2.0] * 9,
}
PORT = {"port_xmit_data": 5, "port_rcv_data": 7, "symbol_error": 3, "link_downed": 255}
LATER = {"port_xmit_data": 9, "port_rcv_data": 6, "symbol_error": 65535, "link_downed": 255, "new": 2}
BEFORE = {
    "a/1": {"counters": PORT, "hw_counters": {"lifespan": 10, "np_cnp_sent": 4}},
    "e": {"statistics": {"tx_bytes": 10, "rx_bytes": 20}},
    "gone": {"counters": {"x": 1}},
}
AFTER = {
    "a/1": {"counters": LATER, "hw_counters": {"lifespan": 11, "np_cnp_sent": 4}},
    "e": {"statistics": {"tx_bytes": 15, "rx_bytes": 20}},
    "came": {"counters": {"y": 1}},
}


def asked(function: Callable[..., Any], *arguments: Any) -> str:
    """What a function says, an error included."""
    try:
        said = shown(function(*arguments))
    except (ValueError, KeyError, ZeroDivisionError) as error:
        said = f"{type(error).__name__}: {error}"
    plain = tuple(each for each in arguments if isinstance(each, (str, int, float)))
    return f"{function.__name__}{shown(plain)}: {said}"


def bounds() -> Iterator[str]:
    for (where, fabric), name in itertools.product(FABRICS.items(), COLLECTIVES):
        of = (wire_factor, usable_rate, ceiling)
        ways = "; ".join(
            f"{way} {shown([each(name, way, fabric) for each in of])}" for way in algorithms(name)
        )
        hard = [hard_ceiling(name, fabric, sharp) for sharp in (False, True)]
        yield f"{where} {name}: {ways}; at most {shown(hard)}; {candidates(name)} {candidates(name, True)}"


def collectives() -> Iterator[str]:
    for name, row in (COLLECTIVES | COPIES).items():
        traits = (row.alone, row.point_to_point, row.symmetric, row.placements, row.rooted, row.reduces)
        yield f"{name}: {shown(traits)}"
        for n in (1, 2, 3, 5):
            kind = ELEMENTS["float32"]
            counts = [count_of(row, size, kind, n) for size in (4, 60, 1000, 1 << 20)]
            sizes = [size_of(row, count, kind, n) for count in counts]
            least = least_size(row, kind, n)
            yield f"  {n}: factor {row.factor(n):.4g} blocks {row.blocks(n)} {counts} {sizes} {least}"
            if n >= row.least:
                ends = [
                    (row.sent(r, n, n - 1), row.received(r, n, n - 1), shown(row.truth(r, n, n - 1)))
                    for r in range(n)
                ]
                yield f"     {ends} {busbw(row, 1 << 20, 1e-3, n):.4g}"


def elements() -> Iterator[str]:
    yield str([residue(index, turn) for index in (0, 1, 7, 100, 12345) for turn in (0, 1, 5)])
    for kind, op, n in itertools.product(ELEMENTS.values(), ("none", *REDUCTIONS), (1, 2, 16, 300)):
        data = " ".join(asked(each, kind, op, n) for each in (tolerance, pattern))
        yield f"{kind.name}: {data}"[:400]


def statistics() -> Iterator[str]:
    for name, sample in SAMPLES.items():
        shares = [stats.quantile(sample, share) for share in (0, 0.1, 0.5, 0.95, 1)]
        of = (stats.summary, stats.median_interval, stats.deviation, stats.relative_width)
        yield f"{name}: {shown(shares)} {shown([each(sample) for each in of])}"


SIZES = "8 1K 1.5G 2T 8x 1.3 3MiB"
RATES = "400 Gb/s;50 GB/s;3 Tb/s;9 MB/s;7 Mb/s;10m;5 us;2 h;95 %;1e3 s"
FIGURES = (0.0, 1e-9, 3.2e-6, 0.0123, 0.9, 1.0, 59.0, 61.0, 7300.0, 1e5, 999e6, 48.5e9, 1.2e12, float("nan"))
PARSERS = (units.parse_size, units.parse_rate, units.parse_seconds, units.parse_share, units.number)
SHOWN = (units.show_rate, units.show_both, units.show_seconds, units.show_share, units.show_figure)


def texts() -> Iterator[str]:
    for text in (*SIZES.split(), *RATES.split(";")):
        yield " | ".join(asked(each, text) for each in PARSERS)
    for value in FIGURES:
        yield " | ".join(asked(each, value) for each in SHOWN)
    for size in (0, 1, 1023, 1024, 1536, 1 << 20, 3 << 30, 5 << 40):
        yield f"{units.show_size(size)} {units.show_count(size, 'row')}"
    for count in (0, 1, 2, 4, 5, 9):
        yield (
            units.show_some([f"n{at}" for at in range(count)], of="nodes")
            + " | "
            + units.show_some([f"n{at}" for at in range(count)], of="rails")
        )
    for values in ("aab", "ab", "aaabb", "aaaa", "abcd", "aabb"):
        yield shown(majority.odd_ones({f"n{at}": value for at, value in enumerate(values)}))
    for packet, mtu in itertools.product((*packets.PACKETS, "x"), (30, 1500, 4096, 9000)):
        yield asked(packets.efficiency, packet, mtu)
    for some in itertools.product(Status, repeat=2):
        yield f"{verdict.overall(some).value}: {verdict.counted(some)}"


def counters() -> Iterator[str]:
    yield from (shown(row) for row in TABLE)
    before, after = Snapshot(1.0, 5.0, BEFORE), Snapshot(3.0, 8.5, AFTER)
    for first, last in ((before, after), (after, before), (before, before)):
        found = delta(first, last)
        yield str(found.seconds)
        yield from map(shown, found.rows)
        yield from (shown(bytes_moved(found, name)) for name in ("a/1", "e", "gone", "came", "nobody"))
    yield shown(saturated(after))


def rails() -> Iterator[str]:
    (node,) = nodes(1)
    of = LAMBDA.rails
    for found in (roles, rails_of):
        yield shown([(each.name, each.use, each.reason) for each in found(node, of)])
    for function in (nearest_rails, own_rails, missing):
        yield f"{function.__name__}: {shown(function(node, of))}"
    names = [device.name for device in rails_of(node, of)]
    for count in (1, 2, 3, 8, 16):
        yield f"{count}: {in_order(names, count)}"
    for some in (names, names[:4], names[:1], []):
        yield f"{nearest(node, some)} {shared_out(node, some)} {joined(some)} {members(joined(some))}"
    yield str(unique_rail_names([["a"], ["a"], ["b", "c"], []]))
    for count in range(8):
        meets = rounds(range(count))
        yield f"{meets} {pack(pair for turn in meets for pair in turn)}"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    each.__name__: each for each in (bounds, collectives, elements, statistics, texts, counters, rails)
}


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("model.txt"), [*PARTS])


@pytest.mark.parametrize("name", PARTS)
def test_what_the_formulas_give(golden: Golden, name: str) -> None:
    golden.hold(name, list(PARTS[name]()))
