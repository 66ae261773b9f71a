// "Use your own index": a dialog whose answer lives in this module's memory and nowhere else.

import { byId, show } from "./dom.js";

/** The index named by the visitor, as the server's API takes it, or null. */
let named = null;

export function ownIndex() {
  return named;
}

/**
 * @param {{is_allowed: boolean, reason: string|null}} permission
 * @param {() => void} onChange called when an index was named or forgotten
 */
export function setUpOwnIndex(permission, onChange) {
  const dialog = byId("own-index");
  const form = byId("own-index-form");
  if (!permission.is_allowed) {
    byId("own-index-refused").textContent = permission.reason;
    show(byId("own-index-refused"));
    for (const control of form.elements) if (control.id !== "close-own-index") control.disabled = true;
  }
  byId("open-own-index").addEventListener("click", () => dialog.showModal());
  byId("close-own-index").addEventListener("click", () => dialog.close());
  byId("forget-own-index").addEventListener("click", () => change(null, onChange));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = [...form.elements].find((control) => control.willValidate && !control.checkValidity());
    showError(missing ? `${missing.parentElement.firstChild.textContent.trim()}: ${missing.validationMessage}` : "");
    if (missing) return missing.focus();
    dialog.close();
    change(read(form), onChange);
  });
}

function change(index, onChange) {
  named = index;
  if (index === null) byId("own-index-form").reset();
  show(byId("forget-own-index"), index !== null);
  show(byId("open-own-index"), index === null);
  onChange();
}

function read(form) {
  const value = (name) => form.elements[name].value.trim();
  return {
    url: value("url"),
    index_name: value("index_name"),
    fields: value("fields").split(",").map((name) => name.trim()).filter(Boolean),
    user: value("user") || null,
    password: form.elements.password.value || null,
    api_key: value("api_key") || null,
    verify_tls: !form.elements.insecure.checked,
  };
}

function showError(text) {
  const error = byId("own-index-error");
  error.textContent = text;
  show(error, text !== "");
}
