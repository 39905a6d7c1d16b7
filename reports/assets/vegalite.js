"use strict";
// Charts in documentation: draws every element of class "vegalite" that a ```vegalite fence became, in the
// colours of the page, and again when these or its width change. Works in MkDocs (Material, Zensical) and Sphinx.
(() => {
  const CONFIG = "@CONFIG@"; // light and dark, filled in when this file is written
  const drawn = new WeakMap(); // box → what it was last drawn for, and the view
  const style = document.createElement("style");
  const RULES = `.vegalite { width: 100%; overflow-x: auto; margin: 1em 0; }
    .vegalite svg { display: block; max-width: none; }
    #railgauge-tip { position: fixed; z-index: 9; pointer-events: none; background: Canvas; color: CanvasText;
      border: 1px solid GrayText; border-radius: 6px; padding: 6px 10px; font-size: 13px; max-width: 24em; }
    #railgauge-tip dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; }
    #railgauge-tip dt, #railgauge-tip dd { margin: 0; }`;

  // what lies behind the box decides, not the name of a theme
  function dark(box) {
    for (let element = box; element; element = element.parentElement) {
      const [r, g, b, alpha] = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
      if (b !== undefined && alpha !== 0) return 0.299 * r + 0.587 * g + 0.114 * b < 128;
    }
    return false;
  }

  async function source(box) {
    const inline = box.querySelector("script");
    const here = new URL(box.dataset.base ?? ".", document.baseURI).href;
    if (inline) return [JSON.parse(inline.textContent), here];
    const address = new URL(box.dataset.spec, document.baseURI).href;
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
    return [await answer.json(), new URL(".", address).href];
  }

  async function draw(box) {
    const last = drawn.get(box) ?? {};
    const mode = dark(box) ? "dark" : "light";
    const width = box.clientWidth;
    if (!width || (last.mode === mode && Math.abs(last.width - width) < 2)) return; // hidden, or as it should be
    const now = { mode, width, from: last.from, view: last.view };
    drawn.set(box, now);
    try {
      if (!globalThis.vegaEmbed) throw new Error("vega, vega-lite and vega-embed are not loaded before vegalite.js");
      now.from ??= source(box);
      const [spec, base] = await now.from;
      if (drawn.get(box) !== now) return; // somebody was faster
      now.view?.finalize();
      now.view = (await railgaugeCharts.draw(box, spec, CONFIG[mode], base)).view;
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", spec.description ?? spec.title?.text ?? "chart");
      box.dataset.drawn = mode;
    } catch (error) {
      box.textContent = `the chart could not be drawn: ${error.message}`;
      box.dataset.drawn = "failed";
      console.error(error);
    }
  }

  const boxes = () => document.querySelectorAll(".vegalite");
  const redraw = () => {
    style.textContent = `${RULES} #railgauge-tip { color-scheme: ${dark(document.body) ? "dark" : "light"}; }`;
    for (const box of boxes()) draw(box);
  };
  const soon = () => [0, 400].forEach((wait) => setTimeout(redraw, wait)); // 400: themes fade from one to the other
  let timer = 0;
  const sizes = new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(redraw, 100);
  });

  function start() {
    if (!style.isConnected) document.head.append(style);
    for (const box of boxes()) sizes.observe(box);
    redraw();
  }

  const themes = new MutationObserver(soon);
  const attributes = ["class", "style", "data-theme", "data-mode", "data-md-color-scheme"];
  function watch() {
    for (const element of [document.documentElement, document.body]) {
      themes.observe(element, { attributes: true, attributeFilter: attributes });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
    // Material loads the next page into this one, and says so here
    if (globalThis.document$?.subscribe) document$.subscribe(start);
    else start();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", watch);
  else watch();
})();
