// Thumbs, and the qrels files they become. Kept in this browser only.

const KEY = "slimrank-judgments";

/** Judgments by source and query: {source: {query_id: {text, relevances: {doc_id: 0|1}}}}. */
export class Judgments {
  constructor() {
    this.all = read();
    this.source = "";
  }

  get queries() {
    return this.all[this.source] ?? {};
  }

  relevances(queryId) {
    return this.queries[queryId]?.relevances ?? {};
  }

  /** Set, or with null take back, the relevance of a document. */
  judge(queryId, text, docId, relevance) {
    const queries = (this.all[this.source] ??= {});
    const query = (queries[queryId] ??= { text, relevances: {} });
    if (relevance === null) delete query.relevances[docId];
    else query.relevances[docId] = relevance;
    if (Object.keys(query.relevances).length === 0) delete queries[queryId];
    write(this.all);
  }

  clear() {
    delete this.all[this.source];
    write(this.all);
  }

  count() {
    const queries = Object.values(this.queries);
    return { queries: queries.length, documents: queries.reduce((sum, query) => sum + Object.keys(query.relevances).length, 0) };
  }

  /** trec_eval splits columns at white space, so white space in ids is percent-encoded. */
  toTrec() {
    return this.#lines((queryId, docId, relevance) => `${solid(queryId)} 0 ${solid(docId)} ${relevance}\n`);
  }

  toBeir() {
    return "query-id\tcorpus-id\tscore\n" + this.#lines((queryId, docId, relevance) => `${queryId}\t${flat(docId)}\t${relevance}\n`);
  }

  toQueries() {
    return Object.entries(this.queries).map(([queryId, query]) => JSON.stringify({ _id: queryId, text: query.text }) + "\n").join("");
  }

  #lines(format) {
    return Object.entries(this.queries).flatMap(([queryId, query]) =>
      Object.entries(query.relevances).map(([docId, relevance]) => format(queryId, docId, relevance))).join("");
  }
}

/** Return an id for a query without an id: its first words, and a hash that makes the id unique. */
export function queryIdOf(text) {
  const words = text.toLowerCase().match(/[a-z0-9]+/g)?.slice(0, 4).join("-") ?? "query";
  return `${words.slice(0, 40)}-${hashOf(text)}`;
}

/** FNV-1a, eight hex digits. */
export function hashOf(text) {
  let hash = 2166136261;
  for (const unit of text) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** Download a text as a file. */
export function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function solid(id) {
  return id.replace(/\s/g, encodeURIComponent);
}

function flat(id) {
  return id.replace(/[\t\r\n]/g, encodeURIComponent);
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is switched off, or holds something else
  }
}

function write(all) {
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // Storage is switched off or full: the judgments last as long as the page.
  }
}
