"""The first page says what is broken, where and what to do, by the checks' own verdicts."""

from dataclasses import replace

import pytest

import made_runs
from bench.judge.evidence import Evidence
from bench.judge.problems import problems_of
from bench.judge.scope import next_after_pass
from bench.judge.verdicts import judge
from bench.model.titles import Titles
from bench.model.verdict import Status, Verdict
from made_acceptance import LAMBDA, acceptance_run, grown_from
from reports.first_page import MOST, as_sentence, by_layer, verdict
from reports.frames import frames
from reports.page import page
from reports.port_facts import port_facts
from reports.port_rates import columns, in_columns, port_rates
from reports.rail_map import MapCell, labels, rail_map
from reports.summary import PageInput, heading_of

FAIL, ERROR, PASS = Status.FAIL, Status.INCONCLUSIVE, Status.PASS


@pytest.fixture(scope="module")
def judged():
    made = made_runs.cluster(4)
    run = judge(made.run, made.profile).run
    return PageInput(Evidence(run, made.profile), frames(Evidence(run, made.profile)), {})


def test_the_first_page_names_the_faulty_port_first_by_the_checks_own_verdicts(judged):
    view = verdict(judged)
    first, step, facts, symptoms, proof = view["problems"][0]
    assert step == first.verdict.next_step
    assert facts == (
        "rail of GPU 5 · GUID 0x0001000a · firmware 28.43.2026 · link_error_recovery +6 during the run"
    )
    assert first.verdict.subject == "node002 mlx5_10/1" and first.status is FAIL
    assert f"{first.verdict.wanted}: {first.verdict.source}" in proof
    assert sum(row[-1].text == "limits.rail_rate" for row in symptoms.rows) == 6
    assert not any("mlx5_10/1" in each.verdict.subject for each, *_ in view["problems"][1:])
    assert len(view["problems"]) == MOST


def test_the_map_marks_the_faulty_port_and_counts_the_others(judged):
    seen = rail_map(judged)
    assert len(seen.cells) == 32
    bad = {cell.place for cell in seen.cells if cell.bad}
    assert bad == {"node002 mlx5_10/1", "node002 mlx5_5/1"}
    assert seen.good == 30
    assert seen.labels[0].text == "node002 mlx5_10/1: 50.1 %"
    assert len(seen.labels) == len({label.y for label in seen.labels}) == 2


def test_of_many_nodes_the_map_shows_who_is_named_and_then_the_leaves_by_their_slowest_port(judged):
    leaves = {"node001": "leaf 1", "node002": "leaf 1", "node003": "leaf 2", "node004": "leaf 2"}
    f, table = replace(judged.f, leaves=leaves), port_rates(judged.f).copy()
    slow = (table["node"] == "node004") & (table["rail"] == "mlx5_3/1")
    table["change"] = table["change"].mask(slow, -0.4).mask(table["node"] == "node001", -0.3)
    placed = columns(f, table)
    assert list(placed.items())[:2] == [("node002", "node002"), ("node004", "leaf 2")]
    assert placed["node001"] == "leaf 1" and placed["node003"] == "leaf 2"
    assert columns(replace(f, accused=("node003",)), table)["node003"] == "node003"
    worst = in_columns(table, placed)
    assert len(worst) == 3 * 8
    assert set(worst["node"][worst["column"] == "leaf 1"]) == {"node001"}
    seen = rail_map(replace(judged, f=f))
    assert seen.leaves and len(seen.cells) == 3 * 8
    assert seen.labels[0].text == "node002 mlx5_10/1: 50.1 %"
    assert seen.nodes[0][1] == "node002"


def test_the_map_has_a_row_of_what_must_be_left_out_red_where_it_carried_the_traffic(tmp_path):
    run = acceptance_run(tmp_path, 3)
    quiet = rail_map(PageInput(Evidence(run, LAMBDA), frames(Evidence(run, LAMBDA)), {}))
    assert [cell.place for cell in quiet.excluded] == [f"n{at} mlx5_0/1" for at in range(3)]
    assert not any(cell.bad for cell in quiet.excluded)
    assert quiet.rails[-1][1] == "mlx5_0/1" and quiet.note.startswith("mlx5_0/1 carried at most ")
    for counter in ("port_xmit_data", "port_rcv_data"):  # of the one 372.5 GiB, and as many of the other
        run = grown_from(run, "collectives", "after", 1, {("mlx5_0/1", "counters", counter): 10**11})
    judged = judge(run, LAMBDA)
    seen = rail_map(PageInput(judged, frames(judged), {}))
    (red,) = (cell for cell in seen.excluded if cell.bad)
    assert red.words == "n1 mlx5_0/1: carried 745.1 GiB"
    assert seen.note == "mlx5_0/1 carried at most 745.1 GiB in a phase"


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 64, 1250])
def test_labels_and_cells_of_the_map_stay_within_it(nodes):
    """Half of the width is enough for a label, also on a phone."""
    step = min(12.5, 100 / nodes)
    cells = [MapCell(at * step, 21 * at, True, True, f"n{at}", "2 %", "") for at in range(nodes)]
    for at, cell in enumerate(cells):
        (label,) = labels([cell], step)
        assert label.text == f"n{at}: 2 %"
        free = 100 - label.x if label.anchor == "start" else label.x
        assert free >= 43 and 0 <= label.x <= 100


