from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.fabric import errors as troubles
from bench.judge.fabric import links
from bench.judge.fabric.links import ExpectedPort, wanted_of
from bench.model.facts import Node, Port
from bench.model.verdict import Status, Verdict, overall
from bench.probe.fabric import linkinfo, netdiscover, queryerrors
from bench.probe.fabric.subnet import Subnet, attachments, end_behind, join, trunks, where

DATA = Path(__file__).parents[2] / "probe" / "fabric" / "data"
RATE = 25e9  # 200 Gb/s
WANTED = [ExpectedPort(f"node{n} mlx5_{r}/1", f"node{n} mlx5_{r}") for n in range(2) for r in range(1, 4)]
NOTHING = Subnet((), None, None, ())


def text(name: str) -> str:
    return (DATA / name).read_text()


def fabric(state: str) -> Subnet:
    silent = text("ibnetdiscover.silent.err.txt") if state == "silent" else ""
    return join(
        netdiscover.parse(text(f"ibnetdiscover.{state}.txt") + silent),
        linkinfo.parse(text(f"iblinkinfo.{state}.txt")),
        queryerrors.parse(text(f"ibqueryerrors.{state}.txt")),
    )


def rows(seen: Subnet) -> list[Verdict]:
    return [
        *links.complete(seen),
        *links.hca_ports(seen, WANTED, 4, RATE, "plan"),
        *links.trunk_links(seen, 4, RATE, "plan"),
        *links.uplinks(seen),
        *troubles.errors(seen),
    ]


def said(found: list[Verdict], status: Status) -> list[tuple[str, str]]:
    return [(row.check, row.subject) for row in found if row.status is status]


# ── joining ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_hca_is_on_its_switch_port():
    on = {attachment.hca.name: attachment for attachment in attachments(fabric("healthy"))}
    assert len(on) == 6
    assert where(on["node1 mlx5_2"].switch) == "leaf2 port 2"
    assert on["node1 mlx5_2"].at_far_end.far.guid == on["node1 mlx5_2"].at_hca.near.guid


def test_links_between_switches_are_found_once():
    assert len(trunks(fabric("healthy"))) == 12
    assert all(back is not None for _, back in trunks(fabric("healthy")))


def test_either_tool_alone_is_enough():
    both = {attachment.hca.name for attachment in attachments(fabric("healthy"))}
    for seen in (
        join(netdiscover.parse(text("ibnetdiscover.healthy.txt")), None, None),
        join(None, linkinfo.parse(text("iblinkinfo.healthy.txt")), None),
    ):
        assert {attachment.hca.name for attachment in attachments(seen)} == both


def test_a_silent_node_is_found_by_its_route():
    seen = fabric("silent")
    assert [where(end_behind(seen, line)) for line in seen.unanswered] == [
        "spine1 port 3",
        "spine1 port 4",
        "spine2 port 3",
        "spine2 port 4",
    ]


def test_a_route_from_nowhere_leads_nowhere():
    line = fabric("silent").unanswered[0]
    assert end_behind(replace(fabric("silent"), origin=None), line) is None
    assert end_behind(NOTHING, line) is None


# ── what should be there ────────────────────────────────────────────────────────────────────────────────


def test_a_healthy_fabric_passes_and_says_where_things_are():
    found = rows(fabric("healthy"))
    assert {row.status for row in found} == {Status.PASS}
    on = next(row for row in found if (row.check, row.subject) == ("fabric.port", "node1 mlx5_2/1"))
    assert on.measured == "on leaf2 port 2"


def test_narrow_and_slow_links_are_named_at_both_ends():
    found = rows(fabric("slow"))
    assert said(found, Status.FAIL) == [("fabric.link", "node0 mlx5_3/1"), ("fabric.link", "node1 mlx5_2/1")]
    narrow = next(row for row in found if row.subject == "node1 mlx5_2/1" and row.check == "fabric.link")
    assert narrow.message == (
        "node1 mlx5_2/1: 1X HDR (50.00 Gb/s) at node1 mlx5_2/1, 1X HDR (50.00 Gb/s) at leaf2 port 2, "
        "wanted 4X at 200.0 Gb/s (plan); reseat or change the cable, then: iblinkinfo -l"
    )
    assert (narrow.value, narrow.bound) == (6.25e9, RATE)


def test_an_unplugged_hca_fails_and_a_dead_trunk_too():
    found = rows(fabric("faults"))
    assert ("fabric.port", "node1 mlx5_3/1") in said(found, Status.FAIL)
    assert ("fabric.uplinks", "leaf1") in said(found, Status.FAIL)


