// Rows of a board with more entries than its page holds, made from its data when they are looked at.
"use strict";

(() => {
  const svg = "http://www.w3.org/2000/svg";
  const minus = (text) => text.replace("-", "−");
  const accuracy = (key) => key === "clean_accuracy" || key.startsWith("robust_accuracy/");

  function quantity(value, key) {
    if (value === null) return "—";
    if (accuracy(key)) return minus((100 * value).toFixed(1));
    if (key === "time_per_epoch_ratio") return minus(`${value.toFixed(2)}×`);
    return minus(String(Number(value.toPrecision(3))));
  }

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function bar(value, ends, reach) {
    const at = (share) => Math.min(Math.max((100 * share) / reach, 0), 1) * 100;
    const drawing = document.createElementNS(svg, "svg");
    drawing.setAttribute("class", "iv");
    drawing.setAttribute("viewBox", "0 0 100 12");
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(svg, "path");
    const between = ends[0] === null || ends[1] === null ? "" : `M${at(ends[0])} 6H${at(ends[1])}`;
    path.setAttribute("d", `${between}M${at(value)} 1V11`);
    drawing.append(path);
    return drawing;
  }

  function worst(entry, key, value, reach) {
    if (value === null) return ["—"];
    const [low, high] = entry.ends;
    const text = quantity(value, key);
    const parts = [bar(value, entry.ends, reach), entry.doubt ? element("span", "doubt", `(${text})`) : text];
    if (low !== null && high !== null) parts.push(element("small", "", `${quantity(low, key)}–${quantity(high, key)}`));
    return parts;
  }

  function alarms(entry) {
    if (!entry.alarms.length) return [element("span", "quiet", "none")];
    const items = entry.alarms.slice(0, 2).map((name) => element("li", "alarm", name));
    if (entry.alarms.length > 2) items.push(element("li", "alarm", `+${entry.alarms.length - 2}`));
    const many = `${entry.alarms.length} alarm${entry.alarms.length > 1 ? "s" : ""}`;
    return [element("ul", "badges", ...items), element("span", "alarm short", many)];
  }

  function place(entry) {
    if (entry.place === null || entry.doubt) return ["—"];
    if (!entry.shared) return [String(entry.place)];
    const sign = element("span", "", "=");
    sign.setAttribute("aria-hidden", "true");
    return [element("span", "", String(entry.place), sign, element("span", "hidden", " shared"))];
  }

  function name(entry) {
    const link = element("a", "", entry.defense.slice(0, 60));
    link.href = `../entries/${entry.page}.html`;
    const about = [entry.network.slice(0, 60), entry.more.slice(0, 60)];
    return [link, element("small", "", about.filter(Boolean).join(" · "))];
  }

  function paper(entry) {
    const words = entry.paper === undefined ? "—" : entry.paper.slice(0, 60);
    if (!entry.link) return words;
    const link = element("a", "", words);
    link.href = entry.link;
    return link;
  }

  // The row of an entry, with a cell for each head of the table.
  regionbench.makeRow = (entry, heads, data) => {
    const row = element("tr", entry.shared ? "shares" : "");
    for (const head of heads) {
      const key = head.dataset.key;
      const cell = element(key === "defense" ? "th" : "td", [...head.classList].filter((each) => each !== "word").join(" "));
      const value = entry.values[data.keys.indexOf(key)];
      if (key === "rank") cell.append(...place(entry));
      else if (key === "defense") cell.append(...name(entry));
      else if (head.classList.contains("worst")) cell.append(...worst(entry, key, value, data.reach));
      else if (key === "alarms") cell.append(...alarms(entry));
      else if (key === "network") cell.append(entry.network.slice(0, 60));
      else if (key === "seeds" || key === "date") cell.append(entry[key]);
      else if (key === "weights") cell.append(entry.weights.toLocaleString("en"));
      else if (key === "paper") cell.append(paper(entry));
      else cell.append(quantity(value, key));
      row.append(cell);
    }
    row.querySelector("th").scope = "row";
    return row;
  };
})();
