"""``ranked_bars`` draws the chart of cluster documentation: the same bars, order and labels as the original."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import altair as alt
import jsonschema
import pytest
import vl_convert

import made_runs
from bench.judge.evidence import Evidence
from reports import doc_pages
from reports.charts import ranked_bars
from reports.export import specifications
from reports.frames import frames
from reports.theme import specification

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def url(loopback):
    """The made CSV on loopback, as documentation loads it."""
    return f"{loopback(DATA)}resnet50_made.csv"


def rendered(spec, url):
    base = url.rsplit("/", 1)[0] + "/"
    return vl_convert.vegalite_to_svg(spec, vl_version="5.21", allowed_base_urls=[base])


def structure(picture):
    """(category labels from top to bottom, value labels from top to bottom, lengths of bars from top to bottom)."""
    root = ET.fromstring(picture)
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("class")]
    names, values, bars = [], [], []
    for group in groups:
        words = group.get("class").split()
        if "role-axis-label" in words:
            texts = [(_y(t), t.text) for t in group if t.get("text-anchor") == "end"]
            names += texts if len(texts) > 1 and not any(re.fullmatch(r"[\d,]+", t) for _, t in texts) else []
        elif "mark-text" in words and "role-mark" in words:
            values += [(_y(text), text.text) for text in group]
        elif "mark-rect" in words and "role-mark" in words:
            for path in group:
                _, y, width = (
                    float(part)
                    for part in re.match(r"M([\d.-]+),([\d.-]+)h([\d.-]+)", path.get("d")).groups()
                )
                bars.append((y, round(width, 1)))
    return tuple([value for _, value in sorted(found)] for found in (names, values, bars))


def _y(element):
    return float(re.search(r"translate\([\d.-]+,([\d.-]+)\)", element.get("transform")).group(1))


def ours(url, column="resnet50", **more):
    return specification(ranked_bars(url, "name_gpu", column, title="ResNet-50", axis="images/s", **more))


def test_bars_order_and_labels_are_those_of_the_original(url):
    seed = json.loads((DATA / "seed_resnet50.vl.json").read_text())
    seed["data"]["url"] = url
    theirs, made = structure(rendered(seed, url)), structure(_square(ours(url), url))
    assert (
        theirs[0]
        == made[0]
        == ["8x Made H 80GB", "8x Made P 80GB", "2x Made D", "2x Made C", "Made E 40GB", "Made Card A"]
    )
    assert theirs[1] == made[1] == ["14985", "9397", "995", "979", "882", "274"]
    assert theirs[2] == made[2]


def _square(spec, url):
    # round corners are drawn as arcs; for comparing lengths they are taken off
    spec["layer"][0]["mark"].pop("cornerRadiusEnd")
    return rendered(spec, url)


def test_the_form_is_the_originals(url):
    spec = ours(url)
    assert spec["width"] == 800
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["bar", "text"]
    assert (spec["layer"][1]["mark"]["align"], spec["layer"][1]["mark"]["dx"]) == ("left", 6)
    assert spec["layer"][0]["encoding"]["y"]["sort"]["order"] == "descending"
    assert spec["data"] == {"url": url, "format": {"type": "csv", "parse": {"resnet50": "number"}}}


def test_the_original_is_not_valid_and_ours_is(url):
    seed = json.loads((DATA / "seed_resnet50.vl.json").read_text())
    with pytest.raises(jsonschema.ValidationError, match="tickStep"):
        alt.Chart.from_dict(seed)
    alt.Chart.from_dict(ours(url))


def test_0_means_not_run_and_stands_last(url):
    names, values, _ = structure(_square(ours(url, "transformerxlbase"), url))
    assert values == ["61000.5", "24000", "23000", "22000", "6600", "not run"]
    assert names[-1] == "8x Made H 80GB"


@pytest.mark.parametrize(
    ("name", "labels", "rule"),
    [
        ("ranked-collectives", "series", "400 GB/s = 3,200 Gb/s"),
        ("node-totals", "node", "3,200 Gb/s = 400 GB/s"),
        ("rail-ranks", "rail", "one rail as sold: 400 Gb/s = 50 GB/s"),
        ("clusters-all_reduce", "run", "400 GB/s = 3,200 Gb/s"),
    ],
)
def test_the_same_form_ranks_collectives_nodes_rails_and_clusters_with_what_was_sold(name, labels, rule):
    made = made_runs.cluster()
    other = replace(made.run, manifest=replace(made.run.manifest, id="another"))
    (compared,) = doc_pages.compared_pages([Evidence(made.run, made.profile), Evidence(other, made.profile)])
    specs = {
        **specifications(frames(Evidence(made.run, made.profile))),
        **{c.name: c.spec for c in compared.charts},
    }
    spec = specs[name]
    kinds = [layer["mark"]["type"] for layer in spec["layer"] if layer["mark"]["type"] != "tick"]
    assert kinds in (["bar", "text", "rule", "text"], ["bar", "text", "rule", "text", "rule", "text"])
    bars, texts, *_, line, word = (layer for layer in spec["layer"] if layer["mark"]["type"] != "tick")
    assert (texts["mark"]["align"], texts["mark"]["dx"], spec["width"]) == ("left", 6, 800)
    y = bars["encoding"]["y"]
    assert (y["field"], y["type"], y["sort"]["order"]) == (labels, "nominal", "descending")
    assert bars["encoding"]["x"]["type"] == "quantitative" and texts["encoding"]["y"] == y
    told = [row["text"] for rows in spec["datasets"].values() for row in rows if "text" in row]
    floors = [text for text in told if text.startswith("floor ")]
    assert next(text for text in told if text not in floors).endswith(rule)
    assert len(told) == len(kinds) // 2 - 1
    assert bool(floors) == (len(kinds) == 6)
    assert line["data"] == word["data"] != spec["data"]
