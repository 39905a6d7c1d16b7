import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import typed_json
from bench.model.counter_table import CounterRole
from bench.model.counters import (
    TABLE,
    TCP,
    Certainty,
    Growth,
    Snapshot,
    Traffic,
    bytes_moved,
    counter,
    delta,
    saturated,
    snapshot,
)
from bench.model.facts import Interface, Port


def seen(time: float = 0.0, **counters: int) -> Snapshot:
    return snapshot(time, time, [Port("mlx5_3", 1, counters=counters)], [], {})


def grew(name: str, before: int | None, after: int | None) -> Growth:
    first, last = ({name: value} if value is not None else {} for value in (before, after))
    row = delta(seen(**first), seen(1.0, **last)).find("mlx5_3/1", "counters", name)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("name", "before", "after", "growth", "how"),
    [
        ("symbol_error", 3, 8, 5, Certainty.EXACT),
        ("symbol_error", 3, 3, 0, Certainty.EXACT),
        ("symbol_error", 3, 0, None, Certainty.RESET),
        ("symbol_error", 65535, 2, None, Certainty.RESET),
        ("symbol_error", 65000, 65535, 535, Certainty.SATURATED),
        ("link_downed", 255, 255, None, Certainty.SATURATED),
        ("link_downed", 254, 255, 1, Certainty.SATURATED),
        ("local_link_integrity_errors", 15, 15, None, Certainty.SATURATED),
        (
            "local_link_integrity_errors",
            14,
            16,
            2,
            Certainty.EXACT,
        ),  # wider than IBTA's 4 bits: it has not stopped
        ("port_xmit_wait", 2**32 - 1, 2**32 - 1, None, Certainty.SATURATED),
        ("port_xmit_data", 10, 2**32 - 1, 2**32 - 11, Certainty.SATURATED),
        ("port_xmit_data", 2**40, 2**41, 2**40, Certainty.EXACT),
        ("unheard_of", 255, 255, 0, Certainty.EXACT),
        ("symbol_error", None, 8, None, Certainty.ABSENT),
        ("symbol_error", 8, None, None, Certainty.ABSENT),
    ],
)
def test_growth_says_how_far_it_can_be_believed(name, before, after, growth, how):
    row = grew(name, before, after)
    assert (row.growth, row.how, row.before, row.after) == (growth, how, before, after)


def test_a_counter_at_its_maximum_is_untold_and_not_healthy():
    moved = delta(seen(link_downed=255, symbol_error=0), seen(1.0, link_downed=255, symbol_error=0))
    assert [row.counter for row in moved.rows if row.growth is None] == ["link_downed"]
    assert moved.grown(CounterRole.ERROR) == ()
    assert saturated(seen(link_downed=255, symbol_error=3)) == (("mlx5_3/1", "counters", "link_downed", 255),)


def test_a_port_that_vanished_is_untold():
    moved = delta(seen(symbol_error=0), snapshot(1.0, 1.0, [], [], {}))
    assert [row.how for row in moved.rows if row.growth is None] == [Certainty.ABSENT]


def test_a_counter_in_neither_snapshot_has_no_row():
    assert delta(seen(), seen(1.0)).find("mlx5_3/1", "counters", "symbol_error") is None


def test_the_same_name_in_another_group_is_another_counter():
    before, after = (
        snapshot(
            t,
            t,
            [Port("mlx5_3", 1, counters={"link_downed": 255}, hw_counters={"link_downed": 255 + t})],
            [],
            {},
        )
        for t in (0, 1)
    )
    moved = delta(before, after)
    first, second = (moved.find("mlx5_3/1", group, "link_downed") for group in ("counters", "hw_counters"))
    assert first is not None
    assert second is not None
    assert first.how is Certainty.SATURATED
    assert (second.growth, second.how) == (1, Certainty.EXACT)


def test_errors_indicators_and_traffic_are_kept_apart():
    names = ("symbol_error", "port_xmit_wait", "port_xmit_packets", "new_in_this_driver")
    moved = delta(seen(**dict.fromkeys(names, 1)), seen(1.0, **dict.fromkeys(names, 2)))
    assert [row.role for row in moved.rows] == [
        CounterRole.ERROR,
        CounterRole.INDICATOR,
        CounterRole.TRAFFIC,
        None,
    ]
    assert [row.counter for row in moved.grown(CounterRole.ERROR)] == ["symbol_error"]


def test_lifespan_is_no_counter():
    before, after = (snapshot(t, t, [Port("a", 1, hw_counters={"lifespan": 10 + t})], [], {}) for t in (0, 1))
    assert delta(before, after).rows == ()


def test_what_a_driver_counts_stands_beside_the_other_counters_of_its_port():
    ports = [Port("mlx5_0", 1, counters={"x": 1}), Port("mlx5_1", 1)]
    readings = snapshot(
        0, 0, ports, [], {}, ethtool={"mlx5_0/1": {"rx_ecn_mark": 3}, "mlx5_1/1": {}}
    ).readings
    assert readings["mlx5_0/1"] == {"counters": {"x": 1}, "hw_counters": {}, "ethtool": {"rx_ecn_mark": 3}}
    assert "ethtool" not in readings["mlx5_1/1"]


def test_tcp_and_interfaces_are_subjects_of_their_own():
    before, after = (
        snapshot(t, t, [], [Interface("eth1", statistics={"rx_dropped": t})], {"RetransSegs": 7 * t})
        for t in (0, 1)
    )
    moved = delta(before, after)
    assert [(row.subject, row.group, row.growth) for row in moved.rows] == [
        ("eth1", "statistics", 1),
        (TCP, TCP, 7),
    ]
    assert moved.of("eth1") == moved.rows[:1]


