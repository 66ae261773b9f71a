"""Try a model on your collection and this machine: ``rank``, ``evaluate`` and ``frontier``.

Runs the engine in this process, beside no server. Speed alone is ``slimrank.bench``'s affair.
"""
