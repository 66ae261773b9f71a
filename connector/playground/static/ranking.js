// Orders and measures of one query's hits. Pure functions; the tests compare them with slimrank.measures.

const RRF_K = 60; // Cormack, Clarke and Büttcher (SIGIR 2009)

/** Return the places (0-based, in first-stage order) best first; equal scores keep the first stage's order. */
export function orderByScore(scores) {
  return scores.map((_, place) => place).sort((a, b) => scores[b] - scores[a] || a - b);
}

/**
 * Mix the model's ranking with the first stage's by reciprocal rank.
 * @param {number[]} order places, best first, by the model
 * @param {number} weight of the model, 0 to 1
 */
export function fuse(order, weight) {
  const fused = new Array(order.length);
  order.forEach((place, rank) => {
    fused[place] = weight / (RRF_K + rank + 1) + (1 - weight) / (RRF_K + place + 1);
  });
  if (weight >= 1) return [...order];
  return orderByScore(fused);
}

/** nDCG@10: linear gain, log2(rank + 1) discount, ideal over all judged documents, as trec_eval. */
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
