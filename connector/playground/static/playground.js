// The page: it sends one search at a time to the server and shows the result. See board.js for the lists, figures.js for the numbers.

import { about, search } from "./api.js";
import { Board } from "./board.js";
import { controlsOf, offerWeight, setUpControls, weight } from "./controls.js";
import { byId, make, milliseconds, show } from "./dom.js";
import { clearFigures, showLatency, showMoves, showNdcg, showNoMoves } from "./figures.js";
import { Judgments, download, queryIdOf } from "./judgments.js";
import { setUpOwnDocuments, toCorpus, useKeptDocuments } from "./own-documents.js";
import { setUpOwnIndex } from "./own-index.js";
import { fuse, orderByScore } from "./ranking.js";
import { ownSource, setUpSource } from "./source.js";
import { setUpTheme } from "./theme.js";

const EXAMPLES = 6;
const SEARCH_DELAY_MS = 250;

const judgments = new Judgments();
const board = new Board(judge);
let facts = { examples: [], source: "" };
let running = null; // the AbortController of the running search
let current = null; // {query, queryId, firstStage, answer, order, totalMs, ndcg} of the shown search
let delayed = 0;

// -- searching ---------------------------------------------------------------------------------------------------------

async function run(query) {
  stop();
  const mine = (running = new AbortController());
  const begin = performance.now();
  const ticking = setInterval(() => progress(begin), 100);
  location.hash = `q=${encodeURIComponent(query)}`;
  clearResults();
  progress(begin);
  try {
    for await (const event of search({ query, ...controlsOf(), ...ownSource()?.call }, mine.signal)) {
      if (mine.signal.aborted) return;
      handle(event, query, performance.now() - begin);
    }
  } catch (error) {
    if (error.name !== "AbortError") failed("The answer broke off. Is the playground’s server still running?", query);
  } finally {
    clearInterval(ticking);
    if (running === mine) {
      running = null;
      show(byId("progress"), false);
    }
  }
}

function stop() {
  running?.abort();
  running = null;
  clearTimeout(delayed);
  show(byId("progress"), false);
}

function handle(event, query, totalMs) {
  if (event.event === "first_stage") {
    current = { query, queryId: event.query_id ?? queryIdOf(query), firstStage: event, answer: null, order: null, totalMs };
    showFirstStage(event);
  } else if (event.event === "reranked") {
    Object.assign(current, { answer: event, totalMs });
    offerWeight(event.fusion_weight);
    showReranked();
    say(summary());
  } else if (event.stage === "rerank") {
    current.totalMs = totalMs;
    failed(`Not reranked: ${sentence(event.message)} The first stage’s order is kept.`, query);
  } else {
    failed(event.message, query);
  }
}

function searchAgainSoon() {
  clearTimeout(delayed);
  if (current || running) delayed = setTimeout(() => run(byId("query").value.trim() || current.query), SEARCH_DELAY_MS);
}

// -- showing -----------------------------------------------------------------------------------------------------------

/** Remove everything that belongs to one search. */
function clearResults() {
  current = null;
  document.body.classList.remove("has-results");
  for (const id of ["welcome", "empty", "alert", "partial", "view-switch", "passage-note"]) show(byId(id), false);
  clearFigures();
  board.clear();
  say("");
}

function progress(begin) {
  const elapsed = performance.now() - begin;
  const stage = current ? `Scoring ${current.firstStage.hits.length} documents` : "Searching";
  byId("progress-text").textContent = elapsed < 1000 ? `${stage} …` : `${stage} … ${(elapsed / 1000).toFixed(1)} s`;
  show(byId("progress"), elapsed > 120);
}

function showFirstStage(event) {
  if (event.hits.length === 0) {
    show(byId("empty"));
    say("Nothing found.");
    return;
  }
  document.body.classList.add("has-results");
  board.showFirstStage(event.hits);
  showThumbs();
  show(byId("view-switch"));
  say(`${event.hits.length} hits of the first stage; scoring them.`);
}

function showReranked() {
  const { answer, firstStage, totalMs } = current;
  const sorted = fuse(answer.scores, weight());
  current.order = orderByScore(sorted);
  board.showReranked(current.order, answer, sorted, weight() !== 0);
  showMoves(current.order, firstStage.hits);
  measure();
  showLatency(firstStage, answer, totalMs);
  showPartial();
  show(byId("passage-note"));
}

function showPartial() {
  const { scored, scores } = current.answer;
  const rest = scores.length - scored;
  show(byId("partial"), rest > 0);
  const [when, todo] = controlsOf().deadline_ms
    ? ["by the deadline", "Allow more time, or lower the depth."]
    : [`in ${facts.longest_seconds} s, the longest time for a search here`, "Lower the depth."];
  byId("partial").textContent = `${scored} of ${scores.length} documents were scored ${when}. ${rest === 1 ? "One was not: it is marked and is last." : `The other ${rest} are marked and follow in the first stage’s order.`} ${todo}`;
}

/** Show only the first stage, and nothing that looks as if scores were still to come. */
function failed(message, query) {
  if (current) {
    board.showUnranked("There are no scores for this search: the first stage’s order is kept.");
    showNoMoves();
    measure();
    showLatency(current.firstStage, null, current.totalMs);
  }
  alertWith(message, query);
}

