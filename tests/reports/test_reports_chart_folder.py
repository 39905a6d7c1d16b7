"""The folder for documentation: stable names, the same bytes, and never an old chart for what was not measured."""

import json
import os
import re
from dataclasses import replace
from html import unescape

import altair as alt
import pytest

import made_docs
import made_runs
from bench.judge.evidence import Evidence
from bench.store import RunError
from reports import chart_folder, doc_pages
from reports.charts import CHARTS
from reports.theme import INK

RUN_CHARTS = [chart.name for chart in CHARTS if chart.section in ("collectives", "rails")]
FAST = chart_folder.Form(pictures=False)


def pages_of(made):
    return doc_pages.run_pages(Evidence(made.run, made.profile))


def test_names_are_stable_and_every_chart_has_all_its_files(docs_folder):
    names = {str(path.relative_to(docs_folder)) for path in docs_folder.rglob("*") if path.is_file()}
    for name in RUN_CHARTS:
        assert {f"{name}.vl.json", f"{name}.csv"} <= names
    assert {"index.md", "collectives.md", "rails.md", "vegalite.js", "vega.js"} <= names
    assert not [name for name in names if re.search(r"[^A-Za-z0-9_./-]", name)]
    assert not [name for name in names if "/." in f"/{name}"]


def test_every_specification_is_valid_and_its_data_lie_beside_it(docs_folder):
    specs = sorted(docs_folder.glob("*.vl.json"))
    assert len(specs) == len(RUN_CHARTS) + 3
    for path in specs:
        spec = json.loads(path.read_text(encoding="utf-8"))
        alt.Chart.from_dict(spec)
        assert spec["$schema"].endswith("/v5.json") and spec["description"]
        assert "config" not in spec and "background" not in spec and "datasets" not in spec
        urls = re.findall(r'"url": "([^"]*)"', path.read_text(encoding="utf-8"))
        assert urls and all((docs_folder / url).is_file() for url in urls)


def test_pages_show_every_chart_by_its_name_with_words_and_links_that_lead_somewhere(docs_folder):
    text = "".join(
        (docs_folder / f"{name}.md").read_text(encoding="utf-8") for name in ("collectives", "rails")
    )
    shown = re.findall(r'^```vegalite\n\{"schema-url": "([^"]*)"\}\n```$', text, re.M)
    assert sorted(shown) == sorted(f"{name}.vl.json" for name in RUN_CHARTS)
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", text)
    assert sorted(link for link in links if link.endswith(".vl.json")) == sorted(shown)
    assert {f"{name}.csv" for name in RUN_CHARTS} <= set(links)
    assert all((docs_folder / link).is_file() for link in links)


