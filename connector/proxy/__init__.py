"""A proxy in front of a search engine's ``_search`` and ``_msearch``, for callers whose code cannot change.

It reranks the searches that a rule covers, and passes all other requests on, byte for byte. The header ``x-slimrank`` of every
answer says which of the two happened, and why.

    app: any request
     ├── passing: every request that is not a search, streamed in both directions
     └── searches: path, headers and body of a search -> the rule, the obstacle, the search to send (pure)
          -> window: engine -> hits -> scores within the deadline -> splice: the same bytes in a new order
          -> shadow: for rules on trial, record what reranking would have moved; the answer is not changed
"""
