// "Your documents": pasted or dropped, read by the server, kept in this tab and sent with each search.

import { post } from "./api.js";
import { byId, show } from "./dom.js";
import { hashOf } from "./judgments.js";
import { ownSource, useSource } from "./source.js";

const KEY = "slimrank-documents";
const MEGABYTE = 2 ** 20;

let fileName = ""; // of what the dialog holds; "" where it was typed or pasted

/** @param {{most: number, most_bytes: number}} limits */
export function setUpOwnDocuments(limits) {
  const [dialog, text] = [byId("own-documents"), byId("own-documents-text")];
  byId("own-documents-limits").textContent = `Up to ${limits.most.toLocaleString("en")} documents and ${limits.most_bytes / MEGABYTE} MB.`;
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
  const kept = stored();
  if (kept) use(kept.documents, kept.name);
}

/** Put a file's text into the dialog; what stood there stays where the file is none. */
async function take(file, limits) {
  if (!file) return;
  byId("own-documents-file").value = "";
  if (file.size > limits.most_bytes) return showError(tooLarge(file.name, limits));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    byId("own-documents-text").value = text;
    called(file.name);
    showError("");
    byId("use-own-documents").focus();
  } catch {
    showError(`${file.name} cannot be read as text in UTF-8; of a BEIR folder, drop its corpus.jsonl.`);
  }
}

async function read(text, limits) {
  if (new Blob([text]).size > limits.most_bytes) return showError(tooLarge(fileName || "The text", limits));
  const [button, name] = [byId("use-own-documents"), fileName];
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

/** The documents as corpus.jsonl, so that a folder of them and the judgments can be evaluated. */
export function toCorpus() {
  const documents = ownSource()?.call.own_documents ?? [];
  return documents.map(({ doc_id: id, title, text }) => JSON.stringify({ _id: id, title, text }) + "\n").join("");
}

function called(name) {
  fileName = name;
  byId("own-documents-name").textContent = name;
}

function tooLarge(name, limits) {
  return `${name} is larger than ${limits.most_bytes / MEGABYTE} MB. Start the playground with --data FILE for it.`;
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
