// The page: asks the server, keeps one search in hand, and shows it. See board.js for the lists.

import { about, search } from "./api.js";
import { Board } from "./board.js";
import { byId, make, milliseconds, show } from "./dom.js";
import { Judgments, download, queryIdOf } from "./judgments.js";
import { ownIndex, setUpOwnIndex } from "./own-index.js";
import { fuse, movesOf, ndcgAt10, orderByScore } from "./ranking.js";
import { setUpTheme } from "./theme.js";

const EXAMPLES = 6;
const SEARCH_DELAY_MS = 250;

const judgments = new Judgments();
const board = new Board(judge);
let facts = { judged: [], source: "" };
let running = null; // the AbortController of the search in hand
let current = null; // {query, queryId, firstStage, answer, totalMs} of what is shown
let delayed = 0;
let fittedWeight = 0; // of the first-stage rank, as the model's folder has it

// -- searching ---------------------------------------------------------------------------------------------------------

async function run(query) {
  running?.abort();
  clearTimeout(delayed);
  const mine = (running = new AbortController());
  const begin = performance.now();
  const ticking = setInterval(() => progress(query, begin), 100);
  current = null;
  location.hash = `q=${encodeURIComponent(query)}`;
  hideResults();
  progress(query, begin);
  try {
    for await (const event of search(callOf(query), mine.signal)) {
      if (mine.signal.aborted) return;
      handle(event, query, performance.now() - begin);
    }
  } catch (error) {
    if (error.name !== "AbortError") alertWith("The answer broke off. Is the playground’s server still running?", query);
  } finally {
    clearInterval(ticking);
    if (running === mine) {
      running = null;
      show(byId("progress"), false);
    }
  }
}

function callOf(query) {
  const deadline = byId("deadline").value;
  const call = { query, depth: Number(byId("depth").value) };
  if (deadline) call.deadline_ms = Number(deadline);
  if (ownIndex()) call.own_index = ownIndex();
  return call;
}

function handle(event, query, totalMs) {
  if (event.event === "first_stage") {
    const known = facts.judged.find((judged) => judged.text === query && !ownIndex());
    current = { query, queryId: known?.query_id ?? queryIdOf(query), firstStage: event, answer: null, totalMs };
    showFirstStage(event);
  } else if (event.event === "reranked") {
    Object.assign(current, { answer: event, totalMs });
    offerFusion(event.fusion_weight);
    showReranked();
    say(summary());
  } else if (event.stage === "rerank") {
    board.showUnranked();
    alertWith(`Not reranked: ${event.message}. The first stage’s order stands.`, query);
    Object.assign(current, { totalMs });
    showLatency();
  } else {
    alertWith(event.message, query);
  }
}

function searchAgainSoon() {
  clearTimeout(delayed);
  if (current || running) delayed = setTimeout(() => run(byId("query").value.trim() || current.query), SEARCH_DELAY_MS);
}

// -- showing -----------------------------------------------------------------------------------------------------------

function hideResults() {
  document.body.classList.remove("has-results");
  for (const id of ["welcome", "empty", "figures", "alert", "view-switch", "passage-note"]) show(byId(id), false);
  board.clear();
  byId("ndcg").textContent = "–";
}

function progress(query, begin) {
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
  const { answer } = current;
  current.order = orderByScore(fuse(answer.scores, Number(byId("fusion").value)));
  board.showReranked(current.order, answer);
  showMoves(current.order);
  showNdcg();
  showLatency();
  for (const id of ["figures", "passage-note"]) show(byId(id));
}

/** Start with the weight that belongs to the model, until the visitor has chosen one. */
function offerFusion(weight) {
  fittedWeight = weight;
  if (!byId("fusion").dataset.chosen) byId("fusion").value = String(weight);
  tellFusion();
}

function tellFusion() {
  const weight = Number(byId("fusion").value);
  tell("fusion", weight === 0 ? "model only" : `weight ${weight.toFixed(1)}${weight === fittedWeight ? ", fitted" : ""}`);
}

function tell(id, words) {
  byId(`${id}-value`).textContent = words;
  byId(id).setAttribute("aria-valuetext", words);
}

function showMoves(order) {
  const moves = movesOf(order);
  const moved = moves.filter((move) => move !== 0).length;
  byId("moves").textContent = `${moved} of ${order.length}`;
  const best = moves.indexOf(Math.max(...moves));
  const hit = current.firstStage.hits[best];
  const { scored } = current.answer;
  if (scored < order.length) {
    byId("moves-caption").textContent = `only ${scored} of ${order.length} were scored before the deadline`;
    return;
  }
  byId("moves-caption").textContent = moved ? `furthest up: ${hit.doc_id}, ${best + 1} to ${order.indexOf(best) + 1}` : "the model agrees with the first stage";
}

