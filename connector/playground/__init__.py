"""The playground: a search page that shows the first stage beside the reranked list, and what that cost.

Part of the product, not of the demo: it searches whatever ``Source`` it is given, a search engine or a
corpus in memory, and scores through the same ``Backend`` as the gateway. It keeps nothing: no query,
no judgment, no credential. The command that puts source and model together is ``deploy.demo.playground``.
"""
