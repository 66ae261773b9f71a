// The list of audits with progress, result and a link to the report. It is updated while an audit runs.

import { byId, make, show } from "./dom.js";
import { setUpTheme, themeHash } from "./theme.js";

const LOOK_AGAIN_MS = 2000;
const STEPS = { planned: "planned", asking: "asking both sides", asked: "asked; no report yet", reported: "reported" };

let shown = "";

async function look() {
  let audits;
  try {
    const answer = await fetch("api/audits");
    if (!answer.ok) throw new Error(String(answer.status));
    audits = await answer.json();
    show(byId("alert"), false);
  } catch {
    byId("alert").textContent = "The playground’s server does not answer; trying again.";
    show(byId("alert"));
    setTimeout(look, LOOK_AGAIN_MS);
    return;
  }
  const text = JSON.stringify(audits);
  if (text !== shown) render(audits);
  shown = text;
  if (audits.some((audit) => audit.step !== "reported")) setTimeout(look, LOOK_AGAIN_MS);
}

function render(audits) {
  show(byId("empty"), audits.length === 0);
  byId("audits").replaceChildren(...audits.map(card));
  const running = audits.filter((audit) => audit.step === "asking").length;
  byId("status").textContent = `${audits.length} audits, ${running} running.`;
}

function card(audit) {
  const isReported = audit.verdict !== null;
  const title = isReported ? make("a", { href: `audits/${encodeURIComponent(audit.name)}` }, audit.name) : audit.name;
  // The report is isolated and cannot read our storage, so the link carries the chosen theme.
  if (isReported) title.addEventListener("click", () => { title.hash = themeHash(); });
  return make("li", { class: "audit" },
    make("div", { class: "audit-head" },
      make("h2", {}, title),
      make("span", { class: `verdict ${audit.verdict ?? "none"}` }, audit.verdict ?? STEPS[audit.step])),
    make("p", {}, make("code", {}, audit.before), " → ", make("code", {}, audit.after)),
    isReported
      ? make("p", { class: "caption" }, `${audit.queries} queries, ${audit.changed} changed`)
      : progressOf(audit));
}

function progressOf(audit) {
  const percent = Math.round(audit.share_done * 100);
  return make("p", { class: "caption audit-progress" },
    make("progress", { max: "100", value: String(percent), "aria-label": `${audit.name}: asked` }),
    ` ${percent}% of ${audit.queries} queries`);
}

setUpTheme();
look();
