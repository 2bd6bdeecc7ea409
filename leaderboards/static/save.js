// Buttons that save a chart as an SVG or PNG file, as it is on the page but always in light colors.
"use strict";

const offerFiles = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const [WIDTH, LINE, LETTERS, SHARPNESS] = [440, 20, 50, 3];
  const SHAPE = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity"];
  const STYLES = { path: SHAPE, rect: [], image: ["image-rendering"], text: ["fill", "stroke", "stroke-width", "paint-order", "font-family", "font-size"] };

  function make(parent, name, attributes, text) {
    const element = parent.appendChild(document.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // What is drawn, with the style sheet's values as attributes, without links.
  function copy(drawing, parent) {
    for (const own of drawing.querySelectorAll("path, text, rect, image")) {
      const [element, style] = [parent.appendChild(own.cloneNode(true)), getComputedStyle(own)];
      element.removeAttribute("class");
      for (const name of STYLES[own.localName]) element.setAttribute(name, style.getPropertyValue(name));
    }
  }

  function broken(text, letters) {
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (lines.at(-1) && longer.length > letters) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines;
  }

  function drawn(figure) {
    const caption = figure.querySelector("figcaption");
    const words = { fill: getComputedStyle(caption).color, "font-family": getComputedStyle(document.body).fontFamily };
    const svg = document.createElementNS(SVG, "svg");
    make(svg, "title", {}, caption.textContent);
    const note = figure.querySelector(":scope > .note");
    if (note) make(svg, "desc", {}, note.textContent.trim());
    make(svg, "rect", { width: "100%", height: "100%", fill: "#ffffff" });
    const panels = [...figure.querySelectorAll(".panels svg")];
    const wide = Math.max(WIDTH, ...panels.map((panel) => Math.ceil(panel.viewBox.baseVal.width) + 20));
    let y = 4;
    for (const line of broken(caption.textContent, wide / 10)) {
      y += LINE;
      make(svg, "text", { ...words, x: 8, y, "font-size": 15, "font-weight": 600 }, line);
    }
    y += LINE / 2;
    for (const panel of panels) {
      const { width, height } = panel.viewBox.baseVal;
      const title = panel.parentElement.querySelector(".panel");
      if (title) make(svg, "text", { ...words, x: width / 2, y: (y += LINE), "text-anchor": "middle", "font-size": 14 }, title.textContent);
      if (title) y += 6;
      copy(panel, make(svg, "svg", { x: 0, y, width, height, viewBox: panel.getAttribute("viewBox"), overflow: "visible" }));
      y += Math.ceil(height);
    }
    let x = 12;
    for (const key of figure.querySelectorAll(".legend li")) {
      const name = key.textContent.trim().slice(0, LETTERS);
      const room = 44 + 7.5 * name.length;
      if (x > 12 && x + room > wide) [x, y] = [12, y + LINE];
      copy(key.querySelector("svg"), make(svg, "svg", { x, y: y + 4, width: 20, height: 12, viewBox: "0 0 20 12" }));
      make(svg, "text", { ...words, x: x + 26, y: y + 15, "font-size": 13 }, name);
      x += room;
    }
    y += LINE + 8;
    for (const [key, value] of Object.entries({ viewBox: `0 0 ${wide} ${y}`, width: wide, height: y })) svg.setAttribute(key, value);
    return { text: new XMLSerializer().serializeToString(svg), wide, height: y };
  }

  // No frame is painted in between, so that nobody sees the change of theme.
  function inLight(draw) {
    const root = document.documentElement;
    const theme = root.dataset.theme;
    root.dataset.theme = "light";
    try {
      return draw();
    } finally {
      if (theme) root.dataset.theme = theme;
      else delete root.dataset.theme;
    }
  }

  async function asPicture({ text, wide, height }) {
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [SHARPNESS * wide, SHARPNESS * height];
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  const asDrawing = ({ text }) => new Blob([text], { type: "image/svg+xml" });

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  return (figure) => {
    const title = figure.querySelector("figcaption").textContent;
    const page = location.pathname.split("/").at(-1).replace(/\.html$/, "");
    const stem = `${page} ${title}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 120);
    const place = document.createElement("p");
    place.className = "saves";
    for (const [kind, file] of [["SVG", asDrawing], ["PNG", asPicture]]) {
      const button = place.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = kind;
      button.setAttribute("aria-label", `${kind} file of the chart “${title}”`);
      button.addEventListener("click", async () => save(await file(inLight(() => drawn(figure))), `${stem}.${kind.toLowerCase()}`));
    }
    const details = figure.querySelector(":scope > details");
    if (details) details.before(place);
    else figure.append(place);
  };
})();

document.querySelectorAll("figure.chart").forEach(offerFiles);
