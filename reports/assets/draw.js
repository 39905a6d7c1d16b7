"use strict";
// Draws one specification into one box, as wide as the box is: for the report page and for documentation alike.
// Every text goes in as text, never as HTML. Needs vega, vega-lite and vega-embed, as globals.
globalThis.railgaugeCharts = (() => {
  function tooltip(handler, event, item, value) {
    document.getElementById("railgauge-tip")?.remove();
    if (value === null || value === undefined || value === "") return;
    const tip = document.createElement("div");
    tip.id = "railgauge-tip";
    tip.setAttribute("role", "tooltip");
    if (typeof value === "object") {
      const list = document.createElement("dl");
      for (const [key, text] of Object.entries(value)) {
        if (text === null || text === "") continue;
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

  // ranked bars on a phone: names and the axis's title on lines, and at the end of a bar its figure alone
  function narrowed(value, width) {
    if (value === null || typeof value !== "object") return;
    if (value.labelLimit === 320) {
      value.labelLimit = Math.floor(0.45 * width);
      value.labelExpr = "split(replace(datum.label, ' (', '|('), '|')";
      value.labelLineHeight = 11;
    }
    if (value.as === "shown" && typeof value.calculate === "string") {
      value.calculate = value.calculate.replace(/ \+ \(datum\.\w+ \? '  ' \+ datum\.\w+ : ''\)/, "");
    }
    const across = value.x?.axis;
    if (typeof across?.title === "string") across.title = across.title.split(/ (?=\()/);
    for (const inner of Object.values(value)) narrowed(inner, width);
  }

  function fitted(spec, width) {
    const own = structuredClone(spec);
    if (width < 640) {
      for (const part of [own.encoding, own.layer, own.transform]) narrowed(part, width);
    }
    delete own.$schema; // says v5 for the sake of documentation sites; a newer library draws it alike
    if (own.facet) {
      // as many small charts beside each other as there is room for
      own.columns = Math.max(1, Math.min(own.columns, Math.floor((width - 20) / (own.spec.width + 62))));
      // and lines, unlike square maps, may be as long as that leaves
      if (own.spec.width > own.spec.height) own.spec.width = Math.floor((width - 20) / own.columns) - 62;
    } else if (own.width === 800) {
      own.width = Math.max(160, 0.7 * width);
    }
    return own;
  }

  function sized(config, width) {
    if (width >= 640) return config;
    return {
      ...config,
      legend: { ...config.legend, orient: "bottom", columns: 2 },
      axis: { ...config.axis, labelFontSize: 10, titleFontSize: 10, labelLimit: 130 },
      title: { ...config.title, fontSize: 13, subtitleFontSize: 10, limit: width - 8, subtitleLimit: width - 8 },
    };
  }

  // baseURL: what relative addresses of data in the specification begin at
  async function draw(box, spec, config, baseURL) {
    const width = box.clientWidth;
    // ast: expressions are interpreted, so that a page's policy can forbid eval; logLevel 1: errors alone
    const options = {
      ast: true, actions: false, config: sized(config, width), defaultStyle: false, logLevel: 1, mode: "vega-lite",
      renderer: "svg", tooltip, ...(baseURL ? { loader: { baseURL } } : {}),
    };
    const result = await vegaEmbed(box, fitted(spec, width), options);
    if (!spec.facet && spec.width === 800) {
      // labels and legend are as wide as they are; what they leave over is the chart's
      const spare = width - 2 - box.querySelector("svg").getBoundingClientRect().width;
      await result.view.width(Math.max(160, result.view.width() + spare)).runAsync();
    }
    return result;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.getElementById("railgauge-tip")?.remove();
  });
  return { draw };
})();
