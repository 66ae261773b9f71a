// The button that switches between light and dark, on every page.

import { byId } from "./dom.js";

const KEY = "slimrank-theme";

export function setUpTheme() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const label = () => byId("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  const stored = read();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  label();
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    write(root.dataset.theme);
    label();
  });
}

/** The theme that the visitor chose, for the address of a page that cannot read our storage. */
export function themeHash() {
  const { theme } = document.documentElement.dataset;
  return theme ? `theme=${theme}` : "";
}

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

function write(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}
