"""Pictures: one drawing for light and dark pages, with the same bytes as two."""

import re

import pytest

import made_runs
from bench.judge.evidence import Evidence
from reports.charts import CHARTS
from reports.export import specifications
from reports.frames import frames
from reports.pictures import STAND_INS, svg, svgs
from reports.theme import INK

DRAWN = [chart.name for chart in CHARTS if chart.section in ("collectives", "rails")]


@pytest.fixture(scope="module")
def specs():
    made = made_runs.cluster()
    return specifications(frames(Evidence(made.run, made.profile)))


def counted_from_one(picture):
    """The renderer counts gradients over all that a process draws."""
    return re.sub(r"gradient_\d+", "gradient", picture)


@pytest.mark.parametrize("name", DRAWN)
def test_one_drawing_in_two_inks_is_what_two_drawings_are(name, specs):
    both = svgs(specs[name])
    assert list(both) == list(INK)
    for mode, picture in both.items():
        assert counted_from_one(picture) == counted_from_one(svg(specs[name], mode))
        assert INK[mode][0] in picture and not any(colour in picture for colour in STAND_INS)


def test_a_node_that_is_called_like_a_colour_keeps_its_name(specs):
    spec = {**specs["ranked-collectives"], "title": f"node {STAND_INS[0]}"}
    for mode, picture in svgs(spec).items():
        assert f">node {STAND_INS[0]}<" in picture
        assert picture == svg(spec, mode)
