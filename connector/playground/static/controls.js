// Depth, deadline and the weight of the first stage's order; folded on a phone.

import { byId } from "./dom.js";

const isNarrow = matchMedia("(max-width: 760px)");

let fitted = null; // the weight that the model was fitted with; null until it is known
let chosen = null; // the weight that the visitor chose

/** The settings that are sent with a search. */
export function controlsOf() {
  const deadline = byId("deadline").value;
  return { depth: Number(byId("depth").value), ...(deadline ? { deadline_ms: Number(deadline) } : {}) };
}

/** The current weight: the visitor's, or else the model's exact weight; the slider shows the nearest step. */
export function weight() {
  return chosen ?? fitted ?? 0;
}

/** Set the model's weight. The slider moves only while it is disabled, so it never moves after a visitor used it. */
export function offerWeight(value) {
  if (value === null || value === undefined) return;
  const slider = byId("fusion");
  fitted = value;
  if (chosen === null) {
    slider.max = String(Math.max(Number(slider.max), value));
    slider.value = String(value);
  }
  slider.disabled = false;
  tellWeight();
}

/**
 * @param {() => void} onSearch called when the search has to be repeated
 * @param {() => void} onWeight called at each change of the weight
 * @param {() => void} onSettled called when the weight stops changing
 */
export function setUpControls(onSearch, onWeight, onSettled) {
  byId("depth").addEventListener("input", () => { tell("depth", byId("depth").value); onSearch(); });
  byId("deadline").addEventListener("change", () => { sumUp(); onSearch(); });
  byId("fusion").addEventListener("input", () => {
    chosen = Number(byId("fusion").value);
    tellWeight();
    onWeight();
  });
  byId("fusion").addEventListener("change", onSettled);
  const fold = () => { byId("controls").open = !isNarrow.matches; };
  isNarrow.addEventListener("change", fold);
  fold();
  byId("fusion").disabled = fitted === null;
  tellWeight();
}

function tellWeight() {
  if (fitted === null && chosen === null) return tell("fusion", "the model’s");
  const words = weight() === 0 ? "model only" : `weight ${weight().toFixed(2).replace(/0$/, "")}`;
  tell("fusion", weight() === fitted && fitted > 0 ? `${words}, fitted` : words);
}

function tell(id, words) {
  byId(`${id}-value`).textContent = words;
  byId(id).setAttribute("aria-valuetext", words);
  sumUp();
}

function sumUp() {
  const deadline = byId("deadline").selectedOptions[0].textContent;
  byId("controls-summary").textContent = `depth ${byId("depth").value}, ${deadline === "none" ? "no deadline" : deadline}, ${byId("fusion-value").textContent.replace(", fitted", "")}`;
}
