"""The page in headless Chromium: every chart drawn, nothing complained of, nothing run but its own script."""

import re
from dataclasses import replace
from html import unescape

import pytest

import made_runs
from bench.judge.evidence import Evidence
from reports.charts import CHARTS
from reports.export import specifications
from reports.frames import frames
from reports.page import page

DRAWN = [chart.name for chart in CHARTS if chart.section in ("collectives", "rails")]


def test_every_chart_is_drawn_and_the_console_is_silent(cluster_folder, browse, tmp_path):
    dom, console = browse(cluster_folder / "report.html", tmp_path)
    assert console == ""
    assert 'data-ready="yes"' in dom
    for name in DRAWN:
        assert re.search(rf'id="chart-{name}"[^>]*data-drawn="yes"', dom), f"{name} was not drawn"
    dom = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert len(re.findall(r'<svg[^>]* class="marks"', dom)) == len(DRAWN)
    assert "onerror" in dom and "<img" not in dom


def test_tables_sort_by_value_and_tooltips_are_text(cluster_folder, browse, tmp_path):
    html = (cluster_folder / "report.html").read_text(encoding="utf-8")
    # a driver of the page in place of a person; the policy of a page under test is taken off for it
    driver = """<script>
      const again = setInterval(() => {
        if (document.documentElement.dataset.ready !== "yes") return;
        clearInterval(again);
        const box = [...document.querySelectorAll("#rows table")].at(-2);
        const button = [...box.querySelectorAll("th button")].find((b) => b.textContent === "size");
        button.click(); button.click();
        document.body.dataset.sizes = [...box.tBodies[0].rows]
          .map((r) => r.querySelector("[data-head=size]").textContent).join();
        document.body.dataset.sorted = box.querySelector("[aria-sort]").getAttribute("aria-sort");
        const bar = document.querySelector("#chart-node-totals .mark-rect path");
        const at = bar.getBoundingClientRect();
        for (const kind of ["pointerover", "pointermove"]) {
          bar.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX: at.x + 3, clientY: at.y + 3 }));
        }
        document.body.dataset.tip = document.getElementById("railgauge-tip")?.textContent ?? "none";
      }, 50);
    </script>"""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    head, _, tail = free.rpartition("</body>")
    path = tmp_path / "driven.html"
    path.write_text(f"{head}{driver}</body>{tail}", encoding="utf-8")
    dom, console = browse(path, tmp_path / "profile")
    assert console == ""
    sizes = re.search(r'data-sizes="([^"]*)"', dom).group(1).split(",")
    assert sizes == ["8 GiB", "8 GiB", "4 GiB", "4 GiB", "2 GiB", "2 GiB"]
    assert 'data-sorted="descending"' in dom
    tip = unescape(re.search(r'data-tip="([^"]*)"', dom).group(1))
    assert tip.startswith("node") and "Gb/s" in tip, tip


@pytest.fixture(scope="module")
def large():
    """The page of 64 nodes with 8 rails each; without the counters, which add 50 short rows and a minute."""
    made = made_runs.cluster(64)
    made = replace(made, run=replace(made.run, counters=()))
    f = frames(Evidence(made.run, made.profile))
    return page(Evidence(made.run, made.profile), f, specifications(f))


def test_sixty_four_nodes_fit_in_three_megabytes(large):
    assert len(large.encode()) < 3_000_000
    assert "the slowest 100 of 48,384 rows" in large


def test_sixty_four_nodes_are_drawn_without_a_complaint(large, browse, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(large, encoding="utf-8")
    dom, console = browse(path, tmp_path / "profile")
    assert console == "" and 'data-ready="yes"' in dom
    for name in DRAWN:
        assert re.search(rf'id="chart-{name}"[^>]*data-drawn="yes"', dom), f"{name} was not drawn"
    cells = re.search(r'id="chart-pair-heatmap".*?</figure>', dom, re.S).group(0)
    assert cells.count("to: node") >= 64 * 63
    assert "named: node002 rail mlx5_10" in dom or "suspected: node002 rail mlx5_10" in dom


def test_every_section_of_the_page_is_reached_from_its_head(cluster_folder):
    html = (cluster_folder / "report.html").read_text(encoding="utf-8")
    head = html.split("<nav", 1)[1].split("</nav>", 1)[0]
    links = re.findall(r'href="#([a-z]+)"', head)
    assert {
        "verdict",
        "attention",
        "coverage",
        "target",
        "collectives",
        "rails",
        "exclusion",
        "method",
    } <= set(links)
    assert all(f'id="{name}"' in html for name in links)


def test_names_of_checks_break_after_their_dots_and_inside_no_word(cluster_folder):
    html = (cluster_folder / "report.html").read_text(encoding="utf-8")
    assert '<code class="name">rails.<wbr>rate</code>' in html
    style = html.split("<style>")[1].split("</style>")[0]
    assert "code.name { overflow-wrap: normal; }" in style


@pytest.mark.parametrize("appendix", [False, True])
def test_on_paper_stand_three_pages_and_the_others_on_request(appendix, cluster_folder, browse, tmp_path):
    page = cluster_folder / "report.html"
    if appendix:  # as the button does; the policy of the page allows no script but its own
        html = page.read_text(encoding="utf-8").replace("<html ", '<html class="appendix" ')
        page = tmp_path / "appendix.html"
        page.write_text(html, encoding="utf-8")
    browse(page, tmp_path / "profile", f"--print-to-pdf={tmp_path / 'page.pdf'}")
    pages = len(re.findall(rb"/Type /Page\n", (tmp_path / "page.pdf").read_bytes()))
    assert (pages > 5) if appendix else (1 <= pages <= 3), pages
