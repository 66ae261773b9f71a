// "Your index": a dialog whose values are kept only in this page's memory. An index is tested before it is used.

import { post } from "./api.js";
import { byId, show } from "./dom.js";
import { useSource } from "./source.js";

/** @param {Promise<{is_allowed: boolean, reason: string|null}>} permission */
export function setUpOwnIndex(permission) {
  const dialog = byId("own-index");
  const form = byId("own-index-form");
  permission.then(({ is_allowed: isAllowed, reason }) => {
    if (isAllowed) return;
    byId("own-index-refused").textContent = reason;
    show(byId("own-index-refused"));
    for (const control of form.elements) if (control.id !== "close-own-index") control.disabled = true;
  }, () => {}); // the page reports that the server does not answer
  byId("open-own-index").addEventListener("click", () => dialog.showModal());
  byId("close-own-index").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const missing = [...form.elements].find((control) => control.willValidate && !control.checkValidity());
    showError(missing ? `${missing.parentElement.firstChild.textContent.trim()}: ${missing.validationMessage}` : "");
    if (missing) return missing.focus();
    await tryOut(form, dialog);
  });
}

async function tryOut(form, dialog) {
  const index = read(form);
  const button = byId("use-own-index");
  button.disabled = true;
  button.textContent = "Testing …";
  try {
    await post("api/index", index);
    if (!dialog.open) return; // closed meanwhile
    dialog.close();
    const place = `${index.url}/${index.index_name}`;
    useSource({ key: place, label: `${index.index_name} at ${index.url}`, leave: "Leave this index", call: { own_index: index }, onLeave: () => form.reset() });
  } catch (error) {
    showError(error.message);
  } finally {
    button.disabled = false;
    button.textContent = "Use it";
  }
}

function read(form) {
  const value = (name) => form.elements[name].value.trim();
  return {
    url: value("url").replace(/\/+$/, ""),
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
