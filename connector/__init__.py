"""Stage 4, connect: all that touches a search engine.

`opensearch` and `elasticsearch` install slimrank into a cluster, so that its own searches come back reranked;
`client.rerank_search` reranks on the caller's side, for any cluster and any licence; `proxy` does so for callers that
cannot be changed. Scores come from a Scorer, over HTTP (`gateway.GatewayScorer`) or loaded.
"""
