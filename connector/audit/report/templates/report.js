"use strict";
(() => {
  // The theme as in the playground: remembered, and taken over from its list of audits by the address.
  const KEY = "slimrank-theme";
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const label = () => theme.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  const storage = (() => {
    try {
      return window.localStorage;
    } catch {
      return null; // boxed off, or switched off
    }
  })();
  const wanted = new URLSearchParams(location.hash.slice(1)).get("theme") ?? storage?.getItem(KEY);
  if (wanted === "dark" || wanted === "light") root.dataset.theme = wanted;
  label();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    storage?.setItem(KEY, root.dataset.theme);
    label();
  });

  // What is wider than the page can be reached by keyboard.
  const tables = [...document.querySelectorAll(".scroll")];
  const mark = () => {
    for (const table of tables) {
      const isWide = table.scrollWidth > table.clientWidth;
      table.toggleAttribute("tabindex", false);
      if (isWide) Object.entries({ tabindex: "0", role: "region", "aria-label": "A wide table, which scrolls" }).forEach(([name, value]) => table.setAttribute(name, value));
      else ["role", "aria-label"].forEach((name) => table.removeAttribute(name));
    }
  };
  new ResizeObserver(mark).observe(document.body);
  document.addEventListener("toggle", mark, true);

  const list = document.getElementById("queries");
  if (!list) return;
  const items = [...list.querySelectorAll("details")];
  const find = document.getElementById("find");
  const order = document.getElementById("order");
  const stratum = document.getElementById("stratum");
  const count = document.getElementById("count");
  const keys = {
    worst: (item) => Number(item.dataset.place),
    best: (item) => -Number(item.dataset.gain),
    changed: (item) => Number(item.dataset.rbo),
    weight: (item) => -Number(item.dataset.weight),
  };

  function show() {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const item of items) {
      const fits = item.dataset.query.toLowerCase().includes(wanted)
        && (!stratum.value || item.dataset.stratum === stratum.value || (stratum.value === "golden" && item.dataset.golden === "true"));
      item.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${items.length} shown`;
    const key = keys[order.value];
    list.append(...items.toSorted((a, b) => key(a) - key(b) || a.dataset.place - b.dataset.place));
  }
  find.addEventListener("input", show);
  order.addEventListener("change", show);
  stratum.addEventListener("change", show);
  document.getElementById("expand").addEventListener("click", (event) => {
    const open = event.target.getAttribute("aria-pressed") !== "true";
    event.target.setAttribute("aria-pressed", String(open));
    event.target.textContent = open ? "Close all" : "Open all";
    for (const item of items) if (!item.hidden) item.open = open;
  });
  // Pointing at a hit marks the same document on the other side
  for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) {
    list.addEventListener(kind, (event) => {
      const hit = event.target.closest("li[data-document]");
      if (!hit) return;
      for (const twin of hit.closest(".sides").querySelectorAll("li[data-document]")) {
        twin.classList.toggle("twin", (kind === "pointerover" || kind === "focusin") && twin.dataset.document === hit.dataset.document);
      }
    });
  }
  show();
})();