def test_the_map_fills_its_width_and_no_more(tmp_path):
    for nodes in (2, 12):
        run = acceptance_run(tmp_path / str(nodes), nodes)
        seen = rail_map(PageInput(Evidence(run, LAMBDA), frames(Evidence(run, LAMBDA)), {}))
        right = max(cell.x for cell in seen.cells) + seen.width
        assert seen.width > 0 and right == pytest.approx(min(100, 12.5 * nodes), abs=0.2)


def test_the_map_of_three_nodes_does_not_mark_the_partners_of_a_faulty_port():
    made = made_runs.cluster(3)
    seen = Evidence(judge(made.run, made.profile).run, made.profile)
    cells = rail_map(PageInput(seen, frames(seen), {})).cells
    bad = {cell.place for cell in cells if cell.bad and "mlx5_10/1" in cell.words}
    assert bad == {"node002 mlx5_10/1"}


def test_the_tiles_answer_share_exclusion_correctness_and_coverage(judged):
    tiles = {tile.title: tile for tile in verdict(judged)["tiles"]}
    assert list(tiles) == ["Share of 3200 Gb/s", "mlx5_0 left out?", "Results", "Coverage"]
    assert tiles["Results"].answer == "0 wrong elements" and tiles["Results"].status is PASS
    assert tiles["Coverage"].answer == "complete"
    assert tiles["mlx5_0 left out?"].status is FAIL


def test_where_the_profile_names_no_rails_the_tiles_say_so():
    made = made_runs.gloo()
    judged = Evidence(made.run, made.profile)
    tiles = {tile.title: tile for tile in verdict(PageInput(judged, frames(judged), {}))["tiles"]}
    for title in ("Share of the rails' rate", "Adapters left out?"):
        assert (tiles[title].answer, tiles[title].status) == ("not applicable", Status.NOT_APPLICABLE)
        assert made.profile.name in tiles[title].text


def test_a_run_of_which_nothing_has_a_floor_says_so_of_all_results():
    made = made_runs.gloo()
    judged = judge(made.run, made.profile)
    tile = verdict(PageInput(judged, frames(judged), {}))["tiles"][-1]
    assert (tile.title, tile.answer) == ("Floors", "for no result")


def test_what_was_not_checked_or_not_measured_is_no_good_answer():
    def tiles_of(made):
        values = verdict(
            PageInput(Evidence(made.run, made.profile), frames(Evidence(made.run, made.profile)), {})
        )
        return {tile.title: tile for tile in values["tiles"]}

    tiles = tiles_of(made_runs.nothing_measured())
    assert (tiles["Results"].answer, tiles["Results"].status) == ("unchecked", ERROR)
    assert tiles["Coverage"].status is ERROR
    tiles = tiles_of(made_runs.gloo(wrong=True))
    assert tiles["Results"].status is FAIL


def test_the_port_of_a_problem_is_named_with_its_gpu_its_cable_and_its_errors(tmp_path):
    run = acceptance_run(tmp_path, 2, shares={("n1", "mlx5_4/1"): 0.5})
    run = grown_from(run, "rails", "after", 1, {("mlx5_4/1", "counters", "symbol_error"): 12408})
    found = judge(run, LAMBDA).run
    cable = Verdict("fabric.port", "n1 mlx5_4/1", PASS, "on leaf-04 port 17")
    judged = Evidence(replace(found, verdicts=(*found.verdicts, cable)), LAMBDA)
    (cause, *_) = problems_of(judged.run).causes
    port = next(port for port in run.facts[1].ports if port.name == "mlx5_4/1")
    assert port_facts(judged, cause) == (
        f"rail of GPU 3 · GUID {port.guid} · firmware {port.fw} · cable on leaf-04 port 17 · "
        "symbol_error +12,408 during the run"
    )
    (label,) = rail_map(PageInput(judged, frames(judged), {})).labels
    place, share = label.text.split(": ")
    assert place == "n1 mlx5_4/1" and f"runs at {share} of its peers' rate" in cause.sentence


def test_a_verdict_on_one_case_says_which(tmp_path):
    run = acceptance_run(tmp_path, 2, shares={("n1", "mlx5_4/1"): 0.5})
    judged, cases = judge(run, LAMBDA), {case.id for case in run.plan.cases}
    said = [each for each in judged.verdicts if each.subject in cases]
    assert {"wire.share", "limits.busbw"} <= {each.check for each in said}
    assert [each for each in said if each.case != each.subject] == []
    (cause, *_) = problems_of(judged.run).causes
    subjects = [replace(each, subject="a row") if each.case else each for each in judged.verdicts]
    found = problems_of(replace(judged.run, verdicts=tuple(subjects)))
    assert cause.result and cause.result == found.causes[0].result


