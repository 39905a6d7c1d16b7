"""Links of the documents: in the source tree each leads to a file, on a package index none leads nowhere."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in (".", "docs/pages", "reports", "ci/jobs", "ci/lab")
    for path in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
description = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["description"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_in_the_source_tree_leads_to_a_file(page):
    text = re.sub(r"^ {4}.*$|^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = [to.partition("#")[0] for _, to in LINK.findall(text) if "://" not in to]
    assert [to for to in targets if to and not (ROOT / page.parent / to).exists()] == []


def test_a_package_index_is_given_no_relative_link():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = description(readme, "[project]")
    assert [to for _, to in LINK.findall(shown) if "://" not in to] == []
    assert "![" not in shown and "Accept a cluster, from the first probe" in shown


def test_with_an_address_of_the_project_every_link_is_absolute():
    project = '[project.urls]\nRepository = "https://example.org/a/railgauge/"\n'
    shown = description("![p](docs/pages/chart.svg) [q](docs/pages/accept.md#x) [r](https://x.org)", project)
    place = "https://example.org/a/railgauge"
    assert shown == (
        f"![p]({place}/raw/HEAD/docs/pages/chart.svg) [q]({place}/blob/HEAD/docs/pages/accept.md#x) [r](https://x.org)"
    )
