// Draws the charts of a page: places panels by the room there is, and colors them by the reader's theme.
"use strict";

(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ABOVE = 30; // pixels above it, for one line of its title
  const LINE = 18; // pixels of every further line
  const LETTER = 7.2; // pixels of a title's average letter
  const SMALL = 6.6; // pixels of any other letter
  const BAR = 92; // pixels of a color bar with its title

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

  // Breaks text at its spaces into lines that fit.
  const wrapped = (text, width, letter) => {
    const lines = [""];
    for (const word of text.split(" ")) {
      if (lines.at(-1) && (lines.at(-1).length + 1 + word.length) * letter > width) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    return lines;
  };

  // Breaks a panel's title; returns the number of its lines.
  const wrapTitle = (layout, panel, width) => {
    const title = layout.annotations.find((note) => note.name === "title" && note.xref === `x${panel.axes} domain`);
    if (!title) return 1;
    const lines = wrapped(title.text, width, LETTER);
    title.text = lines.join("<br>");
    return lines.length;
  };

  // Breaks the title of an axis; returns the number of its lines.
  const wrapAxis = (axis, text, length) => {
    if (!text || !axis.title) return 1;
    const lines = wrapped(text, length, SMALL);
    axis.title.text = lines.join("<br>");
    return lines.length;
  };

  // The categories of a map in lines that fit, each a square of its color and its name; and the longest's pixels.
  const wrapCategories = (panel, width) => {
    const lines = [[]];
    let room = width;
    let longest = 0;
    for (const [name, color] of panel.categories) {
      const needed = 3 * SMALL + SMALL * name.length;
      if (lines.at(-1).length && needed > room) {
        lines.push([]);
        room = width;
      }
      room -= needed;
      longest = Math.max(longest, width - room);
      lines.at(-1).push(`<span style="color:${color};stroke:#7f7f7f;stroke-width:0.6px">■</span> ${name}`);
    }
    return { lines: panel.categories.length ? lines.map((line) => line.join("   ")) : [], longest };
  };

  // Gives every panel its place; returns the height of the whole.
  const place = (layout, chart, width) => {
    const rows = inRows(chart, width);
    // Pictures keep one size, whether or not theirs is the panel with a color bar.
    const barred = chart.panels.some((panel) => panel.ratio !== null && panel.coloraxis);
    // So do squares.
    const square = chart.panels.some((panel) => panel.square && panel.coloraxis);
    const bar = (panel) => panel.coloraxis || (barred && panel.ratio !== null) || (square && panel.square);
    // Where the title of an upright axis needs several lines, the panel moves to the right.
    const left = (panel, across) => {
      const tall = panel.square ? Math.min(430, across - panel.left - (bar(panel) ? BAR : 14)) : 260;
      return panel.ratio !== null ? panel.left : panel.left + LINE * (wrapped(panel.labels[1], tall, SMALL).length - 1);
    };
    const room = (panel, across) => across - left(panel, across) - (bar(panel) ? BAR : 14);
    const tall = (panel, across) => {
      if (panel.ratio !== null) return panel.ratio * (bar(panel) ? room(panel, across) : across);
      return panel.square ? Math.min(430, room(panel, across)) : Math.min(400, Math.max(280, 0.66 * across));
    };
    let height = 0;
    // Lines below a panel, more than the one that its axis always has.
    const more = (panel, across) => {
      if (panel.ratio !== null) return 0;
      const free = room(panel, across);
      const wide = panel.square ? Math.min(free, tall(panel, across)) : free;
      panel.below_axis = wrapAxis(layout[`xaxis${panel.axes}`], panel.labels[0], wide + 40) - 1;
      wrapAxis(layout[`yaxis${panel.axes}`], panel.labels[1], tall(panel, across));
      Object.assign(panel, wrapCategories(panel, across - 20));
      return panel.below_axis + panel.lines.length + (panel.lines.length ? 0.5 : 0);
    };
    for (const row of rows) {
      row.tall = Math.max(...row.panels.map((panel) => tall(panel, row.across)));
      row.top = height + ABOVE + LINE * (Math.max(...row.panels.map((panel) => wrapTitle(layout, panel, room(panel, row.across)))) - 1);
      height = row.top + row.tall + Math.max(...row.panels.map((panel) => panel.below + LINE * more(panel, row.across)));
    }
    for (const row of rows) {
      row.panels.forEach((panel, at) => {
        panel.width = row.across;
        const free = room(panel, row.across);
        // A square is as wide as it is high, so that its color bar stands beside it.
        const wide = panel.square ? Math.min(free, row.tall) : free;
        const start = at * row.across + left(panel, row.across) + (free - wide) / 2;
        const x = [start / width, (start + wide) / width];
        const y = [1 - (row.top + row.tall) / height, 1 - row.top / height].map((share) => Math.min(1, Math.max(0, share)));
        layout[`xaxis${panel.axes}`].domain = x;
        layout[`yaxis${panel.axes}`].domain = y;
        if (panel.lines?.length) {
          layout.annotations.push({
            text: panel.lines.join("<br>"),
            showarrow: false,
            align: "left",
            xref: "paper",
            yref: "paper",
            x: (at * row.across + Math.max(4, (row.across - panel.longest) / 2)) / width,
            y: y[0],
            xanchor: "left",
            yanchor: "top",
            yshift: -62 - LINE * panel.below_axis,
          });
        }
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
    const [ink, line, colors] = scheme === "dark" ? ["#e5e3dd", "#3d434b", chart.colors.dark] : ["#1b1d1f", "#dcdcd4", chart.colors.light];
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
      const color = colors[trace.meta.color];
      if (trace.line) trace.line.color = color;
      if (trace.marker) trace.marker.color = color;
      if (trace.error_y) trace.error_y.color = ink;
      if (trace.meta.alpha) trace.fillcolor = color + Math.round(255 * trace.meta.alpha).toString(16).padStart(2, "0");
    }
  };

  const draw = (division, chart) => {
    const figure = structuredClone({ data: chart.data, layout: chart.layout });
    const width = division.clientWidth - 12;
    const height = place(figure.layout, chart, width);
    paint(figure, chart, document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light"));
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
    addEventListener("storage", again); // theme.js has the new theme by then
    again();
  }
})();