def test_behind_a_silent_switch_nothing_is_known():
    found = rows(fabric("silent"))
    unknown = said(found, Status.INCONCLUSIVE)
    assert ("fabric.port", "node0 mlx5_2/1") in unknown
    assert ("fabric.port", "node0 mlx5_1/1") in said(found, Status.PASS), "its switch did answer"
    assert ("fabric.complete", "spine1 port 3") in unknown
    assert not any(
        row.status is Status.PASS and row.subject == "fabric" and row.check == "fabric.complete"
        for row in found
    )
    assert overall(row.status for row in links.complete(fabric("silent"))) is Status.INCONCLUSIVE


def test_an_end_that_does_not_report_is_no_pass():
    seen = fabric("healthy")
    blind = replace(seen, rows=tuple(row for row in seen.rows if row.near.name != "leaf2"))
    link = next(row for row in rows(blind) if row.check == "fabric.link" and row.subject == "node1 mlx5_2/1")
    assert (link.status, "nothing reported at" in link.measured) == (Status.INCONCLUSIVE, True)


def test_a_link_that_is_not_up_fails():
    seen = fabric("healthy")
    armed = tuple(
        replace(row, state="Initialize") if row.near.name == "node1 mlx5_2" else row for row in seen.rows
    )
    found = rows(replace(seen, rows=armed))
    assert said(found, Status.FAIL) == [("fabric.link", "node1 mlx5_2/1")]
    assert "Initialize, LinkUp at node1 mlx5_2/1" in next(
        row.measured for row in found if row.status is Status.FAIL
    )


def test_of_a_link_with_one_end_down_the_rate_is_that_of_the_other():
    """A port that is not up has a rate that means nothing."""
    seen = fabric("healthy")
    down = tuple(
        replace(row, state="Down", link=replace(row.link, width=1))
        if row.near.name == "node1 mlx5_2"
        else row
        for row in seen.rows
    )
    (link,) = [
        row for row in links.hca_ports(replace(seen, rows=down), [WANTED[4]], 4, RATE, "plan") if row.bound
    ]
    assert (link.subject, link.status, link.value) == ("node1 mlx5_2/1", Status.FAIL, RATE)


def test_a_link_whose_ends_differ_has_the_rate_of_the_slower_and_a_narrow_one_fails_whatever_its_speed():
    seen = fabric("healthy")

    def linked(**changes) -> Verdict:
        odd = tuple(
            replace(row, link=replace(row.link, **changes)) if row.near.name == "node1 mlx5_2" else row
            for row in seen.rows
        )
        return next(
            row for row in links.hca_ports(replace(seen, rows=odd), [WANTED[4]], 4, RATE, "plan") if row.bound
        )

    assert (linked(speed="EDR").status, linked(speed="EDR").value) == (Status.FAIL, RATE / 2)
    assert linked(width=2, speed="NDR").status is Status.FAIL


def test_an_hca_that_is_cabled_to_another_one_is_on_no_switch_port():
    seen = fabric("healthy")
    near, far = (next(row for row in seen.rows if row.near.name == f"node{n} mlx5_1") for n in range(2))
    cabled = (replace(near, far=far.near), replace(far, far=near.near))
    others = [
        row
        for row in seen.rows
        if not {row.near.guid, row.far and row.far.guid} & {near.near.guid, far.near.guid}
    ]
    joined = replace(seen, rows=(*others, *cabled))
    found = [row for row in links.hca_ports(joined, WANTED, 4, RATE, "plan") if row.check == "fabric.port"]
    assert [(row.subject, row.measured) for row in found if row.status is Status.FAIL] == [
        ("node0 mlx5_1/1", "on no switch port"),
        ("node1 mlx5_1/1", "on no switch port"),
    ]
    assert {row.status for row in links.uplinks(joined)} == {Status.NOT_APPLICABLE}, (
        "leaf1 is no leaf of theirs"
    )
    unplugged = replace(near, near=replace(near.near, guid="0x9", port=2), far=None)
    alone = links.hca_ports(replace(seen, rows=(unplugged, *cabled)), WANTED[:1], 4, RATE, "plan")
    assert [(row.check, row.status) for row in alone] == [
        ("fabric.port", Status.NOT_APPLICABLE),
        ("fabric.link", Status.PASS),
    ], "two nodes without any switch between them, and a port on which nothing is plugged in"


