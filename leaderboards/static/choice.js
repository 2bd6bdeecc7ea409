// The choice of the theme in the head of every page.
"use strict";

(() => {
  const root = document.documentElement;
  const choice = document.querySelector(".theme");
  const select = choice.querySelector("select");
  const show = () => { select.value = root.dataset.theme ?? ""; };
  select.addEventListener("change", () => {
    if (select.value) root.dataset.theme = select.value;
    else delete root.dataset.theme;
    try {
      if (select.value) localStorage.setItem("regionbench-theme", select.value);
      else localStorage.removeItem("regionbench-theme");
    } catch { /* this browser keeps nothing: the choice holds for this page */ }
  });
  addEventListener("storage", show);
  addEventListener("pageshow", show); // a browser may put back the value of an earlier visit
  show();
  choice.hidden = false;
})();
