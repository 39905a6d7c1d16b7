"""Real documentation sites of the generated folder, in headless Chromium: MkDocs Material and Sphinx.

Every chart is seen drawn, in the light theme and in the dark one, on a nested page too, and nothing is complained of.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports.theme import INK

ROOT = Path(__file__).parents[2]
NESTED = """# Nested

```vegalite
{"schema-url": "../../charts/rail-matrix.vl.json"}
```

From the root:

```vegalite
{"schema-url": "/charts/ranked-collectives.vl.json"}
```

A whole specification:

```vegalite
{"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "width": 300, "mark": "bar", "description": "by hand",
 "data": {"url": "../../charts/rail-ranks.csv", "format": {"type": "csv", "parse": {"gbps": "number"}}},
 "encoding": {"x": {"field": "gbps", "type": "quantitative"}, "y": {"field": "rail", "type": "nominal"}}}
```
"""
MKDOCS = """site_name: made
site_url: https://docs.example.org/made/
theme: {name: material, font: false, palette: {scheme: default}}
markdown_extensions:
  - pymdownx.superfences:
      custom_fences:
        - name: vegalite
          class: vegalite
          format: !!python/name:reports.vegalite_fence.vegalite
extra_javascript: [charts/vega.js, charts/vegalite.js]
"""
SPHINX = """project = "made"
extensions = ["myst_parser", "reports.sphinx_vegalite"]
exclude_patterns = ["**/pictures/*"]
vegalite_library = True
html_theme = "alabaster"
"""
# what a reader does who switches the theme, once all is drawn
SWITCH = """<script>
  const once = setInterval(() => {
    const boxes = [...document.querySelectorAll(".vegalite")];
    if (!boxes.length || boxes.some((box) => box.dataset.drawn !== "light")) return;
    clearInterval(once);
    document.body.setAttribute("data-md-color-scheme", "slate");
  }, 50);
</script>"""


def write(folder, pages):
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def built(command, folder):
    """Run a site's builder; a warning is an error in both. PYTHONPATH stands for an installed RailGauge."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def mkdocs(docs_folder, tmp_path_factory):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("mkdocs")
    shutil.copytree(docs_folder, folder / "docs" / "charts")
    write(folder, {"mkdocs.yml": MKDOCS, "docs/index.md": "# Made\n", "docs/platform/h100/rails.md": NESTED})
    return built(["mkdocs", "build", "--strict"], folder)


@pytest.fixture(scope="module")
def sphinx(docs_folder, tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not installed")
    pytest.importorskip("myst_parser", reason="myst-parser is not installed")
    folder = tmp_path_factory.mktemp("sphinx")
    shutil.copytree(docs_folder, folder / "source" / "charts")
    index = "# Made\n\n```{toctree}\n:glob:\ncharts/*\nplatform/h100/*\n```\n"
    write(folder / "source", {"conf.py": SPHINX, "index.md": index, "platform/h100/rails.md": NESTED})
    return built(["sphinx", "-W", "-q", "-b", "html", "source", "site"], folder)


def fences(site, page):
    return (site / page).read_text(encoding="utf-8").count('<div class="vegalite"')


def drawn(dom, mode):
    """Boxes that hold a drawn chart of that mode, with the words for those who do not see it."""
    boxes = re.findall(r'<div class="vegalite[^"]*"([^>]*)>(<svg|<div[^>]*><svg)?', dom)
    return sum(
        f'data-drawn="{mode}"' in attributes
        and bool(picture)
        and re.search(r'aria-label="[^"]{5,}"', attributes) is not None
        for attributes, picture in boxes
    )


def labels(dom):
    """The colours of the axes' labels."""
    return set(re.findall(r'role-axis-label[^>]*><text[^>]*? fill="([^"]*)"', dom))


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("charts/collectives/index.html", 4),
        ("charts/rails/index.html", 5),
        ("platform/h100/rails/index.html", 3),
    ],
)
def test_mkdocs_material_shows_every_chart_in_light_and_dark(mkdocs, browse, loopback, tmp_path, page, count):
    assert fences(mkdocs, page) == count
    url = loopback(mkdocs)
    light, console = browse(url + page, tmp_path / "light")
    assert console == ""
    assert drawn(light, "light") == count
    assert labels(light) == {INK["light"][0]}
    text = (mkdocs / page).read_text(encoding="utf-8")
    switched = (mkdocs / page).with_name("switched.html")
    switched.write_text(text.replace("</body>", f"{SWITCH}</body>"), encoding="utf-8")
    dark, console = browse(url + page.replace("index.html", "switched.html"), tmp_path / "dark")
    assert console == ""
    assert drawn(dark, "dark") == count
    assert labels(dark) == {INK["dark"][0]}


def test_mkdocs_material_shows_trends_of_a_cluster_whose_name_is_hostile(mkdocs, browse, loopback, tmp_path):
    (page,) = (mkdocs / "charts").glob("nightly-*/index.html")
    dom, console = browse(loopback(mkdocs) + str(page.relative_to(mkdocs)), tmp_path)
    assert console == "" and drawn(dom, "light") == 3
    assert "nccl 2.28.9 → 2.29.1" in dom


def test_mkdocs_stops_at_a_fence_whose_specification_is_gone(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    write(tmp_path, {"mkdocs.yml": MKDOCS.replace("extra_java", "#"), "docs/index.md": NESTED})
    with pytest.raises(AssertionError, match="no file .*rail-matrix.vl.json in the documentation"):
        built(["mkdocs", "build", "--strict"], tmp_path)


@pytest.mark.parametrize(("page", "count"), [("charts/rails.html", 5), ("platform/h100/rails.html", 3)])
def test_sphinx_shows_every_chart_of_the_same_folder(sphinx, browse, loopback, tmp_path, page, count):
    assert fences(sphinx, page) == count
    dom, console = browse(loopback(sphinx) + page, tmp_path)
    assert console == ""
    assert drawn(dom, "light") == count


def test_without_vega_a_chart_says_what_is_missing(docs_folder, browse, loopback, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(docs_folder, folder)
    box = '<div class="vegalite" data-spec="rail-matrix.vl.json"></div><script src="vegalite.js"></script>'
    write(folder, {"page.html": f"<!doctype html><meta charset=utf-8>{box}"})
    dom, console = browse(loopback(folder) + "page.html", tmp_path / "profile")
    assert "vega, vega-lite and vega-embed are not loaded" in dom and "not loaded" in console


def test_a_specification_that_is_gone_is_said_where_it_was_to_be(docs_folder, browse, loopback, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(docs_folder, folder)
    box = '<div class="vegalite" data-spec="gone.vl.json"></div>'
    scripts = '<script src="vega.js"></script><script src="vegalite.js"></script>'
    write(folder, {"page.html": f"<!doctype html><meta charset=utf-8>{box}{scripts}"})
    dom, _ = browse(loopback(folder) + "page.html", tmp_path / "profile")
    assert "the chart could not be drawn" in dom and "gone.vl.json: 404" in dom
