// Draws the charts of a page: places panels by the room there is, and colours them by the reader's theme.
"use strict";

(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ABOVE = 30; // pixels above it, for one line of its title
  const LINE = 18; // pixels of every further line
  const LETTER = 7.2; // pixels of a title's average letter
  const BAR = 92; // pixels of a colour bar with its title

  // Panels side by side as far as each keeps a readable width; what belongs together starts a row of its own.
  const inRows = (chart, width) => {
    const fitting = Math.max(1, Math.min(chart.columns, Math.floor(width / (chart.rows.length ? 310 : 330))));
    const rows = [];
    let start = 0;
    for (const size of chart.rows.length ? chart.rows : [chart.panels.length]) {
      const columns = chart.rows.length ? Math.ceil(size / Math.ceil(size / fitting)) : fitting;
      for (let at = 0; at < size; at += columns) {
        rows.push({ panels: chart.panels.slice(start + at, start + Math.min(at + columns, size)), across: width / columns });
      }
      start += size;
    }
    return rows;
  };

  // Breaks a panel's title at its spaces into lines that fit; returns their number.
  const wrapTitle = (layout, panel, width) => {
    const title = layout.annotations.find((note) => note.name === "title" && note.xref === `x${panel.axes} domain`);
    if (!title) return 1;
    const lines = [""];
    for (const word of title.text.split(" ")) {
      if (lines.at(-1) && (lines.at(-1).length + 1 + word.length) * LETTER > width) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    title.text = lines.join("<br>");
    return lines.length;
  };

  // Gives every panel its place; returns the height of the whole.
  const place = (layout, chart, width) => {
    const rows = inRows(chart, width);
    // Pictures keep one size, whether or not theirs is the panel with a colour bar.
    const barred = chart.panels.some((panel) => panel.ratio !== null && panel.coloraxis);
    const bar = (panel) => panel.coloraxis || (barred && panel.ratio !== null);
    const room = (panel, across) => across - panel.left - (bar(panel) ? BAR : 14);
    const tall = (panel, across) => {
      if (panel.ratio !== null) return panel.ratio * (bar(panel) ? room(panel, across) : across);
      return panel.square ? Math.min(430, room(panel, across)) : Math.min(400, Math.max(280, 0.66 * across));
    };
    let height = 0;
    for (const row of rows) {
      row.tall = Math.max(...row.panels.map((panel) => tall(panel, row.across)));
      row.top = height + ABOVE + LINE * (Math.max(...row.panels.map((panel) => wrapTitle(layout, panel, room(panel, row.across)))) - 1);
      height = row.top + row.tall + Math.max(...row.panels.map((panel) => panel.below));
    }
    for (const row of rows) {
      row.panels.forEach((panel, at) => {
        panel.width = row.across;
        const free = room(panel, row.across);
        // A square is as wide as it is high, so that its colour bar stands beside it.
        const wide = panel.square ? Math.min(free, row.tall) : free;
        const left = at * row.across + panel.left + (free - wide) / 2;
        const x = [left / width, (left + wide) / width];
        const y = [1 - (row.top + row.tall) / height, 1 - row.top / height].map((share) => Math.min(1, Math.max(0, share)));
        layout[`xaxis${panel.axes}`].domain = x;
        layout[`yaxis${panel.axes}`].domain = y;
        if (panel.coloraxis) {
          const { cmin, cmax, colorbar } = layout[panel.coloraxis];
          Object.assign(colorbar, { x: x[1], xanchor: "left", y: (y[0] + y[1]) / 2, len: y[1] - y[0] });
          // In a short one there is only room for its ends.
          if (row.tall < 90) Object.assign(colorbar, { tickvals: [cmin, cmax], tickformat: ".2~g", tickfont: { size: 9 }, ypad: 4 });
        }
      });
    }
    for (const panel of chart.panels.filter((one) => one.across !== null)) {
      // Captions shrink with their pictures rather than run into each other; pointing at a picture tells its own.
      const size = Math.min(11, (1.6 * panel.width) / panel.across / panel.letters);
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
