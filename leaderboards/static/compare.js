// Two to five entries of a board side by side: compare.html?board=BOARD&a=ENTRY&a=ENTRY
"use strict";

(() => {
  const state = new URLSearchParams(location.search);
  const board = state.get("board") ?? "";
  const wanted = [...new Set(state.getAll("a"))].slice(0, 5);
  const said = document.getElementById("said");
  const { compare, percent, pText, lineChart } = regionbench;
  if (!board && !wanted.length) return;
  if (!/^[a-z0-9-]+$/.test(board) || !wanted.every((id) => /^[0-9a-f]{8}$/.test(id)) || wanted.length < 2) {
    said.textContent = "This link does not name a board and two to five of its entries. Choose rows on a board instead.";
    return;
  }
  // Scripts and not requests, as browsers fetch nothing from a folder.
  const load = (path) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = path;
    script.onload = resolve;
    script.onerror = () => reject(new Error(path));
    document.head.append(script);
  });

  async function start() {
    await load(`boards/${board}.data.js`);
    const data = window.regionbench_board;
    const rows = wanted.map((id) => data.rows.find((row) => row.id === id)).filter(Boolean);
    if (rows.length < 2) throw new Error("entries");
    await Promise.all(rows.map((row) => load(`entries/${row.page}.data.js`)));
    show(data, rows, rows.map((row) => window.regionbench_entries[row.id]));
  }

  const cut = (text, most = 60) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const name = (row) => cut([row.defense, row.network, row.more].filter(Boolean).join(", "), 90);

  function make(parent, tag, text, attributes = {}) {
    const element = parent.appendChild(document.createElement(tag));
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function head(table, rows, first) {
    const line = make(make(table, "thead"), "tr");
    make(line, "th", first, { scope: "col" });
    rows.forEach((row, at) => {
      const cell = make(line, "th", undefined, { scope: "col", class: `key s${at}` });
      make(cell, "a", name(row).replace(/(?=\()|(?<==)/g, "\u200b"), { href: `entries/${row.page}.html` });
    });
    return make(table, "tbody");
  }

  function line(body, title, cells, best) {
    const row = make(body, "tr");
    make(row, "th", title, { scope: "row" });
    cells.forEach((cell, at) => {
      const [text, small] = Array.isArray(cell) ? cell : [cell];
      const box = make(row, "td", text);
      if (best?.(at)) box.className = "best-value";
      if (small) make(box, "small", small);
    });
  }

  function show(data, rows, entries) {
    said.textContent = `${data.title}: ${rows.length} entries; the first is compared with each other one.`;
    const table = document.getElementById("scores");
    make(table, "caption", "Small numbers: 95 % intervals. Differences of the worst case are on the same test images.");
    const body = head(table, rows, "Score");
    line(body, "Rank", rows.map((row) => (row.place ? `${row.place}${row.shared ? "=" : ""}` : "—")));
    const differences = rows.map((row) => compare(rows[0], row, data.n));
    line(body, "First minus this, worst case", differences.map((found, at) => {
      if (at === 0) return "";
      if (!found) return "—";
      return [`${percent(found.value)} points`, `${percent(found.low)} to ${percent(found.high)}; ${pText(found.p)}`];
    }));
    line(body, "Images that only the first, only this survives", differences.map((found, at) => {
      if (at === 0) return "";
      const several = rows[0].outcomes?.length * rows[at].outcomes?.length > 1;
      return found?.alone ? [found.alone.join(", "), several ? "in a larger share of its seeds" : ""] : "—";
    }));
    line(body, "Alarms raised", rows.map((row) => (row.alarms.length ? row.alarms.map((alarm) => cut(alarm)).join("; ") : "none")));
    const titles = new Map(entries.flatMap((entry) => entry.scores.map((score) => [score.name, score.title])));
    for (const [score, title] of titles) {
      const found = entries.map((entry) => entry.scores.find((each) => each.name === score));
      const values = found.map((each) => (each && each.better !== null && each.value !== null ? (each.better ? 1 : -1) * each.value : null));
      const known = values.filter((value) => value !== null);
      const best = known.length === rows.length && new Set(known).size > 1 ? Math.max(...known) : null;
      line(body, cut(title), found.map((each) => (each ? [each.text, each.between] : "—")), (at) => best !== null && values[at] === best);
    }
    curves(rows, entries);
    settings(rows, entries);
    figures(rows, entries);
    document.getElementById("compared").hidden = false;
  }

  function curves(rows, entries) {
    const place = document.getElementById("charts");
    const names = [...new Set(entries.flatMap((entry) => Object.keys(entry.curves)))];
    names.sort((a, b) => (b === "Security curve") - (a === "Security curve"));
    for (const each of names) {
      const lines = entries.flatMap((entry, style) => (entry.curves[each]?.seeds ?? [])
        .map((points) => ({ name: name(rows[style]), style, points })));
      const { title, x, y } = entries.find((entry) => entry.curves[each]).curves[each];
      if (new Set(lines.map((one) => one.style)).size > 1) offerFiles(place.appendChild(lineChart(title, x, y, lines)));
    }
    if (!place.children.length) make(place, "p", "They have no curve in common.");
  }

  function settings(rows, entries) {
    const table = document.getElementById("differing");
    // What a composition calls `at.steps` is what `at` alone calls `steps`: both stand in one line.
    const known = new Set(entries.flatMap((entry) => Object.keys(entry.settings)));
    const shared = (key, row) => (known.has(`${row.defense}.${key}`) ? `${row.defense}.${key}` : key);
    const own = entries.map(({ settings }, at) => Object.fromEntries(Object.entries(settings).map(([key, value]) => [shared(key, rows[at]), value])));
    const names = [...new Set(own.flatMap(Object.keys))].sort();
    const differing = names.filter((each) => new Set(own.map((settings) => settings[each])).size > 1);
    make(table, "caption", differing.length ? "Settings that not all have, or not with one value." : "No setting differs.");
    const body = head(table, rows, "Setting");
    for (const each of differing) line(body, cut(each), own.map((settings) => cut(settings[each] ?? "—")));
  }

  function figures(rows, entries) {
    const place = document.getElementById("figures");
    const names = [...new Set(entries.flatMap((entry) => Object.keys(entry.figures)))];
    const common = names.filter((each) => entries.filter((entry) => entry.figures[each]).length > 1);
    for (const each of common) {
      const titles = [...new Set(entries.flatMap((entry) => entry.figures[each]?.title ?? []))];
      const section = make(place, "details");
      // A title ends with a number where that is each network's own.
      make(section, "summary", cut(titles.length > 1 ? titles[0].replace(/:? \d+$/, "") : titles[0], 120));
      const side = make(section, "div", undefined, { class: "side-by-side" });
      entries.forEach((entry, at) => {
        const own = entry.figures[each];
        const figure = make(side, "figure");
        make(figure, "figcaption", name(rows[at]));
        if (!own) make(figure, "p", "—");
        else make(make(figure, "a", undefined, { href: own.page || own.path }), "img", undefined, { src: own.path, class: own.path.endsWith(".svg") ? "drawn" : "", loading: "lazy", alt: `${own.title}: ${name(rows[at])}` });
      });
    }
    if (!common.length) make(place, "p", "They have no figure in common.");
  }

  start().catch(() => {
    said.textContent = "This board or these entries are not here any more. Choose rows on a board instead.";
  });
})();
