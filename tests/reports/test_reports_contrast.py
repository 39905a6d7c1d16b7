"""Whatever is text on a page or in a chart has a contrast of 4.5 : 1, in light and in dark, by computation."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

import made_runs
from bench.judge.evidence import Evidence
from reports.charts.rails import rail_matrix
from reports.export import specifications
from reports.frames import BLAMED_COLUMNS, frames
from reports.pictures import svg
from reports.port_rates import port_rates
from reports.scripts import asset, docs_script
from reports.theme import INK, PAPER, config, specification

LEAST = 4.5  # WCAG 2.2, 1.4.3
MODES = {"light": 0, "dark": 1}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_the_standard_says():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_every_text_of_the_page_is_readable_on_every_ground_that_it_stands_on(mode):
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in asset("page.css").split(":root")[1:]
    ]
    colours = blocks[MODES[mode]]
    grounds = [colours[name] for name in colours if name.endswith("card") or name in ("paper", "raised")]
    assert len(grounds) == 5
    for name in ("ink", "soft", "link", "pass", "fail", "inconclusive", "not-applicable"):
        assert min(contrast(colours[name], ground) for ground in grounds) >= LEAST, (mode, name)
    assert (colours["ink"], colours["paper"]) == (INK[mode][0], PAPER[mode])


@pytest.mark.parametrize("mode", MODES)
def test_texts_of_charts_take_the_colour_of_the_page(mode):
    dressed = config(mode)
    for colour in (dressed["text"]["color"], dressed["axis"]["titleColor"], dressed["title"]["color"]):
        assert contrast(colour, PAPER[mode]) >= LEAST
    made = made_runs.cluster(4)
    for name, spec in specifications(frames(Evidence(made.run, made.profile))).items():
        for mark in marks(spec):
            assert mark.get("type") != "text" or "color" not in mark, name


def test_the_bars_of_the_seed_have_labels_that_are_readable_on_dark():
    seed = {
        "data": {"values": [{"name_gpu": "H100", "resnet50": 1.0}]},
        "encoding": {"y": {"field": "name_gpu", "type": "nominal"}, "x": {"field": "resnet50", "type": "quantitative"}},
        "layer": [
            {"mark": "bar"},
            {"mark": {"type": "text", "align": "left", "dx": 6}, "encoding": {"text": {"field": "resnet50"}}},
        ],
    }  # fmt: skip
    (fill,) = re.findall(r'mark-text role-mark.*?fill="(#[0-9a-f]{6})"', svg(seed, "dark"), re.S)
    assert contrast(fill, PAPER["dark"]) >= LEAST
    assert json.dumps(config("dark")["text"]) in docs_script()


def marks(view):
    if isinstance(view, dict):
        if isinstance(view.get("mark"), dict):
            yield view["mark"]
        for each in view.values():
            yield from marks(each)
    if isinstance(view, list):
        for each in view:
            yield from marks(each)


def drawn(chart):
    """[(fill of a cell, fill of its number)] of a rendered map, in the order of the cells."""
    picture = svg(specification(chart), "light")
    group = re.search(r'mark-text role-mark[^"]*on_cells[^"]*".*?</g>', picture, re.S)
    cells = re.findall(r'<path aria-label="node: (n\d+);.*?fill="(rgb\([^)]*\)|#[0-9a-f]{6})"', picture)
    return cells, re.findall(r'fill="(#[0-9a-f]{6})"', group[0]) if group else []


def hexadecimal(colour):
    parts = [int(part) for part in re.findall(r"\d+", colour)] if colour.startswith("rgb") else None
    return colour if parts is None else "#{:02x}{:02x}{:02x}".format(*parts)


def test_the_numbers_on_the_cells_of_the_map_of_rails_are_readable():
    made = made_runs.cluster(2)
    f = frames(Evidence(made.run, made.profile))
    rates = [100.0] * 30 + [100.0 - each / 2 for each in range(4, 30)]
    nodes = [f"n{at:02d}" for at in range(len(rates))]
    pairs = pd.DataFrame(
        {"source": nodes, "destination": nodes, "rail": "r", "busbw": rates, "gbps": rates}
    )  # each its own partner: its median is its rate
    f = replace(f, pairs=pairs, nodes=tuple(nodes), blamed=pd.DataFrame(columns=list(BLAMED_COLUMNS)))
    cells, numbers = drawn(rail_matrix(f, port_rates(f)))
    slow = [hexadecimal(fill) for name, fill in cells if pairs["gbps"][int(name[1:])] < 98]
    assert len(slow) == len(numbers) > 20
    for ground, number in zip(slow, numbers, strict=True):
        assert contrast(ground, number) >= LEAST, (ground, number)
