// What is searched: the playground's own source, or an index or documents of the visitor's. Lives in this page's memory.

import { byId, show } from "./dom.js";

let own = null;
let changed = () => {};

/** What the visitor brought: {key, label, leave, call}, or null. `key` tells judgments apart, `call` goes with each search. */
export function ownSource() {
  return own;
}

export function useSource(next) {
  own = next;
  show(byId("leave"), own !== null);
  if (own) byId("leave").textContent = own.leave;
  changed();
}

/** @param {() => void} onChange called when a source was brought or left */
export function setUpSource(onChange) {
  changed = onChange;
  byId("leave").addEventListener("click", () => {
    own?.onLeave?.();
    useSource(null);
  });
}