function measure() {
  current.ndcg = showNdcg(current.firstStage, current.order, judgments.relevances(current.queryId));
}

function summary() {
  const { scored, scores } = current.answer;
  const how = scored < scores.length ? `${scored} of ${scores.length} documents scored` : "Reranked";
  const measured = current.ndcg ? ` nDCG@10 from ${current.ndcg[0].toFixed(2)} to ${current.ndcg[1].toFixed(2)}.` : "";
  return `${how} in ${milliseconds(current.totalMs)}: ${byId("moves").textContent} documents moved.${measured}`;
}

function say(text) {
  byId("status").textContent = text;
}

function alertWith(message, query) {
  const retry = make("button", { type: "button", class: "quiet" }, "Try again");
  retry.addEventListener("click", () => run(query));
  byId("alert").replaceChildren(make("p", {}, message), ...(query ? [retry] : []));
  show(byId("alert"));
}

function sentence(message) {
  return /[.?!]$/.test(message) ? message : `${message}.`;
}

function cancel() {
  stop();
  if (!current) show(byId("welcome"));
  else board.showUnranked("Cancelled: the first stage’s order is kept.");
  say("Cancelled.");
}

// -- judging -----------------------------------------------------------------------------------------------------------

function judge(place, relevance) {
  judgments.judge(current.queryId, current.query, current.firstStage.hits[place].doc_id, relevance);
  board.showJudgment(place, relevance);
  measure();
  showJudgments();
}

function showThumbs() {
  const own = judgments.relevances(current.queryId);
  current.firstStage.hits.forEach((hit, place) => board.showJudgment(place, own[hit.doc_id] ?? null));
}

function showJudgments() {
  const { queries, documents } = judgments.count();
  byId("judgments-count").textContent = `${documents} document${documents === 1 ? "" : "s"} over ${queries} quer${queries === 1 ? "y" : "ies"}, kept in this browser.`;
  show(byId("judgments"), documents > 0);
  show(byId("download-corpus"), Boolean(ownSource()?.call.own_documents));
}

// -- setting up --------------------------------------------------------------------------------------------------------

function showExamples() {
  const shuffled = [...facts.examples].sort(() => Math.random() - 0.5);
  byId("example-list").replaceChildren(...shuffled.slice(0, EXAMPLES).map((text) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => start(text));
    return make("li", {}, button);
  }));
}

function start(query) {
  byId("query").value = query;
  run(query);
}

function showSource() {
  const own = ownSource();
  judgments.source = own?.key ?? facts.source;
  byId("source-label").textContent = own?.label ?? facts.source;
  show(byId("examples"), !own && facts.examples.length > 0);
  showJudgments();
}

function changeSource() {
  stop();
  clearResults();
  showSource();
  show(byId("welcome"));
  byId("query").focus();
}

function setUpViews() {
  for (const button of byId("view-switch").children) {
    button.addEventListener("click", () => {
      byId("board").dataset.view = button.dataset.view;
      for (const other of byId("view-switch").children) other.setAttribute("aria-pressed", String(other === button));
    });
  }
}

function setUpJudgments() {
  byId("download-trec").addEventListener("click", () => download("qrels.txt", judgments.toTrec()));
  byId("download-beir").addEventListener("click", () => download("qrels.tsv", judgments.toBeir()));
  byId("download-queries").addEventListener("click", () => download("queries.jsonl", judgments.toQueries()));
  byId("download-corpus").addEventListener("click", () => download("corpus.jsonl", toCorpus()));
  byId("clear-judgments").addEventListener("click", () => {
    judgments.clear();
    if (current?.firstStage.hits.length) showThumbs();
    if (current?.answer) measure();
    showJudgments();
    byId("query").focus();
  });
}

function queryInAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("q");
}

async function setUp() {
  const known = about();
  setUpTheme();
  setUpControls(searchAgainSoon, () => { if (current?.answer) showReranked(); }, () => { if (current?.answer) say(summary()); });
  setUpViews();
  setUpJudgments();
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = byId("query").value.trim();
    if (query) run(query);
  });
  byId("more-examples").addEventListener("click", showExamples);
  byId("cancel").addEventListener("click", cancel);
  window.addEventListener("hashchange", () => {
    const query = queryInAddress();
    if (query && query !== byId("query").value.trim()) start(query);
  });
  // All listeners are added before the server has answered, so that no click and no dropped file is lost.
  setUpSource(changeSource);
  setUpOwnIndex(known.then((found) => found.own_index));
  setUpOwnDocuments(known.then((found) => found.own_documents));
  try {
    facts = await known;
  } catch (error) {
    alertWith(`The playground’s server does not answer (${error.message}).`, "");
    return;
  }
  offerWeight(facts.fusion_weight);
  show(byId("audits-link"), facts.has_audits);
  show(byId("notice"), facts.is_trained === false);
  byId("notice").textContent = "This model is not trained to judge relevance yet. Expect its order to be worse than the first stage’s order.";
  byId("examples-title").textContent = facts.has_judgments ? "Judged examples" : "Examples";
  show(byId("more-examples"), facts.examples.length > EXAMPLES);
  showExamples();
  showSource();
  useKeptDocuments();
  if (queryInAddress()) start(queryInAddress());
  else if (!matchMedia("(max-width: 760px)").matches) byId("query").focus();
}

setUp();
