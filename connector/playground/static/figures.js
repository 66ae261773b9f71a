// The figures of the current search: nDCG@10, latency, moves. Each search clears them, so that no figure is from an earlier search.

import { byId, make, milliseconds, show } from "./dom.js";
import { movesOf, ndcgAt10 } from "./ranking.js";

export function clearFigures() {
  for (const id of ["ndcg", "latency-total", "moves"]) byId(id).textContent = "–";
  for (const id of ["ndcg-caption", "latency-bar", "latency-parts", "moves-caption"]) byId(id).replaceChildren();
  show(byId("figures"), false);
}

/**
 * Show nDCG@10 of both orders, by the collection's judgments, or else by the visitor's judgments.
 * @param {{hits: object[], ideal: number[]}} firstStage
 * @param {number[]|null} order places, best first; null if nothing was reranked
 * @param {Object<string, number>} own the visitor's judgments
 * @returns {number[]|null} before and after
 */
export function showNdcg({ hits, ideal: judged }, order, own) {
  const isJudged = judged.length > 0;
  const relevanceOf = (place) => (isJudged ? hits[place].relevance : own[hits[place].doc_id]) ?? 0;
  const ideal = isJudged ? judged : Object.values(own);
  const before = ndcgAt10(hits.map((_, place) => relevanceOf(place)), ideal);
  if (before === null) {
    byId("ndcg").textContent = "–";
    byId("ndcg-caption").textContent = "no relevant document is judged for this query; judge some with the thumbs";
    return null;
  }
  const relevant = ideal.filter((relevance) => relevance > 0).length;
  byId("ndcg-caption").textContent = `${isJudged ? "judged query" : "by your judgments"}, ${relevant} relevant document${relevant === 1 ? "" : "s"}`;
  if (order === null) {
    byId("ndcg").replaceChildren(make("span", { class: "before" }, before.toFixed(2)), " → –");
    return null;
  }
  const after = ndcgAt10(order.map(relevanceOf), ideal);
  const change = after - before;
  byId("ndcg").replaceChildren(
    make("span", { class: "before" }, before.toFixed(2)), " → ", make("span", {}, after.toFixed(2)), " ",
    make("span", { class: `delta ${change > 0.005 ? "up" : change < -0.005 ? "down" : ""}` }, `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)}`));
  return [before, after];
}

/** Show the total time and its parts; the rest of the time is `other`. */
export function showLatency(firstStage, answer, totalMs) {
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

/** Show how many documents moved. */
export function showMoves(order, hits) {
  const moves = movesOf(order);
  const moved = moves.filter((move) => move !== 0).length;
  const best = moves.indexOf(Math.max(...moves));
  byId("moves").textContent = `${moved} of ${order.length}`;
  byId("moves-caption").textContent = moved ? `furthest up: ${hits[best].doc_id}, ${best + 1} to ${order.indexOf(best) + 1}` : "the model agrees with the first stage";
}

/** Say that no document moved, because no document was scored. */
export function showNoMoves() {
  byId("moves").textContent = "–";
  byId("moves-caption").textContent = "nothing was reranked";
}
