"""What a model gains and what it takes, on your collection and this machine: ``rank``, ``evaluate``, ``frontier``.

Runs the engine in this process, beside no server. Speed alone is ``slimrank.bench``'s affair.
"""
