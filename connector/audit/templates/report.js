"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

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
