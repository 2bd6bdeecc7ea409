// The legend of a chart filters its points: a pressed key leaves only what it names.
"use strict";

for (const chart of document.querySelectorAll(".chart")) {
  const keys = [...chart.querySelectorAll("[data-picks]")];
  const pressed = new Set();
  const show = () => {
    for (const path of chart.querySelectorAll("svg[viewBox] :is(.dot, .bar, .label[class*=' '])")) {
      if (path.closest(".legend")) continue;
      // Keys of one kind (m: shapes, g: colors) add up, those of two kinds narrow down.
      const fits = ["m", "g"].every((kind) => {
        const wanted = [...pressed].filter((each) => each.startsWith(kind));
        return !wanted.length || wanted.some((each) => path.classList.contains(each));
      });
      path.classList.toggle("faded", !fits);
    }
  };
  for (const key of keys) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(...key.childNodes);
    key.append(button);
    button.addEventListener("click", () => {
      const on = !pressed.delete(key.dataset.picks);
      if (on) pressed.add(key.dataset.picks);
      button.setAttribute("aria-pressed", String(on));
      show();
    });
  }
}
