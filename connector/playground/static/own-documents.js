// "Your documents": pasted or dropped, read by the server, kept in this tab and sent with each search.

import { post } from "./api.js";
import { byId, show } from "./dom.js";
import { hashOf } from "./judgments.js";
import { ownSource, useSource } from "./source.js";

const KEY = "slimrank-documents";
const MEGABYTE = 2 ** 20;

let fileName = ""; // the name of the file in the dialog; "" if the text was typed or pasted

/**
 * Listen at once: if a file is dropped before there is a listener, the browser leaves the page and opens the file.
 * @param {Promise<{most: number, most_bytes: number}>} limits the limits of the server
 */
export function setUpOwnDocuments(limits) {
  const [dialog, text] = [byId("own-documents"), byId("own-documents-text")];
  byId("open-own-documents").addEventListener("click", () => dialog.showModal());
  byId("close-own-documents").addEventListener("click", () => dialog.close());
  byId("own-documents-file").addEventListener("change", (event) => take(event.target.files[0], limits));
  text.addEventListener("input", () => { if (text.value === "") called(""); });
  byId("own-documents-form").addEventListener("submit", (event) => {
    event.preventDefault();
    read(text.value, limits);
  });
  document.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) dialog.showModal();
    if (dialog.open) take(event.dataTransfer.files[0], limits);
  });
  limits.then(({ most, most_bytes: bytes }) => {
    byId("own-documents-limits").textContent = `Up to ${most.toLocaleString("en")} documents and ${bytes / MEGABYTE} MB.`;
  }, () => {}); // the page reports that the server does not answer
}

/** Search the documents again that this tab searched before a reload. */
export function useKeptDocuments() {
  const kept = stored();
  if (kept && !ownSource()) use(kept.documents, kept.name);
}

/** Put a file's text into the dialog; the dialog's text is kept if the file is not valid text. */
async function take(file, limits) {
  if (!file) return;
  byId("own-documents-file").value = "";
  const refused = await tooLarge(file.name, file.size, limits);
  if (refused) return showError(refused);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    byId("own-documents-text").value = text;
    called(file.name);
    showError("");
    byId("use-own-documents").focus();
  } catch {
    showError(`${file.name} cannot be read as UTF-8 text. If it is a BEIR folder, drop its corpus.jsonl instead.`);
  }
}

async function read(text, limits) {
  const [button, name] = [byId("use-own-documents"), fileName];
  const refused = await tooLarge(name || "The text", new Blob([text]).size, limits);
  if (refused) return showError(refused);
  button.disabled = true;
  showError("");
  try {
    const { documents } = await post("api/documents", { name, text });
    byId("own-documents").close();
    keep({ documents, name });
    use(documents, name);
  } catch (error) {
    showError(error.message);
  } finally {
    button.disabled = false;
  }
}

function use(documents, name) {
  const count = `${documents.length.toLocaleString("en")} ${name ? "" : "pasted "}document${documents.length === 1 ? "" : "s"}`;
  useSource({
    key: `documents:${hashOf(JSON.stringify(documents))}`,
    label: name ? `${count} of ${name}` : count,
    leave: "Leave these documents",
    call: { own_documents: documents },
    onLeave: () => keep(null),
  });
}

/** Return the documents as corpus.jsonl, so that they can be evaluated together with the judgments. */
export function toCorpus() {
  const documents = ownSource()?.call.own_documents ?? [];
  return documents.map(({ doc_id: id, title, text }) => JSON.stringify({ _id: id, title, text }) + "\n").join("");
}

function called(name) {
  fileName = name;
  byId("own-documents-name").textContent = name;
}

/** Return why a text of this size is refused, or "". */
async function tooLarge(name, bytes, limits) {
  try {
    const { most_bytes: most } = await limits;
    return bytes > most ? `${name} is larger than ${most / MEGABYTE} MB. To search it, start the playground with --data FILE.` : "";
  } catch (error) {
    return `The playground’s server does not answer (${error.message}).`;
  }
}

function showError(text) {
  byId("own-documents-error").textContent = text;
  show(byId("own-documents-error"), text !== "");
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null; // storage is switched off, or holds something else
  }
}

function keep(brought) {
  try {
    if (brought) sessionStorage.setItem(KEY, JSON.stringify(brought));
    else sessionStorage.removeItem(KEY);
  } catch {
    // Storage is switched off or full: the documents last as long as the page.
  }
}
