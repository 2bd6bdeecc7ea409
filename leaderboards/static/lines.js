// A small line chart of several entries, in the style of the charts that are drawn with the pages.
"use strict";

// title, names of both axes, and lines of { name, style, points: [[x, y, low, high], …] } → a figure.
regionbench.lineChart = (title, xLabel, yLabel, lines) => {
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 280, 46, 406, 30, 234];
  const SVG = "http://www.w3.org/2000/svg";
  const all = lines.flatMap((line) => line.points);
  const make = (parent, name, attributes, text) => {
    const element = parent.appendChild(document.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  // Round ticks that reach beyond the values.
  function scale(values, start, end) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
    const raw = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    const ticks = [];
    for (let at = Math.floor(low / step); at <= Math.ceil(high / step - 1e-9); at++) ticks.push(at * step);
    const [first, last] = [ticks[0], ticks.at(-1)];
    const decimals = Math.max(0, -Math.floor(Math.log10(step)));
    return {
      at: (value) => Number((start + (value - first) / (last - first) * (end - start)).toFixed(1)),
      ticks: ticks.map((tick) => [tick, tick.toFixed(decimals).replace("-", "−")]),
    };
  }
  const x = scale(all.map((point) => point[0]), LEFT, RIGHT);
  const y = scale(all.flatMap(([, value, low, high]) => [value, low ?? value, high ?? value]), BOTTOM, TOP);

  const figure = document.createElement("figure");
  figure.className = "chart";
  figure.appendChild(document.createElement("figcaption")).textContent = title;
  const panels = figure.appendChild(document.createElement("div"));
  panels.className = "panels";
  const svg = make(panels, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const [value, text] of y.ticks) {
    make(svg, "path", { class: "grid", d: `M${LEFT} ${y.at(value)}H${RIGHT}` });
    make(svg, "text", { class: "tick", x: LEFT - 7, y: y.at(value) + 4, "text-anchor": "end" }, text);
  }
  for (const [value, text] of x.ticks) make(svg, "text", { class: "tick", x: x.at(value), y: BOTTOM + 18, "text-anchor": "middle" }, text);
  make(svg, "text", { class: "axis", x: 8, y: 14 }, yLabel);
  make(svg, "text", { class: "axis", x: WIDTH - 14, y: HEIGHT - 8, "text-anchor": "end" }, xLabel);
  for (const { style, points } of lines) {
    if (points.every(([, , low, high]) => low !== null && high !== null)) {
      const ends = [...points.map(([at, , low]) => [at, low]), ...points.map(([at, , , high]) => [at, high]).reverse()];
      make(svg, "path", { class: `band s${style}`, d: `M${ends.map(([a, b]) => `${x.at(a)} ${y.at(b)}`).join("L")}z` });
    }
  }
  const dashes = ["", "10 3", "10 3 2 3", "2 2.4", "18 4"];
  for (const { name, style, points } of lines) {
    const way = points.map(([at, value]) => `${x.at(at)} ${y.at(value)}`).join("L");
    make(make(svg, "path", { class: `line s${style}`, "stroke-dasharray": dashes[style], d: `M${way}` }), "title", {}, name);
  }
  const legend = figure.appendChild(document.createElement("ul"));
  legend.className = "legend";
  for (const { name, style } of new Map(lines.map((line) => [line.name, line])).values()) {
    const item = legend.appendChild(document.createElement("li"));
    const key = make(item, "svg", { viewBox: "0 0 20 12", width: 20, height: 12, "aria-hidden": "true" });
    make(key, "path", { class: `line s${style}`, "stroke-dasharray": dashes[style], d: "M0 6H20" });
    item.append(name);
  }
  return figure;
};
