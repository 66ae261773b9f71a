// Orders and measures of one query's hits. Pure functions; the tests compare them with slimrank.evaluation.measures and slimrank.fusion.

/** Return the places (0-based, in first-stage order) best first; equal scores keep the first stage's order. */
export function orderByScore(scores) {
  return scores.map((_, place) => place).sort((a, b) => scores[b] - scores[a] || a - b);
}

/** Return the scores with the first stage's order as a prior, as in slimrank.fusion: score - weight * ln(first-stage rank). */
export function fuse(scores, weight) {
  return scores.map((score, place) => score - weight * Math.log(place + 1));
}

/** Return nDCG@10 with linear gain, log2(rank + 1) discount and the ideal over all judged documents, as in trec_eval. */
export function ndcgAt10(relevances, ideal) {
  const best = dcg([...ideal].sort((a, b) => b - a));
  return best > 0 ? dcg(relevances) / best : null;
}

function dcg(relevances) {
  return relevances.slice(0, 10).reduce((sum, relevance, place) => sum + (relevance ?? 0) / Math.log2(place + 2), 0);
}

/** Return by how many ranks each place moved up (negative: down). */
export function movesOf(order) {
  const moves = new Array(order.length);
  order.forEach((place, rank) => { moves[place] = place - rank; });
  return moves;
}