@pytest.mark.parametrize(("nodes", "seed"), [(2, 2), (4, 4)])
def test_the_sentence_the_tile_and_a_bar_say_the_same_share_of_the_target(tmp_path, nodes, seed):
    run = acceptance_run(tmp_path, nodes, seed=seed, noise=0.01, shares={("n1", "mlx5_4/1"): 0.5})
    judged = judge(run, LAMBDA)
    view = verdict(PageInput(judged, frames(judged), {}))
    tile = next(tile for tile in view["tiles"] if tile.title == "Share of 3200 Gb/s")
    name = tile.text.split(", ")[0].removeprefix("Ring ")
    (first, *_) = view["problems"]
    assert first[0].sentence.startswith(f"{name} reaches {tile.answer} of 3200 Gb/s, because n1 ")
    assert (f"Ring {name}", tile.answer) in [(bar.name, bar.percent) for bar in view["bars"]]
    others = sorted(bar.share for bar in view["bars"] if bar.name != f"Ring {name}")
    assert f"other readings {100 * others[0]:.1f} to {100 * others[-1]:.1f} %" in tile.text
    assert all(bar.note for bar in view["bars"])


def test_a_report_is_called_as_a_person_calls_the_cluster_or_by_its_nodes(tmp_path):
    run = acceptance_run(tmp_path, 2)
    assert heading_of(run, Titles()) == "Nodes n0, n1"
    assert heading_of(run, Titles("frankfurt-2")) == "frankfurt-2"
    assert heading_of(acceptance_run(tmp_path, 12), Titles()) == "12 nodes: n0 to n11"
    judged = judge(run, LAMBDA)
    text = page(judged, frames(judged), {})
    assert "RailGauge · acceptance report" in text
    assert "held against profile lambda-1cc-h100: Lambda 1-Click Cluster" in text


def test_a_pass_says_what_it_does_not_speak_of(tmp_path):
    run = judge(acceptance_run(tmp_path), LAMBDA).run
    judged = Evidence(run, LAMBDA)
    view = verdict(PageInput(judged, frames(judged), {}))
    assert view["status"] is PASS and not view["problems"]
    assert view["sentence"].startswith("No fault was found in what was judged: Ring ")
    assert view["next"] == (
        f"Of a run that was measured, sign the report (railgauge report {tmp_path.name} --pdf), keep the run folder as "
        f"evidence (railgauge verify {tmp_path.name} shows later that it was not changed); from now on measure "
        "every night (railgauge nightly --history DIR)."
    )
    real = replace(run, manifest=replace(run.manifest, simulated=False))
    assert next_after_pass(real, "run").startswith("sign the report (")
    text = " ".join(view["uncovered"])
    assert "Profile lambda-1cc-h100 judges: results" in text and "--cross-rail" in text
    assert "results were compared with a floor or with their equals" in text
    assert all(line[0].isupper() for line in view["uncovered"])
    assert "across the rails (not asked for: --cross-rail)" in text and "cross (" not in text
    (covered,) = (tile.text for tile in view["tiles"] if tile.title == "Coverage")
    assert "2 nodes" in covered and "1 pair of nodes" in covered


def test_where_nothing_failed_what_is_inconclusive_stands_on_the_first_page(tmp_path):
    run = acceptance_run(tmp_path)
    lost = run.measurements[-1].case
    run = judge(replace(run, measurements=tuple(m for m in run.measurements if m.case != lost)), LAMBDA).run
    judged = Evidence(run, LAMBDA)
    view = verdict(PageInput(judged, frames(judged), {}))
    assert view["status"] is ERROR and view["sentence"].startswith("Nothing failed, but this is no PASS")
    shown = {each.verdict.check for each, *_ in view["problems"]}
    assert shown and all(each.status is ERROR for each, *_ in view["problems"])


def test_only_layers_that_passed_are_said_to_show_that_it_is_left_out():
    passed, failed, unknown, skipped = Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.NOT_APPLICABLE
    assert by_layer([passed] * 4) == "shown by NCCL's setting, the list of devices, NCCL's log, byte counters"
    assert (
        by_layer([passed, passed, passed, failed])
        == "against it: byte counters; for it: NCCL's setting, the list of devices, NCCL's log"
    )
    assert by_layer([unknown, unknown, skipped, skipped]) == (
        "not known by NCCL's setting, the list of devices; not applicable: NCCL's log, byte counters"
    )


def test_a_sentence_begins_with_a_capital_letter_but_a_command_as_it_is_typed():
    assert as_sentence("profile local judges: results") == "Profile local judges: results."
    assert as_sentence("railgauge soak is no acceptance test") == "railgauge soak is no acceptance test."
