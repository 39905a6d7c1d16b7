"use strict";
// The report page: has its charts drawn, sorts the tables, opens what is folded for printing.
(() => {
  const data = JSON.parse(document.getElementById("charts").textContent);

  async function drawAll() {
    for (const box of document.querySelectorAll(".chart")) {
      box.textContent = "";
      try {
        await railgaugeCharts.draw(box, data.specs[box.dataset.chart], data.config);
        box.dataset.drawn = "yes";
      } catch (error) {
        box.textContent = `the chart could not be drawn: ${error.message}; its figures are in the tables`;
        console.error(error);
      }
    }
    document.documentElement.dataset.ready = "yes";
  }

  function key(row, column) {
    const cell = row.cells[column];
    return cell.dataset.key ?? cell.textContent.trim();
  }

  function sort(button) {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const rising = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    const numbers = rows.every((entry) => entry.key === "" || Number.isFinite(Number(entry.key)));
    const compare = (a, b) => (numbers ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    // what has no value stays last in both directions
    rows.sort((a, b) => (a.key === "") - (b.key === "") || (rising ? 1 : -1) * compare(a.key, b.key));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...rows.map((entry) => entry.row));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (button) sort(button);
  });
  // on paper stands the first page with its findings; with the appendix every section, and every fold open
  const root = document.documentElement;
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = root.classList.contains("appendix") ? [...document.querySelectorAll("details:not([open])")] : [];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    root.classList.remove("appendix");
  });
  document.getElementById("print").addEventListener("click", () => {
    root.classList.add("appendix");
    print();
  });
  let last = innerWidth;
  let timer = 0;
  addEventListener("resize", () => {
    if (innerWidth === last) return;
    last = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(drawAll, 200);
  });
  drawAll();
})();
