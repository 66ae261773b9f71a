"""A proxy in front of a search engine's `_search` and `_msearch`, for callers that cannot be changed.

It reranks the searches that a rule names and passes everything else through, byte for byte. Every answer says which of the
two happened, and why, in its `x-slimrank` header.

    app: any request
     ├── traffic: everything that is no search, streamed both ways
     └── searches: target, headers and body of a search -> which rule, which obstacle, what to ask the engine (pure)
          -> window: engine -> hits -> scores within the deadline -> splice: the same bytes in another order
          -> shadow: for rules on trial, what would have moved, written down instead of answered
"""
