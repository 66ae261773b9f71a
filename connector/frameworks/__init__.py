"""Thin adapters: slimrank where a retrieval framework expects its own kind of reranker.

Each takes a gateway's URL or a loaded `slimrank.Reranker`, and puts scores back by `index`, never by place in a list.
Frameworks that speak Cohere's, Jina's or TEI's wire format already need no adapter, only the gateway as base URL.
"""
