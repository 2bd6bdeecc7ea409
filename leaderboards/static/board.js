// Sorting and filtering of a board's table. Without this file the whole table is there, sorted by worst case.
"use strict";

(() => {
  const table = document.getElementById("board");
  const form = document.querySelector("form.controls");
  const more = form.querySelector(".more");
  const body = table.tBodies[0];
  const headers = [...table.tHead.querySelectorAll("th[data-key]")];
  const collator = new Intl.Collator("en", { numeric: true });
  const initial = { key: "robust_accuracy/worst_case", direction: "descending" };
  const limit = 250; // rows that a browser lays out at once without a pause
  let sorted = { ...initial };
  let everything = false;

  // The header has two rows, so a cell's place follows from the order of keys in the first body row.
  const keys = ["rank", "defense", "network", ...columnKeys(), "seeds"];
  const rows = [...body.rows].map((row, place) => {
    const values = [...row.cells].map((cell) => cell.dataset.v);
    const value = Object.fromEntries(keys.map((key, at) => [key, values[at]]));
    value.defense = row.cells[1].querySelector("a").textContent;
    value.network = row.cells[2].textContent;
    const text = [row.cells[1], row.cells[2], row.cells[keys.indexOf("alarms")]].map((cell) => cell.textContent);
    return { row, place, value, text: text.join(" ").toLowerCase() };
  });

  function columnKeys() {
    const below = [...table.tHead.rows[1].cells];
    return [...table.tHead.rows[0].cells].slice(3, -1).flatMap((cell) =>
      cell.dataset.key ? [cell.dataset.key] : below.splice(0, cell.colSpan).map((under) => under.dataset.key));
  }

  function compare(first, second) {
    const [a, b] = [first.value[sorted.key], second.value[sorted.key]];
    if (!a || !b) return !a - !b || first.place - second.place;
    const text = sorted.key === "defense" || sorted.key === "network";
    const difference = text ? collator.compare(a, b) : Number(a) - Number(b);
    return (sorted.direction === "ascending" ? difference : -difference) || first.place - second.place;
  }

  function sort() {
    rows.sort(compare);
    filter();
    body.append(...rows.map((item) => item.row));
    table.classList.toggle("resorted", sorted.key !== initial.key || sorted.direction !== initial.direction);
    for (const header of headers) {
      if (header.dataset.key === sorted.key) header.setAttribute("aria-sort", sorted.direction);
      else header.removeAttribute("aria-sort");
    }
  }

  function chosen(name) {
    return [...form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);
  }

  function filter() {
    const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [networks, defenses] = [chosen("network"), chosen("defense")];
    const quiet = form.elements.alarms.checked;
    let found = 0;
    for (const { row, value, text } of rows) {
      const fits = words.every((word) => text.includes(word))
        && (!networks.length || networks.includes(value.network))
        && (!defenses.length || defenses.includes(value.defense))
        && (!quiet || value.alarms === "0");
      row.hidden = !fits;
      found += fits;
      row.classList.toggle("later", !everything && found > limit);
    }
    const hidden = [...form.querySelectorAll('[name="column"]:not(:checked)')].map((box) => box.value);
    for (const box of form.querySelectorAll('[name="column"]')) table.classList.toggle(`without-${box.value}`, !box.checked);
    for (const facet of form.querySelectorAll(".facet")) {
      const name = facet.querySelector("input").name;
      const number = name === "column" ? hidden.length : chosen(name).length;
      facet.querySelector(".chosen").textContent = number ? (name === "column" ? ` (${number} hidden)` : ` (${number})`) : "";
    }
    const shown = everything ? found : Math.min(found, limit);
    form.querySelector("output").textContent = `${shown} of ${rows.length} shown`;
    more.hidden = shown === found;
    more.textContent = `Show all ${found}`;
  }

  function remember() {
    const state = new URLSearchParams();
    const query = form.elements.q.value.trim();
    if (query) state.set("q", query);
    for (const name of ["network", "defense"]) chosen(name).forEach((value) => state.append(name, value));
    for (const box of form.querySelectorAll('[name="column"]:not(:checked)')) state.append("hide", box.value);
    if (form.elements.alarms.checked) state.set("alarms", "none");
    if (table.classList.contains("resorted")) {
      state.set("sort", (sorted.direction === "descending" ? "-" : "") + sorted.key);
    }
    const address = state.toString();
    history.replaceState(null, "", location.pathname + (address ? `?${address}` : "") + location.hash);
  }

  function restore() {
    const state = new URLSearchParams(location.search);
    form.elements.q.value = state.get("q") ?? "";
    for (const name of ["network", "defense"]) {
      for (const box of form.querySelectorAll(`[name="${name}"]`)) box.checked = state.getAll(name).includes(box.value);
    }
    for (const box of form.querySelectorAll('[name="column"]')) box.checked = !state.getAll("hide").includes(box.value);
    form.elements.alarms.checked = state.get("alarms") === "none";
    const sort = state.get("sort") ?? "";
    const key = sort.replace(/^-/, "");
    sorted = keys.includes(key) ? { key, direction: sort.startsWith("-") ? "descending" : "ascending" } : { ...initial };
  }

  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const key = header.dataset.key;
      const other = { ascending: "descending", descending: "ascending" };
      sorted = { key, direction: sorted.key === key ? other[sorted.direction] : header.dataset.first };
      sort();
      remember();
    });
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    filter();
    remember();
  });
  form.addEventListener("reset", () => setTimeout(() => {
    sorted = { ...initial };
    everything = false;
    sort();
    remember();
  }));
  more.addEventListener("click", () => {
    everything = true;
    filter();
  });
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

  form.hidden = false;
  restore();
  sort();
})();
