"use strict";
// Draws the charts, sorts the tables, opens what is folded for printing. Every text goes in as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("charts").textContent);

  function tooltip(handler, event, item, value) {
    document.getElementById("tip")?.remove();
    if (value === null || value === undefined || value === "") return;
    const tip = document.createElement("div");
    tip.id = "tip";
    tip.setAttribute("role", "tooltip");
    if (typeof value === "object") {
      const list = document.createElement("dl");
      for (const [key, text] of Object.entries(value)) {
        list.append(Object.assign(document.createElement("dt"), { textContent: key }));
        list.append(Object.assign(document.createElement("dd"), { textContent: String(text) }));
      }
      tip.append(list);
    } else {
      tip.textContent = String(value);
    }
    document.body.append(tip);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
  }

  function fitted(spec, width) {
    const own = structuredClone(spec);
    delete own.$schema; // says v5 for the sake of documentation sites; this bundle is newer and draws it alike
    if (own.facet) {
      // as many small charts beside each other as there is room for
      own.columns = Math.max(1, Math.min(own.columns, Math.floor((width - 20) / (own.spec.width + 62))));
    } else if (own.width === 800) {
      own.width = Math.max(160, 0.7 * width);
    }
    return own;
  }

  async function draw(box) {
    const width = box.clientWidth;
    const narrow = width < 640;
    const config = { ...data.config, legend: { ...data.config.legend, ...(narrow ? { orient: "bottom", columns: 2 } : {}) } };
    if (narrow) {
      config.axis = { ...config.axis, labelFontSize: 10, titleFontSize: 10, labelLimit: 130 };
      config.title = { ...config.title, fontSize: 13, subtitleFontSize: 10, limit: width - 8, subtitleLimit: width - 8 };
    }
    // ast: expressions are interpreted, so that the page's policy can forbid eval; logLevel 1: errors alone
    const options = {
      ast: true, actions: false, config, defaultStyle: false, logLevel: 1, mode: "vega-lite", renderer: "svg", tooltip,
    };
    const spec = data.specs[box.dataset.chart];
    const { view } = await vegaEmbed(box, fitted(spec, width), options);
    if (!spec.facet && spec.width === 800) {
      // labels and legend are as wide as they are; what they leave over is the chart's
      const spare = width - 2 - box.querySelector("svg").getBoundingClientRect().width;
      await view.width(Math.max(160, view.width() + spare)).runAsync();
    }
    box.dataset.drawn = "yes";
  }

  async function drawAll() {
    for (const box of document.querySelectorAll(".chart")) {
      box.textContent = "";
      try {
        await draw(box);
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
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.getElementById("tip")?.remove();
  });

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
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
