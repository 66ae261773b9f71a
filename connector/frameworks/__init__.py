"""Thin adapters that make slimrank a reranker of a retrieval framework.

Each adapter takes a gateway's URL or a loaded ``slimrank.Reranker``. Scores are matched to documents by ``index``, never by their
place in the answer. A framework that already uses the wire format of Cohere, Jina or TEI needs no adapter: set the gateway as its
base URL.
"""
