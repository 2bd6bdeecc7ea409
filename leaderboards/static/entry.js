// The contents list shows where the reader is.
"use strict";

const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    links.get(target.getAttribute("aria-labelledby"))?.classList.toggle("here", isIntersecting);
  }
});
for (const section of document.querySelectorAll(".content > section")) seen.observe(section);
