"""The recipes for charts in documentation, done as they are written and opened in Chromium."""

import re
from pathlib import Path

import pytest

import made_docs
import programs
import runs
from recipes import ROOT, recipe

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

PAGE = (ROOT / "docs" / "pages" / "charts.md").read_text(encoding="utf-8")
# heading → the program that builds, and the page of the collectives
BUILDERS = {
    "MkDocs Material": ("mkdocs", "site/charts/collectives/index.html"),
    "Zensical": ("zensical", "site/charts/collectives/index.html"),
    "Sphinx": ("sphinx-build", "site/charts/collectives.html"),
}
# what a reader does who prefers a dark page: Material and Zensical by their switch, Sphinx by a theme of its own
DARK = "<script>document.body.setAttribute('data-md-color-scheme', 'slate');</script></body>"
PHONE = (
    '<body style="margin:0"><iframe id="phone" src="/{}" style="width:390px;height:4000px;border:0"></iframe>'
)
WIDE = """<script>addEventListener("load", () => setTimeout(() => {
  const page = document.getElementById("phone").contentDocument.documentElement;
  document.body.dataset.wide = page.scrollWidth;
  document.body.dataset.drawn = page.querySelectorAll(".vegalite[data-drawn=light] svg").length;
}, 4000))</script>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runs.folder(tmp_path_factory.mktemp("runs") / "tonight")


@pytest.fixture(scope="module", params=BUILDERS)
def site(request, run, tmp_path_factory):
    """A site as its recipe makes it, and its page of collectives."""
    program, page = BUILDERS[request.param]
    programs.need(program)
    folder = tmp_path_factory.mktemp("site")
    recipe(PAGE, request.param).follow(folder, run)
    return folder, page


def drawn(dom, mode):
    return len(
        re.findall(rf'<div class="vegalite[^"]*"[^>]*data-drawn="{mode}"[^>]*>(?:<div[^>]*>)?<svg', dom)
    )


def test_a_recipe_works_as_it_is_written(site, browse, loopback, tmp_path):
    folder, page = site
    built = folder / page
    fences = built.read_text(encoding="utf-8").count('<div class="vegalite"')
    assert fences > 0
    url = loopback(folder)
    dom, console = browse(url + page, tmp_path / "light")
    assert console == "" and drawn(dom, "light") == fences
    built.with_name("dark.html").write_text(built.read_text(encoding="utf-8").replace("</body>", DARK))
    if b"data-md-color-scheme" in built.read_bytes():
        dom, console = browse(url + page.replace(built.name, "dark.html"), tmp_path / "dark")
        assert console == "" and drawn(dom, "dark") == fences


def test_on_a_phone_no_page_is_wider_than_the_screen(site, browse, loopback, tmp_path):
    folder, page = site
    (folder / "phone.html").write_text(PHONE.format(page) + WIDE)
    dom, _ = browse(loopback(folder) + "phone.html", tmp_path, "--window-size=800,900")
    assert int(re.search(r'data-wide="(\d+)"', dom)[1]) <= 390
    assert int(re.search(r'data-drawn="(\d+)"', dom)[1]) > 0


def test_no_chart_stands_on_a_second_page(site):
    folder, _ = site
    pages = [path.relative_to(folder / "site") for path in (folder / "site").rglob("*.html")]
    assert not [page for page in pages if "pictures" in page.parts and page.suffix == ".html"]
    assert (folder / "docs/charts/pictures/README.md").exists() or (
        folder / "charts/pictures/README.md"
    ).exists()


def test_the_packages_of_the_recipes_are_those_that_the_tests_install():
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    installed = {re.match(r"[\w-]+", each)[0] for each in dev}
    for heading in BUILDERS:
        assert set(recipe(PAGE, heading).packages) <= installed


def test_a_fence_of_ones_own_names_a_file_that_is_written(tmp_path):
    made_docs.folder(tmp_path / "charts")
    for name in re.findall(r'\{"schema-url": "([^"]+)"\}', PAGE):
        assert (tmp_path / name).is_file() or not Path(name).parts