def test_a_port_on_a_router_is_on_its_port_though_there_is_no_switch():
    seen = fabric("healthy")
    near = next(row for row in seen.rows if row.near.name == "node0 mlx5_1")
    assert near.far is not None
    router = replace(near.far, kind="RT")
    rows_ = (replace(near, far=router), replace(near, near=router, far=near.near))
    found, *_ = links.hca_ports(replace(seen, rows=rows_), WANTED[:1], 4, RATE, "plan")
    assert (found.status, found.measured) == (Status.PASS, "on leaf1 port 1")


def test_nothing_seen_and_nothing_wanted_are_errors():
    assert {row.status for row in rows(NOTHING)} == {Status.INCONCLUSIVE, Status.NOT_APPLICABLE}
    assert overall(row.status for row in rows(NOTHING)) is Status.INCONCLUSIVE
    assert [row.status for row in links.hca_ports(fabric("healthy"), [], 4, RATE, "plan")] == [
        Status.INCONCLUSIVE
    ]


def test_a_faster_link_than_wanted_passes():
    (link,) = [row for row in links.hca_ports(fabric("slow"), [WANTED[1]], 4, 12.5e9, "plan") if row.bound]
    assert link.status is Status.PASS


def test_wishes_come_from_the_facts_of_a_node():
    port = Port("mlx5_2", 1, gid="fe80:0000:0000:0000:0010:0000:0001:0201")
    node = Node("node1", ports=(port, Port("mlx5_3", 1, gid="0000:0000:0000:0000:0000:0000:0000:0000")))
    assert wanted_of(node, ("mlx5_2", "mlx5_3/1", "mlx5_9")) == (
        ExpectedPort("node1 mlx5_2/1", "node1 mlx5_2", "0x0010000000010201"),
        ExpectedPort("node1 mlx5_3/1", "node1 mlx5_3", None),
        ExpectedPort("node1 mlx5_9", "node1 mlx5_9", None),
    )
    found = list(links.hca_ports(fabric("healthy"), wanted_of(node, ("mlx5_2", "mlx5_9")), 4, RATE, "plan"))
    assert [(row.check, row.status) for row in found] == [
        ("fabric.port", Status.PASS),
        ("fabric.link", Status.PASS),
        ("fabric.port", Status.FAIL),
    ]


# ── errors, and one reading against another ─────────────────────────────────────────────────────────────


def errors(seen: Subnet, *before: queryerrors.QueryErrors) -> list[Verdict]:
    return list(troubles.errors(seen, *before))


def test_symbol_errors_are_named_by_port_and_peer():
    (found,) = errors(fabric("faults"))
    assert (found.status, found.subject) == (Status.FAIL, "leaf2 port 2 (to node1 mlx5_2/1)")
    assert found.measured == "SymbolErrorCounter 4711 over 10"


def test_errors_are_told_with_what_they_are_held_against_also_of_a_port_whose_cable_nobody_reported():
    seen = replace(fabric("faults"), rows=())
    (found,) = errors(seen)
    assert found.subject.endswith("port 2") and "(to" not in found.subject
    assert (found.wanted, found.source) == ("none over its limit", "infiniband-diags error_thresholds")
    earlier = queryerrors.parse(text("ibqueryerrors.faults.txt").replace("4711", "4709"))
    (grown,) = errors(seen, earlier)
    assert (grown.wanted, grown.source) == ("no growth", "the reading before")


def test_few_errors_and_congestion_are_within_the_limits():
    seen = fabric("faults")
    few = queryerrors.parse(text("ibqueryerrors.faults.txt").replace("4711", "10"))
    assert [row.status for row in errors(replace(seen, errors=few))] == [Status.PASS]


@pytest.mark.parametrize(
    ("counter", "limit"),
    [
        ("SymbolErrorCounter", 10),
        ("LinkErrorRecoveryCounter", 10),
        ("LinkDownedCounter", 10),
        ("PortRcvErrors", 10),
        ("PortRcvRemotePhysicalErrors", 100),
        ("PortRcvSwitchRelayErrors", 100),
        ("PortXmitDiscards", 100),
        ("PortXmitConstraintErrors", 100),
        ("PortRcvConstraintErrors", 100),
        ("LocalLinkIntegrityErrors", 10),
        ("ExcessiveBufferOverrunErrors", 10),
        ("VL15Dropped", 100),
    ],
)
def test_the_limits_are_those_of_infiniband_diags(counter, limit):
    answer = text("ibqueryerrors.faults.txt").replace("SymbolErrorCounter", counter)
    for count, status in ((limit, Status.PASS), (limit + 1, Status.FAIL)):
        seen = queryerrors.parse(answer.replace("4711", str(count)))
        assert [row.status for row in errors(replace(fabric("faults"), errors=seen))] == [status]


