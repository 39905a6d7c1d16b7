"""Differences between nodes and ranks; what the ports carried."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import made_runs
from bench.judge.evidence import Evidence
from bench.model.facts import Node
from reports.environment import differences, facts, gather, node_rows
from reports.frames import frames
from reports.sections import traffic
from reports.summary import PageInput
from reports.traffic import carried

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def test_a_difference_names_who_has_which_value():
    rows = facts(made_runs.cluster(4).run.facts)
    found = {row.key: row.values for row in differences(rows)}
    assert found["host kernel"] == (
        ("5.15.0-164-generic", ("node001", "node003", "node004")),
        ("5.15.0-119-generic", ("node002",)),
    )
    assert found["ports mlx5_10/1 rate"][1] == ("200.0 Gb/s", ("node002",))


def test_what_differs_by_its_nature_is_no_difference():
    keys = {row.key for row in facts(made_runs.cluster(4).run.facts)}
    assert not [key for key in keys if "uuid" in key or "guid" in key or "counters" in key]


def test_one_who_lacks_a_value_is_absent_and_different():
    (row,) = gather({"rank 0": {"NCCL_NET": "IB"}, "rank 1": {}}.items())
    assert row.values == (("IB", ("rank 0",)), ("absent", ("rank 1",)))
    assert not row.same


def test_trees_of_unlike_shapes_are_compared_path_by_path():
    a = {"x": [{"name": "p", "v": 1, "mac": 7}, 2], "y": [3]}
    b = {"x": None, "y": [3]}
    c = {"x": [{"name": "p", "v": 1.5}], "y": [3, 4], "z": {}}
    found = {row.key: row.values for row in gather([("a", a), ("b", b), ("c", c)], frozenset({"mac"}))}
    assert found == {
        "x": (("absent", ("a", "c")), ("unknown", ("b",))),
        "x p name": (("p", ("a", "c")), ("absent", ("b",))),
        "x p v": (("1", ("a",)), ("1.5", ("c",)), ("absent", ("b",))),
        "x 1": (("absent", ("b", "c")), ("2", ("a",))),
        "y 0": (("3", ("a", "b", "c")),),
        "y 1": (("absent", ("a", "b")), ("4", ("c",))),
    }


def test_of_two_keys_that_read_the_same_the_last_counts():
    (row,) = gather([("a", {"x y": 1, "x": {"y": 2}}), ("b", {"x": {"y": 2}})])
    assert row.values == (("2", ("a", "b")),)


def test_a_trailing_blank_is_a_difference():
    made = made_runs.cluster()
    found = differences(gather(made.run.manifest.environment.items()))
    assert [row.key for row in found] == ["NCCL_IB_HCA"]


@given(st.lists(st.builds(Node, st.text(max_size=8)), max_size=3))
def test_nodes_of_any_name_are_shown_and_never_fatal(nodes):
    assert all(row.of == len(nodes) for row in facts(nodes))
    assert len(node_rows(nodes)) == len(nodes)


def test_of_many_nodes_those_that_are_alike_have_one_row():
    first, second, *_ = made_runs.cluster(4).run.facts
    nodes = [*(replace(first, name=f"n{at}") for at in range(80)), replace(second, name="odd")]
    assert [row[0] for row in node_rows(nodes)] == [
        "n0, n1, n2, n3, n4, n5, n6, n7 and 72 more nodes",
        "odd",
    ]
    assert len(node_rows(nodes[20:])) == 61


@given(JSON)
def test_every_value_is_shown_as_text(value):
    rows = gather([("a", value), ("b", value), ("c", None)])
    assert all(isinstance(text, str) for row in rows for text, _ in row.values)
    assert all(sum(len(who) for _, who in row.values) == row.of == 3 for row in rows)


def grown(made):
    """(node, port, counter, increase) of every row of the table."""
    values = traffic(
        PageInput(Evidence(made.run, made.profile), frames(Evidence(made.run, made.profile)), {})
    )
    return {
        (node, port.text, counter.text, growth.key) for _, node, port, counter, growth in values["grown"].rows
    }


def test_an_excluded_adapter_is_marked_and_its_bytes_are_counted():
    made = made_runs.cluster()
    rows = carried(Evidence(made.run, made.profile))
    silent = [row for row in rows if row.excluded]
    assert {row.port for row in silent} == {"mlx5_0/1"}
    assert all((row.least, row.most, row.known, row.of) == (0, 0, 2, 2) for row in silent)
    assert all(row.least == 4 * 10**9 for row in rows if not row.excluded)


def test_an_error_counter_that_grew_is_named_with_its_port():
    assert grown(made_runs.cluster()) == {("node002", "mlx5_10/1", "link_error_recovery", 3)}
    assert not grown(made_runs.cluster(faulty=False))


def test_counters_that_are_not_of_every_node_are_left_out_and_named():
    made = made_runs.cluster()
    broken = tuple(replace(line, snapshots=line.snapshots[:1]) for line in made.run.counters)
    values = traffic(
        PageInput(
            Evidence(replace(made.run, counters=broken), made.profile),
            frames(Evidence(made.run, made.profile)),
            {},
        )
    )
    assert values["ports"] is None
    assert "counters of 1 nodes" in values["gaps"][0]
