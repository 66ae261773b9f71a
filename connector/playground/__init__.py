"""The playground: a search page that shows the first stage beside the reranked list, with the time that reranking took.

It is part of the product, not of the demo. It searches any ``Source``, a search engine or a corpus in memory, and scores through
the same ``Backend`` as the gateway. It stores no query, no judgment and no credential. The command ``connector.playground.cli``
connects a source and a model.
"""