def test_growth_is_judged_against_a_reading_before():
    seen, before = (
        fabric("faults"),
        queryerrors.parse(text("ibqueryerrors.faults.txt").replace("4711", "4709")),
    )
    assert [(row.status, row.measured) for row in errors(seen, before)] == [
        (Status.FAIL, "SymbolErrorCounter grew by 2 to 4711")
    ]
    assert [row.status for row in errors(seen, seen.errors)] == [Status.PASS]
    cleared = queryerrors.parse(text("ibqueryerrors.faults.txt").replace("4711", "9000"))
    (fell,) = errors(seen, cleared)
    assert (fell.status, fell.measured) == (Status.INCONCLUSIVE, "SymbolErrorCounter fell from 9000 to 4711")
    assert fell.next_step == "read again: the counters were cleared"
    new = queryerrors.parse(text("ibqueryerrors.faults.txt").replace("4711", "1"))
    grown = [row.measured for row in errors(replace(seen, errors=new), replace(new, ports=()))]
    assert "SymbolErrorCounter grew by 1 to 1" in grown, "nothing was counted there before"


def test_a_counter_without_a_limit_has_none_to_spare():
    strange = text("ibqueryerrors.faults.txt").replace("SymbolErrorCounter == 4711", "SomethingNew == 1")
    (found,) = errors(replace(fabric("faults"), errors=queryerrors.parse(strange)))
    assert found.measured == "SomethingNew 1 over 0"


@pytest.mark.parametrize(
    "broken",
    [
        text("ibqueryerrors.healthy.txt").partition("##          ")[0],
        text("ibqueryerrors.healthy.txt").replace("326 ports checked", "0 ports checked"),
        text("ibqueryerrors.healthy.txt") + "##          4 PMA query failures\n",
        text("ibqueryerrors.healthy.txt") + "what is this\n",
        text("ibqueryerrors.healthy.txt") + "umad (DR path slid 0; dlid 0; 0,1 Attr 0x11:0) bad status 110\n",
        "",
    ],
)
def test_an_answer_that_is_not_whole_does_not_pass(broken):
    seen = replace(fabric("healthy"), errors=queryerrors.parse(broken))
    assert [row.status for row in errors(seen)] == [Status.INCONCLUSIVE]


@pytest.mark.parametrize(("lines", "shown"), [(7, 7), (8, 8), (9, 8)])
def test_of_many_lines_that_were_not_understood_eight_are_shown(lines, shown):
    broken = text("ibqueryerrors.healthy.txt") + "".join(f"what is this {at}\n" for at in range(lines))
    (found,) = errors(replace(fabric("healthy"), errors=queryerrors.parse(broken)))
    assert found.evidence == tuple(f"what is this {at}" for at in range(shown))
    assert f"{lines} lines were not understood" in found.measured


def test_a_fabric_that_was_not_asked_for_errors_does_not_pass():
    assert [row.status for row in errors(replace(fabric("healthy"), errors=None))] == [Status.INCONCLUSIVE]


def test_what_is_gone_is_named():
    gone = list(troubles.changes(fabric("healthy"), fabric("faults")))
    assert [(row.status, row.subject, row.measured) for row in gone] == [
        (Status.FAIL, "node1 mlx5_3/1", "the HCA port is gone"),
        (Status.FAIL, "leaf1 port 33 – spine1 port 1", "the link is gone"),
    ]
    dead = [row.subject for row in troubles.changes(fabric("healthy"), fabric("silent"))]
    assert {"leaf2", "node0 mlx5_2/1", "node1 mlx5_2/1"} <= set(dead)


def test_nothing_gone_passes_only_if_both_were_seen():
    assert [row.status for row in troubles.changes(fabric("healthy"), fabric("slow"))] == [Status.PASS]
    assert [row.status for row in troubles.changes(NOTHING, fabric("slow"))] == [Status.INCONCLUSIVE]
    assert [row.status for row in troubles.changes(fabric("healthy"), NOTHING)] == [Status.INCONCLUSIVE]


def test_every_bad_trunk_is_a_line_of_its_own():
    seen = fabric("healthy")
    found = list(links.trunk_links(seen, 4, 2 * RATE, "plan"))
    assert found
    assert {row.status for row in found} == {Status.FAIL}
    assert len(found) == len(trunks(seen))


