// The contents list shows where the reader is, and heads of tables of scores stay below it.
"use strict";

const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    links.get(target.getAttribute("aria-labelledby"))?.classList.toggle("here", isIntersecting);
  }
});
for (const section of document.querySelectorAll(".content > section")) seen.observe(section);
// A box that scrolls would keep the head of its table, which one that fits does not need.
const fitting = new ResizeObserver((changes) => {
  for (const { target } of changes) target.classList.toggle("fits", target.firstElementChild.offsetWidth <= target.clientWidth);
});
for (const table of document.querySelectorAll(".scroll > .geometry")) fitting.observe(table.parentElement);
