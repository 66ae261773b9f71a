// The source that is searched: the playground's own, or the visitor's index or documents. It is kept only in this page's memory.

import { byId, show } from "./dom.js";

let own = null;
let changed = () => {};

/** The visitor's source: {key, label, leave, call}, or null. `key` separates judgments by source; `call` is sent with each search. */
export function ownSource() {
  return own;
}

export function useSource(next) {
  own = next;
  show(byId("leave"), own !== null);
  if (own) byId("leave").textContent = own.leave;
  changed();
}

/** @param {() => void} onChange called when a source was set or left */
export function setUpSource(onChange) {
  changed = onChange;
  byId("leave").addEventListener("click", () => {
    own?.onLeave?.();
    useSource(null);
  });
}
