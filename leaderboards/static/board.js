// Sorting, filtering, columns and choice of rows of a board. Without this file the whole table is there, best first.
"use strict";

(() => {
  const data = window.regionbench_board;
  const table = document.getElementById("board");
  const form = document.querySelector("form.controls");
  const bar = document.querySelector(".chosen-rows");
  const body = table.tBodies[0];
  const headers = [...table.tHead.querySelectorAll("th[data-key]")];
  const collator = new Intl.Collator("en", { numeric: true });
  const worst = "robust_accuracy/worst_case";
  const initial = { key: worst, direction: "descending" };
  const facets = [...form.querySelectorAll("[data-facet]")].map((facet) => facet.dataset.facet);
  const boxes = [...form.querySelectorAll('[name="column"]')];
  const wide = matchMedia("(min-width: 75rem)").matches;
  const first = 200; // rows that a large board shows at a time
  const texts = ["defense", "network", "date", "paper"];
  const most = 5; // rows that are compared at once
  const large = data.rows.length > body.rows.length; // more entries than the page holds; window.js makes their rows
  const more = document.querySelector(".more-rows");
  let order = [];
  let limit = first;
  let sorted = { ...initial };
  let picked = [];
  let typing = false;

  const tokens = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const items = data.rows.map((entry, place) => {
    const words = [entry.defense, entry.network, entry.more, entry.tuning, entry.family, ...entry.alarms];
    return { entry, place, row: body.rows[place] ?? null, words: new Set(tokens(words.join(" "))), fits: true };
  });
  order = items;
  const byId = new Map(items.map((item) => [item.entry.id, item]));

  function valueOf(entry, key) {
    if (key === "rank") return entry.place;
    if (key === "alarms") return entry.alarms.length;
    if (key === "seeds") return Number(entry.seeds);
    if (texts.includes(key) || key === "weights") return entry[key] ?? null;
    return entry.values[data.keys.indexOf(key)];
  }

  function sort() {
    const { key, direction } = sorted;
    const sign = direction === "ascending" ? 1 : -1;
    for (const item of items) item.value = valueOf(item.entry, key);
    const text = texts.includes(key);
    order = [...items].sort((a, b) => {
      // A worst case in doubt has no place: such rows stand after all others.
      const doubt = key === worst ? Boolean(a.entry.doubt) - Boolean(b.entry.doubt) : 0;
      if (doubt) return doubt;
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const difference = text ? collator.compare(a.value, b.value) : a.value - b.value;
      return sign * difference || a.place - b.place;
    });
    if (!large) {
      const whole = document.createDocumentFragment();
      for (const item of order) whole.append(item.row);
      body.append(whole);
    } else show(first);
    table.classList.toggle("resorted", key !== initial.key || direction !== initial.direction);
    for (const header of headers) {
      if (header.dataset.key === key) header.setAttribute("aria-sort", direction);
      else header.removeAttribute("aria-sort");
    }
  }

  // Of a large board, the first rows in the present order that fit the filters.
  function show(rows) {
    limit = rows;
    const fitting = order.filter((item) => item.fits);
    body.replaceChildren(...fitting.slice(0, limit).map(rowOf));
    more.hidden = fitting.length <= limit;
    more.textContent = `Show more of ${fitting.length} rows`;
    say();
  }

  function rowOf(item) {
    if (!item.row) {
      item.row = regionbench.makeRow(item.entry, headers, data);
      addBox(item);
    }
    return item.row;
  }

  const chosen = (name) => [...form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);

  function filter() {
    const wanted = facets.map((name) => [name, new Set(chosen(name))]).filter(([, values]) => values.size);
    const quiet = form.elements.alarms.checked;
    const doubt = form.elements.doubt.checked;
    let found = items.filter(({ entry }) =>
      wanted.every(([name, values]) => values.has(entry[name])) && (!quiet || !entry.alarms.length) && (!doubt || entry.doubt));
    // A word is a whole one; the beginning of one counts only where no entry has the whole one.
    for (const word of tokens(form.elements.q.value)) {
      const whole = found.filter((item) => item.words.has(word));
      found = whole.length ? whole : found.filter((item) => [...item.words].some((each) => each.startsWith(word)));
    }
    const shown = new Set(found);
    for (const item of items) item.fits = shown.has(item);
    if (!large) {
      for (const item of items) item.row.hidden = !item.fits;
    } else show(first);
    form.querySelector("output").textContent = `${found.length} of ${items.length} shown`;
    for (const facet of form.querySelectorAll("[data-facet]")) {
      const number = chosen(facet.dataset.facet).length;
      facet.querySelector(".chosen").textContent = number ? ` (${number})` : "";
    }
  }

  function columns() {
    for (const box of boxes) table.classList.toggle(`no-${box.value}`, !box.checked);
    const number = boxes.filter((box) => box.checked).length;
    form.querySelector(".columns-choice .chosen").textContent = number ? ` (+${number})` : "";
    fit();
  }

  // A table that is too wide scrolls by itself; the page never does.
  function fit() {
    const scroll = table.parentElement;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const needed = (wide ? 56 : 44) + 6.6 * boxes.filter((box) => box.checked).length;
    const twoLines = !matchMedia("(min-width: 48rem)").matches;
    const scrolls = !twoLines && needed * rem > scroll.clientWidth;
    table.style.minWidth = scrolls ? `${needed}rem` : "";
    scroll.classList.toggle("wide", scrolls);
  }

  function say() {
    for (const { row, entry } of items) {
      if (!row) continue;
      const on = picked.includes(entry.id);
      if (on !== row.classList.contains("picked")) row.classList.toggle("picked", on);
      const box = row.querySelector(".pick input");
      if (box.checked !== on) box.checked = on;
    }
    bar.hidden = !picked.length;
    if (!picked.length) return;
    const [a, b] = picked.map((id) => byId.get(id).entry);
    const said = bar.querySelector(".said");
    const link = bar.querySelector("a");
    link.hidden = picked.length < 2;
    link.href = `../compare.html?${new URLSearchParams([["board", data.page], ...picked.map((id) => ["a", id])])}`;
    if (picked.length === 1) said.textContent = `${name(a)} chosen; choose another row to compare.`;
    else if (picked.length > 2) said.textContent = `${picked.length} rows chosen.`;
    else said.textContent = difference(a, b);
  }

  const name = (entry) => `${entry.defense.slice(0, 60)} (${[entry.network, entry.more].filter(Boolean).join(", ").slice(0, 60)})`;

  function difference(a, b) {
    const found = regionbench.compare(a, b, data.n);
    if (!found) return `${name(a)} and ${name(b)}: no worst case to compare.`;
    const { percent, pText } = regionbench;
    const real = found.p === null ? found.low > 0 || found.high < 0 : found.p < 0.05;
    return `${name(a)} minus ${name(b)}: ${percent(found.value)} points (${percent(found.low)} to ${percent(found.high)}), `
      + `${pText(found.p)}: ${real ? "they differ" : "the test images do not separate them"}.`;
  }

  function remember(replace) {
    const state = new URLSearchParams();
    const query = form.elements.q.value.trim();
    if (query) state.set("q", query);
    for (const facet of facets) chosen(facet).forEach((value) => state.append(facet, value));
    for (const box of boxes) if (box.checked !== byDefault(box)) state.append(box.checked ? "show" : "hide", box.value);
    if (form.elements.alarms.checked) state.set("alarms", "none");
    if (form.elements.doubt.checked) state.set("doubt", "only");
    if (table.classList.contains("resorted")) state.set("sort", (sorted.direction === "descending" ? "-" : "") + sorted.key);
    picked.forEach((id) => state.append("a", id));
    const address = state.toString();
    const target = location.pathname + (address ? `?${address}` : "") + location.hash;
    if (target === location.pathname + location.search + location.hash) return;
    history[replace ? "replaceState" : "pushState"](null, "", target);
  }

  const byDefault = (box) => wide && "default" in box.dataset;

  function restore() {
    const state = new URLSearchParams(location.search);
    form.elements.q.value = state.get("q") ?? "";
    for (const facet of facets) {
      for (const box of form.querySelectorAll(`[name="${facet}"]`)) box.checked = state.getAll(facet).includes(box.value);
    }
    for (const box of boxes) box.checked = byDefault(box) ? !state.getAll("hide").includes(box.value) : state.getAll("show").includes(box.value);
    form.elements.alarms.checked = state.get("alarms") === "none";
    form.elements.doubt.checked = state.get("doubt") === "only";
    const order = state.get("sort") ?? "";
    const key = order.replace(/^-/, "");
    const known = headers.some((header) => header.dataset.key === key);
    sorted = known ? { key, direction: order.startsWith("-") ? "descending" : "ascending" } : { ...initial };
    picked = state.getAll("a").filter((id, at, all) => byId.has(id) && all.indexOf(id) === at).slice(0, most);
    // The rows are there in the first order already.
    if (known || table.classList.contains("resorted") || order !== items) sort();
    else for (const header of headers) if (header.dataset.key !== worst) header.removeAttribute("aria-sort");
    filter();
    columns();
    say();
  }

  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...[...header.childNodes].filter((node) => !node.classList?.contains("ends")));
    header.prepend(button);
    button.addEventListener("click", () => {
      const key = header.dataset.key;
      const other = { ascending: "descending", descending: "ascending" };
      sorted = { key, direction: sorted.key === key ? other[sorted.direction] : header.dataset.first };
      sort();
      remember();
    });
  }

  function addBox({ row, entry }) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = entry.id;
    box.setAttribute("aria-label", `Compare ${entry.defense.slice(0, 60)}`);
    const label = document.createElement("label");
    label.className = "pick";
    label.append(box);
    row.cells[1].prepend(label);
  }

  for (const item of items) if (item.row) addBox(item);
  if (large) {
    more.addEventListener("click", () => show(limit + first));
    new IntersectionObserver(([at]) => at.isIntersecting && !more.hidden && show(limit + first)).observe(more);
  }
  body.addEventListener("change", ({ target }) => {
    if (!target.closest(".pick")) return;
    picked = target.checked ? [...picked, target.value].slice(-most) : picked.filter((id) => id !== target.value);
    say();
    remember();
  });
  bar.querySelector("button").addEventListener("click", () => {
    picked = [];
    say();
    remember();
  });

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.name === "column") columns();
    else filter();
    remember(target.name === "q" && typing);
    typing = target.name === "q";
  });
  form.addEventListener("reset", () => setTimeout(() => {
    for (const box of boxes) box.checked = byDefault(box);
    sorted = { ...initial };
    sort();
    filter();
    columns();
    remember();
  }));
  for (const button of form.querySelectorAll("[data-columns]")) {
    button.addEventListener("click", () => {
      for (const box of boxes) box.checked = button.dataset.columns === "all";
      columns();
      remember();
    });
  }
  document.addEventListener("click", (event) => {
    for (const facet of form.querySelectorAll(".facet[open]")) if (!facet.contains(event.target)) facet.open = false;
  });
  form.addEventListener("keydown", (event) => {
    const facet = event.key === "Escape" && event.target.closest(".facet[open]");
    if (facet) {
      facet.open = false;
      facet.querySelector("summary").focus();
    }
  });
  addEventListener("popstate", restore);
  addEventListener("resize", fit);

  form.hidden = false;
  restore();
  table.classList.add("ready");
})();
