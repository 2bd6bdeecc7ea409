// Draws the charts of a page: places panels by the room there is, and colours them by the reader's theme.
"use strict";

(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ABOVE = 30; // pixels above it, for its title
  const BAR = 92; // pixels of a colour bar with its title

  // Panels side by side as far as each keeps a readable width; gives the height of the whole.
  const place = (layout, chart, width) => {
    const columns = Math.max(1, Math.min(chart.columns, Math.floor(width / 330)));
    const across = width / columns;
    const room = (panel) => across - panel.left - (panel.coloraxis ? BAR : 14);
    const tall = (panel) => {
      if (panel.ratio !== null) return panel.ratio * across;
      return panel.square ? Math.min(430, room(panel)) : Math.min(400, Math.max(280, 0.66 * across));
    };
    const [rows, below] = [[], []];
    chart.panels.forEach((panel, at) => {
      const row = Math.floor(at / columns);
      rows[row] = Math.max(rows[row] ?? 0, tall(panel));
      below[row] = Math.max(below[row] ?? 0, panel.below);
    });
    const until = (row) => rows.slice(0, row).reduce((sum, one, at) => sum + one + ABOVE + below[at], 0);
    const height = until(rows.length);
    chart.panels.forEach((panel, at) => {
      const row = Math.floor(at / columns);
      const top = until(row) + ABOVE;
      const left = (at % columns) * across + panel.left;
      const x = [left / width, (left + room(panel)) / width];
      const y = [1 - (top + rows[row]) / height, 1 - top / height].map((share) => Math.min(1, Math.max(0, share)));
      layout[`xaxis${panel.axes}`].domain = x;
      layout[`yaxis${panel.axes}`].domain = y;
      if (panel.coloraxis) {
        Object.assign(layout[panel.coloraxis].colorbar, { x: x[1], xanchor: "left", y: (y[0] + y[1]) / 2, len: y[1] - y[0] });
      }
    });
    for (const panel of chart.panels.filter((one) => one.across !== null)) {
      // Captions shrink with their pictures rather than run into each other; pointing at a picture tells its own.
      const size = Math.min(11, (1.6 * across) / panel.across / panel.letters);
      for (const note of layout.annotations) {
        if (note.xref === `x${panel.axes}`) Object.assign(note, { visible: size >= 7, font: { size } });
      }
    }
    return height;
  };

  const paint = (figure, chart, scheme) => {
    const [ink, line, colours] = scheme === "dark" ? ["#e5e3dd", "#3d434b", chart.colours.dark] : ["#1b1d1f", "#dcdcd4", chart.colours.light];
    const { layout } = figure;
    Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" });
    layout.font = { color: ink, size: 12, family: "system-ui, sans-serif" };
    for (const [name, axis] of Object.entries(layout)) {
      if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: line, linecolor: ink, showline: true, ticks: "outside", tickcolor: ink });
    }
    for (const shape of layout.shapes) shape.line.color = ink;
    for (const trace of figure.data) {
      if (!trace.meta) continue;
      if ("values_of" in trace.meta) {
        trace.z = figure.data[trace.meta.values_of].z;
        continue;
      }
      const colour = colours[trace.meta.colour];
      if (trace.line) trace.line.color = colour;
      if (trace.marker) trace.marker.color = colour;
      if (trace.error_y) trace.error_y.color = ink;
      if (trace.meta.alpha) trace.fillcolor = colour + Math.round(255 * trace.meta.alpha).toString(16).padStart(2, "0");
    }
  };

  const draw = (division, chart) => {
    const figure = structuredClone({ data: chart.data, layout: chart.layout });
    const width = division.clientWidth - 12;
    const height = place(figure.layout, chart, width);
    paint(figure, chart, dark.matches ? "dark" : "light");
    const legend = figure.layout.showlegend ? 30 + 22 * Math.ceil(figure.data.filter((trace) => trace.showlegend).length * 150 / width) : 8;
    Object.assign(figure.layout, {
      height: height + legend,
      margin: { l: 4, r: 8, t: 8, b: legend },
      legend: { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom" },
    });
    Plotly.react(division, figure.data, figure.layout, { displaylogo: false, responsive: false });
  };

  for (const division of document.querySelectorAll(".plot")) {
    const chart = JSON.parse(division.querySelector("script").textContent);
    division.replaceChildren();
    let width = -1;
    const again = () => { width = division.clientWidth; draw(division, chart); };
    new ResizeObserver(() => { if (division.clientWidth !== width) again(); }).observe(division);
    dark.addEventListener("change", again);
    again();
  }
})();
