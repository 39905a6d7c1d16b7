"""A fence becomes an element: addresses as in Markdown, and every mistake stops the build."""

import json
import re
from html import unescape
from types import SimpleNamespace

import pytest

from reports.vegalite_fence import FenceError, element, read, relative, vegalite

pymdownx = pytest.importorskip("pymdownx.superfences", reason="pymdown-extensions is not installed")


def page(src, url, *files):
    """What MkDocs gives a formatter: the page's file, and a look-up of all others."""
    known = {path: SimpleNamespace(url=path) for path in files}
    links = SimpleNamespace(
        file=SimpleNamespace(src_uri=src, url=url), files=SimpleNamespace(get_file_from_path=known.get)
    )
    return SimpleNamespace(treeprocessors={"relpath": links})


def address(md, url):
    html = vegalite(json.dumps({"schema-url": url}), "vegalite", "vegalite", {}, md)
    return unescape(re.search(r'data-spec="([^"]*)"', html).group(1))


@pytest.mark.parametrize(
    ("src", "url", "written", "followed"),
    [
        ("charts/rails.md", "charts/rails/", "a.vl.json", "../a.vl.json"),
        ("charts/index.md", "charts/", "a.vl.json", "a.vl.json"),
        ("charts/rails.md", "charts/rails.html", "a.vl.json", "a.vl.json"),
        ("index.md", "./", "charts/a.vl.json", "charts/a.vl.json"),
        ("x/y/z.md", "x/y/z/", "../../charts/a.vl.json", "../../../charts/a.vl.json"),
        ("x/y/z.md", "x/y/z/", "/charts/a.vl.json", "../../../charts/a.vl.json"),
        ("x/y/z.md", "x/y/z/", "charts/a.vl.json", "../../../charts/a.vl.json"),
        ("x/y/z.md", "x/y/z/", "https://example.org/a.vl.json", "https://example.org/a.vl.json"),
    ],
)
def test_addresses_are_those_of_a_link_or_from_the_root(src, url, written, followed):
    assert address(page(src, url, "charts/a.vl.json"), written) == followed


def test_zensical_tells_the_page_and_the_folder_of_the_documentation(tmp_path):
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "a.vl.json").write_text("{}")
    context = SimpleNamespace(
        page=SimpleNamespace(path="x/y.md", url="x/y/"), config={"docs_dir": str(tmp_path)}
    )
    md = SimpleNamespace(treeprocessors={}, preprocessors={"rendering_context": context})
    assert address(md, "../charts/a.vl.json") == "../../charts/a.vl.json"
    assert address(md, "charts/a.vl.json") == "../../charts/a.vl.json"
    with pytest.raises(pymdownx.SuperFencesException, match="x/y.md: no file x/b.vl.json nor b.vl.json"):
        address(md, "b.vl.json")


def test_where_nobody_knows_the_page_addresses_stay():
    assert address(SimpleNamespace(treeprocessors={}), "charts/a.vl.json") == "charts/a.vl.json"
    assert address(None, "charts/a.vl.json") == "charts/a.vl.json"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("not json", "rails.md: a vegalite fence holds no JSON"),
        ("[1]", "rails.md: a vegalite fence holds no object"),
        ("{}", "rails.md: a vegalite fence holds no object"),
        ('{"schema-url": "gone.vl.json"}', "rails.md: no file gone.vl.json in the documentation"),
    ],
)
def test_a_mistake_stops_the_build_and_names_the_page(source, words):
    with pytest.raises(pymdownx.SuperFencesException, match=words):
        vegalite(source, "vegalite", "vegalite", {}, page("rails.md", "rails/"))


def test_a_specification_in_the_fence_is_data_and_knows_where_its_own_addresses_begin():
    spec = {"mark": "bar", "title": "</script><img src=x onerror=alert(1)>"}
    html = vegalite(json.dumps(spec), "vegalite", "vegalite", {}, page("x/y.md", "x/y/"))
    assert html.startswith('<div class="vegalite" data-base="../"><script type="application/json">')
    inner = re.search(r'<script type="application/json">(.*)</script></div>$', html).group(1)
    assert not set("<>&") & set(inner) and json.loads(inner) == spec


def test_a_hostile_address_is_an_attribute_and_nothing_else():
    html = element({"schema-url": '"><script>alert(1)</script>'}, lambda url: url)
    assert "<script>" not in html


@pytest.mark.parametrize(
    ("target", "page_url", "path"),
    [
        ("a/b.json", "a/", "b.json"),
        ("a/b.json", "c/d/", "../../a/b.json"),
        ("a/", "a/b/", "../"),
        ("a/", "a/", "./"),
    ],
)
def test_relative_leads_from_page_to_target(target, page_url, path):
    assert relative(target, page_url) == path


def test_read_takes_objects_alone():
    assert read('{"a": 1}', "p") == {"a": 1}
    with pytest.raises(FenceError, match="a page"):
        read("null", "")
