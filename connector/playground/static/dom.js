// Makes elements. Texts become text nodes, never markup.

/**
 * @param {string} tag
 * @param {Object<string, string|boolean|null>} attributes null and false are left out, true is an empty value
 * @param {...(Node|string|null)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

export function show(element, isShown = true) {
  element.hidden = !isShown;
}

/** Text for screen readers only. */
export function spoken(text) {
  return make("span", { class: "visually-hidden" }, text);
}

export function milliseconds(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 || ms === 0 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}