def test_pictures_are_png_on_paper_svg_in_both_modes_and_a_page_for_places_without_vega(tmp_path):
    page = pages_of(made_runs.gloo())[0]
    chart_folder.write(tmp_path, "t", [replace(page, charts=page.charts[1:2])], chart_folder.Form())
    name = page.charts[1].name
    assert (tmp_path / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    light, dark = ((tmp_path / "pictures" / f"{name}{kind}").read_text() for kind in (".svg", ".dark.svg"))
    assert INK["light"][0] in light and INK["dark"][0] in dark
    text = (tmp_path / "pictures" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r'(?:srcset|src)="([^"]*)"', text) == [f"{name}.dark.svg", f"{name}.svg"]
    assert page.charts[1].about in unescape(text)
    assert f"[picture](pictures/{name}.svg)" in (tmp_path / "collectives.md").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes_and_leaves_files_alone(tmp_path):
    pages = pages_of(made_runs.gloo())
    for folder in (tmp_path / "a", tmp_path / "b"):
        chart_folder.write(folder, "t", pages, FAST)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 10
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
    before = {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in files}
    chart_folder.write(tmp_path / "a", "t", pages, FAST)
    assert before == {name: (tmp_path / "a" / name).stat().st_mtime_ns for name in files}


def test_links_that_lie_in_wait_are_replaced_and_not_written_through(tmp_path):
    own = tmp_path / "own"
    own.write_text("the user's own")
    (tmp_path / "out").mkdir()
    for name in ("index.md", f".index.md.{os.getpid()}", "vegalite.js"):
        (tmp_path / "out" / name).symlink_to(own)
    chart_folder.write(tmp_path / "out", "t", pages_of(made_runs.gloo()), FAST)
    assert own.read_text() == "the user's own"
    assert not (tmp_path / "out" / "index.md").is_symlink()


def test_what_was_drawn_before_and_was_not_measured_now_says_so(tmp_path):
    made = made_runs.gloo()
    pages = pages_of(made)
    chart_folder.write(tmp_path, "t", pages, FAST)
    assert (tmp_path / "collectives.md").read_text().count("```vegalite") == pages[0].drawn > 0
    nothing = replace(made, run=replace(made.run, measurements=(), plan=replace(made.run.plan, phases=())))
    chart_folder.write(tmp_path, "t", pages_of(nothing), FAST)
    assert "```vegalite" not in (tmp_path / "collectives.md").read_text()
    for name in ("busbw-by-size", "small-multiples"):
        spec = json.loads((tmp_path / f"{name}.vl.json").read_text())
        assert "nothing was measured" in spec["description"]
        alt.Chart.from_dict(spec)
        assert "nothing was measured" in (tmp_path / f"{name}.csv").read_text()
    assert not (tmp_path / "rail-matrix.vl.json").exists() and not (tmp_path / "rails.md").exists()


def test_inline_has_no_files_of_data_and_a_base_goes_before_their_names(tmp_path):
    pages = pages_of(made_runs.gloo())[:1]
    chart_folder.write(tmp_path / "inline", "t", pages, chart_folder.Form(inline=True, pictures=False))
    assert not list((tmp_path / "inline").glob("*.csv"))
    assert "datasets" in json.loads((tmp_path / "inline" / "busbw-by-size.vl.json").read_text())
    assert ".csv" not in (tmp_path / "inline" / "collectives.md").read_text()
    chart_folder.write(
        tmp_path / "apart", "t", pages, chart_folder.Form(base="https://example.org/data/", pictures=False)
    )
    spec = json.loads((tmp_path / "apart" / "busbw-by-size.vl.json").read_text())
    assert spec["data"]["url"] == "https://example.org/data/busbw-by-size.csv"


def test_runs_beside_each_other_are_ranked_with_the_target_they_share():
    made = made_runs.cluster()
    other = replace(made, run=replace(made.run, manifest=replace(made.run.manifest, id="another")))
    (page,) = doc_pages.compared_pages([Evidence(made.run, made.profile), Evidence(other.run, other.profile)])
    chart = next(chart for chart in page.charts if chart.title == "all_reduce")
    text = json.dumps(chart.spec)
    assert chart.name == "clusters-all_reduce" and "400 GB/s = 3,200 Gb/s" in text
    assert "another" in chart.about and "20260921-135320-made" in chart.about
    assert any(chart.name == "clusters-all_reduce-ring" for chart in page.charts)


def test_a_run_without_a_collective_is_not_measured_in_it_and_not_0():
    cluster, gloo = made_runs.cluster(), made_runs.gloo()
    (page,) = doc_pages.compared_pages(
        [Evidence(cluster.run, cluster.profile), Evidence(gloo.run, gloo.profile)]
    )
    chart = next(chart for chart in page.charts if chart.title == "p2p_ring")
    assert "not measured" in chart.about
    # the two runs have one name, and are told apart by their folders; they have no target in common
    assert "runs/made" in chart.about and "runs/local" in chart.about
    assert "rails of a node" not in json.dumps([chart.spec for chart in page.charts])


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write .*file"):
        chart_folder.write(tmp_path / "file", "t", pages_of(made_runs.nothing_measured()), FAST)


def test_hostile_names_stay_text_in_the_pages(docs_folder):
    for name in ("index.md", "rails.md"):
        text = (docs_folder / name).read_text(encoding="utf-8")
        assert "onerror" in text or name == "index.md"
        assert not re.search(r"(?<!\\)<img", text) and not re.search(r"(?<!\\)\]\(http", text)
    assert made_docs.CLUSTER not in "".join(path.name for path in docs_folder.iterdir())
