"""The page in headless Chromium: every chart drawn, nothing complained of, nothing run but its own script."""

import re
from html import unescape

from reports.charts import CHARTS


def test_every_chart_is_drawn_and_the_console_is_silent(cluster_folder, browse, tmp_path):
    dom, console = browse(cluster_folder / "report.html", tmp_path)
    assert console == ""
    assert 'data-ready="yes"' in dom
    for chart in CHARTS:
        assert re.search(rf'id="chart-{chart.name}"[^>]*data-drawn="yes"', dom), f"{chart.name} was not drawn"
    dom = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert len(re.findall(r"<svg", dom)) == len(CHARTS)
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
        document.body.dataset.tip = document.getElementById("tip")?.textContent ?? "none";
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