def test_the_window_is_of_the_clock_that_is_never_set():
    before, after = Snapshot(100.0, 5.0, {}), Snapshot(90.0, 7.5, {})
    assert delta(before, after).seconds == 2.5
    assert delta(after, before).seconds is None


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────


def moved_by(
    sent: int | None, received: int | None, sent_later: int | None, received_later: int | None
) -> Traffic:
    def at(time: float, out: int | None, back: int | None) -> Snapshot:
        found = {"port_xmit_data": out, "port_rcv_data": back}
        return seen(time, **{name: value for name, value in found.items() if value is not None})

    return bytes_moved(delta(at(0.0, sent, received), at(1.0, sent_later, received_later)), "mlx5_3/1")


def test_port_data_are_words_of_four_bytes():
    traffic = moved_by(100, 0, 125, 1)
    assert (traffic.sent, traffic.received, traffic.how) == (100, 4, "exact")


def test_interface_bytes_are_bytes():
    before, after = (
        snapshot(t, t, [], [Interface("eth1", statistics={"tx_bytes": 100 * t, "rx_bytes": 7})], {})
        for t in (0, 1)
    )
    traffic = bytes_moved(delta(before, after), "eth1")
    assert (traffic.sent, traffic.received) == (100, 0)


@pytest.mark.parametrize(
    ("before", "after", "sent", "received", "how"),
    [
        ((5, None), (6, None), 4, None, "one direction is absent"),
        ((None, None), (None, None), None, None, "mlx5_3/1 has no byte counter"),
        ((5, 1), (2, 1), None, 0, "port_xmit_data is reset"),
        ((5, 1), (None, 1), None, 0, "port_xmit_data is absent"),
        ((5, 1), (2**32 - 1, 1), None, 0, "port_xmit_data is saturated"),
    ],
)
def test_bytes_that_cannot_be_told_are_not_zero(before, after, sent, received, how):
    traffic = moved_by(*before, *after)
    assert (traffic.sent, traffic.received, traffic.how) == (sent, received, how)


def test_bytes_of_an_unknown_subject_are_not_zero():
    assert bytes_moved(delta(seen(), seen(1.0)), "mlx5_9/1").sent is None


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────

values = st.one_of(st.integers(0, 300), st.sampled_from([15, 255, 65535, 2**32 - 1, 2**64 - 1]))
names = st.sampled_from([row.name for row in TABLE if row.group == "counters"])
readings = st.dictionaries(names, values, max_size=6)


@settings(max_examples=80)
@given(readings, readings)
def test_growth_is_never_negative_and_every_counter_has_one_row(before, after):
    first, last = seen(**before), seen(1.0, **after)
    moved = delta(first, last)
    assert {row.counter for row in moved.rows} == {*before, *after}
    assert len(moved.rows) == len({*before, *after})
    for row in moved.rows:
        assert row.growth is None or row.growth >= 0
        assert (row.how is Certainty.EXACT) <= (row.growth is not None)


@settings(max_examples=50)
@given(readings)
def test_nothing_grows_between_a_snapshot_and_itself(counters):
    moved = delta(seen(**counters), seen(**counters))
    assert all(not row.growth for row in moved.rows)
    assert {row.counter for row in moved.rows if row.how is Certainty.SATURATED} == {
        name for _, _, name, _ in saturated(seen(**counters))
    }


@settings(max_examples=50)
@given(readings)
def test_a_snapshot_survives_json(counters):
    row = json.loads(json.dumps(typed_json.to_json(seen(1.5, **counters))))
    assert typed_json.load(Snapshot, row) == seen(1.5, **counters)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"time": 0, "monotonic": 0, "readings": []},
        {"time": 0, "monotonic": 0, "readings": {"a": {"counters": {"x": "N/A"}}}},
        {"time": 0, "monotonic": 0, "readings": {"a": {"counters": {"x": True}}}},
        {"time": None, "monotonic": 0, "readings": {}},
    ],
)
def test_what_is_not_a_snapshot_is_refused(row):
    with pytest.raises(typed_json.Misfit, match="^(time|readings)"):
        typed_json.load(Snapshot, row)


def test_the_table_names_each_counter_once_with_reason_and_source():
    assert len({(row.group, row.name) for row in TABLE}) == len(TABLE)
    assert all(row.reason and row.source for row in TABLE)
    assert counter("counters", "link_downed") == next(row for row in TABLE if row.name == "link_downed")


@settings(max_examples=80)
@given(readings, readings)
def test_what_changed_is_every_row_that_grew_or_may_have_but_for_traffic(before, after):
    moved = delta(seen(**before), seen(1.0, **after))
    work = CounterRole.TRAFFIC
    assert moved.changed == tuple(row for row in moved.rows if row.growth != 0 and row.role is not work)


def test_a_driver_s_own_counter_of_which_nobody_knows_the_role_is_among_what_changed():
    assert [row.counter for row in delta(seen(odd=1), seen(1.0, odd=2)).changed] == ["odd"]


@settings(max_examples=80)
@given(readings, readings)
def test_the_bytes_moved_are_those_of_the_rows(before, after):
    moved = delta(seen(**before), seen(1.0, **after))
    traffic = bytes_moved(moved, "mlx5_3/1")
    for value, name in ((traffic.sent, "port_xmit_data"), (traffic.received, "port_rcv_data")):
        row = moved.find("mlx5_3/1", "counters", name)
        exact = row is not None and row.how is Certainty.EXACT
        assert value == (4 * row.growth if exact else None)
