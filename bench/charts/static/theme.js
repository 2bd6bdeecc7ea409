// Before anything is drawn: the theme that a reader chose on a page of the site, else the system's; and a class for style
// sheets that says that scripts run.
"use strict";

(() => {
  const root = document.documentElement;
  const apply = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("regionbench-theme");
    } catch { /* this browser keeps nothing */ }
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  };
  root.classList.add("js");
  apply();
  addEventListener("storage", apply); // another tab chose
})();