def test_a_trunk_of_which_only_the_speed_is_known_is_no_crash_and_no_pass():
    seen = fabric("healthy")
    bare = tuple(replace(row, link=replace(row.link, width=None)) for row in seen.rows)
    found = list(links.trunk_links(replace(seen, rows=bare), 4, RATE, "plan"))
    assert {row.status for row in found} == {Status.INCONCLUSIVE}


def test_a_cable_that_is_gone_is_named_alone():
    """Both of its ends are still there, so that nothing else is missing."""
    before = fabric("healthy")
    row, _ = trunks(before)[0]
    left = tuple(
        each
        for each in before.rows
        if not {(row.near.guid, row.near.port), (row.far.guid, row.far.port)}
        & {(end.guid, end.port) for end in (each.near, each.far) if end}
    )
    found = list(troubles.changes(before, replace(before, rows=left)))
    said = [(each.status, each.subject, each.measured) for each in found]
    ends = [end for end in (row.near, row.far) if end is not None]
    first, second = sorted(ends, key=lambda end: (end.guid, end.port))
    assert said == [(Status.FAIL, f"{where(first)} – {where(second)}", "the link is gone")]


def test_counters_that_stand_where_they_stood_are_no_errors_and_what_grew_is():
    seen = fabric("faults")
    assert seen.errors is not None and any(dict(port.counters) for port in seen.errors.ports)
    assert Status.FAIL not in {each.status for each in troubles.errors(seen, seen.errors)}
    port = next(each for each in seen.errors.ports if each.port is not None and each.counters)
    (name, value), *_ = [(key, value) for key, value in dict(port.counters).items() if key in troubles.LIMITS]
    less = replace(port, counters=tuple({**dict(port.counters), name: value - 1}.items()))
    earlier = replace(seen.errors, ports=tuple(less if each is port else each for each in seen.errors.ports))
    assert [each.status for each in troubles.errors(seen, earlier) if each.status is Status.FAIL] == [
        Status.FAIL
    ]


def test_good_trunks_are_one_row_beside_the_bad_one():
    seen = fabric("healthy")
    row, _ = trunks(seen)[0]
    narrow = tuple(
        replace(each, link=replace(each.link, width=1)) if each == row else each for each in seen.rows
    )
    found = list(links.trunk_links(replace(seen, rows=narrow), 4, RATE, "plan"))
    assert [each.status for each in found] == [Status.FAIL, Status.PASS]
    assert "11 of 12 links" in found[1].measured


def test_a_node_that_is_gone_is_the_only_thing_said_and_the_rest_is_not_called_unchanged():
    before = fabric("healthy")
    left = tuple(
        each
        for each in before.rows
        if "node1 mlx5_2" not in (each.near.name, each.far.name if each.far else "")
    )
    found = list(troubles.changes(before, replace(before, rows=left)))
    assert [(each.status, each.measured) for each in found] == [(Status.FAIL, "the HCA port is gone")]


def test_a_node_that_only_the_far_side_reports_is_known_and_its_loss_is_seen():
    """A switch says who is behind its port also where that one does not answer."""
    before = fabric("healthy")
    one_way = replace(before, rows=tuple(each for each in before.rows if each.near.name != "node1 mlx5_2"))
    behind = {each.near.guid for each in before.rows if each.near.name == "node1 mlx5_2"}
    left = tuple(each for each in one_way.rows if not (each.far and each.far.guid in behind))
    found = list(troubles.changes(one_way, replace(before, rows=left)))
    assert [(each.subject, each.measured) for each in found] == [("node1 mlx5_2/1", "the HCA port is gone")]


def test_a_far_end_without_a_guid_is_no_crash():
    before = fabric("healthy")
    blank = tuple(replace(row, far=row.far and replace(row.far, guid=None)) for row in before.rows)
    found = list(troubles.changes(replace(before, rows=blank), replace(before, rows=blank)))
    assert [each.status for each in found] == [Status.PASS]


def test_a_leaf_without_any_uplink_is_not_compared():
    """It is of another design: rails that end in one switch have no trunk."""
    seen = fabric("healthy")
    leaf = next(attachment.switch for attachment in attachments(seen) if attachment.switch)
    spines = {end.guid for row, _ in trunks(seen) for end in (row.near, row.far)}
    kept = tuple(
        row
        for row in seen.rows
        if not (
            row.far and leaf.guid in (row.near.guid, row.far.guid) and {row.near.guid, row.far.guid} <= spines
        )
    )
    (found,) = links.uplinks(replace(seen, rows=kept))
    assert found.status is not Status.FAIL
