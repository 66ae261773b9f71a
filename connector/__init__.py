"""Stage 4, connect: all code that talks to a search engine.

``opensearch`` and ``elasticsearch`` install slimrank into a cluster, so that the cluster's own searches are reranked.
``client.rerank_search`` reranks in the caller's program and works with any cluster and any licence. ``proxy`` reranks for
callers whose code cannot change. Scores come from a ``Scorer``: a gateway over HTTP (``gateway_client.GatewayScorer``), or a model
loaded in this process.
"""