function showNdcg() {
  const hits = current.firstStage.hits;
  const own = judgments.relevances(current.queryId);
  const isJudged = current.firstStage.ideal.length > 0;
  const relevanceOf = (place) => (isJudged ? hits[place].relevance : own[hits[place].doc_id]) ?? 0;
  const ideal = isJudged ? current.firstStage.ideal : Object.values(own);
  const before = ndcgAt10(hits.map((_, place) => relevanceOf(place)), ideal);
  const after = ndcgAt10(current.order.map(relevanceOf), ideal);
  current.ndcg = before === null ? null : [before, after];
  if (before === null) {
    byId("ndcg").textContent = "–";
    byId("ndcg-caption").textContent = "no relevant document is judged for this query; judge some with the thumbs";
    return;
  }
  const change = after - before;
  byId("ndcg").replaceChildren(
    make("span", { class: "before" }, before.toFixed(2)), " → ", make("span", {}, after.toFixed(2)), " ",
    make("span", { class: `delta ${change > 0.005 ? "up" : change < -0.005 ? "down" : ""}` }, `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)}`));
  const relevant = ideal.filter((relevance) => relevance > 0).length;
  byId("ndcg-caption").textContent = `${isJudged ? "judged query" : "by your judgments"}, ${relevant} relevant document${relevant === 1 ? "" : "s"}`;
}

function showLatency() {
  const { firstStage, answer, totalMs } = current;
  const parts = [["engine", firstStage.engine_ms]];
  if (answer) parts.push(["queue", answer.queue_ms], ["inference", answer.inference_ms]);
  parts.push(["other", Math.max(0, totalMs - parts.reduce((sum, [, ms]) => sum + ms, 0))]);
  byId("latency-total").textContent = milliseconds(totalMs);
  byId("latency-bar").replaceChildren(...parts.map(([name, ms]) => {
    const segment = make("i", { class: name });
    segment.style.flexGrow = String(ms);
    return segment;
  }));
  byId("latency-parts").replaceChildren(...parts.map(([name, ms]) =>
    make("div", {}, make("dt", { class: name }, name), make("dd", {}, milliseconds(ms)))));
  show(byId("figures"));
}

function summary() {
  const moved = byId("moves").textContent;
  const measured = current.ndcg ? ` nDCG@10 from ${current.ndcg[0].toFixed(2)} to ${current.ndcg[1].toFixed(2)}.` : "";
  return `Reranked in ${milliseconds(current.totalMs)}: ${moved} documents moved.${measured}`;
}

function say(text) {
  byId("status").textContent = text;
}

function alertWith(message, query) {
  const retry = make("button", { type: "button", class: "quiet" }, "Try again");
  retry.addEventListener("click", () => run(query));
  byId("alert").replaceChildren(make("p", {}, message), retry);
  show(byId("alert"));
}

// -- judging -----------------------------------------------------------------------------------------------------------

function judge(place, relevance) {
  judgments.judge(current.queryId, current.query, current.firstStage.hits[place].doc_id, relevance);
  board.showJudgment(place, relevance);
  if (current.answer) showNdcg();
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
}

// -- setting up --------------------------------------------------------------------------------------------------------

function showExamples() {
  const shuffled = [...facts.judged].sort(() => Math.random() - 0.5);
  byId("example-list").replaceChildren(...shuffled.slice(0, EXAMPLES).map(({ text }) => {
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
  const own = ownIndex();
  judgments.source = own ? `${own.url}/${own.index_name}` : facts.source;
  byId("source-label").textContent = own ? `${own.index_name} at ${own.url}` : facts.source;
  show(byId("examples"), !own && facts.judged.length > 0);
  showJudgments();
}

function setUpControls() {
  byId("depth").addEventListener("input", () => { tell("depth", byId("depth").value); searchAgainSoon(); });
  byId("deadline").addEventListener("change", searchAgainSoon);
  byId("fusion").addEventListener("input", () => {
    byId("fusion").dataset.chosen = "yes";
    tellFusion();
    if (current?.answer) showReranked();
  });
  byId("fusion").addEventListener("change", () => { if (current?.answer) say(summary()); });
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
  byId("clear-judgments").addEventListener("click", () => {
    judgments.clear();
    if (current) showThumbs();
    if (current?.answer) showNdcg();
    showJudgments();
    byId("query").focus();
  });
}

function queryInAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("q");
}

async function setUp() {
  setUpTheme();
  setUpControls();
  setUpJudgments();
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = byId("query").value.trim();
    if (query) run(query);
  });
  byId("more-examples").addEventListener("click", showExamples);
  byId("cancel").addEventListener("click", () => {
    running?.abort();
    show(byId("progress"), false);
    if (current) board.showUnranked();
    say("Cancelled.");
  });
  window.addEventListener("hashchange", () => {
    const query = queryInAddress();
    if (query && query !== byId("query").value.trim()) start(query);
  });
  try {
    facts = await about();
  } catch (error) {
    alertWith(`The playground’s server does not answer (${error.message}).`, "");
    return;
  }
  show(byId("audits-link"), facts.has_audits);
  show(byId("notice"), facts.is_trained === false);
  byId("notice").textContent = "This model is not trained to judge relevance yet: its order is expected to be worse than the first stage’s.";
  setUpOwnIndex(facts.own_index, () => { showSource(); hideResults(); current = null; show(byId("welcome")); byId("query").focus(); });
  showExamples();
  showSource();
  if (queryInAddress()) start(queryInAddress());
  else if (!matchMedia("(max-width: 760px)").matches) byId("query").focus();
}

setUp();
